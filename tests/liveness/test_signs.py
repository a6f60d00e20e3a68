"""Signs of life of a peer that nobody asks: what counts, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.causes import name_ending, name_silence
from heartbeat.liveness.evidence import Ending, Evidence, TcpInfo
from heartbeat.liveness.signs import asked, asked_in_vain, newest_sign
from tests.liveness.test_table import REST

NOW = 100.0
#: Nothing came for twenty seconds, and an acknowledgement three seconds ago.
BEFORE = replace(REST, last_data_recv=20.0, last_ack_recv=3.0, delivered=5)


def seen(**changed: Any) -> Evidence:
    """A look that differs so from the one before."""
    return Evidence(NOW, tcp=replace(BEFORE, **changed))


class SignTests(SynchronousTestCase):
    """``newest_sign``."""

    def sign(self, before: TcpInfo | None = BEFORE, **changed: Any) -> float | None:
        """What is found."""
        return newest_sign(before, seen(**changed))

    def test_bytes_of_the_peer(self) -> None:
        """The moment at which the newest of them came, read or not."""
        self.assertEqual(self.sign(bytes_received=90, last_data_recv=1.0, unacked=1), NOW - 1.0)

    def test_an_acknowledgement_of_something_new(self) -> None:
        """Of what is in flight; of a segment behind a lost one, too."""
        self.assertEqual(self.sign(bytes_acked=90, unacked=2, last_ack_recv=0.5), NOW - 0.5)
        self.assertEqual(self.sign(delivered=6, unacked=2, last_ack_recv=0.5), NOW - 0.5)

    def test_an_answer_to_a_keepalive(self) -> None:
        """While nothing is in flight every acknowledgement is one, whatever was seen before."""
        self.assertEqual(self.sign(last_ack_recv=0.5), NOW - 0.5)
        self.assertEqual(self.sign(None, last_ack_recv=0.5), NOW - 0.5)

    def test_an_answer_to_a_probe_of_a_closed_window(self) -> None:
        """Also while something is in flight."""
        self.assertEqual(self.sign(snd_wnd=0, unacked=1, notsent=9, last_ack_recv=0.5), NOW - 0.5)

    def test_a_peer_that_repeats_itself(self) -> None:
        """While something of ours is in flight, an acknowledgement of nothing new is no sign of life."""
        self.assertIsNone(self.sign(unacked=1, retransmits=3, last_ack_recv=0.1))

    def test_what_is_not_known(self) -> None:
        """An old kernel does not count bytes; another system shows nothing."""
        self.assertIsNone(self.sign(bytes_received=None, bytes_acked=None, delivered=None, unacked=1))
        self.assertEqual(self.sign(bytes_received=None, last_ack_recv=2.0), NOW - 2.0)
        self.assertIsNone(self.sign(last_ack_recv=None))
        self.assertIsNone(newest_sign(BEFORE, Evidence(NOW)))


class QuestionTests(SynchronousTestCase):
    """Whether our kernel has asked, and in vain."""

    def test_asked(self) -> None:
        """By data, by a probe, by a keepalive; a closed window that was answered is not being asked."""
        self.assertFalse(asked(REST))
        self.assertFalse(asked(None))
        for one in ({"unacked": 1}, {"notsent": 9}, {"probes": 1}, {"probes": 1, "notsent": 9, "snd_wnd": 0}):
            self.assertTrue(asked(replace(REST, **one)), one)
        self.assertFalse(asked(replace(REST, notsent=9, snd_wnd=0)))

    def test_in_vain(self) -> None:
        """One lost segment is no dead path; the doublings of a probed window that answers are nothing at all."""
        self.assertFalse(asked_in_vain(None))
        for one in ({"retransmits": 1}, {"probes": 1}, {"backoff": 6, "notsent": 9, "snd_wnd": 0}):
            self.assertFalse(asked_in_vain(replace(REST, **one)), one)
        self.assertTrue(asked_in_vain(replace(REST, retransmits=2)))
        self.assertTrue(asked_in_vain(replace(REST, probes=2)))


class NameTests(SynchronousTestCase):
    """What keepalives prove, as measured between two hosts."""

    def test_unanswered(self) -> None:
        """Nothing waits, two probes were not answered: the path is dead, whoever broke it."""
        half, verdict = seen(probes=1), seen(probes=3)
        self.assertEqual(name_silence(half, verdict), ("path_dead", "keepalive"))

    def test_written_on_a_path_that_is_dead_already(self) -> None:
        """Bytes younger than a retransmission timeout change nothing about that; repeated ones say more."""
        self.assertEqual(name_silence(seen(), seen(probes=3, unacked=1)), ("path_dead", "keepalive"))
        repeated = seen(probes=3, unacked=1, retransmits=2, backoff=2, retrans=1, total_retrans=2, last_ack_recv=30.0)
        self.assertEqual(name_silence(seen(), repeated), ("path_dead", "silent"))

    def test_a_reset_in_answer(self) -> None:
        """Whoever answers a keepalive with a reset has no such connection: the new system of a peer, or a middlebox."""
        last = Evidence(NOW, outq=0, tcp=replace(REST, state=7, probes=1, last_ack_recv=12.0))
        self.assertEqual(name_ending(Ending("reset", last)), ("middlebox_reset", "provoked"))
