"""What our own stalls and clock steps do to living peers: matrix, soak and steps (docs/topics/stalls.md)."""
