"""Nothing stays behind a connection, however it ended: in this process, on the real reactor."""

from __future__ import annotations

import contextlib
import gc
import itertools
import struct
import time
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet import defer, threads
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IAddress
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from heartbeat.config import HeartbeatConfig
from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.events import Event
from heartbeat.liveness.peer import Peer
from heartbeat.net import HeartbeatClientService, HeartbeatFactory, HeartbeatProtocol
from tests.real.rawpeer import BYE, HELLO, PING, Ended, RawAcceptor, RawPeer, connect, framed, hello, short, state, sync

_CONNECTIONS: Final = 1000
_HANDSHAKE: Final = 0.3
_DESCRIPTORS: Final = Path("/proc/self/fd")
_LEAVING: Final = BYE + struct.pack("!HH", 0, 3) + b"bye"
#: Slow beats, so that only the way in which a connection ends ends it.
_TERMS: Final = {"want_ping_ms": 5000, "min_rx_ms": 5000, "caps": ["state", "stalled"]}

#: What an acceptor remembers of a session whose connection is gone, for a peer that comes back with its token.
_REMEMBERED: Final = {"heartbeat.net.keeper.Kept", "heartbeat.session.past.Past"}
#: Values that connections share: few and bounded, and made whenever somebody first asks for such terms.
_SHARED: Final = {"heartbeat.liveness.terms.Terms", "heartbeat.liveness.report.Report"}

_names = itertools.count(1)


def _greeted(peer: RawPeer, *more: bytes) -> None:
    """HELLO, its answer, and one conversation about everything."""
    name = f"leak-{next(_names)}"
    peer.greet(id=name, **_TERMS)
    peer.send(sync(1, [name]) + state(services=[name], meta={"zone": "a"}) + short(PING, 1, 1) + b"".join(more))
    assert [peer.frame().magic for _ in range(2)] == [b"HSAK", b"HACK"]


def _bye(peer: RawPeer) -> None:
    _greeted(peer, _LEAVING)
    peer.until_end()


def _bye_of_the_server(peer: RawPeer) -> None:
    _greeted(peer, b"HEAX" + bytes(4))
    assert peer.farewell().code == 2


def _fin(peer: RawPeer) -> None:
    _greeted(peer)


def _rst(peer: RawPeer) -> None:
    _greeted(peer)
    peer.reset()


def _half_a_frame(peer: RawPeer) -> None:
    _greeted(peer, framed(BYE, b"")[:7])


def _half_a_hello(peer: RawPeer) -> None:
    peer.send(framed(HELLO, b'{"v":1,', 100))


def _half_a_hello_and_rst(peer: RawPeer) -> None:
    peer.send(hello()[:-1])
    peer.reset()


def _nothing(peer: RawPeer) -> None:
    """FIN, and not a byte before it."""


def _bare(peer: RawPeer) -> None:
    peer.ping()


def _refused(peer: RawPeer) -> None:
    peer.send(hello(mult=0))
    assert peer.farewell().code == 4


#: Every way in which a connection ends at once; silence until the handshake timeout is started apart.
_WAYS: Final[list[Callable[[RawPeer], None]]] = [
    _bye,
    _bye_of_the_server,
    _fin,
    _rst,
    _half_a_frame,
    _half_a_hello,
    _half_a_hello_and_rst,
    _nothing,
    _bare,
    _refused,
]


def _visit(port: int, connections: int) -> None:
    """So many connections, ended in every way one after the other, a tenth of them by silence; blocks."""
    silent = [connect(port) for _ in range(connections // 10)]
    for peer in silent[::2]:
        peer.send(hello()[:9])
    for way in itertools.islice(itertools.cycle(_WAYS), connections - len(silent)):
        peer = connect(port)
        way(peer)
        peer.close()
    for peer in silent:
        try:
            while peer.frame(10.0).magic == BYE:
                peer.close()
                break
        except Ended:
            peer.close()


def _answered(peer: RawPeer) -> None:
    agreed = {"ping_ms": 5000, "detect_ms": 15_000}
    peer.send(hello(id="met", session="s", resumed=False, agreed=agreed))


def _answered_and_left(peer: RawPeer) -> None:
    _answered(peer)
    peer.send(_LEAVING)


def _answered_and_broken(peer: RawPeer) -> None:
    _answered(peer)
    peer.send(b"HEAX" + bytes(4))


def _answered_and_reset(peer: RawPeer) -> None:
    _answered(peer)
    peer.reset()


def _refused_by_bye(peer: RawPeer) -> None:
    peer.send(BYE + struct.pack("!HH", 10, 0))


#: What a raw acceptor does to a client that said HELLO; _nothing is no answer at all.
_MEETINGS: Final[list[Callable[[RawPeer], None]]] = [
    _answered,
    _answered_and_left,
    _answered_and_broken,
    _answered_and_reset,
    _refused_by_bye,
    RawPeer.close,
    RawPeer.reset,
    _nothing,
]


def _met(acceptor: RawAcceptor, meet: Callable[[RawPeer], None]) -> RawPeer:
    """The next client, met after its HELLO; blocks."""
    peer = acceptor.accept()
    assert peer.frame().magic == HELLO
    meet(peer)
    return peer


def _ended(peer: RawPeer) -> None:
    """Read until the client says BYE or ends the connection; blocks."""
    with contextlib.suppress(Ended, OSError):
        while peer.frame(5.0).magic != BYE:
            pass
    peer.close()


class Watched(HeartbeatFactory):
    """A factory that remembers, weakly, whom it built."""

    built: list[weakref.ref[Any]]

    def buildProtocol(self, addr: IAddress | None) -> HeartbeatProtocol:
        protocol = super().buildProtocol(addr)
        self.built.append(weakref.ref(protocol))
        return protocol


class Joined(HeartbeatListener):
    """Counts who came and went, and remembers them weakly."""

    def __init__(self) -> None:
        self.peers: list[weakref.ref[Peer]] = []
        self.gone_ones = 0

    def joined(self, peer: Peer) -> None:
        self.peers.append(weakref.ref(peer))

    def gone(self, peer: Peer, event: Event) -> None:
        self.gone_ones += 1


def _ours() -> Counter[str]:
    """How many objects of each class of the package are alive, but for shared values."""
    gc.collect()
    rooms = ((getattr(type(one), "__module__", None), type(one)) for one in gc.get_objects())
    names = (f"{room}.{kind.__qualname__}" for room, kind in rooms if isinstance(room, str))
    return Counter(name for name in names if name.startswith("heartbeat.") and name not in _SHARED)


def _living(references: list[weakref.ref[Any]]) -> list[Any]:
    gc.collect()
    return [one for one in (reference() for reference in references) if one is not None]


class LeakTests(TestCase):
    """What the reactor, the kernel and the collector still hold afterwards."""

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        if not _DESCRIPTORS.is_dir():
            raise SkipTest(f"there is no {_DESCRIPTORS} to count descriptors with")
        assert isinstance(reactor, ReactorBase)
        self.reactor: Any = reactor

    def held(self) -> dict[str, Any]:
        """What is held now: calls, readers, writers, descriptors."""
        return {
            "calls": self.calls(),
            "readers": len(self.reactor.getReaders()),
            "writers": len(self.reactor.getWriters()),
            "descriptors": len(list(_DESCRIPTORS.iterdir())),
        }

    def calls(self) -> list[str]:
        """What the reactor is still to call, but for the timeout of the test itself."""
        names = (getattr(call.func, "__qualname__", repr(call.func)) for call in self.reactor.getDelayedCalls())
        return sorted(name for name in names if "onTimeout" not in name)

    async def settled(self, ask: Callable[[], bool], what: str) -> None:
        """Let the reactor run until the answer is true, for 5 s at most."""
        deadline = time.monotonic() + 5.0
        while not ask():
            self.assertLess(time.monotonic(), deadline, what)
            await deferLater(self.reactor, 0.01)

    async def back_to(self, before: dict[str, Any]) -> None:
        """Nothing more is held than before, at once or when the kernel and the threads have caught up."""
        deadline = time.monotonic() + 0.5
        while self.held() != before and time.monotonic() < deadline:
            await deferLater(self.reactor, 0.01)
        self.assertEqual(self.held(), before)

    def test_acceptor(self) -> defer.Deferred[None]:
        """1,000 connections closed every way leave no DelayedCall, reader, writer, descriptor, session or protocol."""

        async def run() -> None:
            factory, ours = await self.acceptor()
            await self.settled(lambda: not _living([factory]), "the factory goes with its port")
            self.assertEqual(_ours() - ours, Counter(), "what was remembered of sessions goes with the factory")

        return defer.Deferred.fromCoroutine(run())

    async def acceptor(self) -> tuple[weakref.ref[HeartbeatFactory], Counter[str]]:
        """Let 1,000 connections come and go, and look for what is left of them.

        Returned are the factory, weakly, and what was alive before.
        """
        listener = Joined()
        calls = self.calls()
        factory = Watched(HeartbeatConfig(handshake_timeout=_HANDSHAKE), listener)
        factory.built = []
        opened = [self.reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=200)]
        self.addCleanup(lambda: opened and opened.pop().stopListening())
        number = opened[0].getHost().port
        await threads.deferToThread(_visit, number, 20)  # what is made once is made now
        await self.settled(lambda: factory.connections == 0, "the first connections are gone")
        before, ours = {**self.held(), "calls": calls}, _ours()

        await threads.deferToThread(_visit, number, _CONNECTIONS)
        await self.settled(lambda: factory.connections == 0, "all connections are gone")
        await self.back_to(before)
        self.assertGreaterEqual(len(factory.built), _CONNECTIONS)
        self.assertGreaterEqual(len(listener.peers), _CONNECTIONS // 2)
        self.assertEqual(listener.gone_ones, len(listener.peers))
        left = {name: count for name, count in (_ours() - ours).items() if name not in _REMEMBERED}
        self.assertEqual(left, {})
        self.assertEqual(_living(factory.built), [])
        self.assertEqual(_living(listener.peers), [])

        await defer.maybeDeferred(opened.pop().stopListening)
        return weakref.ref(factory), ours

    def test_connector(self) -> defer.Deferred[None]:
        """A client that is stopped, whatever its server did to the connection before, leaves nothing either."""
        return defer.Deferred.fromCoroutine(self.connector())

    async def connector(self) -> None:
        calls = self.calls()
        await self.clients(len(_MEETINGS))  # what is made once is made now
        before, ours = {**self.held(), "calls": calls}, _ours()
        await self.clients(10 * len(_MEETINGS))
        await self.back_to(before)
        self.assertEqual(_ours() - ours, Counter())

    async def clients(self, connections: int) -> None:
        """So many clients of one raw acceptor, one after the other, each met in another way and then stopped."""
        acceptor = RawAcceptor()
        self.addCleanup(acceptor.close)
        services = []
        for meet in itertools.islice(itertools.cycle(_MEETINGS), connections):
            met = threads.deferToThread(_met, acceptor, meet)
            service = HeartbeatClientService([f"127.0.0.1:{acceptor.port}"], HeartbeatConfig(id="leaver"))
            service.startService()
            alive = service.when_alive()
            alive.addErrback(lambda failure: None)  # stopped before it was alive
            peer = await met
            services.append(defer.maybeDeferred(service.stopService))
            await threads.deferToThread(_ended, peer)
        await defer.gatherResults(services)
        acceptor.close()
