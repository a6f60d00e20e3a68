"""Questions with numbers (``wire.md`` §1, §2): what an answer settles, what it teaches, and how fast one asks."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.liveness.attention import Attention
from heartbeat.liveness.beats import MOST_OUTSTANDING, NO_ROUND_TRIP, PROMPT, Beats
from heartbeat.liveness.counters import Counters
from heartbeat.liveness.events import Alive, Dead, Event, RoundTrip
from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.liveness.need import ASK, ASK_AND_LOOK, JUDGE, NOTHING, Need
from heartbeat.liveness.pace import JITTER
from heartbeat.liveness.states import FINAL, State
from heartbeat.liveness.terms import terms
from tests.liveness.loops import START, TimedTestCase

INTERVAL = 0.5
D = 1.5


class Asker:
    """Asks as a shell does and lets the test answer."""

    def __init__(self, **settings: object) -> None:
        self.now = START
        self.attention = Attention(START)
        given: dict[str, object] = {"interval": INTERVAL, "draw": lambda: 0.5, **settings}
        detect = given.pop("detect", D)
        self.beats = Beats(detect, self.attention, START, **given)  # type: ignore[arg-type]  # keyword arguments of a test
        self.prompt = True
        self.asked: list[float] = []
        self.log: list[Event] = []

    def to(self, at: float) -> None:
        """Listen until then; nothing is served."""
        self.attention.expect(at)
        self.now = at
        self.attention.looked(at)

    def ask(self) -> int:
        """Put one question now."""
        number = self.beats.number
        self.asked.append(self.now)
        self.beats.asked(self.now)
        if self.prompt:
            self.beats.handed_over(self.now)
        return number

    def serve(self) -> Need:
        """Do what is needed now."""
        need = self.beats.handle_timer(self.now)
        if need & Need.ASK:
            self.ask()
        if need & Need.LOOK:
            self.beats.observe(Evidence(self.now), self.now)
        self.log += self.beats.events()
        return need

    def step(self) -> Need:
        """Sleep until the judge wants to wake, and serve it."""
        at = self.beats.next_timer()
        assert at is not None
        self.to(max(at, self.now))
        return self.serve()

    def run(self, until: float, answers: bool = True, rtt: float = 0.0, heard: bool = False) -> None:
        """Live on until then; every question is answered after ``rtt``, or none, or only heard is."""
        while self.beats.state not in FINAL:
            at = self.beats.next_timer()
            if at is None or at > until:
                return self.to(until)
            before = self.beats.number
            self.to(max(at, self.now))
            self.serve()
            if answers and self.beats.number > before:
                self.to(self.now + rtt)
                self.beats.answered(before, self.now)
            elif heard:
                self.beats.heard(self.now)
        return None


class SettleTests(TimedTestCase):
    """Answers and the table of open questions."""

    def setUp(self) -> None:
        """Somebody who asked three questions, 0.1 s apart."""
        self.asker = Asker()
        self.beats = self.asker.beats
        self.numbers = []
        for _ in range(3):
            self.numbers.append(self.asker.ask())
            self.asker.to(self.asker.now + 0.1)

    def test_numbers_count_up(self) -> None:
        """From 0 on, without gaps, and each is open until it is settled."""
        self.assertEqual(self.numbers, [0, 1, 2])
        self.assertEqual((self.beats.first, self.beats.number), (0, 3))
        self.assertEqual([self.beats.asked_at(number) for number in self.numbers], self.asker.asked)
        self.assertIsNone(self.beats.asked_at(3))
        self.assertIsNone(self.beats.asked_at(-1))

    def test_in_order(self) -> None:
        """Each answer is a round trip and nothing is lost."""
        for number in self.numbers:
            self.assertTrue(self.beats.answered(number, self.asker.now))
        tally = self.beats.tally
        self.assertEqual((tally.pings_out, tally.acks_in, tally.lost, tally.strays, tally.late), (3, 3, 0, 0, 0))
        self.assertEqual(self.beats.first, 3)
        self.assertIsNone(self.beats.asked_at(2))

    def test_an_answer_settles_all_older_ones_as_lost(self) -> None:
        """``wire.md`` §1; their own answers are strays from there on."""
        self.assertTrue(self.beats.answered(2, self.asker.now))
        self.assertEqual((self.beats.tally.acks_in, self.beats.tally.lost), (1, 2))
        self.assertFalse(self.beats.answered(0, self.asker.now))
        self.assertFalse(self.beats.answered(2, self.asker.now))
        self.assertEqual((self.beats.tally.acks_in, self.beats.tally.strays), (1, 2))
        self.assertAlmostEqual(self.beats.loss(self.asker.now), 2 / 3)

    def test_one_that_was_never_asked(self) -> None:
        """Counted and ignored: it is no round trip."""
        for number in (3, 1000, -1):
            self.assertFalse(self.beats.answered(number, self.asker.now))
        self.assertEqual(self.beats.tally.strays, 3)
        self.assertIsNone(self.beats.rtt.last)
        self.assertEqual(self.beats.first, 0)

    def test_every_answer_is_a_sign_of_life(self) -> None:
        """A stray one, too."""
        self.asker.to(self.asker.now + 0.3)
        self.beats.answered(77, self.asker.now)
        self.assertEqual(self.beats.liveness.heard_at, self.asker.now)

    def test_settle_alone_is_none(self) -> None:
        """Its caller counts the sign of life afterwards."""
        self.assertTrue(self.beats.settle(0, self.asker.now))
        self.assertEqual(self.beats.liveness.heard_at, START)

    def test_late_is_after_the_confirm_question(self) -> None:
        """Answered, but only after half time: ``late`` counts it."""
        asker = Asker()
        asker.run(START + 0.6, answers=False)
        asker.to(START + 1.1)
        asker.serve()
        self.assertIs(asker.beats.state, State.SUSPECT)
        asker.beats.answered(0, asker.now)
        self.assertEqual((asker.beats.tally.acks_in, asker.beats.tally.late), (1, 1))
        self.assertIs(asker.beats.state, State.ALIVE)
        asker.beats.answered(1, asker.now)
        self.assertEqual(asker.beats.tally.late, 1)

    @settings(deadline=None)
    @given(st.lists(st.one_of(st.none(), st.integers(-2, 60)), max_size=80))
    def test_any_order_of_questions_and_answers(self, steps: list[int | None]) -> None:
        """None asks, a number answers: every question is answered, lost or open, exactly once."""
        asker = Asker()
        open_questions: list[int] = []
        answered = lost = strays = 0
        for step in steps:
            asker.to(asker.now + 0.01)
            if step is None:
                open_questions.append(asker.ask())
            elif step in open_questions:
                index = open_questions.index(step)
                del open_questions[: index + 1]
                answered, lost = answered + 1, lost + index
                self.assertTrue(asker.beats.answered(step, asker.now))
            else:
                strays += 1
                self.assertFalse(asker.beats.answered(step, asker.now))
        tally = asker.beats.tally
        self.assertEqual((tally.acks_in, tally.lost, tally.strays), (answered, lost, strays))
        self.assertEqual(tally.pings_out, answered + lost + len(open_questions))
        for number in range(tally.pings_out):
            self.assertEqual(asker.beats.asked_at(number) is not None, number in open_questions)


class SampleTests(TimedTestCase):
    """Which round trips are learned from: those in which nothing of ours hides."""

    def setUp(self) -> None:
        """Somebody who asked."""
        self.counters = Counters()
        self.asker = Asker(rtt_counts=self.counters)
        self.rtt = self.asker.beats.rtt

    def test_on_our_own_clock(self) -> None:
        """From the question to the answer; the process-wide counters have it, too."""
        number = self.asker.ask()
        self.asker.to(START + 0.25)
        self.asker.beats.answered(number, self.asker.now)
        self.assert_near(self.rtt.last or 0.0, 0.25)
        self.assertEqual(sum(self.counters.counts), 1)
        self.assert_near(self.counters.total, 0.25)

    def test_a_late_read_teaches_nothing(self) -> None:
        """We were late to read and the kernel does not know since when it lay there: no sample."""
        number = self.asker.ask()
        self.asker.attention.expect(START + 0.1)
        self.assertTrue(self.asker.beats.answered(number, START + 4.0))
        self.assertIsNone(self.rtt.last)
        self.assertEqual(self.asker.beats.tally.acks_in, 1)

    def test_a_late_read_with_its_arrival(self) -> None:
        """When the kernel got it is known: that is the sample."""
        number = self.asker.ask()
        self.asker.attention.expect(START + 0.1)
        self.asker.beats.answered(number, START + 4.0, arrived=START + 0.03)
        self.assert_near(self.rtt.last or 0.0, 0.03)

    def test_an_arrival_before_the_question(self) -> None:
        """Clocks of different grain: no negative round trip."""
        number = self.asker.ask()
        self.asker.beats.answered(number, START + 4.0, arrived=START - 0.01)
        self.assertEqual(self.rtt.last, 0.0)

    def test_a_delayed_hand_over_teaches_nothing(self) -> None:
        """It waited in user space: that is no time of the path. The next question is learned from again."""
        self.asker.prompt = False
        number = self.asker.ask()
        self.asker.to(START + 0.2)
        self.asker.beats.handed_over(self.asker.now)
        self.asker.to(START + 0.3)
        self.asker.beats.answered(number, self.asker.now)
        self.assertIsNone(self.rtt.last)
        self.asker.prompt = True
        number = self.asker.ask()
        self.asker.to(START + 0.4)
        self.asker.beats.answered(number, self.asker.now)
        self.assert_near(self.rtt.last or 0.0, 0.1)

    def test_each_by_its_own_delay(self) -> None:
        """Of two that are handed over together the older waited, as in a stall between them; the younger did not."""
        self.asker.prompt = False
        older = self.asker.ask()
        self.asker.to(START + 3.0)
        younger = self.asker.ask()
        self.asker.beats.handed_over(self.asker.now)
        self.asker.to(START + 3.2)
        self.asker.beats.answered(older, self.asker.now)
        self.assertIsNone(self.rtt.last)
        self.asker.beats.answered(younger, self.asker.now)
        self.assert_near(self.rtt.last or 0.0, 0.2)

    def test_answered_before_its_delay_is_known(self) -> None:
        """An answer that is read before anybody tells when the question left says nothing if that took its time."""
        self.asker.prompt = False
        number = self.asker.ask()
        self.asker.to(START + 3.2)
        self.asker.beats.answered(number, self.asker.now)
        self.assertIsNone(self.rtt.last)

    def test_those_that_the_kernel_had_before(self) -> None:
        """A hand-over says nothing of a question that is on its way already: its long round trip is the path's."""
        first = self.asker.ask()
        self.asker.to(START + 0.5)
        self.asker.ask()
        self.asker.to(START + 0.7)
        self.asker.beats.answered(first, self.asker.now)
        self.assert_near(self.rtt.last or 0.0, 0.7)

    def test_two_turns_are_no_delay(self) -> None:
        """A link that cannot say when the kernel has it says so two turns later; its round trips count."""
        self.asker.prompt = False
        number = self.asker.ask()
        self.asker.to(START + PROMPT * 0.9)
        self.asker.beats.handed_over(self.asker.now)
        self.asker.to(START + 0.3)
        self.asker.beats.answered(number, self.asker.now)
        self.assert_near(self.rtt.last or 0.0, 0.3)

    def test_one_that_was_answered_before_it_was_handed_over(self) -> None:
        """Nothing is learned from a hand-over of questions that are settled."""
        self.asker.prompt = False
        number = self.asker.ask()
        self.asker.to(START + 0.2)
        self.asker.beats.answered(number, self.asker.now)
        self.asker.beats.handed_over(self.asker.now)
        self.asker.prompt = True
        number = self.asker.ask()
        self.asker.to(START + 0.3)
        self.asker.beats.answered(number, self.asker.now)
        self.assert_near(self.rtt.last or 0.0, 0.1)

    def test_our_own_pause_teaches_nothing(self) -> None:
        """Questions from before a pause of reading: when their answers came is not known."""
        number = self.asker.ask()
        self.asker.beats.deaf(self.asker.now)
        self.asker.to(START + 9.0)
        self.asker.beats.hearing(self.asker.now)
        self.assertTrue(self.asker.beats.answered(number, self.asker.now))
        self.assertIsNone(self.rtt.last)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.floats(0.0, 0.4), st.floats(0.0, 5.0), st.booleans()), min_size=1, max_size=20))
    def test_own_stalls_never_poison_the_path(self, beats: list[tuple[float, float, bool]]) -> None:
        """Round trips under 0.4 s, stalls of up to 5 s while answers lie there: no sample is longer."""
        asker = Asker()
        for rtt, stall, known in beats:
            number = asker.ask()
            arrived = asker.now + rtt
            asker.attention.expect(arrived)
            asker.now = arrived + stall
            late = asker.now > asker.attention.fresh_until
            asker.beats.answered(number, asker.now, arrived if late and known else None)
            asker.attention.looked(asker.now)
            asker.to(asker.now + 0.1)
        self.assertLessEqual(asker.beats.rtt.smoothed or 0.0, 0.4 + 0.05 + 1e-6)
        self.assertLessEqual(asker.beats.rtt.p95 or 0.0, 1.1)


class PaceTests(TimedTestCase):
    """When the next question is due."""

    def test_every_interval(self) -> None:
        """A healthy peer is asked once per interval, the first time after one interval."""
        asker = Asker()
        asker.run(START + 10.0)
        self.assertEqual(len(asker.asked), 20)
        self.assert_near(asker.asked[0] - START, INTERVAL)
        self.assertEqual(asker.log, [])

    def test_jittered(self) -> None:
        """Each interval is drawn anew, within 15 %, around the agreed one."""
        draws = random.Random(7)
        asker = Asker(draw=draws.random)
        asker.run(START + 500.0)
        gaps = [later - earlier for earlier, later in zip(asker.asked, asker.asked[1:], strict=False)]
        self.assertGreaterEqual(min(gaps), INTERVAL * (1 - JITTER) - 1e-6)
        self.assertLessEqual(max(gaps), INTERVAL * (1 + JITTER) + 1e-6)
        self.assertGreater(max(gaps) - min(gaps), INTERVAL * JITTER)
        self.assert_near(sum(gaps) / len(gaps), INTERVAL, within=0.01)

    def test_the_well_are_woken_for_questions_only(self) -> None:
        """No wake in between to find that the peer was heard: once per interval is enough."""
        asker = Asker()
        wakes = 0
        while asker.now < START + 100.0:
            before = asker.beats.number
            asker.step()
            wakes += 1
            if asker.beats.number > before:
                asker.to(asker.now + 0.01)
                asker.beats.answered(before, asker.now)
        self.assertLessEqual(wakes, len(asker.asked) + 3)

    def lossy(self, asker: Asker, until: float, every: int) -> None:
        """Lose one question in ``every``."""
        while asker.now < until:
            before = asker.beats.number
            asker.step()
            if asker.beats.number > before and before % every:
                asker.to(asker.now + 0.01)
                asker.beats.answered(before, asker.now)

    def test_faster_while_answers_are_lost(self) -> None:
        """× 0.7 from 2 %, × 0.4 from 8 %, and back when the minute is clean."""
        for every, factor in ((100, 1.0), (20, 0.7), (5, 0.4)):
            asker = Asker()
            self.lossy(asker, START + 120.0, every)
            self.assert_near(asker.beats.interval, INTERVAL * factor)
            asker.run(asker.now + 70.0)
            self.assert_near(asker.beats.interval, INTERVAL)

    def test_not_where_it_is_switched_off(self) -> None:
        """``adaptive=False`` keeps the pace."""
        asker = Asker(adaptive=False)
        self.lossy(asker, START + 60.0, 5)
        self.assertEqual(asker.beats.interval, INTERVAL)

    def test_the_confirm_question_takes_the_place_of_the_next(self) -> None:
        """A question at half time moves the regular one: nobody is asked twice at once."""
        asker = Asker(interval=1.2, peer_interval=INTERVAL)
        self.assertIs(asker.step(), ASK_AND_LOOK)
        self.assert_near(asker.now - START, 1.0)
        while asker.now < START + 2.0:
            asker.to(asker.now + 0.1)
            asker.beats.heard(asker.now)
            asker.serve()
        self.assertEqual(len(asker.asked), 1)
        asker.run(START + 2.3, answers=False, heard=True)
        self.assert_near(asker.asked[1] - START, 2.2)

    @settings(deadline=None, max_examples=30)
    @given(
        st.floats(0.01, 1.0),
        st.floats(0.0, 2.0),
        st.integers(0, 2**32),
        st.floats(0.0, 1.0),
    )
    def test_never_faster_than_the_floor(self, interval: float, floor: float, seed: int, loss: float) -> None:
        """On average never faster than the receiver's ``min_rx``, whatever is lost."""
        chance = random.Random(seed)
        asker = Asker(interval=1.0, draw=chance.random, detect=600.0, peer_interval=200.0)
        asker.beats.pace(interval, floor)
        for _ in range(150):
            asker.step()
            self.assertGreaterEqual(asker.beats.interval, floor)
            if chance.random() >= loss:
                asker.to(asker.now + 0.001)
                asker.beats.answered(asker.beats.number - 1, asker.now)
        gaps = [later - earlier for earlier, later in zip(asker.asked[1:], asker.asked[2:], strict=False)]
        self.assertGreaterEqual(min(gaps), floor * (1 - JITTER) - 1e-6)
        # 148 draws of ±15 %: the mean is within 3 % of what it is on average, with room to spare.
        self.assertGreaterEqual(sum(gaps) / len(gaps), floor * 0.97)


class OutstandingTests(TimedTestCase):
    """At most 1024 unanswered questions (``wire.md`` §1)."""

    def test_then_it_waits(self) -> None:
        """Number 1025 is not put until something was answered, though the peer is heard all the time."""
        asker = Asker(detect=200.0, peer_interval=100.0)
        asker.run(START + 1500.0, answers=False, heard=True)
        self.assertEqual(len(asker.asked), MOST_OUTSTANDING)
        self.assertIs(asker.beats.state, State.ALIVE)
        asker.beats.answered(1000, asker.now)
        asker.run(asker.now + 1.1, answers=False, heard=True)
        self.assertGreater(len(asker.asked), MOST_OUTSTANDING)

    def test_the_open_ones_must_do_for_the_verdict(self) -> None:
        """A peer that then falls silent is suspect and dead in time, without one more question."""
        asker = Asker(detect=200.0, peer_interval=100.0)
        asker.run(START + 600.0, answers=False, heard=True)
        self.assertEqual(len(asker.asked), MOST_OUTSTANDING)
        heard = asker.beats.liveness.heard_at
        asker.run(START + 2000.0, answers=False)
        self.assertEqual(len(asker.asked), MOST_OUTSTANDING)
        (dead,) = [event for event in asker.log if isinstance(event, Dead)]
        self.assert_near(dead.at - heard, 200.0, within=1.0)

    def test_the_crowd_rule_puts_none_either(self) -> None:
        """No second chance where no question may be put."""
        asker = Asker(detect=200.0, peer_interval=100.0)
        asker.run(START + 600.0, answers=False, heard=True)
        asker.to(START + 600.0 + 151.0)
        asker.serve()
        self.assertIs(asker.beats.state, State.SUSPECT)
        self.assertIs(asker.beats.doubt(asker.now), JUDGE)

    def test_the_last_one_waits_in_user_space(self) -> None:
        """What was not handed over starts no clock, even if it is one of 1024."""
        asker = Asker(detect=200.0, peer_interval=100.0)
        asker.run(START + 600.0, answers=False, heard=True)
        asker.beats.liveness.asked(asker.now)  # as if the last of them had not left yet
        asker.run(START + 1500.0, answers=False)
        self.assertIs(asker.beats.state, State.SUSPECT)
        asker.beats.handed_over(asker.now)
        asker.run(START + 1700.0, answers=False)
        self.assertEqual(asker.beats.cause, "unattributed")
        self.assertIs(asker.beats.state, State.DEAD)


class NoRoundTripTests(TimedTestCase):
    """Heard, but no answer for 10 × D: a loop that sends and does not read."""

    def test_is_dead(self) -> None:
        """``peer_stalled`` with the detail ``no_round_trip``; nothing more is asked."""
        asker = Asker()
        asker.run(START + 100.0, answers=False, heard=True)
        (dead,) = [event for event in asker.log if isinstance(event, Dead)]
        self.assertEqual(dead.cause, "peer_stalled")
        assert dead.evidence is not None
        self.assertEqual(dead.evidence.detail, "no_round_trip")
        self.assert_near(dead.at - asker.asked[0], NO_ROUND_TRIP * D, within=INTERVAL * 1.2)
        self.assertEqual(asker.asked[-1] < dead.at, True)

    def test_one_answer_begins_anew(self) -> None:
        """Only a peer that answers nothing at all is meant: every tenth is enough."""
        asker = Asker()
        while asker.now < START + 120.0:
            before = asker.beats.number
            asker.step()
            asker.beats.heard(asker.now)
            if asker.beats.number > before and before % 10 == 0:
                asker.beats.answered(before, asker.now)
        self.assertIs(asker.beats.state, State.ALIVE)

    def test_only_attentive_time_counts(self) -> None:
        """A stall of a minute is no minute without answers."""
        asker = Asker()
        asker.run(START + 5.0, answers=False, heard=True)
        asker.attention.expect(asker.now)
        asker.now += 60.0
        asker.attention.looked(asker.now)
        asker.beats.heard(asker.now)
        asker.run(asker.now + 5.0, answers=False, heard=True)
        self.assertIs(asker.beats.state, State.ALIVE)
        asker.run(asker.now + 10.0, answers=False, heard=True)
        self.assertIs(asker.beats.state, State.DEAD)

    def test_not_while_we_did_not_read(self) -> None:
        """The time begins anew when we read again."""
        asker = Asker()
        asker.run(START + 10.0, answers=False, heard=True)
        asker.beats.deaf(asker.now)
        asker.to(asker.now + 100.0)
        asker.beats.hearing(asker.now)
        asker.run(asker.now + NO_ROUND_TRIP * D - 1.0, answers=False, heard=True)
        self.assertIs(asker.beats.state, State.ALIVE)
        asker.run(asker.now + 2.0, answers=False, heard=True)
        self.assertIs(asker.beats.state, State.DEAD)


class WatchTests(TimedTestCase):
    """:class:`RoundTrip` events: only for those who asked for them."""

    def told(self, asker: Asker) -> list[tuple[int, float | None]]:
        """The round trips that were told."""
        told = []
        for event in asker.beats.events():
            assert isinstance(event, RoundTrip)
            self.assertEqual(event.at, asker.now)
            told.append((event.number, None if event.seconds is None else round(event.seconds, 6)))
        return told

    def test_nobody_asked(self) -> None:
        """No event at all."""
        asker = Asker()
        asker.beats.answered(asker.ask(), asker.now)
        self.assertEqual(asker.beats.events(), ())

    def test_one_question(self) -> None:
        """Answered: its seconds, once. Others are not told."""
        asker = Asker()
        numbers = [asker.ask() for _ in range(3)]
        asker.beats.watch(numbers[1])
        asker.to(START + 0.2)
        for number in numbers:
            asker.beats.answered(number, asker.now)
        self.assertEqual(self.told(asker), [(1, 0.2)])

    def test_a_lost_one(self) -> None:
        """None, when a later one was answered."""
        asker = Asker()
        numbers = [asker.ask() for _ in range(4)]
        asker.beats.watch(numbers[0])
        asker.beats.watch(numbers[2])
        asker.beats.watch(numbers[3])
        asker.to(START + 0.1)
        asker.beats.answered(2, asker.now)
        self.assertEqual(self.told(asker), [(0, None), (2, 0.1)])
        asker.beats.answered(3, asker.now)
        self.assertEqual(self.told(asker), [(3, 0.1)])
        asker.beats.answered(asker.ask(), asker.now)
        self.assertEqual(self.told(asker), [])

    def test_a_listener_that_wants_each(self) -> None:
        """Every settled question, the lost ones too, with or without a watch."""
        asker = Asker()
        asker.beats.wants_round_trips = True
        for _ in range(3):
            asker.ask()
        asker.to(START + 0.1)
        asker.beats.answered(2, asker.now)
        self.assertEqual(self.told(asker), [(0, None), (1, None), (2, 0.1)])
        asker.beats.watch(asker.ask())
        asker.beats.answered(3, asker.now)
        self.assertEqual(self.told(asker), [(3, 0.0)])

    def test_a_late_read_is_told_as_it_was_seen(self) -> None:
        """The caller of ping() waited for as long as it waited, though nothing is learned from it."""
        asker = Asker()
        asker.beats.watch(asker.ask())
        asker.attention.expect(START)
        asker.now = START + 5.0
        asker.beats.answered(0, asker.now)
        self.assertEqual(self.told(asker), [(0, 5.0)])
        self.assertIsNone(asker.beats.rtt.last)


class FaceTests(TimedTestCase):
    """The face that the shell drives is the judge's own."""

    def test_gated(self) -> None:
        """Before the gate nothing is due; then the first question at once, or after one interval."""
        asker = Asker(gated=True)
        self.assertIsNone(asker.beats.next_timer())
        self.assertIs(asker.beats.handle_timer(START + 100.0), NOTHING)
        asker.to(START + 5.0)
        asker.beats.opened(asker.now, terms(2.0, 6.0))
        self.assertEqual(asker.beats.next_timer(), asker.now)
        self.assertIs(asker.serve(), ASK)
        self.assertEqual([type(event) for event in asker.log], [Alive])
        self.assertEqual(asker.beats.liveness.terms.detect, 6.0)
        later = Asker(gated=True)
        later.beats.opened(START, at_once=False)
        self.assert_near((later.beats.next_timer() or 0.0) - START, INTERVAL)

    def test_deaf_asks_nothing(self) -> None:
        """And asks at once when it hears again; a peer behind its gate is asked nothing in any case."""
        asker = Asker()
        asker.beats.deaf(asker.now)
        self.assertIsNone(asker.beats.next_timer())
        self.assertIs(asker.beats.handle_timer(START + 50.0), NOTHING)
        asker.to(START + 50.0)
        asker.beats.hearing(asker.now)
        self.assertEqual(asker.beats.next_timer(), asker.now)
        gated = Asker(gated=True)
        gated.beats.deaf(START)
        gated.beats.hearing(START + 1.0)
        self.assertIsNone(gated.beats.next_timer())

    def test_a_pause_between_question_and_verdict(self) -> None:
        """A suspect that we did not read from is asked once more."""
        asker = Asker()
        asker.run(START + 1.2, answers=False)
        self.assertIs(asker.beats.state, State.SUSPECT)
        asker.beats.deaf(asker.now)
        asker.to(asker.now + 20.0)
        asker.beats.hearing(asker.now)
        asked = len(asker.asked)
        asker.run(asker.now + 0.3, answers=False)
        self.assertIs(asker.beats.state, State.SUSPECT)
        self.assertGreater(len(asker.asked), asked)

    def test_no_question_after_the_end(self) -> None:
        """In every final state: no timer, and a wake that comes all the same does nothing."""
        for end in ("condemn", "leave", "ended", "silence"):
            asker = Asker()
            asker.run(START + 0.4)
            liveness = asker.beats.liveness
            if end == "condemn":
                liveness.condemn("path_dead", asker.now)
            elif end == "leave":
                liveness.leave("leaving", asker.now)
            elif end == "ended":
                asker.beats.ended(Ending("reset"), asker.now)
            else:
                asker.run(START + 20.0, answers=False)
            self.assertIn(asker.beats.state, FINAL)
            for after in (0.0, 0.2, 1.0, 100.0):
                self.assertIsNone(asker.beats.next_timer(), end)
                self.assertIs(asker.beats.handle_timer(asker.now + after), NOTHING, end)
            asker.beats.hearing(asker.now + 200.0)
            self.assertIs(asker.beats.handle_timer(asker.now + 300.0), NOTHING, end)

    def test_the_judges_attributes(self) -> None:
        """State, cause and evidence are those of its judge."""
        asker = Asker()
        self.assertEqual((asker.beats.state, asker.beats.cause, asker.beats.evidence), (State.ALIVE, None, None))
        evidence = Evidence(START, detail="x")
        asker.beats.ended(Ending("eof", evidence), START)
        self.assertEqual((asker.beats.state, asker.beats.cause), (State.DEAD, "peer_closed"))
        self.assertIs(asker.beats.evidence, evidence)

    def test_grants_are_counted(self) -> None:
        """STALLED of the peer moves a number and the patience."""
        asker = Asker()
        asker.beats.grant(1.0, START)
        asker.beats.grant(1.0, START)
        self.assertEqual(asker.beats.tally.stalled_in, 2)
        asker.run(START + 60.0, answers=False)
        (dead,) = [event for event in asker.log if isinstance(event, Dead)]
        self.assertGreater(dead.at - START, D + 1.0 - 1e-3)

    def test_a_question_and_a_look_in_one(self) -> None:
        """Where a question is due at half time of the judge, one is put, not two."""
        asker = Asker(interval=1.0, peer_interval=INTERVAL)
        self.assertIs(asker.step(), ASK_AND_LOOK)
        self.assertEqual(len(asker.asked), 1)

    def test_phi(self) -> None:
        """None without a detector that can say; a number that rises with the silence otherwise."""
        self.assertIsNone(Asker().beats.phi(START))
        asker = Asker(detector="phi")
        asker.beats.heard(START)
        asker.beats.heard(START + 0.5)
        early, late = asker.beats.phi(START + 0.9), asker.beats.phi(START + 2.0)
        assert early is not None
        assert late is not None
        self.assertLess(early, late)

    def test_a_peer_that_only_answers(self) -> None:
        """Without ``peer_interval`` its interval is the one at which it is asked."""
        asker = Asker(interval=2.0, detect=6.0)
        self.assertEqual(asker.beats.liveness.terms.interval, 2.0)

    @settings(deadline=None, max_examples=40)
    @given(st.integers(0, 2**32), st.floats(0.0, 1.0), st.floats(0.0, 0.8))
    def test_the_living_are_never_condemned(self, seed: int, loss: float, rtt: float) -> None:
        """Whatever is lost and however slow the path (under T/2 and what was measured): a peer that beats lives."""
        chance = random.Random(seed)
        asker = Asker(draw=chance.random)
        next_beat = answered_at = START
        while asker.now < START + 60.0:
            at = asker.beats.next_timer()
            assert at is not None, "it was condemned"
            if next_beat <= at:
                asker.to(max(asker.now, next_beat))
                asker.beats.heard(asker.now)
                next_beat += INTERVAL * chance.uniform(0.85, 1.15)
                continue
            before = asker.beats.number
            asker.to(max(asker.now, at))
            asker.serve()
            # 10 × D without any answer would be another matter.
            if asker.beats.number > before and (chance.random() >= loss or asker.now > answered_at + 5 * D):
                asker.to(asker.now + rtt * chance.random() * 0.1)
                asker.beats.answered(before, asker.now)
                answered_at = asker.now
        self.assertIn(asker.beats.state, (State.ALIVE, State.SUSPECT))
