"""The commands of ``twist``, as strings: nothing of ours is imported until one of them is used."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

heartbeat_server = ServiceMaker(
    "heartbeat server",
    "heartbeat.apps.server.service",
    "Answers heartbeats, judges the peers, and shows them on a web page.",
    "heartbeat-server",
)

heartbeat_probe = ServiceMaker(
    "heartbeat probe",
    "heartbeat.apps.probe",
    "Asks web servers whether they are well, and shows what comes of it.",
    "heartbeat-probe",
)

heartbeat_agent = ServiceMaker(
    "heartbeat agent",
    "heartbeat.apps.agent",
    "Sends heartbeats with the load, uptime and services of this host.",
    "heartbeat-agent",
)
