"""The judge: turns time and evidence into a verdict. It knows no frames, no sockets and no clock.

Theory of operation (``architecture.md``, "The verdict"; ``wire.md`` §2). One clock runs from the last sign of life,
in attentive time: the seconds in which this process was able to listen. At half time, (D + I) / 2, the peer is
SUSPECT: one more question goes out and the first evidence is taken. At D the peer is dead, if a question has been
with the kernel for T / 2 and for the time that a round trip may take, and if nothing lies unread. A peer that never
gets this far costs one comparison per beat and no object; a :class:`.Suspicion` exists only in between.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from heartbeat.liveness.allowance import Allowance
from heartbeat.liveness.causes import name_ending, name_silence
from heartbeat.liveness.events import Alive, Dead, Event, Left, Refused, Spared, Stuck, Suspect
from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.liveness.need import ASK, ASK_AND_LOOK, JUDGE, LOOK, NOTHING, Need
from heartbeat.liveness.oversleep import overslept, proof
from heartbeat.liveness.recorder import Kind, Recorder
from heartbeat.liveness.states import FINAL, Input, State, step
from heartbeat.liveness.suspicion import Suspicion
from heartbeat.liveness.terms import Terms, patient, terms

if TYPE_CHECKING:
    from heartbeat.liveness.attention import Attention
    from heartbeat.liveness.detectors import Detector
    from heartbeat.liveness.rtt import RoundTrips

__all__ = ["Liveness"]

NEVER: Final = math.inf
LONG_AGO: Final = -math.inf
# The most that a detector (4 × D) and a grant (D) make of D: so long gaps of attention are remembered.
LONGEST_PATIENCE: Final = 5.0
# Who comes to these from the beginning, and was never anything else, needs no recorder.
UNRECORDED: Final = (State.ALIVE, State.LEFT)
# Below the resolution of any timer: rounding, not time that is left.
EPSILON: Final = 1e-6


class Liveness:
    """Judges one peer.

    :param detect: D, seconds of attentive silence after which the peer is dead
    :param attention: of the reactor that this peer is read by
    :param now: monotonic seconds
    :param interval: I, the peer's own interval; half time is (D + I) / 2, the timeout T = D - I
    :param can_ask: False: this judge only listens (an idle timeout); it never waits for an answer
    :param gated: True: nobody is judged before :meth:`opened`
    :param rtt: what says how long an answer may take; None: no such term
    :param detector: makes the judge more patient than D, at most fourfold

    The shell calls what is listed in ``architecture.md`` ("The face that the shell drives") and reads :attr:`state`,
    :attr:`cause`, :attr:`evidence`, :meth:`next_timer` and :meth:`events` after each call.

    :ivar heard_at: the last sign of life; a hot path writes it directly and calls :meth:`refute` if there is a
        :attr:`suspicion`
    :ivar due: when :meth:`handle_timer` is wanted, infinite for never; :meth:`next_timer` in one read
    :ivar asking: a question was written that the kernel does not have yet
    :ivar terms: the agreed times; a STALLED or a detector may make the judge more patient for a while
    :ivar stuck: the peer last said that its work stands still
    :ivar news: events that nobody has taken, None nearly always; :meth:`events` takes them
    :ivar recorder: of the last events, None for a peer that was always well; :meth:`flight` makes one
    """

    __slots__ = (
        "_allowance", "_deaf", "_handed_at", "_spared_for", "asking", "attention",
        "can_ask", "cause", "detector", "due", "evidence", "heard_at", "news", "recorder", "rtt", "since", "state",
        "stuck", "suspicion", "terms",
    )  # fmt: skip

    def __init__(
        self,
        detect: float,
        attention: Attention,
        now: float,
        *,
        interval: float = 0.0,
        can_ask: bool = True,
        gated: bool = False,
        rtt: RoundTrips | None = None,
        detector: Detector | None = None,
    ) -> None:
        self.terms = terms(interval, detect)
        self.attention = attention
        self.can_ask = can_ask
        self.rtt = rtt
        self.detector = detector
        self.state = State.CONNECTING if gated else State.ALIVE
        self.since = self.heard_at = now
        self.cause: str | None = None
        self.evidence: Evidence | None = None
        self.suspicion: Suspicion | None = None
        self.stuck = False
        self.asking = False
        self._handed_at = LONG_AGO
        self._spared_for = LONG_AGO
        self._deaf: tuple[float, float] | None = None  # since when, and the silence before
        self._allowance: Allowance | None = None
        self.news: list[Event] | None = None
        self.recorder: Recorder | None = None
        self.due = NEVER if gated else now + self.terms.half
        attention.remember(LONGEST_PATIENCE * detect)

    def opened(self, now: float, agreed: Terms | None = None) -> None:
        """The gate is open: from here on the peer is judged, by the terms that were agreed."""
        if agreed is not None:
            self.terms = agreed
            self.attention.remember(LONGEST_PATIENCE * agreed.detect)
            if self.detector is not None:
                self.detector.agree(agreed.interval, agreed.detect)
        self.heard_at = now
        self._move(Input.OPENED, now)
        self.due = now + self.terms.half
        self.note(Alive(now))

    # -- what happened

    def heard(self, now: float, beat: bool = True) -> None:
        """A sign of life. ``beat``: it is one of those that come at regular times, for the detector to learn from."""
        self.heard_at = now
        if beat and self.detector is not None:
            if now > self.attention.fresh_until:  # read late: when it came is not known
                self.detector.skip()
            self.detector.heard(now)
        if self.suspicion is not None:
            self.refute(now)

    def refute(self, now: float) -> None:
        """The suspicion was wrong: a sign of life came."""
        self.suspicion = None
        self._move(Input.HEARD_STUCK if self.stuck else Input.HEARD, now)
        if self._deaf is None:
            self.due = now + self.terms.half
        self.note(Stuck(now) if self.stuck else Alive(now))

    def works(self, stuck: bool, now: float) -> None:
        """What the peer last said about its work: it goes on, or stands still while some is queued."""
        if stuck == self.stuck:
            return
        self.stuck = stuck
        if self.suspicion is None and self.state not in FINAL:
            self._move(Input.HEARD_STUCK if stuck else Input.HEARD, now)
            self.note(Stuck(now) if stuck else Alive(now))

    def asked(self, now: float) -> None:
        """A question was written. Call :meth:`handed_over` when the kernel has it."""
        self.asking = True

    def handed_over(self, now: float) -> None:
        """The kernel has every byte written so far: the clock of all questions before starts here."""
        if self.asking:
            self.asking = False
            if self._handed_at <= self.heard_at:  # one of the same instant may be what was answered
                self._handed_at = now

    def deaf(self, now: float) -> None:
        """We stopped reading on purpose: silence does not count until :meth:`hearing`."""
        if self._deaf is None and self.state not in FINAL:
            self._deaf = (now, self._silent(now, self.terms.cap))
            self.due = NEVER
            self.flight().record(now, Kind.DEAF)

    def hearing(self, now: float) -> None:
        """We read again. Questions put before do not count any more: their answers may still be unread."""
        if self._deaf is None:
            return
        since, before = self._deaf
        self._allow().read_again(self.heard_at, before if self.heard_at < since else 0.0, now)
        self._deaf = None
        self._handed_at = LONG_AGO
        self.flight().record(now, Kind.HEARING)
        if self.detector is not None:
            self.detector.skip()
        if self.state not in FINAL and self.state is not State.CONNECTING:
            self.due = now + self.terms.cap

    def grant(self, seconds: float, now: float) -> None:
        """The peer says that it was stalled: be more patient by that, at most by D, for a minute."""
        self.flight().record(now, Kind.STALLED, seconds)
        self._allow().grant(min(seconds, self.terms.detect), now)

    # -- time

    def next_timer(self) -> float | None:
        """When to call :meth:`handle_timer`: monotonic seconds, or None."""
        return None if self.due == NEVER else self.due

    def handle_timer(self, now: float) -> Need:
        """The moment of :meth:`next_timer` has come or passed. Do what is needed, then read the state."""
        if now < self.due:
            return NOTHING
        granted = 0.0 if self._allowance is None else self._allowance.granted(now)
        agreed = patient(self.terms, granted, self.detector)
        silent = self._silent(now, agreed.cap)
        fault = self.attention.fault(self.heard_at, silent, agreed.detect, now)
        if fault is not None:
            self._spare(fault[0], now, fault[1])
        if self.suspicion is None:
            if silent < agreed.half - EPSILON:
                self.due = now + agreed.half - silent
                return NOTHING
            self.suspicion = Suspicion()
            self._move(Input.SILENT, now)
            self.note(Suspect(now, silent))
            self.flight().suspected(now, self.attention, self.heard_at, asked=self.can_ask)
            self.due = now + min(agreed.cap, max(agreed.detect - silent, 0.0))
            return ASK_AND_LOOK if self.can_ask else LOOK
        left = agreed.detect - silent
        if self.can_ask:
            if self._handed_at <= self.heard_at:  # nobody is condemned unheard
                self.due = now + agreed.cap
                return NOTHING if self.asking else ASK
            waited = self.attention.awake(self._handed_at, now, agreed.cap)
            left = max(left, agreed.answer_time(self.rtt) - waited)
        if left > EPSILON:
            self.due = now + min(left, agreed.cap)
            return NOTHING
        self.due = now + agreed.cap
        return JUDGE

    def stepped(self, by: float, now: float) -> None:
        """The clock on the wall was set forward by so much: a plain timer, which runs on it, has fired now."""
        if now - self.heard_at < self.terms.detect <= now - self.heard_at + by and self.due != NEVER:
            self._spare("clock_step", now, by)

    def put_off(self) -> None:
        """Look no earlier than a peer that is well can be at its half time: spares a wake or two per interval."""
        if self.suspicion is None:
            self.due = max(self.due, self.heard_at + self.terms.half)

    def doubt(self, now: float) -> Need:
        """Too many are due in this turn: we suspect ourselves. ASK once more, once per suspicion; else JUDGE."""
        suspicion = self.suspicion
        if suspicion is None or suspicion.doubted or not self.can_ask:
            return JUDGE
        suspicion.doubted = True
        self._handed_at = LONG_AGO
        self._spare("mass_timeout", now, 0.0)
        self.due = now + self.terms.cap
        return ASK

    def observe(self, evidence: Evidence, now: float) -> None:
        """The evidence that LOOK asked for. It decides if the time is up; then read :attr:`state`."""
        suspicion = self.suspicion
        if suspicion is None:
            return
        if suspicion.half_time is None:
            self.flight().looked(evidence)
            suspicion.half_time = evidence
            return
        unread = suspicion.undrained(evidence)
        if unread:
            self._spare("unread_input", now, 0.0)
        if unread or (self.can_ask and suspicion.unsure(evidence)):
            self.due = now
            return
        self.flight().looked(evidence)
        cause, detail = name_silence(suspicion.half_time, evidence, self.can_ask)
        self.condemn(cause, now, replace(evidence, detail=detail))

    # -- ends

    def condemn(self, cause: str, now: float, evidence: Evidence | None = None, reason: str = "") -> None:
        """The verdict. Before the gate it is a refusal, with ``reason`` for people. A final state stays what it is."""
        if self.state in FINAL:
            return
        self.cause = cause
        self.evidence = evidence
        self._move(Input.CONDEMNED, now)
        if self.state is State.REFUSED:
            self.note(Refused(now, cause, reason, evidence))
        else:
            self.note(Dead(now, cause, now - self.heard_at, evidence))

    def leave(self, detail: str, now: float, reason: str = "") -> None:
        """The peer said a BYE that is no failure; before the gate it is a refusal without a cause."""
        if self.state in FINAL:
            return
        self._move(Input.LEAVING, now)
        if self.state is State.REFUSED:
            self.note(Refused(now, "", reason or detail))
        else:
            self.note(Left(now, detail, reason))

    def ended(self, ending: Ending, now: float) -> None:
        """The transport is gone, without BYE. Our own abort is no death; after a verdict or a BYE nothing changes."""
        if ending.how == "aborted":
            self.leave("aborted", now)
            return
        known = ending.refused if self.state is State.CONNECTING else None
        cause, detail = known or name_ending(ending, None if self.suspicion is None else self.suspicion.half_time)
        stalled = overslept(self.attention, self.terms, ending.evidence, self.heard_at, now)
        self.condemn(cause, now, proof(cause, detail, ending.evidence, stalled, now))

    def events(self) -> tuple[Event, ...]:
        """What happened since the last call, oldest first; ``()`` nearly always."""
        if self.news is None:
            return ()
        events, self.news = tuple(self.news), None
        return events

    def note(self, event: Event) -> None:
        """Add an event: for those who own this judge and have events of their own."""
        if self.recorder is not None:
            self.recorder.note(event)
        if self.news is None:
            self.news = [event]
        else:
            self.news.append(event)

    def flight(self) -> Recorder:
        """The flight recorder, made when it is first needed: by then, something is not as it should be."""
        if self.recorder is None:
            self.recorder = Recorder(self.since, Kind.CONNECTED if self.state is State.CONNECTING else Kind.OPENED)
        return self.recorder

    # -- inside

    def _move(self, happened: Input, now: float) -> None:
        state = step(self.state, happened)
        if state is not self.state:
            if state not in UNRECORDED:
                self.flight()  # it remembers since when all was well
            self.state = state
            self.since = now
            if state in FINAL:
                self.suspicion = None
                self.due = NEVER

    def _silent(self, now: float, cap: float) -> float:
        if self._allowance is None:
            return self.attention.awake(self.heard_at, now, cap)
        before, since = self._allowance.counted(self.heard_at)
        return before + self.attention.awake(since, now, cap)

    def _allow(self) -> Allowance:
        if self._allowance is None:
            self._allowance = Allowance()
        return self._allowance

    def _spare(self, reason: str, now: float, seconds: float) -> None:
        """Count it, once per silence."""
        if self._spared_for != self.heard_at:
            self._spared_for = self.heard_at
            self.flight()
            self.note(Spared(now, reason, seconds))
