"""Tests against real processes, real sockets and the real kernel."""
