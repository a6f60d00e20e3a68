"""The golden vectors of wire.md §8: wire.json, read by tests.vectors.golden."""
