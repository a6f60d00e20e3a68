"""The judge (``wire.md`` §2, "Judging"; the verdict of the design): when it falls, and above all when it does not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.detectors import MOST, PhiAccrual
from heartbeat.liveness.events import Alive, Dead, Left, Refused, Spared, Stuck, Suspect
from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.liveness.liveness import GRANT_LASTS, Liveness
from heartbeat.liveness.need import ASK, ASK_AND_LOOK, JUDGE, LOOK, NOTHING, Need
from heartbeat.liveness.rtt import UNKNOWN_TERM, RoundTrips
from heartbeat.liveness.states import FINAL, State
from heartbeat.liveness.suspicion import DRAIN_LOOKS, DRAIN_LOOKS_UNCOUNTED
from heartbeat.liveness.terms import terms
from tests.liveness.loops import START, TURN, Loop

I = 0.5
D = 1.5
HALF = 1.0
T = 1.0
CAP = D / 8
EVIDENCE = Evidence(START)


def watched(**settings: object) -> tuple[Loop, Liveness]:
    """A loop with one judge on the usual terms."""
    loop = Loop()
    loop.judge = judge = Liveness(D, loop.attention, loop.now, **{"interval": I, **settings})  # type: ignore[arg-type]  # keyword arguments of a test
    return loop, judge


def died_after(loop: Loop, most: float = 60.0) -> float:
    """Seconds from now until the verdict."""
    begun = loop.now
    loop.sleep(most)
    (dead,) = loop.events(Dead)
    return dead.at - begun


class VerdictTests(SynchronousTestCase):
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
        self.assertAlmostEqual(loop.asked[0] - START, HALF, places=5)
        loop.sleep(D - HALF - 0.003)
        self.assertIs(judge.state, State.SUSPECT)
        loop.sleep(0.01)
        self.assertIs(judge.state, State.DEAD)
        suspect, dead = loop.log
        assert isinstance(suspect, Suspect)
        assert isinstance(dead, Dead)
        self.assertAlmostEqual(suspect.silent, HALF, places=5)
        self.assertAlmostEqual(dead.at - START, D, places=5)
        self.assertAlmostEqual(dead.silent, D, places=5)
        self.assertEqual((dead.cause, judge.cause), ("unattributed", "unattributed"))
        assert judge.evidence is not None
        self.assertEqual(judge.evidence.detail, "silent")
        self.assertIs(dead.evidence, judge.evidence)

    def test_what_it_needs_and_when(self) -> None:
        """Before its time nothing; at half time a question and a look; at the end a look that judges."""
        attention = Loop().attention
        judge = Liveness(D, attention, START, interval=I)
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
        self.assertAlmostEqual(died_after(loop), D, places=5)

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


class QuestionTests(SynchronousTestCase):
    """Never condemned unheard: the clock of a question starts when the kernel has it."""

    def test_hand_over_starts_the_clock(self) -> None:
        """A question that waits in user space is no question yet: the verdict comes T/2 after the kernel took it."""
        loop, judge = watched()
        loop.kernel = False
        loop.sleep(10.0)
        self.assertIs(judge.state, State.SUSPECT)
        self.assertEqual(len(loop.asked), 1)
        loop.drain()
        self.assertAlmostEqual(died_after(loop), T / 2, delta=CAP)

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
        self.assertAlmostEqual(died_after(loop), HALF + 2 * (1.0 + 0.2), places=3)

    def test_three_seconds_while_nothing_is_known(self) -> None:
        """No round trip known yet: 3 s from the question."""
        loop, _ = watched(rtt=RoundTrips())
        self.assertAlmostEqual(died_after(loop), HALF + UNKNOWN_TERM, places=3)

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
        self.assertAlmostEqual(died_after(loop), D - 0.9, places=5)

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
            self.assertAlmostEqual(died_after(loop), T / 2, delta=CAP)

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


class OwnStallTests(SynchronousTestCase):
    """Only attentive time counts."""

    def test_a_stall_is_not_the_peers(self) -> None:
        """After 20 s in which we were stopped, the peer still has what was left, less one cap."""
        loop, judge = watched()
        loop.sleep(0.5)
        loop.stall(20.0)
        self.assertIs(judge.state, State.ALIVE)
        left = died_after(loop)
        self.assertAlmostEqual(left, D - 0.5 - CAP, delta=0.01)

    def test_it_is_counted_as_spared_once(self) -> None:
        """Where a plain timer would have fired, one event per silence says what was not the peer's."""
        loop, _ = watched()
        for _ in range(3):
            loop.sleep(0.2)
            loop.stall(4.0)
        (spared,) = loop.events(Spared)
        assert isinstance(spared, Spared)
        self.assertEqual(spared.reason, "local_stall")
        self.assertAlmostEqual(spared.seconds, 4.0 - CAP, places=5)
        loop.heard()
        loop.sleep(0.9)
        loop.stall(4.0)
        self.assertEqual(len(loop.events(Spared)), 2)

    def test_a_small_stall_is_no_event(self) -> None:
        """Nobody would have been killed."""
        loop, _ = watched()
        loop.sleep(0.5)
        loop.stall(0.4)
        loop.sleep(0.05)
        loop.heard()
        self.assertEqual(loop.log, [])

    def test_a_question_waits_attentively_too(self) -> None:
        """A stall between question and verdict gives the answer its time back."""
        loop, judge = watched()
        loop.sleep(HALF + 0.001)
        loop.stall(30.0)
        self.assertIs(judge.state, State.SUSPECT)
        self.assertAlmostEqual(died_after(loop), T / 2 - CAP, delta=0.01)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.floats(0.001, 0.6), st.floats(0.0, 10.0)), min_size=1, max_size=12))
    def test_never_before_d_attentive_seconds(self, pieces: list[tuple[float, float]]) -> None:
        """Whatever the stalls: D seconds of listening lie before the verdict, each stall counted up to the cap."""
        loop, judge = watched()
        stalls = []
        for slept, stalled in pieces:
            loop.sleep(slept)
            if judge.state is State.DEAD:
                break
            stalls.append((loop.now, loop.now + stalled))
            loop.stall(stalled)
        if judge.state is not State.DEAD:
            loop.sleep(D + T + CAP)
        (dead,) = loop.events(Dead)
        noticed = [ended - begun for begun, ended in stalls if ended - begun > 0.05 and ended <= dead.at]
        listened = dead.at - START - sum(max(0.0, length - CAP) for length in noticed)
        self.assertGreaterEqual(listened, D - 1e-4)
        # ... and not for ever: each stall makes it later by itself and a poll at most.
        self.assertLessEqual(dead.at - START, D + T / 2 + sum(length for length in noticed) + CAP + 0.1)


class DrainTests(SynchronousTestCase):
    """At the deadline: input that lies unread is a reason to look again, never a proof of life, and bounded."""

    def test_unread_input_is_waited_for(self) -> None:
        """Bytes lie unread at the deadline: a turn later they were read, and it was a sign of life."""
        loop, judge = watched()
        loop.received, loop.unread = 800, 8
        loop.sleep(D + 0.001)
        self.assertIs(judge.state, State.SUSPECT)
        self.assertEqual([event.reason for event in loop.events(Spared) if isinstance(event, Spared)], ["unread_input"])
        at = judge.next_timer()
        assert at is not None
        self.assertLessEqual(at, loop.now)  # at the next turn, not D / 8 later
        loop.heard()
        self.assertIs(judge.state, State.ALIVE)

    def test_read_and_no_sign_of_life(self) -> None:
        """Everything that lay there at the deadline was read: dead, however much came since."""
        loop, judge = watched()
        loop.received, loop.unread = 800, 8
        loop.sleep(D + 0.001)
        loop.received, loop.unread = 100_000, 99_200
        loop.sleep(TURN * 2)
        self.assertIs(judge.state, State.DEAD)

    def test_a_trickle_never_prolongs(self) -> None:
        """A byte now and then, which never becomes a frame, delays the verdict by a few turns and no more."""
        for received in (800, None):
            loop, judge = watched()
            loop.received, loop.unread = received, 1
            loop.sleep(D + 0.001)
            turns = 0
            while judge.state is not State.DEAD:
                turns += 1
                if loop.received is not None:
                    loop.received += 1
                loop.sleep(TURN)
                self.assertLess(turns, 10)

    def test_is_bounded_where_nothing_is_read(self) -> None:
        """With a byte counter a hundred turns at most, without one five."""
        for received, looks in ((800, DRAIN_LOOKS), (None, DRAIN_LOOKS_UNCOUNTED)):
            loop, judge = watched()
            loop.received, loop.unread = received, 8
            loop.sleep(60.0)
            self.assertIs(judge.state, State.DEAD)
            self.assertEqual(len(loop.judged), looks + 1)
            (dead,) = loop.events(Dead)
            self.assertLessEqual(dead.at - START, D + (looks + 2) * TURN)

    def test_nothing_unread(self) -> None:
        """Then there is nothing to wait for."""
        loop, _ = watched()
        loop.received = 800
        self.assertAlmostEqual(died_after(loop), D, places=5)
        self.assertEqual(loop.events(Spared), [])


class CrowdTests(SynchronousTestCase):
    """Too many due in one turn: we suspect ourselves, once."""

    def test_one_more_question(self) -> None:
        """Everybody is asked once more and has T/2 from there; then the verdict falls, crowd or not."""
        loop, judge = watched()
        loop.crowd = True
        loop.sleep(D + 0.001)
        self.assertIs(judge.state, State.SUSPECT)
        self.assertEqual(len(loop.asked), 2)
        self.assertEqual([event.reason for event in loop.events(Spared) if isinstance(event, Spared)], ["mass_timeout"])
        self.assertAlmostEqual(died_after(loop), T / 2, delta=0.01)
        self.assertEqual(len(loop.asked), 2)

    def test_each_suspicion_has_its_own(self) -> None:
        """A peer that was heard in between gets the second chance again."""
        loop, judge = watched()
        loop.crowd = True
        loop.sleep(D + 0.001)
        loop.heard()
        self.assertIs(judge.state, State.ALIVE)
        self.assertAlmostEqual(died_after(loop), D + T / 2, delta=0.01)
        self.assertEqual(len(loop.asked), 4)

    def test_who_cannot_be_asked_is_judged(self) -> None:
        """An idle timeout has no question, so there is no second chance; nor is there without a suspicion."""
        loop, judge = watched(can_ask=False)
        loop.crowd = True
        self.assertIs(judge.doubt(loop.now), JUDGE)
        self.assertAlmostEqual(died_after(loop), D, places=5)

    @settings(deadline=None)
    @given(st.lists(st.booleans(), min_size=1, max_size=30))
    def test_never_more_than_once(self, crowds: list[bool]) -> None:
        """However the crowds come and go, one silence is doubted once: the dead do not hide among the dead."""
        loop, judge = watched()
        for crowd in crowds:
            loop.crowd = crowd
            loop.sleep(0.1)
        loop.crowd = True
        loop.sleep(D + T)
        self.assertIs(judge.state, State.DEAD)
        self.assertLessEqual(len(loop.asked), 2)
        self.assertLessEqual(loop.events(Dead)[0].at - START, D + T / 2 + 0.01)


class GrantTests(SynchronousTestCase):
    """STALLED of the peer (``wire.md`` §6): bounded patience."""

    def test_longer_by_what_it_says(self) -> None:
        """D is longer by the stall, and half time with it."""
        loop, judge = watched()
        judge.grant(0.8, loop.now)
        loop.sleep((D + 0.8 + I) / 2 - 0.01)
        self.assertIs(judge.state, State.ALIVE)
        loop.sleep(0.02)
        self.assertIs(judge.state, State.SUSPECT)
        self.assertAlmostEqual(died_after(loop) + loop.asked[0] - START, loop.events(Dead)[0].at - START, delta=2.0)
        self.assertAlmostEqual(loop.events(Dead)[0].at - START, D + 0.8, places=3)

    def test_at_most_d(self) -> None:
        """Whoever says that it was stalled for an hour gets as much again, and no more."""
        loop, judge = watched()
        judge.grant(3600.0, loop.now)
        self.assertAlmostEqual(died_after(loop), 2 * D, places=3)

    def test_others_add_nothing(self) -> None:
        """Within a minute the first one counts, neither the longest nor their sum."""
        loop, judge = watched()
        judge.grant(0.2, loop.now)
        judge.grant(1.0, loop.now)
        judge.grant(0.2, loop.now)
        self.assertAlmostEqual(died_after(loop), D + 0.2, places=3)

    def test_for_a_minute(self) -> None:
        """Afterwards D is what was agreed, until the next one."""
        loop, judge = watched()
        judge.grant(1.0, loop.now)
        for _ in range(121):
            loop.sleep(0.5)
            loop.heard()
        self.assertGreater(loop.now, START + GRANT_LASTS)
        self.assertAlmostEqual(died_after(loop), D, places=3)
        loop, judge = watched()
        judge.grant(0.3, loop.now)
        for _ in range(121):
            loop.sleep(0.5)
            loop.heard()
        judge.grant(0.7, loop.now)
        self.assertAlmostEqual(died_after(loop), D + 0.7, places=3)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.floats(0.0, 0.9), st.floats(0.0, 100.0)), max_size=40))
    def test_never_more_than_d_longer(self, stalls: list[tuple[float, float]]) -> None:
        """A peer that says STALLED for ever is found dead within 2 × D of its last word all the same."""
        loop, judge = watched()
        for pause, said in stalls:
            loop.sleep(pause)
            judge.grant(said, loop.now)
            loop.heard()
        took = died_after(loop)
        self.assertGreaterEqual(took, D - 1e-5)
        self.assertLessEqual(took, 2 * D + CAP + 1e-5)


class DeafTests(SynchronousTestCase):
    """While we do not read on purpose, silence is ours."""

    def test_nobody_is_judged_meanwhile(self) -> None:
        """No timer at all, and afterwards the clock goes on where it stood."""
        loop, judge = watched()
        loop.sleep(0.4)
        judge.deaf(loop.now)
        self.assertIsNone(judge.next_timer())
        loop.sleep(100.0)
        judge.hearing(loop.now)
        self.assertIs(judge.state, State.ALIVE)
        self.assertAlmostEqual(died_after(loop), D - 0.4, delta=CAP)

    def test_questions_from_before_are_void(self) -> None:
        """Their answers may lie unread: a suspect is asked again before it is condemned."""
        loop, judge = watched()
        loop.sleep(HALF + 0.1)
        self.assertEqual(len(loop.asked), 1)
        judge.deaf(loop.now)
        loop.sleep(5.0)
        judge.hearing(loop.now)
        self.assertAlmostEqual(died_after(loop), T / 2, delta=CAP + 0.01)
        self.assertEqual(len(loop.asked), 2)

    def test_times_add_up_within_one_silence(self) -> None:
        """Two pauses are both excused; a sign of life forgets them."""
        loop, judge = watched()
        for _ in range(2):
            loop.sleep(0.2)
            judge.deaf(loop.now)
            loop.sleep(7.0)
            judge.hearing(loop.now)
        self.assertAlmostEqual(died_after(loop), D - 0.4, delta=CAP)
        loop, judge = watched()
        judge.deaf(loop.now)
        loop.sleep(7.0)
        judge.hearing(loop.now)
        loop.sleep(0.1)
        loop.heard()
        self.assertAlmostEqual(died_after(loop), D, places=3)

    def test_heard_while_deaf(self) -> None:
        """What was read before the pause may still be a sign of life; it starts no clock."""
        loop, judge = watched()
        loop.sleep(HALF + 0.1)
        judge.deaf(loop.now)
        loop.heard()
        self.assertIs(judge.state, State.ALIVE)
        self.assertIsNone(judge.next_timer())
        loop.sleep(50.0)
        judge.hearing(loop.now)
        self.assertAlmostEqual(died_after(loop), D, delta=CAP)

    def test_twice_is_once(self) -> None:
        """And hearing without having been deaf is nothing."""
        loop, judge = watched()
        due = judge.next_timer()
        judge.hearing(loop.now + 0.5)
        self.assertEqual(judge.next_timer(), due)
        judge.deaf(loop.now)
        loop.sleep(3.0)
        judge.deaf(loop.now)
        loop.sleep(3.0)
        judge.hearing(loop.now)
        self.assertAlmostEqual(died_after(loop), D, delta=CAP)

    def test_a_detector_learns_nothing_from_it(self) -> None:
        """Ten minutes without reading are no interval of the peer."""
        detector = PhiAccrual(I, D)
        loop, judge = watched(detector=detector)
        for _ in range(20):
            loop.sleep(I)
            loop.heard()
        before = detector.patience()
        judge.deaf(loop.now)
        loop.sleep(5.0)
        judge.hearing(loop.now)
        loop.heard()
        self.assertAlmostEqual(detector.patience(), before, places=6)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.floats(0.0, 0.3), st.floats(0.0, 20.0)), min_size=1, max_size=8))
    def test_never_condemned_for_our_own_pause(self, pauses: list[tuple[float, float]]) -> None:
        """D seconds of reading lie before any verdict, however often and long we paused."""
        loop, judge = watched()
        deaf = 0.0
        for reading, paused in pauses:
            loop.sleep(reading)
            if judge.state is State.DEAD:
                break
            judge.deaf(loop.now)
            loop.sleep(paused)
            judge.hearing(loop.now)
            deaf += paused
        loop.sleep(D + T + 1.0)
        (dead,) = loop.events(Dead)
        self.assertGreaterEqual(dead.at - START - deaf, D - 1e-4)


class GateTests(SynchronousTestCase):
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
        self.assertAlmostEqual(died_after(loop), 8.0, places=4)

    def test_opening_without_terms(self) -> None:
        """The configured ones hold, as for a bare peer."""
        loop, judge = watched(gated=True)
        judge.opened(loop.now)
        judge.events()
        self.assertAlmostEqual(died_after(loop), D, places=4)

    def test_the_detector_learns_the_agreed_terms(self) -> None:
        """It was made before they were known."""
        detector = PhiAccrual(I, D)
        loop, judge = watched(gated=True, detector=detector)
        judge.opened(loop.now, terms(2.0, 8.0))
        self.assertAlmostEqual(detector.patience(), 8.0, places=4)

    def test_an_end_is_a_refusal(self) -> None:
        """A verdict, an end of the transport, a BYE: it was refused, not lost; a BYE that is no failure has no cause."""
        for end, cause in (
            (lambda judge: judge.condemn("hello_timeout", START, reason="too slow"), "hello_timeout"),
            (lambda judge: judge.ended(Ending("eof"), START), "peer_closed"),
            (lambda judge: judge.leave("draining", START, "after=5"), None),
        ):
            _, judge = watched(gated=True)
            end(judge)  # type: ignore[no-untyped-call]  # a lambda
            self.assertIs(judge.state, State.REFUSED)
            self.assertEqual(judge.cause, cause)
            (refused,) = judge.events()
            assert isinstance(refused, Refused)
            self.assertEqual(refused.cause, cause or "")
            self.assertIsNone(judge.next_timer())
        self.assertEqual(refused.reason, "after=5")

    def test_what_it_says_of_its_work_waits(self) -> None:
        """STUCK is of a peer that is alive."""
        _, judge = watched(gated=True)
        judge.deaf(START)
        judge.hearing(START + 1.0)
        self.assertIsNone(judge.next_timer())
        self.assertIs(judge.state, State.CONNECTING)


class EndTests(SynchronousTestCase):
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
        """EOF and RST are named, an error is not guessed at, a BYE without failure is LEFT; each is told once."""
        evidence = Evidence(START + 1.0, error="ECONNRESET")
        for state in (State.ALIVE, State.SUSPECT, State.STUCK):
            for how, cause in (
                ("eof", "peer_closed"),
                ("reset", "peer_reset"),
                ("error", "unattributed"),
                ("aborted", "unattributed"),
            ):
                loop, judge = self.in_state(state)
                judge.ended(Ending(how, evidence), loop.now)  # type: ignore[arg-type]  # the literals, from a table
                judge.ended(Ending("eof"), loop.now + 1.0)
                (dead,) = judge.events()
                assert isinstance(dead, Dead)
                self.assertEqual((judge.state, dead.cause, judge.cause), (State.DEAD, cause, cause))
                self.assertIs(judge.evidence, evidence)
                self.assertAlmostEqual(dead.silent, loop.now - START, places=6)
                self.assertIsNone(judge.next_timer())
                self.assertIsNone(judge.suspicion)
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


class StuckTests(SynchronousTestCase):
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
        self.assertAlmostEqual(died_after(loop), D, places=5)


class IdleTests(SynchronousTestCase):
    """A bare Liveness that only listens: an idle timeout."""

    def test_falls_at_d_without_a_question(self) -> None:
        """Looks at half time, judges at D, asks nothing."""
        loop = Loop()
        loop.judge = judge = Liveness(D, loop.attention, START, can_ask=False)
        loop.sleep(D / 2 + 0.001)
        self.assertIs(judge.state, State.SUSPECT)
        loop.sleep(D)
        self.assertAlmostEqual(loop.events(Dead)[0].at - START, D, places=5)
        self.assertEqual(loop.asked, [])

    def test_half_time_is_a_look(self) -> None:
        """So that the evidence of half time is there at the verdict."""
        judge = Liveness(D, Loop().attention, START, can_ask=False)
        judge.attention.expect(START + D / 2)
        self.assertIs(judge.handle_timer(START + D / 2), LOOK)


class PatienceTests(SynchronousTestCase):
    """A detector makes the judge more patient, never less."""

    def irregular(self, gap: float) -> float:
        """Seconds from the last beat to the verdict for a peer that beat irregularly."""
        loop, _ = watched(detector=PhiAccrual(I, D))
        for number in range(100):
            loop.sleep(gap if number % 2 else 0.1)
            loop.heard()
        return died_after(loop)

    def test_a_steady_peer_gets_d(self) -> None:
        """Exactly what was agreed."""
        loop, _ = watched(detector=PhiAccrual(I, D))
        for _ in range(100):
            loop.sleep(I)
            loop.heard()
        self.assertAlmostEqual(died_after(loop), D, places=2)

    def test_an_irregular_one_gets_more(self) -> None:
        """As much as its intervals make likely, at most four times D."""
        self.assertGreater(self.irregular(0.9), D + 0.3)
        self.assertLessEqual(self.irregular(0.9), MOST * D + 0.01)

    def test_late_reads_teach_nothing(self) -> None:
        """When we were late to read, when the beat came is not known: the detector skips it."""
        detector = PhiAccrual(I, D)
        loop, judge = watched(detector=detector)
        for _ in range(20):
            loop.sleep(I)
            loop.heard()
        before = detector.patience()
        loop.attention.expect(loop.now + 0.1)
        loop.now += 4.0
        judge.heard(loop.now)  # sockets were read before the wheel woke
        self.assertAlmostEqual(detector.patience(), before, places=6)

    def test_other_frames_teach_nothing(self) -> None:
        """Only beats come at regular times."""
        detector = PhiAccrual(I, D)
        loop, judge = watched(detector=detector)
        for _ in range(20):
            loop.sleep(I)
            judge.heard(loop.now)
        before = detector.patience()
        for _ in range(10):
            loop.sleep(0.01)
            judge.heard(loop.now, beat=False)
        self.assertEqual(detector.patience(), before)
        self.assertEqual(judge.heard_at, loop.now)

    @settings(deadline=None)
    @given(st.lists(st.floats(0.0, 1.4), max_size=60))
    def test_never_less_patient(self, gaps: list[float]) -> None:
        """Whatever it has learned, D attentive seconds are waited for."""
        loop, _ = watched(detector=PhiAccrual(I, D))
        for gap in gaps:
            loop.sleep(gap)
            loop.heard()
        took = died_after(loop, 5 * MOST * D)
        self.assertGreaterEqual(took, D - 1e-5)
        self.assertLessEqual(took, MOST * D + CAP + 1e-3)
