"""Only watch: a factory or an endpoint in, the same out, and not one byte on the wire.

The peer is unmodified and never hears of it. What is judged is its host and the path to it, by what the two kernels say
to each other (:mod:`heartbeat.liveness.signs`); that a stopped process whose kernel answers is alive to this is no
defect but its nature. ``idle`` limits the silence of the application itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, Unpack

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from heartbeat.config import KernelOptions
from heartbeat.net.limits import DETECT, HANDSHAKE, ObserveLimits
from heartbeat.net.observed import ObservedProtocol, Observer, ObservingFactory
from heartbeat.net.wheel import wheel_for

__all__ = [
    "ObserveSettings", "ObservingClientEndpoint", "ObservingServerEndpoint", "observe_client", "observe_factory",
    "observe_server", "observer_of",
]  # fmt: skip


class ObserveSettings(TypedDict, total=False):
    """What :func:`observe_factory` and its kind take beside the factory or the endpoint. Seconds are floats."""

    detect: float
    idle: float | None
    handshake_timeout: float | None
    listener: Any
    kernel: KernelOptions | None
    reactor: Any
    seconds: Callable[[], float] | None


def observe_factory(wrapped_factory: IProtocolFactory, **settings: Unpack[ObserveSettings]) -> ObservingFactory:
    """A factory whose protocols are those of ``wrapped_factory``, each with its peer watched; for servers and clients.

    The protocols run unchanged, on the transport that they have without us. ``IHeartbeat(self.transport)`` is the
    handle; a peer that is found dead gives ``connectionLost`` an :exc:`.UnresponsiveConnection`, which is a
    ``ConnectionLost`` with ``cause`` and ``evidence``, and so does one whose end the kernel can explain. Next: give it
    to ``listenTCP``, or use :func:`observe_server` or :func:`observe_client`.

    :param detect: seconds of silence of its host after which a peer is dead, 1 to 3600; 30
    :param idle: seconds of silence of its application after which it is dead, too; None: it may be silent for ever
    :param handshake_timeout: seconds for the handshake of TLS, 10; None: it may take as long as it likes
    :param listener: an IHeartbeatListener
    :param kernel: options for the kernel; None: :func:`heartbeat.net.limits.probing` of ``detect``
    :param reactor: None: the installed one
    :param seconds: the monotonic clock; None: ``heartbeat.net.clocks`` chooses
    :raises ConfigError: names the parameter and the value
    """
    return ObservingFactory(wrapped_factory, observer_of(**settings))


def observe_server(endpoint: IStreamServerEndpoint, **settings: Unpack[ObserveSettings]) -> ObservingServerEndpoint:
    """An endpoint whose connections are watched. Next: ``listen(factory)``.

    :param settings: those of :func:`observe_factory`
    :raises ConfigError: names the parameter and the value
    """
    return ObservingServerEndpoint(endpoint, observer_of(**settings))


def observe_client(endpoint: IStreamClientEndpoint, **settings: Unpack[ObserveSettings]) -> ObservingClientEndpoint:
    """An endpoint whose connections are watched; ``connect(factory)`` gives the factory's own protocol.

    :param settings: those of :func:`observe_factory`
    :raises ConfigError: names the parameter and the value
    """
    return ObservingClientEndpoint(endpoint, observer_of(**settings))


def observer_of(kind: type[Observer] = Observer, **settings: Unpack[ObserveSettings]) -> Observer:
    """An observer with these settings, on the installed reactor where none is given."""
    limits = ObserveLimits(
        detect=settings.get("detect", DETECT),
        idle=settings.get("idle"),
        handshake_timeout=settings.get("handshake_timeout", HANDSHAKE),
        kernel=settings.get("kernel"),
    )
    reactor = settings.get("reactor")
    if reactor is None:
        from twisted.internet import reactor
    return kind(limits, settings.get("listener"), reactor, wheel_for(reactor, settings.get("seconds")))


@implementer(IStreamServerEndpoint)
class ObservingServerEndpoint:
    """Listens with an observing factory. See :func:`observe_server`, which makes it."""

    def __init__(self, endpoint: IStreamServerEndpoint, watched_by: Observer) -> None:
        self._endpoint = endpoint
        self.observer = watched_by

    def __repr__(self) -> str:
        return f"<ObservingServerEndpoint {self._endpoint!r}>"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen for connections of this factory, and watch them."""
        factory = ObservingFactory(protocolFactory, self.observer)
        listening: Deferred[IListeningPort] = self._endpoint.listen(factory)
        return listening


@implementer(IStreamClientEndpoint)
class ObservingClientEndpoint:
    """Connects a protocol and watches its peer. See :func:`observe_client`, which makes it."""

    def __init__(self, endpoint: IStreamClientEndpoint, watched_by: Observer) -> None:
        self._endpoint = endpoint
        self.observer = watched_by

    def __repr__(self) -> str:
        return f"<ObservingClientEndpoint {self._endpoint!r}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fires with the factory's own protocol when it is connected."""
        connecting: Deferred[Any] = self._endpoint.connect(ObservingFactory(protocolFactory, self.observer))
        return connecting.addCallback(_own)


def _own(protocol: Any) -> Any:
    return protocol.wrapped if isinstance(protocol, ObservedProtocol) else protocol
