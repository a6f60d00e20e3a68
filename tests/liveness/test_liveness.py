"""The judge (``wire.md`` §2, "Judging"; the verdict of the design): when it falls, and above all when it does not."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.liveness.detectors import PhiAccrual
from heartbeat.liveness.events import Alive, Dead, Left, Refused, Stuck, Suspect
from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.need import ASK, ASK_AND_LOOK, JUDGE, LOOK, NOTHING, Need
from heartbeat.liveness.rtt import UNKNOWN_TERM, RoundTrips
from heartbeat.liveness.states import FINAL, State
from heartbeat.liveness.terms import terms
from tests.liveness.loops import CAP, HALF, INTERVAL, START, TURN, D, Loop, T, TimedTestCase, died_after, watched

EVIDENCE = Evidence(START)


class VerdictTests(TimedTestCase):
    """A loop that always listens, and a peer that has fallen silent."""

    def test_half_time_and_the_end(self) -> None:
        """Silence until (D + I)/2 makes it suspect and asks once; at D, and not before, it is dead."""
        loop, judge = watched()
        loop.sleep(HALF - 0.001)
        self.assertIs(judge.state, State.ALIVE)
        self.assertEqual(loop.asked, [])
        loop.sleep(0.002)
        self.assertIs(judge.state, State.SUSPECT)
        self.assertEqual(len(loop.asked), 1)
        self.assert_near(loop.asked[0] - START, HALF)
        loop.sleep(D - HALF - 0.003)
        self.assertIs(judge.state, State.SUSPECT)
        loop.sleep(0.01)
        self.assertIs(judge.state, State.DEAD)
        suspect, dead = loop.log
        assert isinstance(suspect, Suspect)
        assert isinstance(dead, Dead)
        self.assert_near(suspect.silent, HALF)
        self.assert_near(dead.at - START, D)
        self.assert_near(dead.silent, D)
        self.assertEqual((dead.cause, judge.cause), ("unattributed", "unattributed"))
        assert judge.evidence is not None
        self.assertEqual(judge.evidence.detail, "silent")
        self.assertIs(dead.evidence, judge.evidence)

    def test_what_it_needs_and_when(self) -> None:
        """Before its time nothing; at half time a question and a look; at the end a look that judges."""
        attention = Loop().attention
        judge = Liveness(D, attention, START, interval=INTERVAL)
        self.assertIs(judge.handle_timer(START + 0.5), NOTHING)
        self.assertEqual(judge.next_timer(), START + HALF)
        attention.expect(START + HALF)
        self.assertIs(judge.handle_timer(START + HALF), ASK_AND_LOOK)
        judge.asked(START + HALF)
        judge.handed_over(START + HALF)
        judge.observe(EVIDENCE, START + HALF)
        now = START + HALF
        needs = []
        while judge.state not in FINAL:
            at = judge.next_timer()
            assert at is not None
            self.assertGreater(at, now)
            now = at
            attention.expect(now)
            need = judge.handle_timer(now)
            needs.append(need)
            if need is JUDGE:
                judge.observe(EVIDENCE, now)
        self.assertEqual(set(needs[:-1]), {NOTHING})
        self.assertIs(needs[-1], JUDGE)

    def test_a_verdict_rests_on_several_polls(self) -> None:
        """A suspect is looked at every D / 8 at least, so that its answer is read before it is judged."""
        loop, judge = watched()
        loop.sleep(HALF + 0.001)
        while judge.state is State.SUSPECT:
            at = judge.next_timer()
            assert at is not None
            self.assertLessEqual(at - loop.now, CAP + 1e-9)
            loop.sleep(at - loop.now + TURN)

    def test_a_sign_of_life_starts_anew(self) -> None:
        """It moves the deadline without any call, and ends a suspicion with an event."""
        loop, judge = watched()
        for _ in range(20):
            loop.sleep(0.9)
            loop.heard()
        self.assertEqual(loop.log, [])
        loop.sleep(1.2)
        self.assertIs(judge.state, State.SUSPECT)
        loop.heard()
        self.assertIs(judge.state, State.ALIVE)
        self.assertEqual([type(event) for event in loop.log], [Suspect, Alive])
        self.assertEqual(judge.since, loop.now)
        self.assert_near(died_after(loop), D)

    def test_the_hot_path_writes_the_time_itself(self) -> None:
        """Who sets ``heard_at`` directly is believed; the timer finds out when it gets there."""
        loop, judge = watched()
        loop.sleep(0.9)
        judge.heard_at = loop.now
        loop.sleep(0.9)
        self.assertIs(judge.state, State.ALIVE)
        self.assertEqual(loop.log, [])
        loop.sleep(0.2)
        self.assertIs(judge.state, State.SUSPECT)

    def test_after_the_end_nothing_happens(self) -> None:
        """A dead peer has no timer, asks for nothing, and no word brings it back."""
        loop, judge = watched()
        loop.sleep(5.0)
        self.assertIs(judge.state, State.DEAD)
        self.assertIsNone(judge.next_timer())
        self.assertIs(judge.handle_timer(loop.now + 100.0), NOTHING)
        judge.works(True, loop.now)
        judge.heard(loop.now)
        judge.deaf(loop.now)
        judge.hearing(loop.now)
        judge.leave("leaving", loop.now)
        judge.ended(Ending("eof"), loop.now)
        judge.observe(EVIDENCE, loop.now)
        self.assertEqual((judge.state, judge.cause), (State.DEAD, "unattributed"))
        self.assertIsNone(judge.next_timer())
        self.assertEqual(judge.events(), ())

    @settings(deadline=None)
    @given(st.floats(0.01, 300.0), st.integers(2, 20), st.floats(0.0, 4.0))
    def test_never_before_and_soon_after(self, interval: float, mult: int, term: float) -> None:
        """For any terms and any path: dead at D or when the question has had its time, whichever is later."""
        loop = Loop()
        rtt = RoundTrips()
        rtt.sample(term / 2)
        detect = interval * mult
        loop.judge = Liveness(detect, loop.attention, START, interval=interval, rtt=rtt)
        took = died_after(loop, detect * 3 + 40.0)
        half = (detect + interval) / 2
        due = max(detect, half + (detect - interval) / 2, half + rtt.answer_term)
        self.assertGreaterEqual(took, due - 1e-5)
        self.assertLessEqual(took, due + 1e-5)


class QuestionTests(TimedTestCase):
    """Never condemned unheard: the clock of a question starts when the kernel has it."""

    def test_hand_over_starts_the_clock(self) -> None:
        """A question that waits in user space is no question yet: the verdict comes T/2 after the kernel took it."""
        loop, judge = watched()
        loop.kernel = False
        loop.sleep(10.0)
        self.assertIs(judge.state, State.SUSPECT)
        self.assertEqual(len(loop.asked), 1)
        loop.drain()
        self.assert_near(died_after(loop), T / 2, within=CAP)

    def test_a_question_that_could_not_be_put_is_asked_for_again(self) -> None:
        """While nothing was handed over and nothing waits, each look asks once more."""
        loop, judge = watched()
        needs = []
        for _ in range(200):
            loop.attention.expect(loop.now + TURN)
            loop.now += TURN
            needs.append(judge.handle_timer(loop.now))
            if needs[-1] & Need.LOOK:
                judge.observe(EVIDENCE, loop.now)
        self.assertNotIn(JUDGE, needs)
        self.assertGreaterEqual(needs.count(ASK), 10)
        self.assertIs(judge.state, State.SUSPECT)

    def test_the_path_has_its_time(self) -> None:
        """A slow path makes the verdict later: 2 × (smoothed + 4 × variation) after the question."""
        rtt = RoundTrips()
        for _ in range(200):
            rtt.sample(1.0)
        loop, _ = watched(rtt=rtt)
        self.assert_near(died_after(loop), HALF + 2 * (1.0 + 0.2))

    def test_three_seconds_while_nothing_is_known(self) -> None:
        """No round trip known yet: 3 s from the question."""
        loop, _ = watched(rtt=RoundTrips())
        self.assert_near(died_after(loop), HALF + UNKNOWN_TERM)

    def test_an_older_question_counts_from_its_own_hand_over(self) -> None:
        """One that was put after the last sign of life is a question, too: the first of them holds."""
        loop, _ = watched()
        loop.sleep(0.2)
        loop.heard()
        loop.sleep(0.1)
        loop.ask()
        loop.sleep(0.3)
        loop.ask()
        loop.sleep(0.5)
        self.assert_near(died_after(loop), D - 0.9)

    def test_a_question_before_the_last_sign_of_life_is_settled(self) -> None:
        """It may be what was answered; so may one of the same instant. The confirm question decides."""
        for pause in (0.05, 0.0):
            loop, judge = watched()
            loop.sleep(0.5)
            loop.ask()
            loop.sleep(pause)
            loop.heard()
            loop.kernel = False  # the confirm question stays in user space
            loop.sleep(20.0)
            self.assertIs(judge.state, State.SUSPECT, pause)
            loop.drain()
            self.assert_near(died_after(loop), T / 2, within=CAP)

    def test_a_hand_over_without_a_question(self) -> None:
        """Other bytes that leave (answers, BYE) start no clock."""
        loop, judge = watched()
        loop.sleep(0.5)
        loop.drain()
        loop.kernel = False
        loop.sleep(30.0)
        self.assertIs(judge.state, State.SUSPECT)

    @settings(deadline=None)
    @given(st.floats(0.0, 20.0), st.floats(0.0, 3.0))
    def test_never_before_half_the_timeout(self, held: float, smoothed: float) -> None:
        """Whenever the kernel takes the question, the peer has T/2 and the RTT term from there on."""
        rtt = RoundTrips()
        rtt.sample(smoothed)
        loop, judge = watched(rtt=rtt)
        loop.kernel = False
        loop.sleep(HALF + 0.001 + held)
        self.assertIs(judge.state, State.SUSPECT)
        loop.drain()
        wait = max(T / 2, rtt.answer_term)
        handed = loop.now
        loop.sleep(100.0)
        (dead,) = loop.events(Dead)
        self.assertGreaterEqual(dead.at, max(START + D, handed + wait) - 1e-5)
        self.assertLessEqual(dead.at, max(START + D, handed + wait) + CAP + 1e-5)


class GateTests(TimedTestCase):
    """Before the gate nobody is judged."""

    def test_nothing_is_due(self) -> None:
        """No timer and no verdict, for an hour."""
        loop, judge = watched(gated=True)
        self.assertIs(judge.state, State.CONNECTING)
        self.assertIsNone(judge.next_timer())
        loop.sleep(3600.0)
        self.assertIs(judge.state, State.CONNECTING)
        self.assertIs(judge.handle_timer(loop.now), NOTHING)

    def test_opening_starts_the_clock(self) -> None:
        """By the terms that were agreed, from the moment of opening."""
        loop, judge = watched(gated=True)
        loop.sleep(9.0)
        judge.opened(loop.now, terms(2.0, 8.0))
        self.assertEqual([type(event) for event in judge.events()], [Alive])
        self.assertIs(judge.state, State.ALIVE)
        self.assert_near(died_after(loop), 8.0)

    def test_opening_without_terms(self) -> None:
        """The configured ones hold, as for a bare peer."""
        loop, judge = watched(gated=True)
        judge.opened(loop.now)
        judge.events()
        self.assert_near(died_after(loop), D)

    def test_opening_what_is_open(self) -> None:
        """Changes the terms and no state: it is alive since it came."""
        loop, judge = watched()
        loop.sleep(0.5)
        judge.opened(loop.now, terms(2.0, 8.0))
        self.assertEqual((judge.state, judge.since), (State.ALIVE, START))
        self.assert_near(died_after(loop), 8.0)

    def test_the_detector_learns_the_agreed_terms(self) -> None:
        """It was made before they were known."""
        detector = PhiAccrual(INTERVAL, D)
        loop, judge = watched(gated=True, detector=detector)
        judge.opened(loop.now, terms(2.0, 8.0))
        self.assert_near(detector.patience(), 8.0)

    def test_an_end_is_a_refusal(self) -> None:
        """A verdict, an end of the transport, a BYE: refused, not lost; a BYE that is no failure has no cause."""
        judges = [watched(gated=True)[1] for _ in range(3)]
        judges[0].condemn("hello_timeout", START, reason="too slow")
        judges[1].ended(Ending("eof"), START)
        judges[2].leave("draining", START, "after=5")
        told = [("hello_timeout", "too slow"), ("peer_closed", ""), ("", "after=5")]
        for judge, (cause, reason) in zip(judges, told, strict=True):
            self.assertEqual((judge.state, judge.cause), (State.REFUSED, cause or None))
            self.assertEqual(judge.events(), (Refused(START, cause, reason),))
            self.assertIsNone(judge.next_timer())

    def test_what_it_says_of_its_work_waits(self) -> None:
        """STUCK is of a peer that is alive."""
        _, judge = watched(gated=True)
        judge.deaf(START)
        judge.hearing(START + 1.0)
        self.assertIsNone(judge.next_timer())
        self.assertIs(judge.state, State.CONNECTING)


class EndTests(TimedTestCase):
    """The transport is gone, or the peer said BYE, in every state."""

    def in_state(self, state: State) -> tuple[Loop, Liveness]:
        """A judge in a judged state."""
        loop, judge = watched()
        loop.sleep(0.1)
        if state is State.STUCK:
            judge.works(True, loop.now)
        if state is State.SUSPECT:
            loop.sleep(HALF)
        self.assertIs(judge.state, state)
        loop.log += judge.events()
        loop.log.clear()
        return loop, judge

    def test_every_end_in_every_state(self) -> None:
        """EOF and RST are named, an error is not guessed at, our own abort and a BYE without failure are LEFT; once."""
        evidence = Evidence(START + 1.0, error="ECONNRESET")
        for state in (State.ALIVE, State.SUSPECT, State.STUCK):
            for how, cause in (
                ("eof", "peer_closed"),
                ("reset", "peer_reset"),
                ("error", "unattributed"),
            ):
                loop, judge = self.in_state(state)
                judge.ended(Ending(how, evidence), loop.now)  # type: ignore[arg-type]  # the literals, from a table
                judge.ended(Ending("eof"), loop.now + 1.0)
                (dead,) = judge.events()
                assert isinstance(dead, Dead)
                self.assertEqual((judge.state, dead.cause, judge.cause), (State.DEAD, cause, cause))
                assert judge.evidence is not None
                self.assertEqual(replace(judge.evidence, detail=None), evidence)
                self.assert_near(dead.silent, loop.now - START)
                self.assertIsNone(judge.next_timer())
                self.assertIsNone(judge.suspicion)
            loop, judge = self.in_state(state)
            judge.ended(Ending("aborted", evidence), loop.now)
            self.assertEqual((judge.events(), judge.state), ((Left(loop.now, "aborted"),), State.LEFT))
            loop, judge = self.in_state(state)
            judge.leave("age", loop.now, "maximum age")
            judge.ended(Ending("eof"), loop.now + 1.0)
            self.assertEqual(judge.events(), (Left(loop.now, "age", "maximum age"),))
            self.assertEqual((judge.state, judge.cause), (State.LEFT, None))
            self.assertIsNone(judge.next_timer())

    def test_since(self) -> None:
        """It says when the state began."""
        loop, judge = watched()
        loop.sleep(0.7)
        judge.leave("leaving", loop.now)
        self.assertEqual(judge.since, loop.now)


class StuckTests(TimedTestCase):
    """A loop that answers while its work stands still."""

    def test_there_and_back(self) -> None:
        """STUCK and ALIVE follow what the last SYNC said, with an event for each change and none for a repetition."""
        loop, judge = watched()
        for stuck in (False, True, True, False, False, True):
            judge.works(stuck, loop.now)
        self.assertEqual([type(event) for event in judge.events()], [Stuck, Alive, Stuck])
        self.assertIs(judge.state, State.STUCK)

    def test_through_a_suspicion(self) -> None:
        """SUSPECT returns to the one that the last SYNC said."""
        loop, judge = watched()
        judge.works(True, loop.now)
        loop.sleep(1.2)
        self.assertIs(judge.state, State.SUSPECT)
        loop.heard()
        self.assertIs(judge.state, State.STUCK)
        loop.sleep(1.2)
        judge.works(False, loop.now)  # a SYNC came, which is a sign of life: told in this order by the session
        self.assertIs(judge.state, State.SUSPECT)
        loop.heard()
        self.assertIs(judge.state, State.ALIVE)
        kinds = [type(event) for event in loop.log]
        self.assertEqual(kinds, [Stuck, Suspect, Stuck, Suspect, Alive])

    def test_a_stuck_peer_can_die(self) -> None:
        """It is judged like any other."""
        loop, judge = watched()
        judge.works(True, loop.now)
        self.assert_near(died_after(loop), D)


class IdleTests(TimedTestCase):
    """A bare Liveness that only listens: an idle timeout."""

    def test_falls_at_d_without_a_question(self) -> None:
        """Looks at half time, judges at D, asks nothing."""
        loop = Loop()
        loop.judge = judge = Liveness(D, loop.attention, START, can_ask=False)
        loop.sleep(D / 2 + 0.001)
        self.assertIs(judge.state, State.SUSPECT)
        loop.sleep(D)
        self.assert_near(loop.events(Dead)[0].at - START, D)
        self.assertEqual(loop.asked, [])

    def test_half_time_is_a_look(self) -> None:
        """So that the evidence of half time is there at the verdict."""
        judge = Liveness(D, Loop().attention, START, can_ask=False)
        judge.attention.expect(START + D / 2)
        self.assertIs(judge.handle_timer(START + D / 2), LOOK)
