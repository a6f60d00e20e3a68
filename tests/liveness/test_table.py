"""Every row of the decision table, with what a Linux kernel showed when the fault was made between two hosts."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.causes import FAILURE_REASONS, name_ending, name_silence
from heartbeat.liveness.evidence import Ending, Evidence, TcpInfo
from heartbeat.liveness.table import ENDINGS, SILENCES, Case, first, window_closed

HALF, VERDICT = 101.0, 101.5
#: A connection of the measured kind at rest: RTT of microseconds, the smoothed one with delayed ACKs in it.
REST = TcpInfo(
    state=1, retransmits=0, probes=0, backoff=0, rto=0.216, unacked=0, last_data_recv=1.0, last_ack_recv=1.0,
    rtt=0.0134, rtt_variation=0.0193, total_retrans=0, bytes_acked=81, bytes_received=80, notsent=0, snd_wnd=65536,
    snd_mss=1448, retrans=0, last_data_sent=1.0, pmtu=1500, min_rtt=0.00002, ato=0.04,
)  # fmt: skip
#: What a kernel that does not fill these fields, or a simulated one, shows.
SHORT = ("snd_mss", "retrans", "last_data_sent", "pmtu", "min_rtt", "ato")

How = Literal["eof", "reset", "error", "aborted"]


def at(when: float, waiting: int | None = 0, **seen: Any) -> Evidence:
    """A look at a connection that differs so from one at rest."""
    return Evidence(when, unread=0, waiting=waiting, outq=0, tcp=replace(REST, **seen))


def shortened(evidence: Evidence) -> Evidence:
    """The same as a kernel shows it that knows less."""
    assert evidence.tcp is not None
    return replace(evidence, tcp=replace(evidence.tcp, **dict.fromkeys(SHORT)))


class SilenceCase(SynchronousTestCase):
    """A peer that went silent."""

    def says(self, row: str, name: tuple[str, str], half: Evidence | None, verdict: Evidence) -> None:
        """This row fits first, and gives this name."""
        self.assertEqual(first(SILENCES, Case(verdict, half)).number, row)
        self.assertEqual(name_silence(half, verdict), name)


class PeerTests(SilenceCase):
    """The path lives, the peer does not."""

    STALLED = ("peer_stalled", "acknowledged")

    def test_stopped(self) -> None:
        """SIGSTOP: its kernel acknowledges our question at once."""
        half = at(HALF, bytes_acked=80, last_ack_recv=0.0)
        verdict = at(VERDICT, bytes_acked=88, last_ack_recv=0.172, last_data_recv=1.504)
        self.says("13", self.STALLED, half, verdict)
        self.says("13", self.STALLED, None, verdict)
        self.says("13", self.STALLED, shortened(half), shortened(verdict))

    def test_stopped_with_a_young_question(self) -> None:
        """The kernel acknowledged one since half time, and has another that it may acknowledge late."""
        half = at(HALF, unacked=1, bytes_acked=80)
        self.says("13b", self.STALLED, half, at(VERDICT, unacked=1, bytes_acked=88))

    def test_stopped_and_answered_before_the_look(self) -> None:
        """Everything was acknowledged at half time, the question of half time too, and only a young one is open."""
        half, verdict = at(HALF), at(VERDICT, unacked=1)
        self.says("13c", self.STALLED, half, verdict)
        # ... but not if the question of half time was still in user space then, or this is not known.
        self.says("20", ("unattributed", "too_early"), replace(half, waiting=8), verdict)
        self.says("20", ("unattributed", "too_early"), replace(half, waiting=None), verdict)

    def test_still_in_user_space(self) -> None:
        """What the kernel does not have yet, the peer's kernel cannot have acknowledged."""
        self.says("-", ("unattributed", "silent"), at(HALF, waiting=8), at(VERDICT, waiting=8))

    def test_window_closed(self) -> None:
        """It does not read, and its kernel goes on saying so."""
        half = at(HALF, snd_wnd=0, notsent=700_000, backoff=1, last_ack_recv=0.1)
        verdict = at(VERDICT, snd_wnd=0, notsent=774_680, backoff=3, last_ack_recv=0.3, bytes_acked=90)
        self.says("14", ("peer_not_reading", "window"), half, verdict)

    def test_window_closed_and_nobody_there(self) -> None:
        """Probes of the window without an answer say nothing of why."""
        verdict = at(VERDICT, snd_wnd=0, notsent=774_680, backoff=3, probes=3)
        self.says("-", ("unattributed", "silent"), at(HALF, snd_wnd=0, notsent=774_680, probes=2), verdict)


class OwnHostTests(SilenceCase):
    """Nothing leaves this host, or its link."""

    def test_egress_blocked(self) -> None:
        """A packet filter of our own: nothing on its way, an open window, and still something waits."""
        half = at(HALF, notsent=24, probes=1, backoff=1)
        verdict = at(VERDICT, notsent=32, probes=2, backoff=2)
        self.says("15", ("local_egress", "not_sent"), half, verdict)
        self.says("15", ("local_egress", "not_sent"), None, shortened(verdict))

    def test_egress_blocked_while_the_peer_speaks(self) -> None:
        """What comes in clears the counters of probes: then it shows in nothing having left since half time."""
        half, verdict = at(HALF, notsent=40, last_ack_recv=0.124), at(VERDICT, notsent=48, last_ack_recv=0.1)
        self.says("15", ("local_egress", "not_sent"), half, verdict)
        # Seen once only, it may have left the moment after.
        self.says("-", ("unattributed", "silent"), at(HALF), verdict)

    def test_a_window_that_is_too_small(self) -> None:
        """What waits does not fit: it is the peer that does not let us."""
        self.says("-", ("unattributed", "silent"), at(HALF), at(VERDICT, notsent=9000, snd_wnd=500, backoff=1))

    def test_link_down(self) -> None:
        """The kernel has put the route on a device that leads nowhere, with the least MTU there is."""
        half = at(HALF, notsent=24, probes=1, backoff=1, pmtu=68, snd_mss=36)
        self.says(
            "15b", ("local_link", "down"), half, at(VERDICT, notsent=32, probes=2, backoff=2, pmtu=68, snd_mss=36)
        )

    def test_no_carrier(self) -> None:
        """Repetitions were due, and none of them left."""
        half = at(HALF, unacked=2, retransmits=1, backoff=1)
        verdict = at(VERDICT, unacked=2, retransmits=2, backoff=2, notsent=8)
        self.says("16", ("local_link", "not_sent"), half, verdict)
        self.says("16", ("local_link", "not_sent"), None, verdict)

    def test_no_carrier_after_earlier_losses(self) -> None:
        """A connection that lost segments before: the growth of both counters tells, or what is repeated now."""
        half = at(HALF, unacked=1, retransmits=1, backoff=1, total_retrans=9)
        verdict = at(VERDICT, unacked=1, retransmits=3, backoff=3, total_retrans=10)
        self.says("16", ("local_link", "not_sent"), shortened(half), shortened(verdict))
        lately = at(VERDICT, unacked=1, retransmits=1, backoff=1, total_retrans=9, retrans=0)
        self.says("16", ("local_link", "not_sent"), half, lately)


class PathTests(SilenceCase):
    """What we send leaves, and does not arrive, or its acknowledgement does not."""

    def test_silent_drop(self) -> None:
        """Repeated, and never acknowledged; nothing came in."""
        seen: dict[str, Any] = {"unacked": 1, "retrans": 1, "notsent": 16}
        half = at(HALF, retransmits=1, backoff=1, total_retrans=2, rto=0.43, last_data_sent=0.156, **seen)
        verdict = at(
            VERDICT, retransmits=2, backoff=2, total_retrans=3, rto=0.86, last_data_sent=0.208, last_data_recv=1.504,
            last_ack_recv=1.46, **seen,
        )  # fmt: skip
        self.says("18", ("path_dead", "silent"), half, verdict)
        self.says("18", ("path_dead", "silent"), shortened(half), shortened(verdict))
        self.says("18", ("path_dead", "silent"), None, verdict)

    def test_one_way(self) -> None:
        """What comes in acknowledges nothing: the peer repeats itself, for it does not hear us."""
        seen: dict[str, Any] = {"unacked": 1, "retrans": 1, "retransmits": 2, "backoff": 2, "total_retrans": 3}
        verdict = at(VERDICT, rto=0.86, last_data_sent=0.34, last_data_recv=1.504, last_ack_recv=0.212, **seen)
        self.says("19", ("path_dead", "one_way"), None, verdict)
        self.says("19", ("path_dead", "one_way"), None, shortened(verdict))

    def test_a_delayed_ack_is_no_sign_of_one_way(self) -> None:
        """The peer's kernel acknowledges what it has up to 200 ms after it came."""
        seen: dict[str, Any] = {"unacked": 1, "retrans": 1, "retransmits": 2, "backoff": 2, "total_retrans": 3}
        verdict = at(VERDICT, rto=0.86, last_data_sent=0.2, last_data_recv=1.5, last_ack_recv=1.3, **seen)
        for one in (verdict, shortened(verdict)):
            self.says("18", ("path_dead", "silent"), None, one)

    def test_unreachable(self) -> None:
        """ICMP errors took back doublings of the timeout."""
        verdict = at(VERDICT, unacked=1, retrans=1, retransmits=4, backoff=3, total_retrans=4, rto=0.43)
        self.says("17", ("path_dead", "icmp"), None, shortened(verdict))

    def test_too_early(self) -> None:
        """A question younger than a retransmission timeout proves nothing."""
        self.says("20", ("unattributed", "too_early"), at(HALF, unacked=1), at(VERDICT, unacked=2))


class NothingKnownTests(SilenceCase):
    """What cannot be proved is ``unattributed``."""

    def test_no_tcp_info(self) -> None:
        """Another platform, another transport."""
        self.says("21", ("unattributed", "silent"), Evidence(HALF), Evidence(VERDICT, unread=0, outq=8))
        # A structure too short to say what is on its way says nothing.
        self.says("21", ("unattributed", "silent"), None, Evidence(VERDICT, tcp=TcpInfo(1, 3, 0, 3)))

    def test_a_judge_that_cannot_ask(self) -> None:
        """Without a question of ours the counters of the kernel say nothing of the peer."""
        for seen in (at(VERDICT), at(VERDICT, unacked=1, retransmits=3, backoff=3)):
            self.assertEqual(name_silence(at(HALF), seen, asked=False), ("unattributed", "silent"))

    def test_the_window_needs_a_kernel(self) -> None:
        """No row fits on what is not there."""
        for row in (*SILENCES, *ENDINGS):
            fits = row.fits(Case(None))
            self.assertEqual(fits, row.number in ("21", "-") and row.detail != "aborted", row)
        self.assertFalse(window_closed(Case(Evidence(1.0))))


def after(how: How, error: str | None = None, outq: int | None = 0, **seen: Any) -> tuple[str, str]:
    """The name of an end of a connection that differed so from one at rest."""
    seen = {"state": 7, **seen}
    return name_ending(Ending(how, Evidence(9.0, outq=outq, error=error, tcp=replace(REST, **seen))))


class EndingTests(SynchronousTestCase):
    """A transport that ended without BYE."""

    def test_closed(self) -> None:
        """A FIN, whatever else was going on."""
        self.assertEqual(after("eof", state=8), ("peer_closed", "eof"))
        self.assertEqual(name_ending(Ending("eof")), ("peer_closed", "eof"))

    def test_reset(self) -> None:
        """A RST out of nothing: all that we sent was acknowledged, and no acknowledgement of ours was due."""
        self.assertEqual(after("reset", last_data_sent=0.16, last_data_recv=0.16), ("peer_reset", "unprovoked"))
        self.assertEqual(after("reset", outq=8, last_data_sent=0.028), ("peer_reset", "unprovoked"))
        self.assertEqual(name_ending(Ending("reset")), ("peer_reset", "unprovoked"))

    def test_provoked(self) -> None:
        """A RST a round trip after data of ours that nobody had acknowledged."""
        provoked = ("middlebox_reset", "provoked")
        self.assertEqual(after("reset", outq=8, last_data_sent=0.0, last_data_recv=0.48), provoked)
        self.assertEqual(after("reset", outq=8, last_data_sent=0.31, min_rtt=0.3), provoked)
        self.assertEqual(after("reset", outq=8, last_data_sent=0.1, min_rtt=0.3), ("peer_reset", "unprovoked"))

    def test_provoked_by_an_acknowledgement(self) -> None:
        """... or after the delayed acknowledgement of what had come in last: nothing else of ours was on its way."""
        self.assertEqual(after("reset", last_data_sent=0.048, last_data_recv=0.048), ("middlebox_reset", "provoked"))
        self.assertEqual(after("reset", last_data_sent=0.04, last_data_recv=0.036), ("peer_reset", "unprovoked"))

    def test_egress_blocked(self) -> None:
        """The peer gave us up, and what we had for it had not left this host."""
        self.assertEqual(after("error", outq=40, notsent=40, probes=1), ("local_egress", "not_sent"))
        self.assertEqual(after("reset", outq=40, notsent=40, last_data_sent=0.0), ("local_egress", "not_sent"))
        self.assertEqual(after("error", outq=40, notsent=40, probes=1, pmtu=68), ("local_link", "down"))

    def test_in_the_midst_of_data(self) -> None:
        """A RST while much is on its way and more waits is no fault of our own host."""
        self.assertEqual(after("reset", outq=90_000, notsent=40_000, last_data_sent=0.0)[0], "middlebox_reset")
        self.assertEqual(after("reset", outq=90_000, notsent=40_000, last_data_sent=0.2)[0], "peer_reset")

    def test_window_closed(self) -> None:
        """The kernel's own timeout with the window closed (facts K0.7)."""
        for how, error in (("error", "ETIMEDOUT"), ("error", None)):
            named = after(how, error, outq=9000, notsent=9000, snd_wnd=0, probes=2)  # type: ignore[arg-type]  # literals
            self.assertEqual(named, ("peer_not_reading", "window"))

    def test_given_up(self) -> None:
        """Repetitions, or keepalive probes, without an answer; nothing came in meanwhile."""
        seen: dict[str, Any] = {"retrans": 1, "rto": 1.6, "last_data_sent": 0.8, "total_retrans": 4}
        seen |= {"last_data_recv": 5.0, "last_ack_recv": 5.0}
        self.assertEqual(after("error", outq=8, retransmits=4, **seen), ("path_dead", "silent"))
        self.assertEqual(after("error", "ETIMEDOUT", outq=8, retransmits=1, **seen), ("path_dead", "silent"))
        self.assertEqual(after("error", probes=3), ("path_dead", "silent"))

    def test_given_up_by_a_peer_that_did_not_hear_us(self) -> None:
        """Its reset, or its own repetitions, came in while ours went unanswered."""
        seen: dict[str, Any] = {"retransmits": 2, "total_retrans": 3, "retrans": 1, "rto": 0.86, "last_data_sent": 0.34}
        named = after("error", outq=32, notsent=24, last_data_recv=1.096, last_ack_recv=0.212, **seen)
        self.assertEqual(named, ("path_dead", "one_way"))

    def test_unreachable(self) -> None:
        """The kernel says that it has no way, or nobody answers where the peer was."""
        for error in ("EHOSTUNREACH", "ENETUNREACH"):
            self.assertEqual(name_ending(Ending("error", Evidence(1.0, error=error))), ("path_dead", "icmp"))
            named = after("error", error, outq=8, retransmits=4, total_retrans=1)
            self.assertEqual(named, ("local_link", "not_sent"))

    def test_one_repetition(self) -> None:
        """One lost segment is no dead path, and an end beside it says no more."""
        named = after("error", outq=8, retransmits=1, total_retrans=1, retrans=1)
        self.assertEqual(named, ("unattributed", "error"))

    def test_nothing_known(self) -> None:
        """Without evidence an error proves nothing; an abort is ours."""
        self.assertEqual(name_ending(Ending("error")), ("unattributed", "error"))
        self.assertEqual(name_ending(Ending("error", Evidence(1.0))), ("unattributed", "error"))
        self.assertEqual(name_ending(Ending("aborted", at(1.0))), ("unattributed", "aborted"))


small = st.integers(0, 3)
NUMBERS = {"state": st.sampled_from((1, 7, 8)), "retransmits": small, "probes": small, "backoff": small}
INFOS = st.builds(
    TcpInfo,
    **NUMBERS,
    **{
        field.name: st.none() | st.sampled_from((0, 0.05, 1.0) if "float" in str(field.type) else (0, 1, 68, 70_000))
        for field in fields(TcpInfo)
        if field.name not in NUMBERS
    },
)
LOOKS = st.builds(
    Evidence,
    st.just(1.0),
    outq=st.none() | st.sampled_from((0, 8, 70_000)),
    waiting=st.none() | small,
    tcp=st.none() | INFOS,
    error=st.none() | st.sampled_from(("ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "EPIPE", "whatever")),
)


class AnyEvidenceTests(SynchronousTestCase):
    """Whatever the kernel says."""

    @settings(deadline=None)
    @given(st.none() | LOOKS, LOOKS, st.booleans())
    def test_a_silence(self, half: Evidence | None, verdict: Evidence, asked: bool) -> None:
        """The name is on the closed list, and none of those that only a return can prove."""
        cause, detail = name_silence(half, verdict, asked)
        self.assertIn(cause, FAILURE_REASONS)
        self.assertNotIn(cause, ("nat_expired", "peer_restarted"))
        self.assertTrue(detail)
        if verdict.tcp is None or not asked:
            self.assertEqual((cause, detail), ("unattributed", "silent"))

    @settings(deadline=None)
    @given(st.sampled_from(("eof", "reset", "error", "aborted")), st.none() | LOOKS, st.none() | LOOKS)
    def test_an_ending(self, how: How, last: Evidence | None, half: Evidence | None) -> None:
        """The same, and a FIN is always one."""
        cause, detail = name_ending(Ending(how, last), half)
        self.assertIn(cause, FAILURE_REASONS)
        self.assertTrue(detail)
        if how == "eof":
            self.assertEqual(cause, "peer_closed")

    def test_the_tables_are_whole(self) -> None:
        """Each ends with a row that fits always, each cause is on the list, and each row is tested above."""
        for table in (SILENCES, ENDINGS):
            self.assertTrue(table[-1].fits(Case(None)))
            self.assertEqual(table[-1].cause, "unattributed")
            self.assertTrue({row.cause for row in table} <= FAILURE_REASONS)
