"""Endpoints: from text, and with a heartbeat around them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Literal

from twisted.internet.abstract import isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.interfaces import IStateSource
from heartbeat.net.gate import Connectors
from heartbeat.net.wrapper import WrappedProtocol, WrappingFactory, check_mode, heartbeat_factory
from heartbeat.wire.frames import without_controls

__all__ = ["client_endpoint", "heartbeat_client", "heartbeat_server"]

_HOST_PORT: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^\s\x00-\x1f\x7f:\[\]/\\=]+)):(?P<port>[0-9]+)\Z")
MOST_PORT: Final = 65_535
# Python refuses to read numbers of thousands of digits.
PORT_DIGITS: Final = 5


def client_endpoint(reactor: Any, text: str) -> IStreamClientEndpoint:
    """``HOST:PORT`` and ``[V6]:PORT`` try both IP families; all else is an endpoint string of Twisted's, as it is.

    :raises ConfigError: names the text
    """
    match = _HOST_PORT.match(text)
    if match is not None:
        port = int(match["port"]) if len(match["port"]) <= PORT_DIGITS else 0
        if not 0 < port <= MOST_PORT:
            raise ConfigError("server", f"the port of {text!r:.80} must be from 1 to {MOST_PORT}")
        if match["v6"] is not None and not isIPv6Address(match["v6"]):
            raise ConfigError("server", f"in the brackets of {text!r:.80} stands no IPv6 address")
        return HostnameEndpoint(reactor, match["v6"] or match["host"], port)
    try:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, text)
    except Exception as error:  # parsers of endpoint strings, plugins among them, raise what they like
        why = without_controls(str(error))
        raise ConfigError("server", f"{text!r:.80} is no HOST:PORT and no endpoint: {why:.200}") from error
    return endpoint


@implementer(IStreamServerEndpoint)
class WrappingServerEndpoint:
    """Listens with a wrapped factory. See :func:`heartbeat_server`, which makes it."""

    def __init__(self, endpoint: IStreamServerEndpoint, wrap: Callable[[IProtocolFactory], WrappingFactory]) -> None:
        self._endpoint = endpoint
        self._wrap = wrap

    def __repr__(self) -> str:
        return f"<WrappingServerEndpoint {self._endpoint!r}>"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen for connections of this factory, under a heartbeat."""
        listening: Deferred[IListeningPort] = self._endpoint.listen(self._wrap(protocolFactory))
        return listening


@implementer(IStreamClientEndpoint)
class WrappingClientEndpoint:
    """Connects a protocol behind the gate. See :func:`heartbeat_client`, which makes it."""

    def __init__(self, endpoint: IStreamClientEndpoint, connectors: Connectors) -> None:
        self._endpoint = endpoint
        self._connectors = connectors

    def __repr__(self) -> str:
        return f"<WrappingClientEndpoint {self._endpoint!r}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fires with the factory's own protocol when the gate is open and it was connected; fails with why not."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        connectors = self._connectors
        opened: Deferred[IProtocol] = Deferred()

        def tell(outcome: IProtocol | Failure) -> None:
            if not opened.called:
                opened.callback(outcome)

        ours = WrappedProtocol(connectors, factory.buildProtocol, tell)
        connecting: Deferred[Any] = self._endpoint.connect(_Single(ours, factory))
        connecting.addTimeout(connectors.config.handshake_timeout, connectors.reactor, _too_late)
        await connecting
        try:
            return await opened
        except CancelledError:
            ours.heartbeat.abort()
            raise


class _Single(Factory):
    """A factory for the one protocol that there is already; it starts and stops the one whose protocol that carries."""

    noisy = False

    def __init__(self, protocol: WrappedProtocol, wrapped: IProtocolFactory) -> None:
        self._protocol = protocol
        self._wrapped: Any = wrapped

    def startFactory(self) -> None:
        """The wrapped factory starts, too."""
        self._wrapped.doStart()

    def stopFactory(self) -> None:
        """The wrapped factory stops, too."""
        self._wrapped.doStop()

    def buildProtocol(self, addr: IAddress | None) -> WrappedProtocol:
        return self._protocol


def _too_late(_: object, seconds: float) -> Any:
    raise ConnectTimeout(string=f"not connected within {seconds:g} s")


def heartbeat_server(
    endpoint: IStreamServerEndpoint,
    config: HeartbeatConfig | None = None,
    listener: Any = None,
    *,
    reactor: Any = None,
    seconds: Callable[[], float] | None = None,
    state: IStateSource | None = None,
    node: str = "",
    max_connections: int | None = None,
    max_per_address: int | None = None,
    mode: Literal["frame", "accept"] = "frame",
) -> IStreamServerEndpoint:
    """An endpoint whose connections run under a heartbeat, with any protocol inside. Next: ``listen(factory)``.

    The parameters behind ``endpoint`` are those of :func:`~heartbeat.net.wrapper.heartbeat_factory`.
    """

    def wrap(factory: IProtocolFactory) -> WrappingFactory:
        return heartbeat_factory(
            factory,
            config,
            listener,
            reactor=reactor,
            seconds=seconds,
            state=state,
            node=node,
            max_connections=max_connections,
            max_per_address=max_per_address,
            mode=mode,
        )

    check_mode(mode, config)
    return WrappingServerEndpoint(endpoint, wrap)


def heartbeat_client(
    endpoint: IStreamClientEndpoint,
    config: HeartbeatConfig | None = None,
    listener: Any = None,
    *,
    reactor: Any = None,
    seconds: Callable[[], float] | None = None,
    state: IStateSource | None = None,
) -> IStreamClientEndpoint:
    """An endpoint whose connections run under a heartbeat; ``connect(factory)`` gives the factory's own protocol.

    It fires when the acceptor let us in, and fails with a ``ConnectionLost`` that is a
    :exc:`~heartbeat.errors.PeerRefused`, too, if it did not. Without ``id`` in its configuration the connection is
    anonymous: a process may have many of them.

    :param config: of this end
    :param listener: an IHeartbeatListener
    :param reactor: None: the installed one
    :param seconds: the monotonic clock; None: ``heartbeat.net.clocks`` chooses
    :param state: an IStateSource; None: services and meta of the configuration
    """
    return WrappingClientEndpoint(endpoint, Connectors(config, listener, reactor=reactor, seconds=seconds, state=state))
