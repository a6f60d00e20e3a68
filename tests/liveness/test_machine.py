"""State × input: anything that can happen to a judge, in any order, against what ``wire.md`` §2 allows."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.attention import NOTICED, Attention
from heartbeat.liveness.beats import Beats
from heartbeat.liveness.detectors import MOST
from heartbeat.liveness.events import Dead, Event, Left, Refused, Spared, Suspect
from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.need import Need
from heartbeat.liveness.states import FINAL, State
from heartbeat.liveness.suspicion import DRAIN_LOOKS
from heartbeat.liveness.terms import POLLS, terms
from tests.liveness.loops import START, TURN, counted, uncounted

ENDS = (Dead, Left, Refused)
#: Of every time that the model works out.
ROUNDING = 1e-4


class Judged(RuleBasedStateMachine):
    """A judge, a shell that may be stalled, deaf or unable to send, and a peer of which anything may come.

    The model keeps its own list of stalls and pauses, and of when questions were with the kernel; from these alone
    it works out, when a verdict falls, whether it was allowed.
    """

    judge: Liveness | Beats
    liveness: Liveness
    beats: Beats | None

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.attention = Attention(START)
        self.deaf_since: float | None = None
        self.kernel = True
        self.waiting = False  # a question that the kernel does not have
        self.crowd = False
        self.unread = 0
        self.received: int | None = None
        self.stalls: list[tuple[float, float]] = []
        self.pauses: list[tuple[float, float]] = []
        self.handed: list[float] = []
        self.open_questions: list[int] = []
        self.heard_at = START
        self.final: State | None = None
        self.log: list[Event] = []
        self.looks = 0
        self.doubts: list[float] = []

    @initialize(
        kind=st.sampled_from(("idle", "asking", "beats", "phi", "2w")),
        gated=st.booleans(),
        interval=st.sampled_from((0.1, 0.5, 5.0)),
        mult=st.integers(2, 6),
    )
    def begin(self, kind: str, gated: bool, interval: float, mult: int) -> None:
        """One of the kinds of judge."""
        self.detect, self.interval = interval * mult, interval
        self.can_ask = kind != "idle"
        if kind in ("idle", "asking"):
            self.beats = None
            self.judge = self.liveness = Liveness(
                self.detect, self.attention, START, interval=interval, can_ask=self.can_ask, gated=gated
            )
        else:
            self.judge = self.beats = Beats(
                self.detect, self.attention, START, interval=interval, draw=lambda: 0.3, gated=gated,
                detector="fixed" if kind == "beats" else kind,
            )  # fmt: skip
            self.liveness = self.beats.liveness

    # -- the shell

    def pull(self) -> None:
        """Take the events, and check the verdict if there is one."""
        self.log += self.judge.events()
        state = self.judge.state
        if self.final is None and state in FINAL:
            self.final = state

    def ask(self) -> None:
        """Put a question, as far as the kernel takes it."""
        assert self.judge.state not in FINAL, "asked after the end"
        if self.beats is not None:
            self.open_questions.append(self.beats.number)
            assert len(self.open_questions) <= 1024
        self.judge.asked(self.now)
        self.waiting = True
        if self.kernel:
            self.drain()

    def drain(self) -> None:
        """User space is empty."""
        self.judge.handed_over(self.now)
        if self.waiting:
            self.handed.append(self.now)
        self.waiting = False

    def serve(self) -> None:
        """The wheel's call and what it leads to."""
        judge, now = self.judge, self.now
        if self.final is not None:
            assert judge.handle_timer(now) is Need.NOTHING
            return
        need = judge.handle_timer(now)
        after = judge.next_timer()
        # No busy loop: but for what is observed in this turn, the next wake is later.
        assert after is None or after > now or need & Need.LOOK
        assert self.deaf_since is None or need is Need.NOTHING, "judged or asked while deaf"
        if need & Need.ASK:
            self.ask()
        if need & Need.JUDGE:
            self.looks += 1
            if self.crowd and judge.doubt(now) is Need.ASK:
                self.doubts.append(now)
                self.ask()
            else:
                self.look(verdict=True)
        elif need & Need.LOOK:
            self.look(verdict=False)
        self.pull()

    def look(self, verdict: bool) -> None:
        """Bring evidence; if that is a verdict, it must have been allowed."""
        evidence = (
            uncounted(self.now, self.unread) if self.received is None else counted(self.now, self.unread, self.received)
        )
        before = self.judge.state
        self.judge.observe(evidence, self.now)
        if self.judge.state is State.DEAD and before is not State.DEAD:
            assert verdict, "condemned by a look that was none of a verdict"
            self.allowed()

    def allowed(self) -> None:
        """``wire.md`` §2: nothing heard for D, and a question unanswered for T/2 and for the RTT term, attentively."""
        assert self.listened(self.heard_at) >= self.detect - ROUNDING, "condemned before D"
        if not self.can_ask:
            return
        since = [at for at in self.handed if at > self.heard_at]
        assert since, "condemned unheard"
        wait = max((self.detect - self.interval) / 2, 0.0 if self.beats is None else self.beats.rtt.answer_term)
        assert self.listened(since[0]) >= wait - ROUNDING, "condemned before the answer could come"

    def listened(self, since: float) -> float:
        """Seconds from then on in which we were able and willing to hear; of each stall a cap at most."""
        cap = self.detect / POLLS
        seconds = self.now - since
        for begun, ended in self.pauses:
            seconds -= max(0.0, min(ended, self.now) - max(begun, since))
        for begun, ended in self.stalls:
            if any(paused <= begun and ended <= resumed for paused, resumed in self.pauses):
                continue
            # A grant or a detector may make the cap larger: at least this much of a stall is not the peer's.
            seconds -= max(0.0, min(ended, self.now) - max(begun, since) - cap * (1 + MOST))
        return seconds

    # -- what can happen

    @rule(fraction=st.floats(0.001, 1.5))
    def sleep(self, fraction: float) -> None:
        """Listen, and wake when the judge wants to."""
        self.listen(fraction * self.detect)

    def listen(self, seconds: float) -> None:
        """Sleep for so long."""
        end = self.now + seconds
        while (at := self.judge.next_timer()) is not None and at <= end:
            # As in the wheel: the same judge is not served twice in one turn.
            self.wake(max(at, self.now + TURN))
        if end > self.now:
            self.wake(end)

    def wake(self, at: float) -> None:
        """Sleep until then, in time."""
        self.attention.expect(at)
        self.now = at
        self.attention.looked(at)
        self.serve()

    @rule(seconds=st.floats(NOTICED * 1.01, 30.0))
    def stall(self, seconds: float) -> None:
        """Be stopped; afterwards the timers come first."""
        self.attention.expect(self.now)
        self.stalls.append((self.now, self.now + seconds))
        self.now += seconds
        self.attention.looked(self.now)
        self.serve()

    @rule(beat=st.booleans())
    def heard(self, beat: bool) -> None:
        """A sign of life."""
        self.liveness.heard(self.now, beat)
        self.alive()

    def alive(self) -> None:
        """Whatever came, the peer lives, if it was not dead before."""
        self.heard_at = self.now
        self.handed = [at for at in self.handed if at > self.now]
        self.pull()
        if self.final is None:
            assert self.judge.state in (State.ALIVE, State.STUCK, State.CONNECTING)

    @precondition(lambda self: self.beats is not None)
    @rule(data=st.data())
    def answered(self, data: st.DataObject) -> None:
        """An answer to any question, open or not."""
        assert self.beats is not None
        number = data.draw(st.integers(0, self.beats.number + 1))
        matched = self.beats.answered(number, self.now)
        assert matched == (number in self.open_questions)
        if matched:
            self.open_questions = self.open_questions[self.open_questions.index(number) + 1 :]
        self.alive()

    @rule(unread=st.sampled_from((0, 0, 8, 100_000)), received=st.sampled_from((None, 0, 1000)))
    def input_lies_there(self, unread: int, received: int | None) -> None:
        """What the next looks will find."""
        self.unread = unread
        self.received = None if received is None else received + unread

    @rule(taken=st.integers(1, 50_000))
    def input_is_read(self, taken: int) -> None:
        """Some of it was read, and made no frame."""
        self.unread = max(0, self.unread - taken)

    @rule(takes=st.booleans())
    def kernel_takes(self, takes: bool) -> None:
        """From here on the kernel takes our bytes, or does not."""
        self.kernel = takes
        if takes:
            self.drain()

    @rule(crowd=st.booleans())
    def crowded(self, crowd: bool) -> None:
        """Many others are due with this one, or not."""
        self.crowd = crowd

    @precondition(lambda self: self.judge.state is not State.CONNECTING)
    @rule(seconds=st.floats(0.0, 1000.0))
    def grant(self, seconds: float) -> None:
        """STALLED came: with it a sign of life."""
        self.judge.grant(seconds, self.now)
        self.liveness.heard(self.now, beat=False)
        self.alive()

    @rule(stuck=st.booleans())
    def works(self, stuck: bool) -> None:
        """A SYNC came."""
        if self.judge.state is State.CONNECTING:
            return
        self.liveness.works(stuck, self.now)
        self.liveness.heard(self.now, beat=False)
        self.alive()
        assert self.final is not None or self.judge.state is (State.STUCK if stuck else State.ALIVE)

    @rule()
    def deaf(self) -> None:
        """We stop reading."""
        self.judge.deaf(self.now)
        if self.final is None and self.deaf_since is None:
            self.deaf_since = self.now
            assert self.judge.next_timer() is None

    @rule()
    def hearing(self) -> None:
        """We read again."""
        self.judge.hearing(self.now)
        if self.deaf_since is not None:
            self.pauses.append((self.deaf_since, self.now))
            self.handed.clear()
            self.deaf_since = None

    @precondition(lambda self: self.deaf_since is None)
    @rule(mult=st.integers(2, 6))
    def opened(self, mult: int) -> None:
        """The gate opens."""
        if self.judge.state is not State.CONNECTING:
            return
        self.detect = self.interval * mult
        self.judge.opened(self.now, terms(self.interval, self.detect))
        self.handed.clear()
        self.alive()

    @rule(how=st.sampled_from(("eof", "reset", "error", "aborted")))
    def ended(self, how: str) -> None:
        """The transport ends. Rarely: most of what is interesting comes before."""
        if self.now - START > 20 * self.detect:
            self.judge.ended(Ending(how, Evidence(self.now)), self.now)  # type: ignore[arg-type]  # one of the literals
            self.pull()
            assert self.final is not None

    @rule(detail=st.sampled_from(("leaving", "draining")))
    def left(self, detail: str) -> None:
        """BYE. Rarely, too."""
        if self.now - START > 20 * self.detect:
            self.liveness.leave(detail, self.now)
            self.pull()
            assert self.final is not None

    # -- what always holds

    @invariant()
    def finals_stay(self) -> None:
        """One end, told once, after which nothing is told, and no timer."""
        if not hasattr(self, "judge"):
            return
        ends = [event for event in self.log if isinstance(event, ENDS)]
        if self.final is None:
            assert not ends
            return
        assert self.judge.state is self.final
        assert self.judge.next_timer() is None
        assert len(ends) == 1
        assert self.log[-1] is ends[0]

    @invariant()
    def a_gate_is_not_judged(self) -> None:
        """Before it opens there is no suspicion, no timer and no question."""
        if hasattr(self, "judge") and self.judge.state is State.CONNECTING:
            assert self.judge.next_timer() is None
            assert not any(isinstance(event, (Suspect, Spared)) for event in self.log)

    @invariant()
    def spared_once_per_silence(self) -> None:
        """Between two signs of life at most one, and one second chance at most between two suspicions."""
        if hasattr(self, "judge"):
            spared = [event for event in self.log if isinstance(event, Spared) and event.at > self.heard_at]
            assert len(spared) <= 1
            assert len([at for at in self.doubts if at > self.heard_at]) <= 1

    def teardown(self) -> None:
        """Whatever was before: once we listen and the kernel takes our bytes, the silent are found in time."""
        if not hasattr(self, "judge") or self.judge.state in FINAL or self.judge.state is State.CONNECTING:
            return
        if self.deaf_since is not None:
            self.hearing()
        self.kernel_takes(True)
        self.crowd = False
        self.unread = 0
        patience = self.detect * (MOST if self.liveness.detector is not None else 1) + self.detect
        term = 0.0 if self.beats is None else self.beats.rtt.answer_term
        self.listen(patience + max(patience / 2, term) + patience / POLLS * 2 + (DRAIN_LOOKS + 2) * TURN)
        assert self.judge.state is State.DEAD, "a silent peer is still thought alive"


class MachineTests(SynchronousTestCase):
    """The machine, run as a test: trial passes over ``.TestCase`` in silence."""

    def test_any_input_in_any_state(self) -> None:
        """Finals stay, nobody is condemned before D or unheard, no wake without end, and the dead are found."""
        run_state_machine_as_test(Judged, settings=settings(max_examples=80, stateful_step_count=40, deadline=None))
