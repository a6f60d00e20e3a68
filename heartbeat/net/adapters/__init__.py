"""Heartbeats for protocols that have a framing of their own, or none: each module is one of them."""
