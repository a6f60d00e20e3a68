"""The judge of a target: one that also hears when a question has failed, and says why the target is dead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from heartbeat.liveness.beats import MINUTE, NONE_OPEN, Beats
from heartbeat.liveness.loss import Loss
from heartbeat.liveness.recorder import Kind
from heartbeat.probes.reasons import Trouble

if TYPE_CHECKING:
    from heartbeat.liveness.evidence import Evidence

__all__ = ["Answers"]


class Answers(Beats):
    """A :class:`~heartbeat.liveness.beats.Beats` whose questions are requests: each ends, well or not.

    Only a right answer is a sign of life; a wrong one or none is silence. So all that is true of silence is true here:
    a suspicion at half time, one more question, a verdict after the detection time, and no verdict because of us.

    :ivar trouble: what came of the last request that failed
    """

    __slots__ = ("trouble",)

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.trouble = Trouble("unattributed")

    def failed(self, number: int, trouble: Trouble | None, now: float) -> None:
        """The question came to nothing. ``trouble`` None: that was our own fault, and it was never put."""
        gone = number - self.first + 1
        if not 0 < gone <= len(self._sent):
            return
        self._sent = self._sent[gone:] or NONE_OPEN
        self.first = number + 1
        if trouble is not None:
            self.trouble = trouble
            self.tally.lost += gone
            self.liveness.flight().record(now, Kind.LOST, gone)
            if self._loss is None:
                self._loss = Loss.behind(int(min(now - self._from, MINUTE) / self.interval), now)
            self._loss.settle(0, gone, now)
        self._ask_due = min(self._ask_due, now + self._paced(now))

    def distrust(self, now: float, seconds: float | None) -> None:
        """Nothing is known of it but that its first question failed: it is suspect at once.

        :param seconds: how soon it was refused, which is how long an answer may take until one has come; None: it was
            a silence
        """
        if seconds is not None:
            self.rtt.sample(seconds, provisional=True)
        liveness = self.liveness
        liveness.heard_at = now - liveness.terms.half
        liveness.due = now

    def observe(self, evidence: Evidence, now: float) -> None:
        """The reason of a death is what the last request met with; the kernel has nothing to say about it."""
        suspicion = self.liveness.suspicion
        if suspicion is None or suspicion.half_time is None:
            super().observe(evidence, now)
        else:
            self.liveness.condemn(self.trouble.reason, now, replace(evidence, detail=self.trouble.detail or None))
