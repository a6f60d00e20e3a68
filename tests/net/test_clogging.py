"""Peers that do not read: what we hold for them is bounded, and they are not judged while we do not read them."""

from __future__ import annotations

from heartbeat.net.outbox import CLOGGED
from heartbeat.wire.frames import HEADER_SIZE, Ack, Ping
from tests.net.cases import DETECT, INTERVAL, STEP, HandCase
from tests.net.hand import HandTransport, bye, hello, ping

#: The wheel's resolution, and a step of the loop.
LATE = 0.05
#: As many PINGs as it takes until their ACKs are 64 KiB.
FILL = CLOGGED // HEADER_SIZE


class CloggingTests(HandCase):
    """wire.md §2: an end that has 64 KiB of frames unsent reads nothing until they are gone."""

    def stopped(self) -> HandTransport:
        """A peer whose kernel takes nothing any more; everything that was said to it before was read."""
        transport = self.connect(hello("a") + ping())
        self.advance(2.0, transport)
        transport.say(ping())
        transport.said()
        transport.takes = False
        return transport

    def fill(self, transport: HandTransport) -> None:
        """The peer sends PINGs until we stop reading."""
        for seq in range(FILL):
            transport.say(ping(seq))
        self.assertFalse(transport.reading)

    def test_short_of_the_limit(self) -> None:
        """Just under 64 KiB we read on, and everything leaves in order as soon as it can."""
        transport = self.stopped()
        for seq in range(FILL - 1):
            transport.say(ping(seq))
        self.assertTrue(transport.reading)
        transport.takes = True
        transport.empty()
        self.assertEqual(transport.said(), [Ack(seq, 0) for seq in range(FILL - 1)])

    def test_it_stops_reading(self) -> None:
        """At 64 KiB reading stops; nothing that was owed is left out."""
        transport = self.stopped()
        self.fill(transport)
        transport.takes = True
        transport.empty()
        acks = [frame for frame in transport.said() if isinstance(frame, Ack)]
        self.assertEqual(acks, [Ack(seq, 0) for seq in range(FILL)])

    def test_one_large_read(self) -> None:
        """A single read whose answers are 64 KiB and more clogs, too."""
        transport = self.stopped()
        transport.say(b"".join(ping(seq) for seq in range(FILL)))
        self.assertFalse(transport.reading)
        transport.takes = True
        transport.empty()
        self.assertTrue(transport.reading)

    def test_it_reads_again_when_all_is_gone(self) -> None:
        """Not as soon as there is less than 64 KiB: when nothing is left."""
        transport = self.stopped()
        self.fill(transport)
        transport.empty()  # the first write; what was held meanwhile is refused again
        self.assertFalse(transport.reading)
        self.assertGreater(len(transport.queue), 0)
        transport.takes = True
        transport.empty()
        self.assertTrue(transport.reading)

    def test_silence_does_not_count(self) -> None:
        """Nobody is suspected for what we do not read, nor asked anything, and the peer lives on afterwards."""
        transport = self.stopped()
        self.fill(transport)
        self.notes.lines.clear()
        queued = len(transport.queue) + HEADER_SIZE * (FILL - 1)
        self.advance(DETECT - 2 * LATE)
        self.assertEqual(self.notes.lines, [])
        transport.takes = True
        transport.empty()
        self.assertEqual(len(transport.sent), queued)
        self.advance(INTERVAL)
        self.assertEqual(self.notes.deaths(), [])
        self.assertIn(Ping, [type(frame) for frame in self.answer(transport)])
        self.advance(5.0, transport)
        self.assertEqual([kind for kind, _ in self.notes.lines if kind in {"Suspect", "Dead"}], [])

    def test_too_long(self) -> None:
        """After D of that it is over, BYE 11 in the record, and the transport is aborted without any lingering."""
        transport = self.stopped()
        self.fill(transport)
        self.advance(DETECT - LATE)
        self.assertEqual(transport.done, [])
        self.advance(2 * LATE)
        self.assertEqual(transport.done, ["abort"])
        self.assertEqual(self.notes.deaths(), [("a", "peer_not_reading")])

    def test_one_that_reads_slowly(self) -> None:
        """Each time that all is gone the time begins anew: a slow reader is no dead one."""
        transport = self.stopped()
        for _ in range(4):
            transport.takes = False
            self.fill(transport)
            self.advance(DETECT - 4 * LATE)
            transport.takes = True
            transport.empty()
            self.advance(LATE)
            self.answer(transport)
        self.assertEqual(self.notes.deaths(), [])

    def test_leaving_while_clogged(self) -> None:
        """A BYE to a peer that does not read takes no longer than any other."""
        transport = self.stopped()
        self.fill(transport)
        gone = transport.protocol.heartbeat.leave()
        self.advance(1.0 + LATE + STEP)
        self.successResultOf(gone)
        self.assertEqual(self.notes.departures(), [("a", "leaving")])

    def test_the_end_while_clogged(self) -> None:
        """A connection that ends with bytes held leaves nothing behind, and a late word of its link is no error."""
        transport = self.stopped()
        self.fill(transport)
        transport.lose()
        transport.takes = True
        transport.empty()
        self.assertEqual(self.notes.deaths(), [("a", "peer_closed")])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BusyTests(HandCase):
    """A link that takes a while, and is not clogged."""

    def test_the_question_counts_from_the_kernel(self) -> None:
        """A PING that waits in user space is no unanswered question: its time runs when the kernel has it."""
        transport = self.connect(hello("a"))
        self.advance(2.0, transport)
        transport.takes = False
        transport.said()
        self.advance(DETECT + 5 * INTERVAL)
        self.assertEqual(self.notes.deaths(), [])
        self.assertEqual(self.notes.lines[-1], ("Suspect", "a"))
        transport.takes = True
        transport.empty()
        self.advance(DETECT)
        self.assertEqual([name for name, _ in self.notes.deaths()], ["a"])

    def test_what_waits_is_evidence(self) -> None:
        """The bytes that wait in user space are in the evidence of a verdict."""
        transport = self.connect(hello("a"))
        self.advance(2.0, transport)
        transport.takes = False
        transport.say(ping(1))
        driver = transport.protocol.driver
        self.assertEqual(driver.look(self.clock.seconds()).waiting, HEADER_SIZE)
        transport.say(ping(2) + ping(3))
        self.assertEqual(driver.look(self.clock.seconds()).waiting, 3 * HEADER_SIZE)
        transport.takes = True
        transport.empty()
        self.assertEqual(driver.look(self.clock.seconds()).waiting, 0)

    def test_a_bye_of_the_peer(self) -> None:
        """A BYE of the peer ends a busy connection within its bound, too."""
        transport = self.connect(hello("a"))
        transport.takes = False
        transport.say(ping(1) + ping(2) + bye(0))
        self.advance(2.0)
        self.assertTrue(transport.gone)
        self.assertEqual(self.notes.departures(), [("a", "leaving")])
