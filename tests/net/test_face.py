"""The handle is the same in every way in: in a wrapped application, and of an adapter."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.protocol import Factory
from twisted.protocols.amp import AMP

from heartbeat.errors import DeadlineExpired, NotConnected
from heartbeat.interfaces import HeartbeatListener, IHeartbeat, IHeartbeatListener
from heartbeat.liveness.events import Alive, Dead, Event, Left, Stuck, Suspect, Synced
from heartbeat.liveness.states import State
from heartbeat.net.adapters.amp import AMPHeartbeat
from heartbeat.net.heartbeat import Heartbeat
from heartbeat.net.reasons import PeerLeft, UnresponsiveConnection
from heartbeat.testing import SilentDrop
from tests.net.adapters.framed import CONFIG as FRAMED
from tests.net.adapters.framed import AdapterCase
from tests.net.wrapped import CONFIG, WrappedCase


class Reader:
    """Reads the events of a handle."""

    def __init__(self, handle: Any) -> None:
        self.read: list[Event] = []
        self.done = Deferred.fromCoroutine(self._follow(handle))

    async def _follow(self, handle: Any) -> None:
        async for event in handle.events():
            self.read.append(event)

    @property
    def kinds(self) -> list[type[Event]]:
        """What they are, without the exchanges of state."""
        return [type(event) for event in self.read if not isinstance(event, Synced)]


class Face:
    """What holds in both. ``handle`` is the client's; ``cut`` makes the path swallow everything."""

    net: Any
    handle: Any
    client: Any
    server: Any

    def forget(self: Any) -> None:
        """Hold nothing of a connection when it is looked for what is left."""
        del self.handle, self.mine, self.theirs

    def cut(self: Any) -> None:
        """From now on nothing arrives."""
        self.net.between(self.client, self.server).add(SilentDrop())

    def test_it_is_the_handle(self: Any) -> None:
        """The interface gives it, and its attributes speak of the peer."""
        handle = IHeartbeat(self.handle)
        self.assertIsInstance(handle, Heartbeat)
        self.assertTrue(IHeartbeat.providedBy(handle))
        for name in ("state", "since", "cause", "evidence", "peer", "rtt"):
            self.assertEqual(getattr(self.handle, name), getattr(handle, name), name)
        self.assertIs(self.net.result(self.handle.when_alive()), handle)

    def test_a_round_trip_in_both_styles(self: Any) -> None:
        """``await`` and ``yield``."""

        async def awaits() -> float:
            seconds: float = await self.handle.ping()
            return seconds

        @inlineCallbacks
        def yields() -> Generator[Deferred[float], float, float]:
            seconds = yield self.handle.ping(timeout=2.0)
            return seconds

        for asked in (Deferred.fromCoroutine(awaits()), yields()):
            self.assertTrue(0.0 <= self.net.result(asked) < 0.1)

    def test_a_ping_that_is_given_up(self: Any) -> None:
        """By its timeout, and by whoever asked; nothing is closed by it."""
        self.cut()
        timed, cancelled = self.handle.ping(timeout=0.2), self.handle.ping()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.net.run(0.3)
        self.failureResultOf(timed, DeadlineExpired)
        self.assertIs(self.handle.state, State.ALIVE)

    def test_events_up_to_a_death(self: Any) -> None:
        """Suspect, then Dead; the iterator ends, and what waits fails with the cause."""
        self.net.result(self.handle.ping())  # how fast it answers is known
        reader = Reader(self.handle)
        self.cut()
        asked = self.handle.ping()
        self.net.run(2.5)
        self.assertEqual(reader.kinds, [Suspect, Dead])
        self.successResultOf(reader.done)
        self.assertEqual(self.failureResultOf(asked, UnresponsiveConnection).value.cause, self.handle.cause)
        self.failureResultOf(self.handle.ping(), NotConnected)
        self.successResultOf(self.handle.when_gone())

    def test_leave(self: Any) -> None:
        """It fires when the transport is gone, which is a farewell and no failure."""
        reader = Reader(self.handle)
        waiting = self.handle.when_gone()
        self.net.result(self.handle.leave("maintenance"))
        self.successResultOf(waiting)
        self.assertIs(self.handle.state, State.LEFT)
        self.assertEqual(reader.kinds, [Left])
        self.failureResultOf(self.handle.when_alive(), PeerLeft)

    def test_abort(self: Any) -> None:
        """At once."""
        waiting = self.handle.when_gone()
        self.handle.abort()
        self.net.run(0.1)
        self.successResultOf(waiting)
        self.assertIs(self.handle.state, State.LEFT)


class WrappedTests(Face, WrappedCase):
    """A wrapped application."""

    def setUp(self) -> None:
        """Two applications."""
        super().setUp()
        self.theirs, self.mine = self.pair()
        self.handle = IHeartbeat(self.mine.transport)
        self.addCleanup(self.forget)

    def test_progress(self) -> None:
        """Work that waits and does not move: the other end of a wrapped connection sees us STUCK, and again ALIVE."""
        theirs = Reader(IHeartbeat(self.theirs.transport))
        self.net.run(1.0)
        self.handle.progress(5, 3)
        self.net.run(3 * CONFIG.sync_interval)
        self.assertIs(IHeartbeat(self.theirs.transport).state, State.STUCK)
        self.handle.progress(8, 0)
        self.net.run(3 * CONFIG.sync_interval)
        self.assertEqual(theirs.kinds, [Stuck, Alive])


class AdapterTests(Face, AdapterCase):
    """An adapter: what the protocol finds as ``self.heartbeat`` has the face of the handle."""

    def setUp(self) -> None:
        """Two ends that speak AMP, one of which has never heard of us."""
        super().setUp()
        watched = AMPHeartbeat.factory(Factory.forProtocol(AMP), FRAMED, reactor=self.client.reactor)
        self.mine, self.theirs = self.pair(Factory.forProtocol(AMP), watched)
        self.handle = self.mine.heartbeat
        self.addCleanup(self.forget)

    def close(self, *protocols: Any) -> None:
        """AMP keeps the reason of its end, and with it frames."""
        super().close(*protocols)
        self.held.clear()

    def test_no_progress(self) -> None:
        """A framing that is not ours cannot carry it, and says so."""
        self.assertIn("this framing", str(self.assertRaises(NotConnected, self.handle.progress, 1, 1)))

    def test_before_it_begins(self) -> None:
        """There is no handle yet, and other names are other errors."""
        adapter = AMPHeartbeat(AMP(), FRAMED, reactor=self.client.reactor)
        for name in ("state", "ping", "heartbeat"):
            self.assertRaises(NotConnected, getattr, adapter, name)
        self.assertRaises(AttributeError, getattr, adapter, "nonsense")


class ListenerTests(AdapterCase):
    """The base that does nothing."""

    def test_it_does_nothing(self) -> None:
        """It is a listener, and serves as one."""
        listener = HeartbeatListener()
        self.assertTrue(IHeartbeatListener.providedBy(listener))
        settings = {"listener": listener, "reactor": self.client.reactor}
        watched = AMPHeartbeat.factory(Factory.forProtocol(AMP), FRAMED, **settings)
        mine, _ = self.pair(Factory.forProtocol(AMP), watched)
        self.net.run(3.0)
        self.assertIs(mine.heartbeat.state, State.ALIVE)
        self.held.clear()
