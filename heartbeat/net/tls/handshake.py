"""Behind the TLS handshake and before the first word of ours: what the peer's certificate says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import ISSLTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol

from heartbeat.net.tls.binding import channel_of
from heartbeat.net.tls.names import names_of
from heartbeat.net.tls.pins import pin_of
from heartbeat.net.tls.verification import verification_of

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from heartbeat.net.clocks import Clocks
    from heartbeat.net.protocol import HeartbeatFactory, HeartbeatProtocol
    from heartbeat.net.tls.pins import Pins
    from heartbeat.session.session import Session

__all__ = ["await_handshake", "shaken", "unpinned"]

#: Handshakes that are under way beyond the limit on connections: who comes through is told that the server is full, and
#: who does not costs no more than these. (The limit leaves 64 descriptors by itself.)
BEYOND: Final = 32


def await_handshake(protocol: HeartbeatProtocol, factory: HeartbeatFactory) -> None:
    """TLS is not up yet: its deadline runs from here on, and has a name of its own; and only so many may be here."""
    driver = protocol.driver
    assert driver is not None  # it was made just before
    transport: Any = protocol.transport
    session, now = driver.session, driver.seconds()
    if session.gate is not None:
        session.gate.late = "tls_timeout"
    most = factory.max_connections
    if most is not None and factory.connections > most + BEYOND:
        session.refuse("server_full", "too many connections that have not shaken hands", now)
    driver.attend(now)
    if isinstance(transport, TLSMemoryBIOProtocol):
        return

    def first(data: bytes) -> None:
        protocol.dataReceived = driver.received  # type: ignore[method-assign]
        protocol.handshakeCompleted()
        driver.received(data)

    # A wrapper may keep the handshake to itself (facts T0.7); bytes come only behind it.
    protocol.dataReceived = first  # type: ignore[method-assign]
    if factory.connector and isinstance(transport, ProtocolWrapper):
        protocol.handshakeCompleted()  # nobody will tell, and what is written waits for it


def shaken(session: Session, transport: Any, clocks: Clocks) -> None:
    """TLS is up (or there is none): tell the session what it has proved, and when the other's certificate expires.

    A certificate counts as verified only where :class:`.Verification` watched; what an application's own contexts have
    let pass proves nothing to us.
    """
    if session.gate is not None:
        session.gate.late = "hello_timeout"
    if not ISSLTransport.providedBy(transport):
        return
    certificate = None if verification_of(transport) is None else _certificate(_handle(transport))
    names = () if certificate is None or session.connector else names_of(certificate)
    session.secured(channel_of(transport, names))
    if certificate is not None:
        left = certificate.not_valid_after_utc.timestamp() - clocks.wall()
        session.peer.cert_ends = clocks.seconds() + left


def unpinned(transport: Any, pins: Pins) -> str | None:
    """What the peer has in the place of a key that is pinned; None: it has one of those."""
    handle = _handle(transport)
    certificate = _certificate(handle)
    if pins.fit(certificate):
        return None
    if handle is None:
        return "no TLS"
    return "no certificate" if certificate is None else pin_of(certificate)


def _handle(transport: Any) -> Any:
    """The connection of OpenSSL, also through wrappers of Twisted's; None: this is no TLS."""
    handle = getattr(transport, "getHandle", lambda: None)()
    return handle if isinstance(handle, SSL.Connection) else None


def _certificate(handle: Any) -> Certificate | None:
    certificate: Certificate | None = None if handle is None else handle.get_peer_certificate(as_cryptography=True)
    return certificate
