"""Observed connections: nothing on the wire, nothing between the protocol and its transport, and the dead are found."""

from __future__ import annotations

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone, ConnectionLost

from heartbeat.errors import PingLost
from heartbeat.liveness.states import State
from heartbeat.net import IHeartbeat, UnresponsiveConnection
from heartbeat.testing import OneWay, SilentDrop
from tests.net.observing import DETECT, ObservedCase
from tests.net.wrapped import Halves, Notes


class PassingOnTests(ObservedCase):
    """The application runs unchanged."""

    def test_bytes_both_ways_and_a_clean_end(self) -> None:
        """It talks as without us, its transport is Twisted's own, and a clean end has Twisted's own reason."""
        theirs, mine = self.pair()
        mine.transport.write(b"hello")
        theirs.transport.write(b"welcome")
        self.net.run(0.1)
        self.assertEqual((bytes(theirs.received), bytes(mine.received)), (b"hello", b"welcome"))
        self.assertIsInstance(theirs.transport, tcp.Connection)
        mine.transport.loseConnection()
        self.net.run(0.1)
        self.assertIs(theirs.lost.type, ConnectionDone)
        self.assertEqual(self.board.told, ["joined", "Alive", "Left", "gone"])

    def test_the_handle(self) -> None:
        """``IHeartbeat(transport)`` is the handle, during the connection and when it is lost; it cannot ping."""
        theirs, mine = self.pair()
        handle = IHeartbeat(theirs.transport)
        self.assertIs(handle, IHeartbeat(theirs.transport))
        self.assertIs(handle.state, State.ALIVE)
        self.assertTrue(handle.peer.bare)
        self.assertEqual(handle.peer.as_json()["layers"], {"host": "alive", "loop": "unknown", "work": "unknown"})
        self.assertEqual(handle.peer.interval, 0.0)
        self.failureResultOf(handle.ping(), PingLost)
        self.assertEqual(handle.peer.options["keepalive_idle"], "applied")
        gone = handle.when_gone()
        mine.transport.abortConnection()
        self.net.run(0.1)
        self.successResultOf(gone)
        self.assertIsInstance(theirs.lost.value, UnresponsiveConnection)
        self.assertIsInstance(theirs.lost.value, ConnectionLost)
        self.assertEqual(theirs.lost.value.cause, "peer_reset")
        self.assertIs(IHeartbeat(theirs.transport), handle)

    def test_half_close(self) -> None:
        """A protocol that knows of half-closed connections is told as ever; one that does not is closed."""
        theirs, mine = self.pair(Halves)
        mine.transport.loseWriteConnection()
        self.net.run(0.1)
        self.assertEqual(theirs.said, ["made", "read over"])
        theirs.transport.write(b"still here")
        self.net.run(0.1)
        self.assertEqual(bytes(mine.received), b"still here")
        theirs.transport.loseConnection()
        self.net.run(0.1)


class VerdictTests(ObservedCase):
    """Who is dead, and who is not."""

    def test_an_idle_path_that_works(self) -> None:
        """Nobody says a word for an hour: the kernels do, and the peer is never even suspected."""
        theirs, mine = self.pair()
        self.net.run(3600.0)
        self.assertEqual(self.board.told, ["joined", "Alive"])
        self.assertEqual((theirs.lost, mine.received, theirs.received), (None, b"", b""))

    def test_an_idle_path_that_died(self) -> None:
        """Found within the detection time, called by what was proved, aborted, and told."""
        theirs, _ = self.pair()
        self.net.run(7.0)
        self.drop()
        self.assertLessEqual(self.lost_after(theirs), DETECT + 0.1)
        self.assertIsInstance(theirs.lost.value, UnresponsiveConnection)
        self.assertEqual(theirs.lost.value.cause, "path_dead")
        self.assertEqual(theirs.lost.value.evidence.detail, "keepalive")
        self.assertEqual(self.board.told, ["joined", "Alive", "Suspect", "Dead", "gone"])

    def test_with_bytes_in_flight(self) -> None:
        """Keepalive is silent then; the acknowledgements that do not come are the evidence."""
        theirs, mine = self.pair()
        self.net.run(7.0)
        mine.transport.write(b"x")
        self.net.run(0.1)
        self.drop()
        theirs.transport.write(b"are you there?")
        self.assertLessEqual(self.lost_after(theirs), DETECT + 0.1)
        self.assertEqual((theirs.lost.value.cause, theirs.lost.value.evidence.detail), ("path_dead", "silent"))

    def test_one_way(self) -> None:
        """We hear it, and it does not hear us: what it repeats is no sign of life while something of ours waits."""
        theirs, mine = self.pair()
        self.net.run(3.0)
        self.net.between(self.client, self.server).add(OneWay(towards="client"))
        theirs.transport.write(b"are you there?")
        mine.transport.write(b"I speak")
        self.assertLessEqual(self.lost_after(theirs), DETECT + 0.2)
        self.assertEqual((theirs.lost.value.cause, theirs.lost.value.evidence.detail), ("path_dead", "one_way"))

    def test_an_outage_shorter_than_the_detection_time(self) -> None:
        """Suspected, and alive again with the next answer."""
        theirs, _ = self.pair()
        self.net.run(7.0)
        drop = SilentDrop()
        self.net.between(self.client, self.server).add(drop)
        self.net.run(4.0)
        self.assertIs(IHeartbeat(theirs.transport).state, State.SUSPECT)
        self.net.between(self.client, self.server).remove(drop)
        self.net.run(2.0)
        self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
        self.net.run(60.0)
        self.assertIsNone(theirs.lost)

    def test_our_own_stalls(self) -> None:
        """Our loop stands still for many detection times, again and again: nobody is dead, nobody suspect for long."""
        theirs, mine = self.pair(idle=20.0)
        for number in range(6):
            mine.transport.write(b"beat")
            self.server.stall(30.0 + number)
            self.net.run(45.0)
            self.assertIsNone(theirs.lost)
        self.assertEqual(bytes(theirs.received), 6 * b"beat")

    def test_a_stalled_peer(self) -> None:
        """A process that stands still, whose kernel answers, is alive to this: that is its nature."""
        theirs, _ = self.pair()
        self.client.stall(100.0)
        theirs.transport.write(b"anybody?")
        self.net.run(99.0)
        self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
        self.assertEqual(self.board.told, ["joined", "Alive"])
        self.net.run(2.0)

    def test_a_silent_application(self) -> None:
        """``idle`` ends it: nothing was heard of the application for so long, and why is not known."""
        theirs, mine = self.pair(idle=20.0)
        self.net.run(15.0)
        mine.transport.write(b"beat")
        self.net.run(19.9)
        self.assertIsNone(theirs.lost)
        self.assertLess(self.lost_after(theirs), 0.3)
        self.assertEqual((theirs.lost.value.cause, theirs.lost.value.evidence.detail), ("unattributed", "idle"))

    def test_idle_on_a_dead_path(self) -> None:
        """Where the kernel proves why nothing came, that is the cause."""
        theirs, _ = self.pair(idle=5.9)
        self.drop()
        self.lost_after(theirs)
        self.assertEqual(theirs.lost.value.cause, "path_dead")

    def test_a_paused_application(self) -> None:
        """Who does not read judges nobody; when it reads again, time goes on."""
        theirs, mine = self.pair(idle=20.0)
        theirs.transport.pauseProducing()
        mine.transport.write(b"beat")
        self.net.run(100.0)
        self.assertIsNone(theirs.lost)
        theirs.transport.resumeProducing()
        self.net.run(19.0)
        self.assertIsNone(theirs.lost)
        self.assertEqual(bytes(theirs.received), b"beat")
        self.assertLess(self.lost_after(theirs), 2.0)

    def test_a_step_of_the_clock(self) -> None:
        """An hour forward, two hours back: nothing happens, and the dead are still found in time."""
        theirs, _ = self.pair(idle=1000.0)
        self.net.run(5.0)
        self.server.step_clock(3600.0)
        self.net.run(5.0)
        self.server.step_clock(-7200.0)
        self.net.run(5.0)
        self.assertIsNone(theirs.lost)
        self.drop()
        self.assertLessEqual(self.lost_after(theirs), DETECT + 0.1)

    def test_a_peer_that_does_not_read(self) -> None:
        """Its window is closed and its kernel answers: alive, until the kernel gives up after three times as long."""
        theirs, mine = self.pair()
        mine.transport.pauseProducing()
        theirs.transport.write(bytes(2_000_000))
        self.net.run(2.5 * DETECT)
        self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
        self.lost_after(theirs)
        self.assertEqual(theirs.lost.value.cause, "peer_not_reading")

    def test_a_peer_that_was_rebooted(self) -> None:
        """The new system knows nothing of the connection, and answers a keepalive with a reset."""
        theirs, _ = self.pair()
        self.net.run(5.0)
        self.client.vanish()
        self.net.run(0.1)
        self.client.restart()
        self.assertLessEqual(self.lost_after(theirs), DETECT)
        self.assertEqual((theirs.lost.value.cause, theirs.lost.value.evidence.detail), ("middlebox_reset", "provoked"))


class ClientTests(ObservedCase):
    """The connecting end watches an unmodified server."""

    def test_the_factorys_own_protocol(self) -> None:
        """``connect`` gives what the factory built; a dead path is found."""
        from tests.net.wrapped import NotesFactory

        served = NotesFactory()
        self.server.listen(5432, served)
        factory = NotesFactory()
        mine = self.net.result(self.watching().connect(factory))
        self.hold(mine)
        self.assertIs(mine, factory.built[0])
        self.assertIsInstance(mine, Notes)
        self.assertIs(IHeartbeat(mine.transport).state, State.ALIVE)
        self.drop()
        self.assertLessEqual(self.lost_after(mine), DETECT + 0.1)
        self.assertEqual(mine.lost.value.cause, "path_dead")
        self.hold(*served.built)
        self.addCleanup(served.built[0].transport.abortConnection)
