"""The only room with sockets, timers and TLS: heartbeats on Twisted's transports."""

from __future__ import annotations

from heartbeat.net.client import HeartbeatClientService
from heartbeat.net.heartbeat import Heartbeat
from heartbeat.net.protocol import HeartbeatFactory, HeartbeatProtocol
from heartbeat.net.reasons import PeerLeft, RefusedConnection, UnresponsiveConnection
from heartbeat.net.wheel import wheel_for

__all__ = [
    "Heartbeat",
    "HeartbeatClientService",
    "HeartbeatFactory",
    "HeartbeatProtocol",
    "PeerLeft",
    "RefusedConnection",
    "UnresponsiveConnection",
    "wheel_for",
]
