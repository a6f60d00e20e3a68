"""A server and a client over TLS, with certificates that are renewed while they run."""

from __future__ import annotations

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

from heartbeat import HeartbeatConfig
from heartbeat.net import HeartbeatClientService, HeartbeatFactory
from heartbeat.net.tls import Certificates, Pins, pem_files, tls_client, tls_server


def server(folder: str, where: str) -> MultiService:
    """Accepts clients with a certificate of ``ca.crt``; ``where`` is any endpoint string, ``systemd:`` too."""
    certificates = Certificates(pem_files(f"{folder}/tls.crt", f"{folder}/tls.key", f"{folder}/ca.crt"))
    endpoint = tls_server(serverFromString(reactor, where), certificates)
    return together(certificates, StreamServerEndpointService(endpoint, HeartbeatFactory()))


def client(folder: str, host: str, port: int, pins: tuple[str, ...] = ()) -> MultiService:
    """Connects with its own certificate, to a server whose certificate is for ``host`` and has one of these keys."""
    certificates = Certificates(pem_files(f"{folder}/tls.crt", f"{folder}/tls.key", f"{folder}/ca.crt"))
    pinned = Pins(pins, policy="refuse") if pins else None
    endpoint = tls_client(host, port, certificates, pinned)
    return together(certificates, HeartbeatClientService([endpoint], HeartbeatConfig(id="gateway-7"), pins=pinned))


def together(certificates: Certificates, other: Service) -> MultiService:
    """One service of two: while it runs, certificates look every 30 s whether their files have changed."""
    both = MultiService()
    for one in (certificates, other):
        one.setServiceParent(both)
    return both
