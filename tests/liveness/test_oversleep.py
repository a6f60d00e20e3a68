"""Ends that we may have brought about: who was not heard for as long as it waits gives us up."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.attention import Attention
from heartbeat.liveness.events import Dead
from heartbeat.liveness.evidence import Ending, Evidence, TcpInfo
from heartbeat.liveness.layers import layers
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.oversleep import OWN_STALL, overslept
from heartbeat.liveness.states import State
from heartbeat.liveness.terms import terms

START = 5_000_000.0
TERMS = terms(0.5, 1.5)


def seen(arrived: float | None, state: int = 8) -> Evidence:
    """The last look at a socket whose newest data came so many seconds ago."""
    return Evidence(START, tcp=TcpInfo(state=state, retransmits=0, probes=0, backoff=0, last_data_recv=arrived))


class OversleptTests(SynchronousTestCase):
    """From our own attention, and from what lay in the kernel."""

    def setUp(self) -> None:
        self.attention = Attention(START)
        self.now = START

    def stall(self, seconds: float) -> None:
        """We do not run."""
        self.attention.expect(self.now)
        self.now += seconds
        self.attention.looked(self.now)
        self.attention.expect(self.now)

    def run_on(self, seconds: float) -> None:
        """We run."""
        for _ in range(round(seconds / 0.1)):
            self.now += 0.1
            self.attention.expect(self.now)
            self.attention.looked(self.now)
        self.attention.expect(self.now)

    def asleep(self, evidence: Evidence | None, heard: float = 0.0) -> float:
        """What is found, of a peer whose last frame was read so many seconds ago."""
        return round(overslept(self.attention, TERMS, evidence, self.now - heard, self.now), 6)

    def test_awake(self) -> None:
        """While we run nobody has a reason to give us up."""
        self.run_on(10.0)
        for evidence in (None, seen(None), seen(0.0), seen(0.4)):
            self.assertEqual(self.asleep(evidence, heard=0.4), 0.0)
        self.assertEqual(self.asleep(seen(30.0), heard=30.0), 0.0)  # it was silent, and we were there

    def test_stalled(self) -> None:
        """A stall of less than T is no reason; one of T or more is, with and without a look at the socket."""
        self.run_on(3.0)
        self.stall(0.9)
        self.assertEqual(self.asleep(None), 0.0)
        self.run_on(3.0)
        self.stall(1.0)
        self.assertEqual(self.asleep(None), 1.0)
        self.assertEqual(self.asleep(seen(0.3)), 1.0)

    def test_still_stalled(self) -> None:
        """A loop that is busy yet knows no gap; the end is read before its next look."""
        self.run_on(3.0)
        self.now += 4.0
        self.assertEqual(self.asleep(None), 4.0)

    def test_suspended(self) -> None:
        """A machine that slept."""
        self.run_on(3.0)
        self.attention.resumed(self.now, 60.0)
        self.assertEqual(self.asleep(None), 60.0)
        self.run_on(2.0)
        self.assertEqual(self.asleep(None), 0.0)

    def test_it_has_spoken_since(self) -> None:
        """Whoever spoke after the stall had not given us up; and who is silent for an interval after it neither."""
        self.stall(5.0)
        self.run_on(0.3)
        self.assertEqual(self.asleep(seen(0.1), heard=0.1), 0.0)
        self.assertEqual(self.asleep(seen(0.4), heard=0.3), 5.0)
        self.run_on(0.3)
        self.assertEqual(self.asleep(seen(1.0), heard=0.6), 0.0)

    def test_what_lay_unread(self) -> None:
        """A process that has just begun knows of no stall; what lay in the kernel for it proves one."""
        self.run_on(0.1)
        self.assertEqual(self.asleep(seen(28.0)), 28.0)
        self.assertEqual(self.asleep(seen(0.9)), 0.0)
        self.assertEqual(self.asleep(seen(1.5), heard=0.6), 0.0)


class EndedTests(SynchronousTestCase):
    """What the judge makes of it."""

    def ended(self, how: str, evidence: Evidence | None, stall: float = 3.0) -> Dead:
        """The verdict on an end right after a stall."""
        attention = Attention(START)
        judge = Liveness(1.5, attention, START, interval=0.5)
        judge.opened(START)
        judge.events()
        now = START + stall
        attention.looked(now)
        judge.heard(now)
        judge.ended(Ending(how, evidence), now)  # type: ignore[arg-type]
        self.assertIs(judge.state, State.DEAD)
        (dead,) = (one for one in judge.events() if isinstance(one, Dead))
        return dead

    def test_the_cause_stays(self) -> None:
        """It is what the kernel proves; the detail and the length of the stall stand beside it."""
        for how, evidence, cause in (
            ("eof", None, "peer_closed"),
            ("eof", seen(2.8), "peer_closed"),
            ("reset", seen(2.8, 7), "peer_reset"),
        ):
            dead = self.ended(how, evidence)
            assert dead.evidence is not None
            self.assertEqual((dead.cause, dead.evidence.detail, dead.evidence.lag), (cause, OWN_STALL, 3.0))

    def test_without_a_stall(self) -> None:
        """Nothing is added."""
        dead = self.ended("eof", seen(0.0), stall=0.0)
        assert dead.evidence is not None
        self.assertEqual((dead.cause, dead.evidence.detail, dead.evidence.lag), ("peer_closed", "eof", None))
        self.assertIsNone(self.ended("eof", None, stall=0.0).evidence)

    def test_other_causes(self) -> None:
        """What is proved of the path or of our own host stays: a stall explains it no better."""
        broken = Evidence(START, error="EHOSTUNREACH", outq=8, tcp=TcpInfo(7, 4, 0, 4, total_retrans=4, notsent=0))
        dead = self.ended("error", broken)
        assert dead.evidence is not None
        self.assertEqual((dead.cause, dead.evidence.detail), ("path_dead", "icmp"))

    def test_before_the_gate(self) -> None:
        """A handshake that broke off is a refusal, as ever, and its evidence says what we did."""
        attention = Attention(START)
        judge = Liveness(1.5, attention, START, interval=0.5, gated=True)
        attention.looked(START + 9.0)
        judge.ended(Ending("eof"), START + 9.0)
        self.assertIs(judge.state, State.REFUSED)
        self.assertEqual(judge.evidence, Evidence(START + 9.0, detail=OWN_STALL, lag=9.0))

    def test_layers(self) -> None:
        """The kernel of its host has closed; of its loop nothing is known."""
        blamed = Evidence(START, detail=OWN_STALL)
        for cause, host in (("peer_closed", "alive"), ("peer_reset", "alive"), ("middlebox_reset", "unknown")):
            self.assertEqual(layers(State.DEAD, cause, blamed), (host, "unknown", "unknown"))
