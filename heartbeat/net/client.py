"""A client that stays connected: to one of several servers, for as long as its service runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.interfaces import IStateSource
from heartbeat.net.backoff import CALM_DOWN, RARELY, reconnect_after
from heartbeat.net.endpoints import client_endpoint
from heartbeat.net.gate import Connectors, GatedEndpoint
from heartbeat.net.heartbeat import Heartbeat
from heartbeat.net.tls.pins import Pins

__all__ = ["HeartbeatClientService"]

log = Logger()
# "Calm down" doubles our interval each time, up to this; who is told so at a minute has another problem.
SLOWEST: Final = 60.0


class _Face(Protocol):
    """What stands behind the gate of a heartbeat-only client: somebody who notices the end."""

    def __init__(self, service: HeartbeatClientService) -> None:
        self._service = service

    @property
    def heartbeat(self) -> Heartbeat:
        """The handle."""
        behind: Any = self.transport
        heartbeat: Heartbeat = behind.heartbeat
        return heartbeat

    def connectionMade(self) -> None:
        """The gate is open."""
        self._service.heartbeat = self.heartbeat

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._service.lost()


class HeartbeatClientService(ClientService):
    """Keeps one heartbeat connection to the first of several servers that lets it in.

    :param servers: tried in this order: ``HOST:PORT``, endpoint strings, or endpoints
    :param config: of this end
    :param listener: an IHeartbeatListener
    :param reactor: None: the installed one
    :param seconds: the monotonic clock; None: ``heartbeat.net.clocks`` chooses
    :param state: an IStateSource; None: services and meta of the configuration
    :param pins: keys that the certificate of each server may have; None: any that the endpoint lets pass
    :raises ConfigError: a server that is neither

    :ivar heartbeat: the handle of the open connection; None while there is none
    """

    heartbeat: Heartbeat | None = None

    def __init__(
        self,
        servers: Sequence[str | IStreamClientEndpoint],
        config: HeartbeatConfig,
        listener: Any = None,
        *,
        reactor: Any = None,
        seconds: Callable[[], float] | None = None,
        state: IStateSource | None = None,
        pins: Pins | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        if not servers or isinstance(servers, (str, bytes)):
            raise ConfigError("servers", f"must be a list of at least one server, not {servers!r}")
        self._reactor: Any = reactor
        self.connectors = Connectors(config, listener, reactor=reactor, seconds=seconds, state=state, pins=pins)
        endpoints = [_endpoint(reactor, one) for one in servers]
        self._endpoint = GatedEndpoint(endpoints, self.connectors, [str(one) for one in servers])
        super().__init__(self._endpoint, _Faces(self), retryPolicy=self._retry, clock=reactor)

    def when_alive(self) -> Deferred[Heartbeat]:
        """Fires with the handle when a gate is open, now or later; fails when the service is stopped before.

        It fires a turn later than the gate opens, so that the service may be stopped from the callback (facts T0.3).
        """
        connected: Deferred[Any] = self.whenConnected()
        return connected.addCallback(lambda face: deferLater(self._reactor, 0, lambda: face.heartbeat))

    def lost(self) -> None:
        """The open connection is gone; told by what stands behind the gate."""
        self.heartbeat = None
        self._endpoint.lost()

    def _retry(self, attempt: int) -> float:
        byes = self._endpoint.byes or [None]
        if any(bye is not None and bye.code == CALM_DOWN for bye in byes):
            self._slow_down()
        delays = [reconnect_after(bye, attempt, self.connectors.wheel.clocks.draw) for bye in byes]
        possible = [delay for delay in delays if delay is not None]
        if possible:
            return min(possible)
        log.error("superseded by a newer connection of the same session: is this id used twice? Giving up")
        self._reactor.callLater(0, self.stopService)
        return RARELY

    def _slow_down(self) -> None:
        config = self.connectors.config
        interval = config.interval * 2.0
        if interval <= SLOWEST and interval * config.multiplier <= config.max_detection:
            self.connectors.config = replace(config, interval=interval)


def _endpoint(reactor: Any, server: Any) -> IStreamClientEndpoint:
    """A server as it was given, as an endpoint. Raises ConfigError."""
    if isinstance(server, str):
        return client_endpoint(reactor, server)
    if not IStreamClientEndpoint.providedBy(server):
        raise ConfigError("servers", f"must be texts or client endpoints, not {server!r:.80}")
    endpoint: IStreamClientEndpoint = server
    return endpoint


class _Faces(Factory):
    """Makes what stands behind the gate."""

    noisy = False

    def __init__(self, service: HeartbeatClientService) -> None:
        self._service = service

    def buildProtocol(self, addr: Any) -> _Face:
        """One for each connection."""
        return _Face(self._service)
