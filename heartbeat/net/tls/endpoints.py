"""TLS around any endpoint: TCP, UNIX, ``systemd:``, behind ``haproxy:``, simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat.errors import CertificateNotReady, ConfigError
from heartbeat.net.tls.verification import Verification, is_address, server_name

if TYPE_CHECKING:
    from heartbeat.net.tls.certificates import Certificates
    from heartbeat.net.tls.pins import Pins

__all__ = ["ServerCheck", "TlsClient", "tls_client", "tls_server"]


@implementer(IOpenSSLClientConnectionCreator)
class ServerCheck:
    """Makes the client's side of connections to one server, with the certificate in force, and verifies the server's.

    :param certificates: makes connections that nobody verifies yet
    :param hostname: the name or address that the server's certificate must be for
    :param pins: that its key must be among, too
    :raises ConfigError: ``hostname`` is neither
    """

    def __init__(self, certificates: IOpenSSLClientConnectionCreator, hostname: str, pins: Pins | None = None) -> None:
        try:
            self._asked_for = None if is_address(hostname) else server_name(hostname)
        except ValueError:  # idna's errors are of this kind
            raise ConfigError("hostname", f"is neither a name nor an address: {hostname!r:.80}") from None
        self._certificates = certificates
        self._hostname = hostname
        self.pins = pins

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        """A connection of OpenSSL."""
        connection = self._certificates.clientConnectionForTLS(protocol)
        if self._asked_for is not None:
            connection.set_tlsext_host_name(self._asked_for)
        return Verification(self._hostname, self.pins).watch(connection, protocol)


@implementer(IStreamServerEndpoint)
class _TlsServer:
    """See :func:`tls_server`."""

    def __init__(self, endpoint: IStreamServerEndpoint, certificates: Certificates, reactor: Any) -> None:
        self._endpoint = endpoint
        self._certificates = certificates
        self._reactor = reactor

    def __repr__(self) -> str:
        return f"<TLS on {self._endpoint!r}>"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen, as soon as there is a certificate. Fails with BadCertificate, or as the endpoint does."""

        def listen(_: object) -> Deferred[IListeningPort]:
            factory = TLSMemoryBIOFactory(self._certificates, False, protocolFactory, self._reactor)
            return self._endpoint.listen(factory)

        return self._certificates.ready().addCallback(listen)


@implementer(IStreamClientEndpoint)
class TlsClient:
    """See :func:`tls_client`, which makes it.

    :ivar check: of the server's certificate; its pins may be changed, for new connections
    """

    def __init__(
        self, name: str, endpoint: IStreamClientEndpoint, check: ServerCheck, certificates: Certificates, reactor: Any
    ) -> None:
        self.check = check
        self._name = name
        self._endpoint = endpoint
        self._certificates = certificates
        self._reactor = reactor

    def __repr__(self) -> str:
        return f"<TLS on {self._endpoint!r}>"

    def __str__(self) -> str:
        """Where it leads, as it is called in logs and failures."""
        return self._name

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, as soon as our certificate is there; fires as Twisted's do, before the handshake is done."""

        def connect(_: object) -> Deferred[Any]:
            factory = TLSMemoryBIOFactory(self.check, True, protocolFactory, self._reactor)
            return self._endpoint.connect(factory)

        ready = self._certificates.ready()
        ready.addErrback(_not_ready)
        connecting: Deferred[Any] = ready.addCallback(connect)
        return connecting.addCallback(lambda secure: secure.wrappedProtocol)


def tls_server(
    endpoint: IStreamServerEndpoint, certificates: Certificates, *, reactor: Any = None
) -> IStreamServerEndpoint:
    """TLS around a server endpoint, whose connections get the certificate that is in force when they come.

    :param reactor: None: the installed one
    """
    return _TlsServer(endpoint, certificates, _installed(reactor))


def tls_client(
    host: str,
    port: int,
    certificates: Certificates,
    pins: Pins | None = None,
    *,
    endpoint: IStreamClientEndpoint | None = None,
    reactor: Any = None,
) -> TlsClient:
    """An endpoint that connects to a server over TLS and verifies its name (RFC 9525) or address.

    :param host: the name or address, also the one that its certificate must be for
    :param certificates: our own, if any, and the authorities that we trust
    :param pins: of the server's key
    :param endpoint: leads to it; None: TCP to that host and port, over both IP families
    :param reactor: None: the installed one
    :raises ConfigError: ``host`` is neither a name nor an address
    """
    reactor = _installed(reactor)
    if endpoint is None:
        endpoint = HostnameEndpoint(reactor, host, port)
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return TlsClient(name, endpoint, ServerCheck(certificates, host, pins), certificates, reactor)


def _not_ready(failure: Failure) -> Failure:
    """Who gave up waiting for the certificate is told what he was waiting for."""
    return Failure(CertificateNotReady()) if failure.check(CancelledError) else failure


def _installed(reactor: Any) -> Any:
    if reactor is None:
        from twisted.internet import reactor
    return reactor
