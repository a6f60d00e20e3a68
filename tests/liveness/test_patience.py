"""What makes the judge wait: own stalls, unread input, a crowd, STALLED, a pause of our own, an irregular peer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.liveness.allowance import GRANT_LASTS
from heartbeat.liveness.detectors import MOST, PhiAccrual
from heartbeat.liveness.events import Dead, Spared
from heartbeat.liveness.need import JUDGE
from heartbeat.liveness.states import State
from heartbeat.liveness.suspicion import DRAIN_LOOKS, DRAIN_LOOKS_UNCOUNTED
from tests.liveness.loops import CAP, HALF, INTERVAL, START, TURN, D, T, TimedTestCase, died_after, watched


class OwnStallTests(TimedTestCase):
    """Only attentive time counts."""

    def test_a_stall_is_not_the_peers(self) -> None:
        """After 20 s in which we were stopped, the peer still has what was left, less one cap."""
        loop, judge = watched()
        loop.sleep(0.5)
        loop.stall(20.0)
        self.assertIs(judge.state, State.ALIVE)
        left = died_after(loop)
        self.assert_near(left, D - 0.5 - CAP, within=0.01)

    def test_it_is_counted_as_spared_once(self) -> None:
        """Where a plain timer would have fired, one event per silence says what was not the peer's."""
        loop, _ = watched()
        for _ in range(3):
            loop.sleep(0.2)
            loop.stall(4.0)
        (spared,) = loop.events(Spared)
        assert isinstance(spared, Spared)
        self.assertEqual(spared.reason, "local_stall")
        self.assert_near(spared.seconds, 4.0 - CAP)
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
        self.assert_near(died_after(loop), T / 2 - CAP, within=0.01)

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


class DrainTests(TimedTestCase):
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
        self.assert_near(died_after(loop), D)
        self.assertEqual(loop.events(Spared), [])


class CrowdTests(TimedTestCase):
    """Too many due in one turn: we suspect ourselves, once."""

    def test_one_more_question(self) -> None:
        """Everybody is asked once more and has T/2 from there; then the verdict falls, crowd or not."""
        loop, judge = watched()
        loop.crowd = True
        loop.sleep(D + 0.001)
        self.assertIs(judge.state, State.SUSPECT)
        self.assertEqual(len(loop.asked), 2)
        self.assertEqual([event.reason for event in loop.events(Spared) if isinstance(event, Spared)], ["mass_timeout"])
        self.assert_near(died_after(loop), T / 2, within=0.01)
        self.assertEqual(len(loop.asked), 2)

    def test_each_suspicion_has_its_own(self) -> None:
        """A peer that was heard in between gets the second chance again."""
        loop, judge = watched()
        loop.crowd = True
        loop.sleep(D + 0.001)
        loop.heard()
        self.assertIs(judge.state, State.ALIVE)
        self.assert_near(died_after(loop), D + T / 2, within=0.01)
        self.assertEqual(len(loop.asked), 4)

    def test_who_cannot_be_asked_is_judged(self) -> None:
        """An idle timeout has no question, so there is no second chance; nor is there without a suspicion."""
        loop, judge = watched(can_ask=False)
        loop.crowd = True
        self.assertIs(judge.doubt(loop.now), JUDGE)
        self.assert_near(died_after(loop), D)

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


class GrantTests(TimedTestCase):
    """STALLED of the peer (``wire.md`` §6): bounded patience."""

    def test_longer_by_what_it_says(self) -> None:
        """D is longer by the stall, and half time with it."""
        loop, judge = watched()
        judge.grant(0.8, loop.now)
        loop.sleep((D + 0.8 + INTERVAL) / 2 - 0.01)
        self.assertIs(judge.state, State.ALIVE)
        loop.sleep(0.02)
        self.assertIs(judge.state, State.SUSPECT)
        begun = loop.now
        self.assert_near(begun - START + died_after(loop), D + 0.8)

    def test_at_most_d(self) -> None:
        """Whoever says that it was stalled for an hour gets as much again, and no more."""
        loop, judge = watched()
        judge.grant(3600.0, loop.now)
        self.assert_near(died_after(loop), 2 * D)

    def test_others_add_nothing(self) -> None:
        """Within a minute the first one counts, neither the longest nor their sum."""
        loop, judge = watched()
        judge.grant(0.2, loop.now)
        judge.grant(1.0, loop.now)
        judge.grant(0.2, loop.now)
        self.assert_near(died_after(loop), D + 0.2)

    def test_for_a_minute(self) -> None:
        """Afterwards D is what was agreed, until the next one."""
        loop, judge = watched()
        judge.grant(1.0, loop.now)
        for _ in range(121):
            loop.sleep(0.5)
            loop.heard()
        self.assertGreater(loop.now, START + GRANT_LASTS)
        self.assert_near(died_after(loop), D)
        loop, judge = watched()
        judge.grant(0.3, loop.now)
        for _ in range(121):
            loop.sleep(0.5)
            loop.heard()
        judge.grant(0.7, loop.now)
        self.assert_near(died_after(loop), D + 0.7)

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


class DeafTests(TimedTestCase):
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
        self.assert_near(died_after(loop), D - 0.4, within=CAP)

    def test_questions_from_before_are_void(self) -> None:
        """Their answers may lie unread: a suspect is asked again before it is condemned."""
        loop, judge = watched()
        loop.sleep(HALF + 0.1)
        self.assertEqual(len(loop.asked), 1)
        judge.deaf(loop.now)
        loop.sleep(5.0)
        judge.hearing(loop.now)
        self.assert_near(died_after(loop), T / 2, within=CAP + 0.01)
        self.assertEqual(len(loop.asked), 2)

    def test_times_add_up_within_one_silence(self) -> None:
        """Two pauses are both excused; a sign of life forgets them."""
        loop, judge = watched()
        for _ in range(2):
            loop.sleep(0.2)
            judge.deaf(loop.now)
            loop.sleep(7.0)
            judge.hearing(loop.now)
        self.assert_near(died_after(loop), D - 0.4, within=CAP)
        loop, judge = watched()
        judge.deaf(loop.now)
        loop.sleep(7.0)
        judge.hearing(loop.now)
        loop.sleep(0.1)
        loop.heard()
        self.assert_near(died_after(loop), D)

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
        self.assert_near(died_after(loop), D, within=CAP)

    def test_many_stalls_in_one_pause(self) -> None:
        """Behind the pause a silent peer has its time, and no more, however often we were stalled in it."""
        loop, judge = watched()
        judge.deaf(loop.now)
        for _ in range(8):
            loop.stall(3.0)
            loop.sleep(0.1)
        judge.hearing(loop.now)
        self.assertLessEqual(died_after(loop), D + 0.1)

    def test_a_stall_meanwhile_is_not_excused_twice(self) -> None:
        """A stall counts for a cap at most already: a silent peer is not waited for once more for as long."""
        loop, judge = watched()
        judge.deaf(loop.now)
        loop.stall(60.0)
        judge.hearing(loop.now)
        took = died_after(loop)
        self.assertGreaterEqual(took, D - CAP)
        self.assertLessEqual(took, D + 5 * CAP)

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
        self.assert_near(died_after(loop), D, within=CAP)

    def test_a_detector_learns_nothing_from_it(self) -> None:
        """Ten minutes without reading are no interval of the peer."""
        detector = PhiAccrual(INTERVAL, D)
        loop, judge = watched(detector=detector)
        for _ in range(20):
            loop.sleep(INTERVAL)
            loop.heard()
        before = detector.patience()
        judge.deaf(loop.now)
        loop.sleep(5.0)
        judge.hearing(loop.now)
        loop.heard()
        self.assert_near(detector.patience(), before)

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


class PatienceTests(TimedTestCase):
    """A detector makes the judge more patient, never less."""

    def irregular(self, gap: float) -> float:
        """Seconds from the last beat to the verdict for a peer that beat irregularly."""
        loop, _ = watched(detector=PhiAccrual(INTERVAL, D))
        for number in range(100):
            loop.sleep(gap if number % 2 else 0.1)
            loop.heard()
        return died_after(loop)

    def test_a_steady_peer_gets_d(self) -> None:
        """Exactly what was agreed."""
        loop, _ = watched(detector=PhiAccrual(INTERVAL, D))
        for _ in range(100):
            loop.sleep(INTERVAL)
            loop.heard()
        self.assert_near(died_after(loop), D, within=0.01)

    def test_an_irregular_one_gets_more(self) -> None:
        """As much as its intervals make likely, at most four times D."""
        self.assertGreater(self.irregular(0.9), D + 0.3)
        self.assertLessEqual(self.irregular(0.9), MOST * D + 0.01)

    def test_late_reads_teach_nothing(self) -> None:
        """When we were late to read, when the beat came is not known: the detector skips it."""
        detector = PhiAccrual(INTERVAL, D)
        loop, judge = watched(detector=detector)
        for _ in range(20):
            loop.sleep(INTERVAL)
            loop.heard()
        before = detector.patience()
        loop.attention.expect(loop.now + 0.1)
        loop.now += 4.0
        judge.heard(loop.now)  # sockets were read before the wheel woke
        self.assert_near(detector.patience(), before)

    def test_other_frames_teach_nothing(self) -> None:
        """Only beats come at regular times."""
        detector = PhiAccrual(INTERVAL, D)
        loop, judge = watched(detector=detector)
        for _ in range(20):
            loop.sleep(INTERVAL)
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
        loop, _ = watched(detector=PhiAccrual(INTERVAL, D))
        for gap in gaps:
            loop.sleep(gap)
            loop.heard()
        took = died_after(loop, 5 * MOST * D)
        self.assertGreaterEqual(took, D - 1e-5)
        self.assertLessEqual(took, MOST * D + CAP + 1e-3)
