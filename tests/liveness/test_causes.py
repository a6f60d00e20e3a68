"""The closed lists of names. What an end or a silence is called: ``test_table.py``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.causes import FAILURE_REASONS, PHASES, SPARE_REASONS, known_reason, phase_of

#: As ``surface.md`` publishes them: they are metric labels, and a renamed one breaks somebody's alert.
PUBLISHED = """
    dns_fail tcp_refused tcp_timeout tcp_unreachable
    tls_timeout tls_verify tls_hostname tls_expired tls_pin tls_handshake intercepted identity_refused terms_refused
    version_refused hello_timeout id_in_use server_full
    path_dead nat_expired peer_stalled peer_not_reading local_egress local_link peer_closed peer_reset middlebox_reset
    peer_restarted peer_stuck ping_flood protocol_error unattributed
    http_timeout http_4xx http_5xx http_protocol
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

    def test_where_a_failure_showed(self) -> None:
        """Of what was alive: in the connect, in the handshake of TLS, or live; each is a phase of the list."""
        for name in FAILURE_REASONS:
            phase = phase_of(name)
            self.assertIn(phase, PHASES)
            if name.startswith(("dns_", "tcp_")):
                self.assertEqual(phase, "connect")
            elif name.startswith("tls_"):
                self.assertEqual(phase, "handshake")
            else:
                self.assertEqual(phase, "live")

    def test_claims_make_no_new_labels(self) -> None:
        """What a peer says caused its last end is taken if it is on the list, and else is ``unattributed``."""
        for name in PUBLISHED.split():
            self.assertEqual(known_reason(name), name)
        for claim in ("", "PATH_DEAD", "path_dead ", "local_stall", "x" * 10_000, "\x00"):
            self.assertEqual(known_reason(claim), "unattributed")
