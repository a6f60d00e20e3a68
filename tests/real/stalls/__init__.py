"""What our own stalls and clock steps do to living peers: the matrix, the soak and the steps (docs/topics/stalls.md)."""
