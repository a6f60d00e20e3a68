"""One connection of the wire protocol, pure: bytes and time in, bytes and events out."""
