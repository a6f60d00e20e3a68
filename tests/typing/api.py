"""The public names as their users write them. Read by type checkers (mypy --strict, pyright), never run."""

from __future__ import annotations

from typing import assert_type

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat import (
    Alive,
    AlreadyExpired,
    Attention,
    Beats,
    BudgetExpired,
    ConfigError,
    Dead,
    DeadlineExpired,
    Dropped,
    Event,
    Evidence,
    Explained,
    HeartbeatConfig,
    HeartbeatError,
    HeartbeatListener,
    IHeartbeatListener,
    IncompleteRead,
    IPeerStore,
    IStateSource,
    KernelOptions,
    Left,
    Liveness,
    Need,
    NotConnected,
    Peer,
    PeerUnresponsive,
    PingLost,
    Refused,
    Report,
    SharedKey,
    Spared,
    State,
    StoreUnavailable,
    Stuck,
    Suspect,
    Synced,
)
from heartbeat.net import (
    Deadline,
    ExactReader,
    Heartbeat,
    HeartbeatClientService,
    HeartbeatFactory,
    IHeartbeat,
    Other,
    PeerLeft,
    Shadow,
    ShadowReport,
    UnresponsiveConnection,
    heartbeat_client,
    heartbeat_factory,
    heartbeat_server,
    observe_client,
    observe_factory,
    observe_server,
)
from heartbeat.net.adapters.autobahn import AutobahnHeartbeat
from heartbeat.net.adapters.timeout import TimeoutMixin
from heartbeat.net.adapters.websocket import WebSocketHeartbeat
from heartbeat.testing import Delay, Loss, OneWay, SilentDrop, SimulatedNetwork


class Board(HeartbeatListener):
    """A listener on the base that does nothing."""

    def changed(self, peer: Peer, event: Event) -> None:
        """Tell by kind."""
        match event:
            case Suspect(silent=silent):
                assert_type(silent, float)
            case Dead(cause=cause, evidence=evidence):
                assert_type(cause, str)
                assert_type(evidence, Evidence | None)
            case Left(detail=detail) | Refused(reason=detail):
                assert_type(detail, str)
            case Spared(reason=reason, seconds=seconds):
                assert_type((reason, seconds), tuple[str, float])
            case Synced(report=report):
                assert_type(report, Report)
            case Explained(cause=cause, was=was):
                assert_type((cause, was), tuple[str, str])
            case Dropped(count=count):
                assert_type(count, int)
            case Alive() | Stuck():
                pass


@implementer(IHeartbeatListener)
class Strict:
    """A listener on its own feet."""

    def joined(self, peer: Peer) -> None:
        """What a peer is asked for."""
        assert_type(peer.id, str)
        assert_type(peer.state, State)
        assert_type(peer.load, float)
        assert_type(peer.services, tuple[str, ...])
        print(peer.as_json()["id"])

    def changed(self, peer: Peer, event: Event) -> None:
        """Any event."""
        assert_type(event.at, float)

    def gone(self, peer: Peer, event: Event) -> None:
        """Dead or Left."""


@implementer(IStateSource)
class Source:
    """An account of one's own."""

    def report(self) -> Report:
        """As it is now."""
        return Report(load=0.25, uptime=3600, services=("auth", "billing"))


def keeps(store: object) -> bool:
    """Whether this is a store."""
    try:
        return bool(IPeerStore.providedBy(store))
    except StoreUnavailable:
        return False


def settings() -> HeartbeatConfig:
    """Every setting by name, checked when it is made."""
    config = HeartbeatConfig(
        id="gateway-7",
        interval=0.5,
        multiplier=3,
        min_interval=0.1,
        sync_interval=5,
        adaptive=True,
        detector="phi",
        handshake_timeout=10,
        services=("auth", "billing"),
        meta={"rack": "12"},
        keys=[SharedKey(bytes(32))],
        auth="key",
        bare="refuse",
        max_data=65_536,
        kernel=KernelOptions(keepalive=True, keepalive_idle=60),
    )
    assert_type(config.detect, float)
    HeartbeatConfig(keys={"gateway-7": SharedKey(bytes(32)), "*": [SharedKey(bytes(33))]}, auth="key+mtls")
    return config


def judge(attention: Attention, now: float) -> State:
    """A bare judge of silence, and one that asks."""
    liveness = Liveness(30.0, attention, now)
    liveness.heard(now)
    need = liveness.handle_timer(now)
    assert_type(need, Need)
    beats = Beats(1.5, attention, now, interval=0.5, draw=lambda: 0.5)
    beats.answered(1, now)
    assert_type(beats.next_timer(), float | None)
    return liveness.state


def serve(reactor: IReactorTime) -> Factory:
    """A factory for servers, with every argument."""
    return HeartbeatFactory(
        HeartbeatConfig(),
        listener=Board(),
        reactor=reactor,
        state=Source(),
        node="node-1",
        max_connections=10_000,
        max_per_address=100,
    )


async def connect(endpoint: IStreamClientEndpoint) -> None:
    """A client and its handle."""
    service = HeartbeatClientService(["eu.example.net:7600", endpoint], settings(), listener=Strict(), state=Source())
    IService(service)
    assert_type(service.when_alive(), Deferred[Heartbeat])
    assert_type(service.heartbeat, Heartbeat | None)
    heartbeat = await service.when_alive()
    try:
        assert_type(await heartbeat.ping(timeout=1.0), float)
    except (DeadlineExpired, PingLost, NotConnected, PeerUnresponsive) as error:
        assert_type(error, DeadlineExpired | PingLost | NotConnected | PeerUnresponsive)
    assert_type(heartbeat.state, State)
    assert_type(heartbeat.since, float)
    assert_type(heartbeat.cause, str | None)
    assert_type(heartbeat.peer, Peer)
    heartbeat.progress(10, 3)
    async for event in heartbeat.events():
        assert_type(event, Event)
    await heartbeat.leave("maintenance")
    heartbeat.abort()


def wrap(factory: IProtocolFactory, server: IStreamServerEndpoint, client: IStreamClientEndpoint) -> None:
    """Any protocol under a heartbeat."""
    made: Factory = heartbeat_factory(factory, settings(), listener=Board())
    print(made)
    heartbeat_server(server, settings()).listen(factory)
    heartbeat_client(client, settings()).connect(factory)


def why(transport: ITransport, reason: Failure) -> str | None:
    """What a protocol inside can ask, and what its connectionLost is told."""
    handle = IHeartbeat(transport, None)
    if handle is not None:
        print(handle.peer, handle.state)
    if isinstance(reason.value, UnresponsiveConnection):
        lost: ConnectionLost = reason.value
        print(lost)
        return reason.value.cause
    if isinstance(reason.value, PeerLeft):
        done: ConnectionDone = reason.value
        print(done)
        return reason.value.detail
    return None


def simulate() -> None:
    """The simulated network."""
    net = SimulatedNetwork(seed=7)
    server, client = net.host("server"), net.host("client")
    server.listen(7600, HeartbeatFactory(reactor=server.reactor))
    service = HeartbeatClientService(["tcp:server:7600"], HeartbeatConfig(id="a"), reactor=client.reactor)
    assert_type(net.result(service.when_alive()), Heartbeat)
    path = net.between(client, server)
    for fault in (SilentDrop(), Delay(0.1), Loss(0.1), OneWay(client.name)):
        path.add(fault)
    client.stall(3.0)
    net.run(5.0)
    net.assert_nothing_left()


def refused() -> str:
    """Every error of ours has one root, and a wrong setting is a ValueError too."""
    try:
        HeartbeatConfig(interval=-1)
    except ConfigError as error:
        root: HeartbeatError = error
        plain: ValueError = error
        return f"{error.name} {root} {plain}"
    return ""


async def wait(reader: ExactReader, answer: Deferred[bytes]) -> bytes:
    """A budget for two steps, and who ended them."""
    budget = Deadline(5.0)
    assert_type(budget.left(), float)
    assert_type(budget.part(0.5).within(1.0), Deadline)
    assert_type(budget.watch(answer), Deferred[bytes])
    try:
        head = await reader.read_exactly(4, budget.within(1.0))
        rest = await budget.watch(answer, "the rest", late=print)
        return head + rest
    except (AlreadyExpired, BudgetExpired) as error:
        assert_type(error.late, float)
        return error.made.encode()
    except IncompleteRead as error:
        assert_type((error.partial, error.wanted), tuple[int, int])
        return b""


class Quiet(Protocol, TimeoutMixin):
    """A protocol with an idle timeout."""

    def connectionMade(self) -> None:
        """Switch it on."""
        assert_type(self.setTimeout(30), float | None)

    def timeoutConnection(self) -> None:
        """Say why, and abort."""
        assert_type(self.timeout_cause, str | None)
        assert_type(self.timeout_evidence, Evidence | None)
        super().timeoutConnection()


def sockets(chat: object, transport: object, factory: IProtocolFactory, lost: Failure) -> None:
    """WebSockets, in the class and from outside."""
    twisted = WebSocketHeartbeat(chat, settings(), transport=transport, listener=Board()).start()
    assert_type(twisted, WebSocketHeartbeat)
    assert_type(twisted.heartbeat, Heartbeat)
    assert_type(twisted.stop(lost), Failure)
    made: Factory = WebSocketHeartbeat.factory(chat, settings())
    autobahn = AutobahnHeartbeat(chat, settings(), listener=Board()).start()
    assert_type(autobahn, AutobahnHeartbeat)
    print(made, AutobahnHeartbeat.factory(factory, settings()))


def observing(
    factory: IProtocolFactory, server: IStreamServerEndpoint, client: IStreamClientEndpoint, reactor: IReactorTime
) -> None:
    """Only watching."""
    watched: IProtocolFactory = observe_factory(factory, detect=30.0, idle=None, reactor=reactor)
    watching: IStreamServerEndpoint = observe_server(server, listener=Board(), kernel=KernelOptions(keepalive=True))
    connecting: IStreamClientEndpoint = observe_client(client, handshake_timeout=None)
    accepting: IProtocolFactory = heartbeat_factory(factory, mode="accept")
    listening: IStreamServerEndpoint = heartbeat_server(server, mode="frame")
    print(watched, watching, connecting, accepting, listening)


def shadowing(factory: IProtocolFactory) -> None:
    """Watching, and only counting."""
    other = Other()
    shadow = Shadow(factory, other, detect=30.0)
    other.killed()
    assert_type(shadow.report(), ShadowReport)
    assert_type(shadow.report().earlier_by, float)
