"""Judges without frames on a pulse: asked, watched and decided like any connection."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from heartbeat import State
from heartbeat.liveness.beats import Beats
from heartbeat.liveness.liveness import Liveness
from heartbeat.net.pulse import Pulse
from heartbeat.net.wheel import wheel_for
from tests.net.cases import STEP
from tests.net.hand import HandTransport

DETECT = 1.5
INTERVAL = 0.5
#: The wheel's resolution, and a step of the loop.
LATE = 0.05


class PulseCase(SynchronousTestCase):
    """A clock, and a link that is moved by hand."""

    def setUp(self) -> None:
        """Nobody is watched."""
        self.clock = Clock()
        self.wheel = wheel_for(self.clock)
        self.link = HandTransport(self.clock)
        self.questions: list[tuple[float, int]] = []
        self.decisions: list[float] = []
        self.can_ask = True
        self.flows = True  # the link gets rid of what it has
        self.addCleanup(self.assert_nothing_left)

    def assert_nothing_left(self) -> None:
        """No timer, and nobody is watched."""
        self.assertEqual((self.clock.getDelayedCalls(), self.wheel.watched), ([], 0))

    def advance(self, seconds: float) -> None:
        """Time passes, and the loop is healthy."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(min(STEP, end - self.clock.seconds()))
            if self.flows:
                self.link.empty()

    def decided(self) -> None:
        """The judge is in a final state."""
        self.decisions.append(self.clock.seconds())

    def idle(self) -> tuple[Liveness, Pulse]:
        """A judge that only listens."""
        judge = Liveness(DETECT, self.wheel.attention, self.clock.seconds(), can_ask=False)
        return judge, Pulse(self.wheel, judge, self.link, None, self.decided)

    def beats(self) -> tuple[Beats, Pulse]:
        """A judge that asks."""
        now = self.clock.seconds()
        judge = Beats(DETECT, self.wheel.attention, now, interval=INTERVAL, draw=lambda: 0.5)
        judge.rtt.sample(0.01)

        def ask(now: float) -> bool:
            if self.can_ask:
                self.questions.append((now, judge.number))
            return self.can_ask

        return judge, Pulse(self.wheel, judge, self.link, ask, self.decided)


class IdleTests(PulseCase):
    """A bare Liveness is an idle timeout."""

    def test_decided_once(self) -> None:
        """After D of silence it is decided, once; then nothing is watched and no timer is left."""
        judge, pulse = self.idle()
        pulse.start()
        self.assertEqual(self.wheel.watched, 1)
        self.advance(5.0)
        self.assertEqual(len(self.decisions), 1)
        self.assertApproximates(self.decisions[0], DETECT, LATE)
        self.assertIs(judge.state, State.DEAD)
        self.assert_nothing_left()
        pulse.attend(self.clock.seconds())
        self.assertEqual(len(self.decisions), 1)

    def test_heard(self) -> None:
        """A sign of life moves it."""
        judge, pulse = self.idle()
        pulse.start()
        for _ in range(5):
            self.advance(DETECT - 2 * LATE)
            judge.heard(self.clock.seconds())
            pulse.attend(self.clock.seconds())
        self.assertEqual(self.decisions, [])
        pulse.stop()

    def test_alone_and_paused(self) -> None:
        """While it is deaf nobody sits in the wheel, which sleeps: what is silent then counts, and only that."""
        judge, pulse = self.idle()
        pulse.start()
        self.advance(0.2)
        judge.deaf(self.clock.seconds())
        self.advance(20.0)
        judge.hearing(self.clock.seconds())
        pulse.attend(self.clock.seconds())
        again = self.clock.seconds()
        self.advance(5.0)
        self.assertEqual(len(self.decisions), 1)
        self.assertApproximates(self.decisions[0] - again, DETECT - 0.2, LATE)

    def test_our_own_stall(self) -> None:
        """Seconds in which the loop stood still are not silence."""
        _, pulse = self.idle()
        pulse.start()
        self.advance(0.5)
        self.clock.advance(60.0)
        self.assertEqual(self.decisions, [])
        self.advance(DETECT)
        self.assertEqual(len(self.decisions), 1)

    def test_unread(self) -> None:
        """Input that nobody has read yet is a reason to look again, for a while."""
        _, pulse = self.idle()
        self.link.unread = 5
        pulse.start()
        self.advance(DETECT + STEP)
        self.assertEqual(self.decisions, [])
        self.advance(DETECT)
        self.assertEqual(len(self.decisions), 1)


class BeatsTests(PulseCase):
    """Beats over any framing."""

    def test_questions(self) -> None:
        """It asks at its interval, with numbers that count on, while it is answered."""
        judge, pulse = self.beats()
        pulse.start()
        for _ in range(40):
            self.advance(0.1)
            if self.questions:
                judge.answered(self.questions[-1][1], self.clock.seconds())
                pulse.attend(self.clock.seconds())
        self.assertEqual([number for _, number in self.questions], list(range(len(self.questions))))
        self.assertTrue(6 <= len(self.questions) <= 9, self.questions)
        self.assertEqual(self.decisions, [])
        pulse.stop()

    def test_silence(self) -> None:
        """Who does not answer is dead in the agreed time."""
        judge, pulse = self.beats()
        pulse.start()
        self.advance(DETECT + LATE)
        self.assertEqual((len(self.decisions), judge.state), (1, State.DEAD))

    def test_a_framing_that_cannot_ask_now(self) -> None:
        """A question that cannot be put is not counted as one; nobody is condemned unheard."""
        judge, pulse = self.beats()
        self.can_ask = False
        pulse.start()
        self.advance(4 * DETECT)
        self.assertEqual((self.decisions, judge.number, judge.state), ([], 0, State.SUSPECT))
        self.can_ask = True
        self.advance(DETECT + LATE)
        self.assertEqual(len(self.decisions), 1)

    def test_handed_over(self) -> None:
        """The time of a question runs from the moment at which the link has got rid of it."""
        _, pulse = self.beats()
        pulse.start()
        self.flows = False
        self.advance(4 * DETECT)
        self.assertEqual(self.decisions, [])
        self.flows = True
        self.advance(DETECT)
        self.assertEqual(len(self.decisions), 1)

    def test_evidence(self) -> None:
        """The verdict has the evidence of the link, and how exact that is."""
        judge, pulse = self.beats()
        pulse.start()
        self.advance(DETECT + LATE)
        assert judge.evidence is not None
        self.assertEqual((judge.evidence.handed_over, judge.evidence.reading), ("exact", True))

    def test_a_crowd(self) -> None:
        """Many that are due at once are asked once more before any of them is condemned."""
        pulses = [self.beats() for _ in range(20)]
        for _, pulse in pulses:
            pulse.start()
        self.advance(DETECT + LATE)
        self.assertEqual(self.decisions, [])
        self.advance(DETECT)
        self.assertEqual(len(self.decisions), 20)


class StopTests(PulseCase):
    """A pulse that ends."""

    def test_in_every_state(self) -> None:
        """Before it began, twice, after the verdict: nobody is counted twice, and nothing is called any more."""
        for make in (self.idle, self.beats):
            _, pulse = make()
            pulse.stop()
            self.assertEqual(self.wheel.watched, 0)
            _, pulse = make()
            pulse.start()
            self.advance(1.2)
            pulse.stop()
            pulse.stop()
            self.assert_nothing_left()
        count = len(self.questions)
        self.advance(3.0)
        self.assertEqual((self.decisions, len(self.questions)), ([], count))

    def test_nobody_acts(self) -> None:
        """A judge whose verdict nobody acts on (shadow mode) is counted and let go like any other."""
        judge = Liveness(DETECT, self.wheel.attention, self.clock.seconds(), can_ask=False)
        pulse = Pulse(self.wheel, judge, self.link)
        pulse.start()
        self.advance(0.5)
        pulse.stop()
        self.assert_nothing_left()
        pulse = Pulse(self.wheel, judge, self.link)
        pulse.start()
        self.advance(5.0)
        self.assertIs(judge.state, State.DEAD)

    def test_told_after_the_end(self) -> None:
        """A judge that is told something after the stop does not come back into the wheel."""
        judge, pulse = self.beats()
        pulse.start()
        pulse.stop()
        judge.heard(self.clock.seconds())
        pulse.attend(self.clock.seconds())
        self.assert_nothing_left()

    def test_from_within(self) -> None:
        """Whoever acts may stop it."""
        judge = Liveness(DETECT, self.wheel.attention, self.clock.seconds(), can_ask=False)
        pulse = Pulse(self.wheel, judge, self.link, None, lambda: (self.decided(), pulse.stop()))  # type: ignore[arg-type,return-value]
        pulse.start()
        self.advance(5.0)
        self.assertEqual(len(self.decisions), 1)
