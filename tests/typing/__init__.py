"""Typed uses of the public names: read by type checkers, never run."""
