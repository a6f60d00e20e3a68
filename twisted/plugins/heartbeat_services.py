"""The commands of ``twist``, as strings: nothing of ours is imported until one of them is used."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

heartbeat_server = ServiceMaker(  # type: ignore[no-untyped-call]  # it has no types
    "heartbeat server",
    "heartbeat.apps.server.service",
    "Answers heartbeats, judges the peers, and shows them on a web page.",
    "heartbeat-server",
)

heartbeat_agent = ServiceMaker(  # type: ignore[no-untyped-call]  # it has no types
    "heartbeat agent",
    "heartbeat.apps.agent",
    "Sends heartbeats with the load, uptime and services of this host.",
    "heartbeat-agent",
)
