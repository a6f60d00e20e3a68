"""The names of TLS as their users write them. Read by type checkers, never run."""

from __future__ import annotations

from typing import assert_type

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from heartbeat import BadCertificate, Event, HeartbeatConfig, HeartbeatListener, Peer, Unpinned
from heartbeat.net import HeartbeatClientService, heartbeat_client
from heartbeat.net.tls import Certificates, Material, Pem, Pins, pem_files, tls_client, tls_server


class Alarms(HeartbeatListener):
    """Told of keys that are not pinned."""

    def changed(self, peer: Peer, event: Event) -> None:
        """Narrowing gives the members their types."""
        match event:
            case Unpinned(found=found, policy=policy):
                assert_type((found, policy), tuple[str, str])
            case _:
                pass


def from_elsewhere() -> Deferred[Pem]:
    """A provider that takes its time."""
    return Deferred()


async def ends(server: IStreamServerEndpoint, client: IStreamClientEndpoint) -> None:
    """Both ends, with certificates that renew."""
    certificates = Certificates(pem_files("tls.crt", "tls.key", "ca.crt"), interval=5.0, minimum="1.2")
    assert_type(await certificates.ready(), Certificates)
    assert_type(certificates.expires_in(), int | None)
    assert_type(certificates.material, Material | None)
    listens: IStreamServerEndpoint = tls_server(server, certificates)
    pins = Pins(("sha256/…",), policy="alarm")
    connects: IStreamClientEndpoint = tls_client("localhost", 7601, Certificates(from_elsewhere), pins)
    wrapped: IStreamClientEndpoint = heartbeat_client(client, HeartbeatConfig(), pins=pins)
    service = HeartbeatClientService([connects, "tls:localhost:7601"], HeartbeatConfig(), Alarms(), pins=pins)
    print(listens, wrapped, service)
    try:
        await certificates.reload()
    except BadCertificate as error:
        assert_type((error.part, error.trouble), tuple[str, str])
