"""The bytes of ``wire.md``: frames, the decoder, the JSON profile. Pure: no clock, no socket, no Twisted."""
