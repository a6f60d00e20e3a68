"""Heartbeat-only connections: the protocol, and the factory of an acceptor."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IProtocol,
    ISSLTransport,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat.config import HeartbeatConfig
from heartbeat.interfaces import IStateSource
from heartbeat.liveness.counters import Counters
from heartbeat.net.address import counted_as, kind_of, shown
from heartbeat.net.addresses import Addresses
from heartbeat.net.driver import Driver, House
from heartbeat.net.guarded import GuardedSource
from heartbeat.net.heartbeat import Heartbeat
from heartbeat.net.keeper import Keeper
from heartbeat.net.link import link_for
from heartbeat.net.listening import call, wants_round_trips
from heartbeat.net.options import KernelReports
from heartbeat.net.reasons import reason_for, told
from heartbeat.net.roll import Roll
from heartbeat.net.sessions import Sessions
from heartbeat.net.subject import Framed
from heartbeat.net.tls.handshake import await_handshake, shaken
from heartbeat.net.tracing import Tracing
from heartbeat.net.wheel import Wheel, wheel_for
from heartbeat.session.keyed import KeyedSession
from heartbeat.session.session import CAPS, Session
from heartbeat.session.source import ConfigSource

__all__ = ["HeartbeatFactory", "HeartbeatProtocol"]

DRAINING: Final = 1  # BYE codes
SERVER_FULL: Final = 10
TOO_MANY: Final = "too many connections from your address"
NONCE_BYTES: Final = 16
INSTANCE_BYTES: Final = 8


@implementer(IHandshakeListener)
class HeartbeatProtocol(Protocol):
    """One heartbeat-only connection.

    :cvar caps: the capabilities that its session offers
    :cvar drives: what makes its driver
    :ivar driver: drives it, None until it is connected
    """

    caps: ClassVar[tuple[str, ...]] = CAPS
    drives: ClassVar[type[Driver]] = Driver
    driver: Driver | None = None
    _heartbeat: Heartbeat | None = None
    _inner: IProtocol | None = None
    _ready = False

    def __init__(self, factory: HeartbeatFactory) -> None:
        self.factory = factory
        self._factory = factory

    @property
    def heartbeat(self) -> Heartbeat:
        """The handle of this connection, made when it is first asked for. Only while or after it is connected."""
        if self._heartbeat is None:
            assert self.driver is not None, "not connected yet"
            source = self._factory.source
            own = source if isinstance(source, ConfigSource) else None
            self._heartbeat = Heartbeat(Framed(self.driver), self._factory.reactor, own)
        return self._heartbeat

    def connectionMade(self) -> None:
        """Begin; on TLS a connector waits for the handshake."""
        self.driver = self._factory.drive(self)
        self.dataReceived = self.driver.received  # type: ignore[method-assign]  # one call less on every beat
        if ISSLTransport.providedBy(self.transport):
            await_handshake(self, self._factory)
        else:
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        """The transport is ready, once: a connector speaks first."""
        driver = self.driver
        if driver is not None and not self._ready:
            self._ready = True
            shaken(driver.session, self.transport, self._factory.wheel.clocks)
            self._factory.ready(driver)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone."""
        driver = self.driver
        if driver is None:
            return
        driver.lost(told(reason))
        if self._heartbeat is not None:
            self._heartbeat.ended()
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connectionLost(reason_for(driver.session))
        del self.dataReceived

    def adopt(self, inner: IProtocol, face: ITransport) -> None:
        """Behind the gate: this protocol lives and ends with the connection."""
        self._inner = inner
        inner.makeConnection(face)


class HeartbeatFactory(Factory, House):
    """Accepts heartbeat connections; give it to any server endpoint.

    :param config: of this end
    :param listener: an IHeartbeatListener
    :param reactor: None: the installed one
    :param seconds: the monotonic clock; None: ``heartbeat.net.clocks`` chooses
    :param state: an IStateSource; None: services and meta of the configuration
    :param node: the name of this server
    :param token_keys: of Fernet, the newest first, for the tokens of resumed sessions; None: a random one
    :param max_connections: more are told BYE 10; None: no limit
    :param max_per_address: of one IPv4 address or one IPv6 /64; None: no limit

    :ivar rtt_counts: all round trips of all connections, counted
    :ivar tracing: begins a trace for each connection, None: nobody does; may be set at any time
    """

    noisy = False
    connector = False
    tracing: Tracing | None = None

    def __init__(
        self,
        config: HeartbeatConfig | None = None,
        listener: Any = None,
        *,
        reactor: Any = None,
        seconds: Callable[[], float] | None = None,
        state: IStateSource | None = None,
        node: str = "",
        token_keys: Sequence[bytes] | None = None,
        max_connections: int | None = None,
        max_per_address: int | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._instance = secrets.token_hex(INSTANCE_BYTES)
        self.config = config if config is not None else HeartbeatConfig()
        self.listener = listener
        self.reactor: Any = reactor
        self.node = node
        self.max_connections = max_connections
        self.max_per_address = max_per_address
        self.wheel: Wheel = wheel_for(reactor, seconds)
        own = ConfigSource(self.config, self.wheel.seconds)
        self.source: Any = own if state is None else GuardedSource(state)
        self.rtt_counts = Counters()
        self._drivers: dict[Driver, None] = {}  # a dict is smaller than a set
        self._addresses = Addresses()
        self._sessions = Sessions(self.wheel.clocks, token_keys)
        self._roll = Roll(self.wheel, self._sessions)
        self._kernel = KernelReports()
        self._unix = 0
        self._farewell: Callable[[], str] | None = None  # the reason of each BYE 1 while we drain
        self._drained: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> HeartbeatProtocol:
        """A protocol for one connection."""
        return HeartbeatProtocol(self)

    @property
    def config(self) -> HeartbeatConfig:
        """Of this end, with an instance; replace it, and new connections use the new one."""
        return self._config

    @config.setter
    def config(self, config: HeartbeatConfig) -> None:
        self._config = config if config.instance is not None else replace(config, instance=self._instance)

    def renew_token_keys(self, keys: Sequence[bytes]) -> None:
        """Seal and take tokens with these from now on; the newest first."""
        self._sessions.renew(keys)

    @property
    def keeper(self) -> Keeper:
        """Knows the sessions of other processes; set it before the first connection. The default knows nothing."""
        return self._sessions.keeper

    @keeper.setter
    def keeper(self, keeper: Keeper) -> None:
        self._sessions.keeper = keeper

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._drivers)

    # -- one connection

    def drive(self, protocol: HeartbeatProtocol) -> Driver:
        """Put a session on a transport."""
        transport: Any = protocol.transport
        wheel = self.wheel
        now = wheel.seconds()
        address = shown(transport.getPeer())
        session = (KeyedSession if self.config.keys else Session)(
            self.config,
            wheel.attention,
            now,
            connector=self.connector,
            nonce=secrets.token_hex(NONCE_BYTES),
            draw=wheel.clocks.draw,
            clocks=wheel.clocks,
            source=self.source,
            name=f"~{address}" if address else self._unix_name(),
            address=address,
            transport=kind_of(transport),
            node=self.node,
            caps=protocol.caps,
            rtt_counts=self.rtt_counts,
        )
        session.beats.wants_round_trips = wants_round_trips(self.listener)
        link = link_for(transport, wheel.turns, protocol)
        session.peer.options = self._kernel.connected(link, self.config.kernel)
        driver = protocol.drives(session, wheel, link, self)
        self._drivers[driver] = None
        return driver

    def ready(self, driver: Driver) -> None:
        """The transport is ready: an acceptor checks its limits. Behind a wrapper of Twisted's that is no TLS the
        address may come with the first bytes (PROXY): it is counted when the gate opens."""
        now = self.wheel.seconds()
        transport = driver.link.transport
        if not isinstance(transport, ProtocolWrapper) or ISSLTransport.providedBy(transport):
            self._addresses.move(driver, counted_as(transport.getPeer()))
        if self._farewell is not None:
            driver.session.bye(DRAINING, self._farewell(), now)
        elif self.max_connections is not None and len(self._drivers) > self.max_connections:
            driver.session.bye(SERVER_FULL, "this server is full", now)
        elif self._addresses.over(driver.address, self.max_per_address):
            driver.session.bye(SERVER_FULL, TOO_MANY, now)
        driver.attend(now)

    def _locate(self, driver: Driver, now: float) -> None:
        """Behind a proxy the address of the peer is known only when its first bytes have come (facts R7)."""
        address = driver.link.transport.getPeer()
        peer, text = driver.session.peer, shown(address)
        if text != peer.address:
            if peer.id == f"~{peer.address}":
                peer.id = f"~{text}"
            peer.address = text
        counted = counted_as(address)
        if counted != driver.address:
            self._addresses.move(driver, counted)
            if self._addresses.over(counted, self.max_per_address):
                driver.session.bye(SERVER_FULL, TOO_MANY, now)

    def _unix_name(self) -> str:
        self._unix += 1
        return f"unix#{self._unix}"

    # -- House

    def applies(self, driver: Driver, now: float) -> None:
        """A HELLO waits."""
        self._locate(driver, now)
        if self.tracing is not None:
            self.tracing.begin(driver.session.peer)
        if driver.session.applicant is not None and driver.session.applicant.id is None:
            driver.session.admit(now, "")
        else:
            self._roll.applies(driver, now)

    def opened(self, driver: Driver, now: float) -> None:
        """A gate opened."""
        self._locate(driver, now)
        self._roll.opened(driver)
        peer = driver.session.peer
        peer.options = self._kernel.opened(driver.link, self.config.kernel, driver.session.liveness, peer.options)
        if self.listener is not None:
            call(self.listener, "joined", peer)

    def ended(self, driver: Driver, now: float) -> None:
        """A connection is gone."""
        self._drivers.pop(driver, None)
        self._roll.ended(driver, now)
        self._addresses.move(driver, "")
        if not self._drivers:
            self._fire_drained()

    # -- all connections

    def drain(self, timeout: float, after_ms: int | None = None, *, spread: float = 0.0) -> Deferred[None]:
        """Say BYE 1 to all and to whoever comes from now on; fires when all are gone.

        :param timeout: seconds after which the rest is aborted
        :param after_ms: tells the peers when to come back
        :param spread: seconds over which they are to come back, each told a time of its own; 0: all the same
        """
        self._farewell = farewell = self._farewells(after_ms, spread)
        now = self.wheel.seconds()
        for driver in tuple(self._drivers):
            driver.session.bye(DRAINING, farewell(), now)
            driver.attend(now)
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        if not self._drivers:
            self._fire_drained()
        else:
            late = self.reactor.callLater(timeout, self._drained_late)
            drained.addBoth(lambda result: (late.active() and late.cancel(), result)[1])
        return drained

    def _farewells(self, after_ms: int | None, spread: float) -> Callable[[], str]:
        if spread > 0.0:
            draw = self.wheel.clocks.draw
            # Whoever hears it adds as much again at random (wire.md §6): half of the time to be spread over is ours.
            return lambda: f"after={round(draw() * spread * 500.0)} draining"
        return lambda: "draining" if after_ms is None else f"after={after_ms} draining"

    def _drained_late(self) -> None:
        """The time to leave is over, whoever is still here or has come meanwhile."""
        self.abort_all()
        self._fire_drained()

    def abort_all(self) -> None:
        """End every connection now."""
        for driver in tuple(self._drivers):
            driver.abort()

    def _fire_drained(self) -> None:
        drained, self._drained = self._drained, []
        for waiting in drained:
            waiting.callback(None)
