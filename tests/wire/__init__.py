"""The wire room: frames, decoder, JSON profile, and the golden vectors."""
