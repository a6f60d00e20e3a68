"""What flows through a wrapped connection: credit, pauses, half-closes, and how much is held meanwhile."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from heartbeat.interfaces import IHeartbeat
from heartbeat.liveness.states import State
from heartbeat.net.wrapper import WrappedProtocol
from heartbeat.session.stream import CHUNK
from heartbeat.testing import Delay, Stall
from heartbeat.wire.frames import Data, Ping
from tests.net.wrapped import CONFIG, Halves, Notes, NotesFactory, WrappedCase, frames

MEGABYTE = bytes(range(256)) * 4096


def beneath(application: Any) -> WrappedProtocol:
    """Our protocol under an application."""
    ours: WrappedProtocol = application.transport._application.wrapping
    return ours


@implementer(IPushProducer)
class Bystander:
    """A producer that does nothing when it is told to."""

    def resumeProducing(self) -> None:
        """Not now."""

    def pauseProducing(self) -> None:
        """As it is."""

    def stopProducing(self) -> None:
        """As it is."""


class PauseTests(WrappedCase):
    """An application that does not read costs credit, never the heartbeat."""

    def test_beats_flow_while_the_application_is_paused(self) -> None:
        """Five megabytes wait for half a minute: both ends alive, no more held than the credit, all of it intact."""
        theirs, mine = self.pair()
        theirs.transport.pauseProducing()
        for _ in range(5):
            mine.transport.write(MEGABYTE)
        for _ in range(30):
            self.net.run(1.0)
            stream = beneath(theirs).driver.session.stream
            held = sum(map(len, stream.inbox)) + beneath(theirs).driver.session.pending
            self.assertLessEqual(held, CONFIG.max_data)
            self.assertEqual(theirs.received, b"")
            self.assertIs(IHeartbeat(mine.transport).state, State.ALIVE)
            self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
            self.assertLess(IHeartbeat(mine.transport).rtt.last, 0.05)
        theirs.transport.resumeProducing()
        self.net.run(30.0)
        self.assertEqual(len(theirs.received), 5 * len(MEGABYTE))
        self.assertEqual(hashlib.sha256(theirs.received).digest(), hashlib.sha256(5 * MEGABYTE).digest())
        self.assertIsNone(mine.lost)

    def test_all_that_waited_is_delivered_in_bursts(self) -> None:
        """A resume brings a megabyte that waited without another event, and not all of it in one turn of the loop."""
        self.config = replace(CONFIG, max_data=2 * len(MEGABYTE))
        theirs, mine = self.pair()
        theirs.transport.pauseProducing()
        mine.transport.write(MEGABYTE)
        self.net.run(5.0)
        turns: list[int] = []
        self.server.reactor.callLater(0, self.count, theirs, turns)
        theirs.transport.resumeProducing()
        self.net.run(0.05)
        self.assertEqual(bytes(theirs.received), MEGABYTE)
        self.assertLessEqual(max(after - before for before, after in pairwise(turns)), 80 * 1024)

    def count(self, application: Any, turns: list[int]) -> None:
        """Look in each turn how far an application has come."""
        turns.append(len(application.received))
        if turns[-1] < len(MEGABYTE):
            self.server.reactor.callLater(0, self.count, application, turns)

    def test_a_pause_from_within_holds_at_once(self) -> None:
        """What came in the same read as the chunk in which the application paused waits for its resume, in order."""
        served = NotesFactory()
        self.listen(served)
        raw = self.raw()
        theirs = served.built[0]
        theirs.on_data = lambda data: theirs.transport.pauseProducing()
        one, two = MEGABYTE[:10_000], MEGABYTE[10_000:20_000]
        raw.transport.write(Data(one).encode() + Ping(1, 1).encode() + Data(two).encode())
        self.net.run(1.0)
        self.assertEqual(bytes(theirs.received), one)
        theirs.transport.resumeProducing()
        self.assertEqual(bytes(theirs.received), one)  # never from within: the caller may be in the middle of it
        self.net.run(1.0)
        self.assertEqual(bytes(theirs.received), one + two)

    def test_what_comes_together_is_delivered_together(self) -> None:
        """Frames that stand side by side in one read are one ``dataReceived``, as bytes without frames would be."""
        served = NotesFactory()
        self.listen(served)
        raw = self.raw()
        raw.transport.write(b"".join(Data(b"line %d" % number).encode() for number in range(10)))
        self.net.run(0.1)
        self.assertEqual((bytes(served.built[0].received)[:12], served.built[0].chunks), (b"line 0line 1", 1))

    def test_credit_comes_back_in_steps(self) -> None:
        """WINDOW of half the credit, as often as that much was taken; what was not taken is not given back."""
        served = NotesFactory()
        self.listen(served)
        raw = self.raw()
        raw.transport.write(Data(bytes(16_384)).encode())
        self.net.run(0.1)
        self.assertNotIn(b"HWIN", [magic for magic, _ in frames(raw.received)])
        raw.transport.write(Data(bytes(16_384)).encode())
        self.net.run(0.1)
        self.assertEqual([body for magic, body in frames(raw.received) if magic == b"HWIN"], [b"\0\0\x80\0"])
        raw.transport.write(b"".join(Data(bytes(16_384)).encode() for _ in range(4)))
        self.net.run(0.1)
        self.assertEqual([body for magic, body in frames(raw.received) if magic == b"HWIN"], [b"\0\0\x80\0"] * 3)
        self.assertEqual(len(served.built[0].received), 6 * 16_384)

    def test_data_is_sent_within_the_credit_and_in_chunks(self) -> None:
        """No more than the peer gave, in frames of at most 16 KiB, small writes together."""
        served = NotesFactory()
        self.listen(served)
        raw = self.raw()
        served.built[0].transport.write(bytes(200_000))
        self.net.run(0.3)
        lengths = [len(body) - 4 for magic, body in frames(raw.received) if magic == b"HDAT"]
        self.assertEqual((sum(lengths), max(lengths)), (65_536, CHUNK))

    def test_writes_of_one_turn_share_a_frame(self) -> None:
        """A hundred small answers to one read are one frame and not a hundred."""
        served = NotesFactory()
        self.listen(served)
        raw = self.raw()
        served.built[0].on_data = lambda data: [served.built[0].transport.write(b"answer") for _ in range(100)]
        raw.transport.write(Data(b"?").encode())
        self.net.run(0.1)
        self.assertEqual([len(body) - 4 for magic, body in frames(raw.received) if magic == b"HDAT"], [600])

    def test_small_writes_at_any_moment(self) -> None:
        """Whether the link is busy, idle or out of credit when they are made: all arrive, in order."""
        theirs, mine = self.pair()
        self.net.between("server", "client").add(Delay(0.01))
        written = bytearray()
        for number in range(3000):
            line = b"%d " % number
            written += line
            theirs.transport.write(line)
            if number % 50 == 0:
                theirs.transport.write(MEGABYTE[: number * 40])
                written += MEGABYTE[: number * 40]
            if number % 7 == 0:
                self.net.run(0.003)
        self.net.run_until(lambda: len(mine.received) == len(written))
        self.assertEqual(bytes(mine.received), bytes(written))

    def test_small_writes_of_a_producer_that_takes_its_time(self) -> None:
        """One that writes nothing when it is asked, and a line later on: the line is sent."""
        theirs, mine = self.pair()
        theirs.transport.registerProducer(Bystander(), True)
        theirs.transport.write(MEGABYTE)
        self.net.run(10.0)
        mine.received.clear()
        theirs.transport.write(b"later")
        self.net.run(1.0)
        self.assertEqual(bytes(mine.received), b"later")

    def test_small_writes_behind_the_end(self) -> None:
        """After a half-close nothing is added, however busy the link is, and after the end nothing is held."""
        theirs, mine = self.pair(Halves, Halves)
        self.net.between("server", "client").add(Delay(0.01))
        theirs.transport.write(MEGABYTE[:200_000])
        theirs.transport.loseWriteConnection()
        self.net.run_until(lambda: "write over" in theirs.said)
        theirs.transport.write(b"too late")
        self.net.run(5.0)
        self.assertEqual(bytes(mine.received), MEGABYTE[:200_000])
        theirs.transport.write(MEGABYTE[:200_000])
        stream = beneath(theirs).driver.session.stream
        theirs.transport.abortConnection()
        self.net.run(5.0)
        theirs.transport.write(b"too late")
        self.assertEqual(stream.queued, 0)

    def test_both_directions_at_once_on_a_slow_path(self) -> None:
        """Two megabytes each way over 40 ms: all arrives, everybody stays alive, beats do not queue."""
        theirs, mine = self.pair()
        self.net.between("server", "client").add(Delay(0.04))
        theirs.transport.write(2 * MEGABYTE)
        mine.transport.write(2 * MEGABYTE)
        self.net.run_until(lambda: len(mine.received) == len(theirs.received) == 2 * len(MEGABYTE))
        self.assertEqual((bytes(mine.received), bytes(theirs.received)), (2 * MEGABYTE, 2 * MEGABYTE))
        self.assertEqual((mine.lost, theirs.lost), (None, None))
        self.assertLess(IHeartbeat(mine.transport).rtt.smoothed, 0.3)

    def test_our_own_stall_in_the_middle_of_bulk_kills_nobody(self) -> None:
        """Three seconds in which the receiver's loop does not run: the peers are patient or not, but never wrong."""
        theirs, mine = self.pair()
        mine.transport.write(2 * MEGABYTE)
        self.net.run(0.02)
        self.server.add(Stall(1.2))
        self.net.run(20.0)
        self.assertEqual((mine.lost, theirs.lost), (None, None))
        self.assertEqual(len(theirs.received), 2 * len(MEGABYTE))

    def test_a_peer_that_is_stopped_in_the_middle_of_bulk_is_found(self) -> None:
        """Its kernel takes nothing any more, not even the confirm question: it is found in the agreed time."""
        self.config = replace(CONFIG, max_data=16 * len(MEGABYTE))
        _, mine = self.pair()
        self.net.run(1.0)
        mine.transport.write(8 * MEGABYTE)
        self.server.stall(60.0)
        took = self.net.run_until(lambda: mine.lost is not None)
        self.assertLess(took, CONFIG.detect + 0.2)
        evidence = mine.lost.value.evidence
        self.assertEqual((evidence.detail, evidence.handed_over), ("window", "guess"))
        self.assertGreater(evidence.waiting, 0)
        self.net.run(60.0)


class HalfCloseTests(WrappedCase):
    """Each direction ends by itself."""

    def test_a_half_close_each(self) -> None:
        """Told on both ends, behind all bytes; beats go on; when both directions have ended the connection ends."""
        theirs, mine = self.pair(Halves, Halves)
        mine.transport.write(MEGABYTE[:200_000])
        mine.transport.loseWriteConnection()
        self.net.run(5.0)
        self.assertEqual((mine.said, theirs.said), (["made", "write over"], ["made", "read over"]))
        self.assertEqual(bytes(theirs.received), MEGABYTE[:200_000])
        mine.transport.write(b"too late")
        theirs.transport.write(b"answer")
        self.net.run(20.0)
        self.assertEqual((bytes(mine.received), len(theirs.received)), (b"answer", 200_000))
        self.assertIs(IHeartbeat(mine.transport).state, State.ALIVE)
        theirs.transport.loseWriteConnection()
        self.net.run(2.0)
        self.assertEqual(mine.said, ["made", "write over", "read over", "lost"])
        self.assertEqual(theirs.said, ["made", "read over", "write over", "lost"])
        for one in (mine, theirs):
            self.assertEqual(one.lost.value.detail, "leaving")

    def test_an_application_that_knows_no_half_close(self) -> None:
        """To it the end of the other direction is the end, as on Twisted's own transports; what it wrote arrives."""
        theirs, mine = self.pair(Notes, Halves)
        theirs.on_data = lambda data: theirs.transport.write(b"answer " * 40_000)
        mine.transport.write(b"question")
        mine.transport.loseWriteConnection()
        self.net.run(5.0)
        self.assertEqual(theirs.said, ["made", "lost"])
        self.assertEqual(len(mine.received), 7 * 40_000)
        self.assertEqual(mine.said, ["made", "write over", "lost"])

    def test_the_end_waits_for_a_paused_application(self) -> None:
        """``readConnectionLost`` comes behind the last byte, and not while the application is paused."""
        theirs, mine = self.pair(Halves, Halves)
        theirs.transport.pauseProducing()
        mine.transport.write(b"words")
        mine.transport.loseWriteConnection()
        self.net.run(1.0)
        self.assertEqual(theirs.said, ["made"])
        theirs.transport.resumeProducing()
        self.net.run(1.0)
        self.assertEqual((theirs.said, bytes(theirs.received)), (["made", "read over"], b"words"))
