"""Tests of heartbeat.net without sockets: stand-in transports, clocks that are moved by hand."""
