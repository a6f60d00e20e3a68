"""The handle of a connection: what an application may ask of it, and that nobody waits for ever."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, race
from twisted.internet.error import ConnectionDone, ConnectionLost

from heartbeat import State
from heartbeat.errors import NotConnected
from heartbeat.liveness.evidence import TcpInfo
from heartbeat.liveness.report import Report
from heartbeat.net import PeerLeft, RefusedConnection
from heartbeat.wire.frames import STUCK, Bye, Sync
from tests.net.cases import DETECT, STEP, HandleCase, SimulatedCase
from tests.net.hand import bye, hello, ping

#: The wheel's resolution, and a step of the loop.
LATE = 0.05


class AliveTests(HandleCase):
    """``when_alive()`` and ``when_gone()``."""

    def test_early(self) -> None:
        """Asked before the gate, it fires when it opens, with the handle."""
        transport = self.connect()
        heartbeat = transport.protocol.heartbeat
        waiting = [heartbeat.when_alive() for _ in range(3)]
        self.assertNoResult(waiting[0])
        transport.say(hello("a"))
        self.assertEqual([self.successResultOf(one) for one in waiting], [heartbeat] * 3)

    def test_late(self) -> None:
        """Asked behind the gate, it has fired."""
        _, heartbeat = self.open()
        self.assertIs(self.successResultOf(heartbeat.when_alive()), heartbeat)

    def test_refused(self) -> None:
        """If the gate never opens, it fails with the reason, early and late."""
        transport = self.connect()
        heartbeat = transport.protocol.heartbeat
        early = heartbeat.when_alive()
        transport.say(bye(10, "go away"))
        self.advance(LATE)
        for waiting in (early, heartbeat.when_alive()):
            failure = self.failureResultOf(waiting, RefusedConnection)
            self.assertEqual((failure.value.cause, failure.value.reason), ("server_full", "go away"))

    def test_after_the_end(self) -> None:
        """A peer that has gone is not alive."""
        transport, heartbeat = self.open()
        transport.say(bye())
        self.failureResultOf(heartbeat.when_alive(), PeerLeft)
        transport.lose()
        self.failureResultOf(heartbeat.when_alive(), PeerLeft)

    def test_gone(self) -> None:
        """``when_gone`` is about the transport: it fires when that is gone, however, and stays fired."""
        transport, heartbeat = self.open()
        early = heartbeat.when_gone()
        transport.say(bye())
        self.assertNoResult(early)
        self.advance(LATE)
        self.successResultOf(early)
        self.successResultOf(heartbeat.when_gone())

    def test_cancelled(self) -> None:
        """Who cancels is not told; the others are."""
        transport = self.connect()
        heartbeat = transport.protocol.heartbeat
        for ask in (heartbeat.when_alive, heartbeat.when_gone):
            waiting: Deferred[Any] = ask()
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
        alive, gone = heartbeat.when_alive(), heartbeat.when_gone()
        transport.say(hello("a"))
        transport.lose()
        self.successResultOf(alive)
        self.successResultOf(gone)

    def test_racing(self) -> None:
        """Waiters that are raced against each other, and so cancelled from within, harm nobody."""
        transport = self.connect()
        heartbeat = transport.protocol.heartbeat
        alive = race([heartbeat.when_alive(), heartbeat.when_alive()])
        gone = race([heartbeat.when_gone(), heartbeat.when_gone(), heartbeat.when_gone()])
        transport.say(hello("a"))
        self.assertEqual(self.successResultOf(alive)[0], 0)
        transport.lose()
        self.assertEqual(self.successResultOf(gone)[0], 0)


class EndTests(HandleCase):
    """``leave()`` and ``abort()``."""

    def test_leave(self) -> None:
        """BYE 0 with the reason; it fires when the peer has closed; both ends call it left."""
        transport, heartbeat = self.open()
        gone = heartbeat.leave("for lunch")
        self.assertEqual(transport.said(), [Bye(0, "for lunch")])
        self.assertNoResult(gone)
        transport.lose()
        self.successResultOf(gone)
        self.assertEqual((heartbeat.state, heartbeat.cause), (State.LEFT, None))

    def test_leave_is_bounded(self) -> None:
        """A peer that does not close, or a path that is dead: a second."""
        for takes in (True, False):
            transport, heartbeat = self.open()
            transport.takes = takes
            gone = heartbeat.leave()
            self.advance(1.0 - LATE)
            self.assertNoResult(gone)
            self.advance(2 * LATE)
            self.successResultOf(gone)
            self.assertEqual(transport.done, ["abort"])

    def test_leave_twice(self) -> None:
        """A second one says nothing more and fires with the first; so does one after the end."""
        transport, heartbeat = self.open()
        one, two = heartbeat.leave("one"), heartbeat.leave("two")
        self.assertEqual(transport.said(), [Bye(0, "one")])
        transport.lose()
        self.successResultOf(one)
        self.successResultOf(two)
        self.successResultOf(heartbeat.leave())

    def test_reasons(self) -> None:
        """Whatever the reason is made of, the BYE can be written."""
        for reason in ("x" * 1000, "two\nlines\0", "\ud800", "é" * 200):
            transport, heartbeat = self.open()
            heartbeat.leave(reason)
            self.assertEqual([type(frame) for frame in transport.said()], [Bye])
            transport.lose()

    def test_leave_before_the_gate(self) -> None:
        """An acceptor may say BYE before anything else, and nothing after it."""
        transport = self.connect()
        transport.protocol.heartbeat.leave()
        self.assertEqual(transport.said(), [Bye(0, "")])
        transport.say(hello("a"))
        self.assertEqual((transport.said(), self.notes.peers), ([], []))

    def test_abort(self) -> None:
        """At once, without a word, and as often as one likes; who leaves behind it says nothing either."""
        transport, heartbeat = self.open()
        gone = heartbeat.when_gone()
        heartbeat.abort()
        heartbeat.abort()
        heartbeat.leave()
        self.advance(STEP)
        self.successResultOf(gone)
        self.assertEqual((transport.done, transport.said()), (["abort"], []))
        self.assertEqual((heartbeat.state, self.notes.departures()), (State.LEFT, [("a", "aborted")]))

    def test_reasons_are_twisteds(self) -> None:
        """The reason of the end is one of Twisted's as well: code that knows nothing of us understands it."""
        transport, heartbeat = self.open()
        lost = heartbeat.ping()
        transport.lose()
        self.failureResultOf(lost, ConnectionLost)
        transport, heartbeat = self.open()
        left = heartbeat.ping()
        transport.say(bye())
        transport.lose()
        self.failureResultOf(left, ConnectionDone)


class ReadingTests(HandleCase):
    """The attributes."""

    def test_attributes(self) -> None:
        """State, since, cause, evidence, peer and round trips, as they are now."""
        transport = self.connect()
        transport.tcp = TcpInfo(1, 0, 0, 0, rtt=0.01)
        heartbeat = transport.protocol.heartbeat
        self.assertIs(heartbeat.state, State.CONNECTING)
        self.advance(1.0)
        transport.say(hello("a", want_ping_ms=500))
        self.assertEqual((heartbeat.state, heartbeat.cause, heartbeat.evidence), (State.ALIVE, None, None))
        self.assertApproximates(heartbeat.since, 1.0, STEP)
        self.assertEqual((heartbeat.peer.id, heartbeat.rtt.last), ("a", None))
        transport.say(ping())
        self.advance(2.0 + DETECT)
        self.assertEqual((heartbeat.state, heartbeat.cause), (State.DEAD, "unattributed"))
        self.assertEqual(heartbeat.evidence.detail, "silent")

    def test_progress_of_a_source(self) -> None:
        """Where a source of the application tells the progress the handle has nothing to tell."""

        class Source:
            def report(self) -> Report:
                return Report()

        factory = type(self.factory)(self.factory.config, reactor=self.clock, state=Source())
        transport = self.connect(ping(), factory=factory)
        self.assertRaises(NotConnected, transport.protocol.heartbeat.progress, 1, 1)
        transport.lose()

    def test_progress(self) -> None:
        """Work that waits and does not move for a sync interval is STUCK in the next SYNC; once it moves it is not."""
        transport, heartbeat = self.open()
        flags = []
        for done, queued in ((7, 3), (7, 3), (8, 3), (8, 3), (8, 0)):
            heartbeat.progress(done, queued)
            transport.say(ping())
            flags += [bool(frame.flags & STUCK) for frame in transport.said() if isinstance(frame, Sync)]
            self.advance(5.1)
        self.assertEqual(flags, [False, True, False, True, False])


class StuckTests(SimulatedCase):
    """Progress, as the other end sees it."""

    def test_the_peer_sees_it(self) -> None:
        """A client whose work stands still is STUCK at the server, and alive again when it moves."""
        self.listen()
        heartbeat = self.connect(sync_interval=1.0).heartbeat
        assert heartbeat is not None
        self.net.run(2.0)
        (peer,) = self.notes.peers
        for done in range(5):
            heartbeat.progress(done, 10)
            self.net.run(1.0)
            self.assertIs(peer.state, State.ALIVE)
        for _ in range(10):
            heartbeat.progress(5, 10)
            self.net.run(1.0)
        self.assertIs(peer.state, State.STUCK)
        heartbeat.progress(6, 10)
        self.net.run(6.0 / 4)
        heartbeat.progress(7, 0)
        self.net.run(6.0)
        self.assertIs(peer.state, State.ALIVE)
        kinds = [kind for kind, _ in self.notes.lines if kind in {"Stuck", "Dead", "Suspect"}]
        self.assertEqual(kinds, ["Stuck"])
