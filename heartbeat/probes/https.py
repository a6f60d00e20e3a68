"""TLS for probes: the platform's trust or a CA of one's own, and a note of how far it came and what was wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from heartbeat.net.tls.endpoints import ServerCheck
from heartbeat.net.tls.verification import verification_of
from heartbeat.probes.reasons import MOST_DETAIL, Progress, Trouble

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol

__all__ = ["Policy"]


@implementer(IPolicyForHTTPS, IOpenSSLClientConnectionCreator)
class Policy:
    """Who is believed, for the requests of one target. One request at a time, which :meth:`begin` is told of.

    :param trust: what Twisted takes as ``trustRoot``; None: the platform's
    :ivar progress: of the request that is under way
    """

    def __init__(self, trust: Any = None) -> None:
        options: Any = CertificateOptions(trustRoot=platformTrust() if trust is None else trust)
        self._context: SSL.Context = options.getContext()
        self._context.set_info_callback(self._moved)
        # Of the request that is under way: more than one where a host has addresses of both families.
        self._open: list[tuple[SSL.Connection, TLSMemoryBIOProtocol]] = []
        self.progress = Progress()

    def begin(self, tls: bool) -> Progress:
        """A new request."""
        self.progress = Progress(tls=tls)
        return self.progress

    def trouble(self) -> Trouble | None:
        """What is wrong with the certificate that was shown to the request under way; None: nothing, or none was."""
        for _, transport in self._open:
            found = verification_of(transport)
            if found is not None and found.trouble is not None:
                reason, _, words = found.trouble
                return Trouble(reason, words[:MOST_DETAIL])
        return None

    def end(self) -> None:
        """The request is over. Twisted would wait for the other end's last word in TLS, which may never come."""
        over, self._open = self._open, []
        for _, transport in over:
            if transport.connected:
                transport.abortConnection()

    def creatorForNetloc(self, hostname: bytes, port: int) -> ServerCheck:
        """For one connection. Raises ConfigError if the host is neither a name nor an address."""
        return ServerCheck(self, hostname.decode("ascii"))

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """TCP is there: a connection of OpenSSL, whose certificate nobody looks at yet: see :class:`.ServerCheck`."""
        self.progress.connected = True
        connection = SSL.Connection(self._context, None)
        self._open.append((connection, tlsProtocol))
        return connection

    def _moved(self, connection: SSL.Connection, where: int, result: int) -> None:
        if where & SSL.SSL_CB_HANDSHAKE_DONE and any(connection is one for one, _ in self._open):
            self.progress.secured = True
