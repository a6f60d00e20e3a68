"""Questions with numbers: a judge that also knows round trips, loss and pace. It knows no framing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from heartbeat.liveness.detectors import Detector, detector_for
from heartbeat.liveness.events import Event, RoundTrip
from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.loss import Loss
from heartbeat.liveness.need import ASK, ASK_AND_LOOK, JUDGE, LOOK, NOTHING, Need
from heartbeat.liveness.pace import jittered, paced
from heartbeat.liveness.recorder import Kind
from heartbeat.liveness.rtt import RoundTrips
from heartbeat.liveness.states import State
from heartbeat.liveness.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.liveness.attention import Attention
    from heartbeat.liveness.counters import Counters
    from heartbeat.liveness.terms import Terms

__all__ = ["Beats"]

NEVER: Final = math.inf
# A sender has at most this many unanswered questions, and then waits (wire.md §1).
MOST_OUTSTANDING: Final = 1024
# What a Beats with nothing outstanding has, which is most of them most of the time. It stays empty.
NONE_OPEN: Final[list[float]] = []
# The span of the loss ratio: what is assumed of the time before the first loss.
MINUTE: Final = 60.0
# A peer that is heard but answers nothing for this many detection times is dead, too (wire.md §2).
NO_ROUND_TRIP: Final = 10.0
# What the kernel took within this time did not wait in user space, but for a turn or two of the reactor: most links
# cannot say sooner. The round trip then counts.
PROMPT: Final = 0.05


class Beats:
    """A heartbeat over any framing that can carry a question and its answer.

    :param detect: D of the peer's direction, seconds
    :param attention: of the reactor that reads this peer
    :param now: monotonic seconds
    :param interval: between two own questions, seconds
    :param draw: a source of randomness for the jitter: gives 0 ≤ x < 1
    :param peer_interval: I of the peer's direction; None: the peer only answers, so it is ``interval``
    :param floor: never ask faster than this (the peer's ``min_rx``)
    :param adaptive: ask faster while answers are being lost
    :param detector: a name of :data:`heartbeat.config.DETECTORS`
    :param gated: True: nothing is asked and nobody judged before :meth:`opened`
    :param rtt_counts: process-wide counters that each round trip is added to

    Drive it as :class:`.Liveness` is driven; when it needs ASK, put the question that :attr:`number` names and call
    :meth:`asked`. An answer goes to :meth:`answered`, any other sign of life to :meth:`heard`.

    :ivar number: of the next question, from 0 on
    :ivar first: of the oldest question that is not settled
    :ivar interval: between own questions as paced now, seconds
    :ivar floor: never ask faster than this, seconds
    """

    __slots__ = (
        "_adaptive", "_ask_due", "_base", "_draw", "_from", "_loss", "_rtt_counts", "_sent", "_unhanded", "_unsampled",
        "_watched", "first", "floor", "interval", "liveness", "number", "rtt", "tally", "wants_round_trips",
    )  # fmt: skip

    def __init__(
        self,
        detect: float,
        attention: Attention,
        now: float,
        *,
        interval: float,
        draw: Callable[[], float],
        peer_interval: float | None = None,
        floor: float = 0.0,
        adaptive: bool = True,
        detector: str = "fixed",
        gated: bool = False,
        rtt_counts: Counters | None = None,
    ) -> None:
        peer_interval = interval if peer_interval is None else peer_interval
        learned: Detector | None = detector_for(detector, peer_interval, detect)
        self.rtt = RoundTrips()
        self.liveness = Liveness(
            detect, attention, now, interval=peer_interval, gated=gated, rtt=self.rtt, detector=learned
        )
        self.tally = Tally()
        self.number = 0
        self.interval = interval
        self.wants_round_trips = False
        self._base = interval
        self.floor = floor
        self._adaptive = adaptive
        self._draw = draw
        self._loss: Loss | None = None  # a path that never lost a question needs none
        self._rtt_counts = rtt_counts
        self.first = 0
        self._sent = NONE_OPEN  # when each question from first on was put
        self._unhanded = 0  # the first question that the kernel does not have, while there is one
        self._unsampled = -1  # questions up to this one waited in user space: their round trip is not the path's
        self._watched: set[int] | None = None
        self._from = now  # since when an unanswered question counts
        self._ask_due = NEVER if gated else now + jittered(interval, draw)

    # -- gate and terms

    def opened(self, now: float, agreed: Terms | None = None, *, at_once: bool = True) -> None:
        """The gate is open. The first question is due at once, or after one interval."""
        self.liveness.opened(now, agreed)
        self._from = now
        self._ask_due = now if at_once else now + jittered(self._base, self._draw)

    def pace(self, interval: float, floor: float) -> None:
        """The terms of our own direction: ask at this interval, and never faster than the floor."""
        self.interval = self._base = max(interval, floor)
        self.floor = floor

    @property
    def state(self) -> State:
        """What is known of the peer."""
        return self.liveness.state

    @property
    def cause(self) -> str | None:
        """Why it is dead or was refused."""
        return self.liveness.cause

    @property
    def evidence(self) -> Evidence | None:
        """What was observable when the verdict fell."""
        return self.liveness.evidence

    # -- what happened

    def heard(self, now: float) -> None:
        """A sign of life that is no answer."""
        self.liveness.heard(now)

    def asked(self, now: float) -> None:
        """The question :attr:`number` was written. Call :meth:`handed_over` when the kernel has it."""
        if not self.liveness.asking:
            self._unhanded = self.number
        if self._sent:
            self._sent.append(now)
        else:
            self._sent = [now]
        self.number += 1
        self.tally.pings_out += 1
        self.liveness.asked(now)

    def handed_over(self, now: float) -> None:
        """The kernel has every byte written so far."""
        if self.liveness.asking:
            number, first = max(self._unhanded, self.first), self.first
            while number < self.number and now - self._sent[number - first] > PROMPT:
                self._unsampled = number  # it waited here: its round trip is not the path's
                number += 1
            self.liveness.handed_over(now)

    def answered(self, number: int, now: float, arrived: float | None = None) -> bool:
        """The answer to a question: a round trip and a sign of life. False if there is no such question open."""
        matched = self.settle(number, now, arrived)
        self.liveness.heard(now)
        return matched

    def asked_at(self, number: int) -> float | None:
        """When the question was put; None if it is not open (any more)."""
        index = number - self.first
        return self._sent[index] if 0 <= index < len(self._sent) else None

    def settle(self, number: int, now: float, arrived: float | None = None) -> bool:
        """As :meth:`answered`, for a caller that counts the sign of life itself, afterwards.

        All older open questions are settled as lost. ``arrived`` is when the kernel got the answer, given when it was
        read late; a late answer of which that is not known is no sample, so own stalls do not poison the pace.
        """
        sent = self._sent
        index = number - self.first
        tally = self.tally
        if not 0 <= index < len(sent):
            tally.strays += 1
            return False
        at = sent[index]
        if index + 1 < len(sent):
            del sent[: index + 1]
        else:
            self._sent = NONE_OPEN
        self.first = number + 1
        tally.acks_in += 1
        tally.lost += index
        liveness = self.liveness
        if liveness.suspicion is not None:
            tally.late += 1
            liveness.flight().record(now, Kind.LATE, now - at)
        if index:
            liveness.flight().record(now, Kind.LOST, index)
            if self._loss is None:
                self._loss = Loss.behind(min(tally.acks_in - 1, int(MINUTE / self.interval)), now)
        if self._loss is not None:
            self._loss.settle(1, index, now)
        if arrived is None and now <= liveness.attention.fresh_until:
            arrived = now
        if liveness.asking and number >= self._unhanded and now - at > PROMPT:
            arrived = None  # when it left nobody has told yet, and it did not leave at once
        if arrived is not None and number > self._unsampled:
            seconds = max(0.0, arrived - at)
            self.rtt.sample(seconds)
            if self._rtt_counts is not None:
                self._rtt_counts.add(seconds)
        if self._watched is not None or self.wants_round_trips:
            self._tell(number, index, now, now - at)
        return True

    @property
    def full(self) -> bool:
        """As many questions are open as may be: no more may be put before one is settled (wire.md §1)."""
        return len(self._sent) >= MOST_OUTSTANDING

    def watch(self, number: int) -> None:
        """Make a :class:`.RoundTrip` event when this question is settled."""
        if self._watched is None:
            self._watched = set()
        self._watched.add(number)

    def deaf(self, now: float) -> None:
        """We stopped reading on purpose: nothing is asked and silence does not count until :meth:`hearing`."""
        self.liveness.deaf(now)
        self._ask_due = NEVER

    def hearing(self, now: float) -> None:
        """We read again."""
        self.liveness.hearing(now)
        self._from = now
        self._unsampled = self.number - 1  # when their answers came is not known
        if self.liveness.state is not State.CONNECTING:
            self._ask_due = now

    def grant(self, seconds: float, now: float) -> None:
        """The peer says that it was stalled."""
        self.tally.stalled_in += 1
        self.liveness.grant(seconds, now)

    def ended(self, ending: Ending, now: float) -> None:
        """The transport is gone, without BYE."""
        self.liveness.ended(ending, now)

    # -- time

    def next_timer(self) -> float | None:
        """When to call :meth:`handle_timer`: monotonic seconds, or None."""
        judge = self.liveness.due
        if judge == NEVER:  # not judged (not yet, not while we are deaf, not any more): not asked either
            return None
        return min(self._ask_due, judge)

    def handle_timer(self, now: float) -> Need:
        """The moment of :meth:`next_timer` has come or passed."""
        liveness = self.liveness
        need = NOTHING if now < liveness.due else liveness.handle_timer(now)
        if need is ASK or need is ASK_AND_LOOK:
            self._ask_due = now + self._paced(now)
            return self._asked_before(need, now) if self.full else need
        if now < self._ask_due or need is JUDGE or liveness.due == NEVER:
            return need
        self._ask_due = now + self._paced(now)
        if self._sent and (self._fails(now) or self.full):
            return need
        liveness.put_off()
        return ASK

    def stepped(self, by: float, now: float) -> None:
        """The clock on the wall was set forward by ``by`` seconds."""
        self.liveness.stepped(by, now)

    def observe(self, evidence: Evidence, now: float) -> None:
        """The evidence that LOOK asked for."""
        self.liveness.observe(evidence, now)

    def doubt(self, now: float) -> Need:
        """Too many peers are due in this turn: one more question, unless too many are open already."""
        return JUDGE if self.full else self.liveness.doubt(now)

    def events(self) -> tuple[Event, ...]:
        """What happened since the last call; ``()`` nearly always."""
        return self.liveness.events()

    # -- numbers for others

    def loss(self, now: float) -> float:
        """The ratio of own questions of the last 60 s that were settled as lost."""
        return 0.0 if self._loss is None else self._loss.ratio(now)

    def phi(self, now: float) -> float | None:
        """The suspicion as the detector sees it, None without one that can say."""
        detector = self.liveness.detector
        return None if detector is None else detector.phi(now)

    # -- inside

    def _paced(self, now: float) -> float:
        if self._adaptive and self._loss is not None:
            self.interval = paced(self._base, self._loss.ratio(now), self.floor, self.rtt.for_pacing)
        return jittered(self.interval, self._draw)

    def _asked_before(self, need: Need, now: float) -> Need:
        """No more questions may be put: the open ones must do, and their time counts from here."""
        if not self.liveness.asking:
            self.liveness.asked(now)
            self.liveness.handed_over(now)
        return NOTHING if need is ASK else LOOK

    def _fails(self, now: float) -> bool:
        """Whether a peer that is heard has left questions unanswered for too long; then it is condemned."""
        liveness = self.liveness
        limit = NO_ROUND_TRIP * liveness.terms.detect
        since = max(self._sent[0], self._from)
        if now - since <= limit or liveness.attention.awake(since, now, liveness.terms.cap) <= limit:
            return False
        liveness.condemn("peer_stalled", now, Evidence(now, detail="no_round_trip"))
        return True

    def _tell(self, number: int, lost: int, now: float, seconds: float) -> None:
        watched = self._watched
        for one in range(number - lost, number + 1):
            if self.wants_round_trips or (watched is not None and one in watched):
                self.liveness.note(RoundTrip(now, one, seconds if one == number else None))
                if watched is not None:
                    watched.discard(one)
        if not watched:
            self._watched = None
