"""The ``heartbeat:`` prefix of endpoint strings, for servers and clients. No reactor is touched here."""

from __future__ import annotations

from heartbeat.net.parsers import HeartbeatParser

heartbeat = HeartbeatParser()
