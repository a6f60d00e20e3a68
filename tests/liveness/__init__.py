"""The judge and its numbers, in virtual time."""
