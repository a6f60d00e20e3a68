"""The closed lists of names, and what an end or a silence is called."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.causes import (
    FAILURE_REASONS,
    PHASES,
    SPARE_REASONS,
    known_reason,
    name_ending,
    name_silence,
)
from heartbeat.liveness.evidence import Ending, Evidence, TcpInfo

#: As ``surface.md`` publishes them: they are metric labels, and a renamed one breaks somebody's alert.
PUBLISHED = """
    dns_fail tcp_refused tcp_timeout tcp_unreachable
    tls_timeout tls_verify tls_hostname tls_expired tls_pin tls_handshake intercepted identity_refused terms_refused
    version_refused hello_timeout id_in_use server_full
    path_dead nat_expired peer_stalled peer_not_reading local_egress local_link peer_closed peer_reset middlebox_reset
    peer_restarted peer_stuck ping_flood protocol_error unattributed
"""


class NamesTests(SynchronousTestCase):
    """The closed lists."""

    def test_the_reasons_are_those_published(self) -> None:
        """None missing and none more."""
        self.assertEqual(FAILURE_REASONS, set(PUBLISHED.split()))

    def test_the_spared_are_those_published(self) -> None:
        """What spares a peer is never a name for a death."""
        self.assertEqual(set(SPARE_REASONS), {"local_stall", "clock_step", "suspended", "unread_input", "mass_timeout"})
        self.assertTrue(FAILURE_REASONS.isdisjoint(SPARE_REASONS))
        self.assertEqual(len(SPARE_REASONS), len(set(SPARE_REASONS)))

    def test_the_phases_are_those_published(self) -> None:
        """In their order."""
        self.assertEqual(PHASES, ("connect", "handshake", "live"))

    def test_claims_make_no_new_labels(self) -> None:
        """What a peer says caused its last end is taken if it is on the list, and else is ``unattributed``."""
        for name in PUBLISHED.split():
            self.assertEqual(known_reason(name), name)
        for claim in ("", "PATH_DEAD", "path_dead ", "local_stall", "x" * 10_000, "\x00"):
            self.assertEqual(known_reason(claim), "unattributed")


class EndingTests(SynchronousTestCase):
    """A transport that ended without BYE."""

    def test_each_kind_of_end(self) -> None:
        """EOF: the peer closed. RST: it was reset. Anything else proves nothing."""
        self.assertEqual(name_ending(Ending("eof")), "peer_closed")
        self.assertEqual(name_ending(Ending("reset")), "peer_reset")
        self.assertEqual(name_ending(Ending("error", Evidence(1.0, error="EHOSTUNREACH"))), "unattributed")
        self.assertEqual(name_ending(Ending("aborted")), "unattributed")


class SilenceTests(SynchronousTestCase):
    """A peer that went silent."""

    def test_nothing_is_guessed(self) -> None:
        """What the evidence cannot prove is ``unattributed``, with or without a look at half time."""
        verdict = Evidence(9.0, unread=0, outq=8, tcp=TcpInfo(state=1, retransmits=3, probes=0, backoff=3, unacked=1))
        for half_time in (None, Evidence(7.0), verdict):
            for last in (Evidence(9.0), verdict):
                cause, detail = name_silence(half_time, last)
                self.assertIn(cause, FAILURE_REASONS)
                self.assertEqual((cause, detail), ("unattributed", "silent"))
