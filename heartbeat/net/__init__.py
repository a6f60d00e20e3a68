"""The only room with sockets, timers and TLS: heartbeats on Twisted's transports."""

from __future__ import annotations

from heartbeat.interfaces import IHeartbeat
from heartbeat.net.client import HeartbeatClientService
from heartbeat.net.deadline import Deadline
from heartbeat.net.endpoints import heartbeat_client, heartbeat_server
from heartbeat.net.guest import AbortedConnection
from heartbeat.net.heartbeat import Heartbeat
from heartbeat.net.observe import observe_client, observe_factory, observe_server
from heartbeat.net.protocol import HeartbeatFactory, HeartbeatProtocol
from heartbeat.net.reader import ExactReader
from heartbeat.net.reasons import PeerLeft, RefusedConnection, UnresponsiveConnection
from heartbeat.net.shadow import Other, Shadow, ShadowReport
from heartbeat.net.wheel import wheel_for
from heartbeat.net.wrapper import heartbeat_factory

__all__ = [
    "AbortedConnection",
    "Deadline",
    "ExactReader",
    "Heartbeat",
    "HeartbeatClientService",
    "HeartbeatFactory",
    "HeartbeatProtocol",
    "IHeartbeat",
    "Other",
    "PeerLeft",
    "RefusedConnection",
    "Shadow",
    "ShadowReport",
    "UnresponsiveConnection",
    "heartbeat_client",
    "heartbeat_factory",
    "heartbeat_server",
    "observe_client",
    "observe_factory",
    "observe_server",
    "wheel_for",
]
