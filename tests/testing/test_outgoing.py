"""The sending half: what leaves, what is sent again, what the numbers of TCP_INFO say meanwhile."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.testing.outgoing import MAX_RTO, RETRIES, SYN_RETRIES, Outgoing
from heartbeat.testing.segments import BUFFER, SEGMENT


class OutgoingCase(SynchronousTestCase):
    """A sending half whose segments are kept in a list."""

    def setUp(self) -> None:
        """Connected, with an open window and a round trip of 10 ms."""
        self.sent: list[tuple[int, bytes, str]] = []
        self.out = Outgoing(self.launch)
        self.out.open(0.0)
        self.out.ready = True
        self.out.acknowledged(1, BUFFER, 0.01)
        self.sent.clear()

    def launch(self, seq: int, data: bytes, syn: bool, fin: bool, probe: bool) -> None:
        """Note a segment."""
        self.sent.append(
            (seq, data, "".join(name for name, there in zip("SFP", (syn, fin, probe), strict=True) if there))
        )


class SendingTests(OutgoingCase):
    """Nothing is lost."""

    def test_data_leaves_at_once(self) -> None:
        """What is written while the window is open is a segment, and in flight until acknowledged."""
        self.assertEqual(self.out.write(b"ping", 1.0), 4)
        self.assertEqual(self.sent, [(1, b"ping", "")])
        self.assertEqual((len(self.out.flight), self.out.notsent, self.out.free), (1, 0, BUFFER - 4))
        self.assertTrue(self.out.acknowledged(5, BUFFER, 1.01))
        self.assertEqual((len(self.out.flight), self.out.bytes_acked, self.out.free), (0, 4, BUFFER))
        self.assertIsNone(self.out.deadline)

    def test_the_buffer_is_bounded(self) -> None:
        """What does not fit is not taken, and room comes back with acknowledgements."""
        self.assertEqual(self.out.write(bytes(BUFFER + 10), 1.0), BUFFER)
        self.assertEqual(self.out.write(b"more", 1.0), 0)
        self.assertEqual([len(data) for _, data, _ in self.sent], [SEGMENT] * (BUFFER // SEGMENT))
        self.out.acknowledged(1 + SEGMENT, BUFFER, 1.1)
        self.assertEqual(self.out.write(b"more", 1.1), 4)

    def test_an_acknowledgement_may_end_inside_of_a_segment(self) -> None:
        """The rest of a segment that was taken in part stays in flight and is sent again as such."""
        self.out.write(b"abcdef", 1.0)
        self.out.acknowledged(4, BUFFER, 1.1)
        self.assertEqual((self.out.bytes_acked, len(self.out.flight)), (3, 1))
        self.out.expired(2.0)
        self.assertEqual(self.sent[-1], (4, b"def", ""))

    def test_an_acknowledgement_of_nothing_known_is_ignored(self) -> None:
        """One that is old, or of what was never sent, changes nothing."""
        self.out.write(b"ab", 1.0)
        for ack in (0, 99):
            self.assertFalse(self.out.acknowledged(ack, 7, 1.1))
        self.assertEqual((self.out.window, len(self.out.flight), self.out.last_ack_recv), (BUFFER, 1, 0.01))

    def test_a_fin_goes_behind_the_data(self) -> None:
        """FIN is the last segment, takes a number, and is done when acknowledged; nothing can be written after it."""
        self.out.write(b"bye", 1.0)
        self.out.finish(1.0)
        self.assertEqual(self.sent, [(1, b"bye", ""), (4, b"", "F")])
        self.assertEqual(self.out.write(b"more", 1.0), 0)
        self.assertFalse(self.out.done)
        self.out.acknowledged(5, BUFFER, 1.1)
        self.assertTrue(self.out.done)
        self.assertEqual(self.out.bytes_acked, 3)

    def test_nothing_leaves_before_the_handshake_is_done(self) -> None:
        """Data that is written early waits, and counts as not sent."""
        out = Outgoing(self.launch)
        out.open(0.0)
        out.write(b"early", 0.0)
        self.assertEqual([flags for _, _, flags in self.sent], ["S"])
        self.assertEqual(out.notsent, 5)


class RetransmissionTests(OutgoingCase):
    """Facts K2b: a silent drop."""

    def test_backoff_doubles(self) -> None:
        """The timeout is the round trip and 0.2 s, and twice that each time."""
        self.out.write(b"ping", 10.0)
        waits, now = [], 10.0
        for _ in range(4):
            assert self.out.deadline is not None
            waits.append(self.out.deadline - now)
            now = self.out.deadline
            self.assertTrue(self.out.expired(now))
        for number, wait in enumerate(waits):
            self.assertAlmostEqual(wait, (0.01 + 0.2) * 2**number)
        self.assertEqual(self.sent, [(1, b"ping", "")] * 5)

    def test_the_signature_of_a_silent_drop(self) -> None:
        """Unacknowledged, as many retransmits as backoffs, and what was written later was never sent: one at a time."""
        self.out.write(b"ping", 10.0)
        for _ in range(3):
            self.out.expired(self.out.deadline or 0.0)
        self.out.write(b"pong", 12.0)
        self.assertEqual((self.out.retransmits, self.out.backoff, self.out.total_retrans), (3, 3, 3))
        self.assertEqual((len(self.out.flight), self.out.notsent), (1, 4))

    def test_healing_sends_what_was_lost_and_what_waited(self) -> None:
        """The first acknowledgement after a loss resets the backoff and lets the rest go, the lost ones first."""
        for number in range(3):
            self.out.write(bytes([97 + number]), 10.0 + number / 100)
        self.out.expired(10.3)
        self.out.write(b"d", 10.4)
        self.sent.clear()
        self.out.acknowledged(2, BUFFER, 10.5)
        self.assertEqual(self.sent, [(2, b"b", ""), (4, b"d", "")])
        self.assertEqual((self.out.retransmits, self.out.backoff), (0, 0))
        self.out.acknowledged(3, BUFFER, 10.6)
        self.assertEqual(self.sent[-1], (3, b"c", ""))
        self.assertEqual(self.out.total_retrans, 3)

    def test_what_is_overdue_is_sent_again_early(self) -> None:
        """An acknowledgement without news says that later segments came: the missing one goes at once, then not too
        often, and nothing is backed off."""
        self.out.write(b"lost", 10.0)
        self.out.write(b"came", 10.05)
        self.out.acknowledged(1, BUFFER, 10.06, pure=False)
        self.assertEqual(len(self.sent), 2)
        self.out.acknowledged(1, BUFFER, 10.06)
        self.out.acknowledged(1, BUFFER, 10.065)
        self.assertEqual(self.sent[2:], [(1, b"lost", "")])
        self.assertEqual((self.out.retransmits, self.out.backoff, self.out.total_retrans), (0, 0, 1))
        self.out.acknowledged(9, BUFFER, 10.07)
        self.assertEqual(len(self.out.flight), 0)

    def test_it_gives_up(self) -> None:
        """After 15 retransmissions, about 15 minutes, the kernel says so."""
        self.out.write(b"ping", 0.0)
        for _ in range(RETRIES):
            self.assertTrue(self.out.expired(self.out.deadline or 0.0))
        self.assertFalse(self.out.expired(self.out.deadline or 0.0))
        self.assertTrue(900 < (self.out.deadline or 0.0) < 1000, self.out.deadline)
        self.assertLessEqual(self.out.rto * 2**9, MAX_RTO)

    def test_a_syn_gives_up_earlier(self) -> None:
        """4 repetitions, 31 s."""
        out = Outgoing(self.launch)
        out.open(0.0)
        for _ in range(SYN_RETRIES):
            self.assertTrue(out.expired(out.deadline or 0.0))
        self.assertEqual(out.deadline, 31.0)
        self.assertFalse(out.expired(31.0))

    def test_a_repeated_segment_gives_no_round_trip(self) -> None:
        """Karn's rule: its acknowledgement may be that of the first copy."""
        before = self.out.rtt
        self.out.write(b"ping", 10.0)
        self.out.expired(10.3)
        self.out.acknowledged(5, BUFFER, 15.0)
        self.assertEqual(self.out.rtt, before)
        self.out.write(b"ping", 20.0)
        self.out.acknowledged(9, BUFFER, 20.5)
        self.assertGreater(self.out.rtt or 0.0, 0.05)

    def test_dropping_keeps_the_counters(self) -> None:
        """After the end, retransmits and the window can still be read; nothing is in flight (facts K2e)."""
        self.out.write(b"ping", 0.0)
        self.out.expired(1.0)
        self.out.drop()
        self.assertEqual((self.out.retransmits, self.out.backoff, len(self.out.flight)), (1, 0, 0))
        self.assertIsNone(self.out.deadline)


class WindowTests(OutgoingCase):
    """Facts K2c: a peer that does not read."""

    def test_a_closed_window_is_probed(self) -> None:
        """Data waits unsent; probes go out with a growing backoff, and each answer resets their count."""
        self.out.write(b"full", 1.0)
        self.out.acknowledged(5, 0, 1.1)
        self.out.write(b"more", 1.2)
        self.assertEqual((self.out.notsent, len(self.out.flight), self.out.window), (4, 0, 0))
        for number in range(3):
            self.assertTrue(self.out.expired(self.out.deadline or 0.0))
            self.assertEqual(self.sent[-1], (4, b"", "P"))
            self.assertEqual((self.out.probes, self.out.backoff), (1, number + 1))
            self.out.acknowledged(5, 0, 2.0 + number)
            self.assertEqual(self.out.probes, 0)
        self.assertEqual(self.out.last_ack_recv, 4.0)

    def test_an_opened_window_lets_data_go(self) -> None:
        """The rest leaves, as much as the window allows, and the backoff is over."""
        self.out.write(b"full", 1.0)
        self.out.acknowledged(5, 0, 1.1)
        self.out.write(b"more", 1.2)
        self.out.expired(self.out.deadline or 0.0)
        self.out.acknowledged(5, 3, 2.0)
        self.assertEqual(self.sent[-1], (5, b"mor", ""))
        self.assertEqual((self.out.notsent, self.out.backoff), (1, 0))

    def test_a_window_that_never_answers_ends(self) -> None:
        """Probes that nobody acknowledges are given up like retransmissions."""
        self.out.acknowledged(1, 0, 1.0)
        self.out.write(b"x", 1.0)
        for _ in range(RETRIES):
            self.assertTrue(self.out.expired(self.out.deadline or 0.0))
        self.assertFalse(self.out.expired(self.out.deadline or 0.0))
