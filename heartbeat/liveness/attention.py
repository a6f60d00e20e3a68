"""When this process was able to listen. One per reactor; every judge on that reactor asks it."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

__all__ = ["Attention"]

# A wake this late is ordinary scheduling; what is later was a stall of ours. The wheel's slots are 20 ms.
NOTICED: Final = 0.05
# Gaps are kept for as long as the longest detection time that may ask for them, and at least this long.
KEEP: Final = 120.0
# A loop that is late all the time makes a gap at each wake. Over this number the two oldest become one,
# which errs on the side of patience.
MOST_GAPS: Final = 4096
# The crowd rule: this many due in one turn, and this share of all that are watched, is more likely our own fault.
CROWD: Final = 8
CROWD_SHARE: Final = 0.1


class Attention:
    """The times in which the event loop did not poll.

    The wheel says when it means to wake (:meth:`expect`) and that it woke (:meth:`looked`). In between the loop
    sleeps in its poll, which is listening; from the meant moment to the real one it was busy elsewhere, or
    stopped. Such a gap counts as silence only up to a cap, because nothing could be heard in it.

    :ivar fresh_until: what is read before this moment was read in time; later reads may be old, ask the kernel. After a
        gap everything may be, until the next wake: a poll lies between
    :ivar stalled_at: when the newest gap ended; compare it to learn that one more came
    :ivar resumed_at: when the machine last came back from being suspended
    :ivar suspended: for how many seconds it was, which the monotonic clock does not show
    """

    __slots__ = (
        "_expected", "_gaps", "_keep", "_lost", "_stale", "fresh_until", "resumed_at", "stalled_at", "suspended",
    )  # fmt: skip

    def __init__(self, now: float, keep: float = KEEP) -> None:
        self._gaps: deque[tuple[float, float]] = deque()
        self._lost = 0.0  # the length of all gaps together
        self._keep = keep
        self.stalled_at = self.resumed_at = -math.inf
        self.suspended = 0.0
        self._expected = now
        self._stale = False  # the newest wake was late, and what is read until the next one may be old
        self.fresh_until = now + NOTICED

    def remember(self, seconds: float) -> None:
        """Keep gaps for at least ``seconds``: the longest detection time in use."""
        self._keep = max(self._keep, seconds)

    def expect(self, at: float) -> None:
        """The loop means to look again at ``at``, and sleeps in its poll until then."""
        self._expected = at
        if not self._stale:
            self.fresh_until = at + NOTICED

    def looked(self, now: float) -> float:
        """The loop looks. Returns how late it is, in seconds; call :meth:`expect` next."""
        late = now - self._expected
        self._stale = late > NOTICED
        if late <= 0.0:
            return 0.0
        gaps = self._gaps
        if self._stale:
            # Twisted wakes its timers first and then reads what came meanwhile.
            self.fresh_until = -math.inf
            gaps.append((self._expected, now))
            self._lost += late
            self.stalled_at = now
            if len(gaps) > MOST_GAPS:
                oldest, second = gaps.popleft(), gaps.popleft()
                gaps.appendleft((oldest[0], second[1]))
                self._lost += second[0] - oldest[1]
        # A silence that reaches back over gaps is longer than its attentive time by as much as they are.
        while gaps and gaps[0][1] < now - self._keep - self._lost:
            begun, ended = gaps.popleft()
            self._lost -= ended - begun
        self._expected = now
        return late

    def resumed(self, now: float, suspended: float) -> None:
        """The machine was suspended until now: what went before says nothing about anybody.

        Others went on meanwhile, and retransmitted to a machine that did not answer, at longer and longer intervals:
        so who was silent before gets all of its time again.
        """
        self.resumed_at = now
        self.suspended = suspended
        self.fresh_until = -math.inf

    def awake(self, since: float, now: float, cap: float) -> float:
        """Seconds of (since, now] in which this process listened; each gap counts for at most ``cap`` of them."""
        since = max(since, self.resumed_at)
        lost = 0.0
        for begun, ended in reversed(self._gaps):
            if ended <= since:
                break
            over = min(ended, now) - max(begun, since) - cap
            if over > 0.0:
                lost += over
        still = now - max(self._expected, since) - cap  # the gap that is still open
        if still > 0.0:
            lost += still
        return max(0.0, now - since - lost)

    def longest(self, since: float) -> float:
        """The longest gap that ended after ``since``, in seconds; 0.0 if there was none."""
        return self._gap(since)[0]

    def missed(self, since: float, now: float) -> tuple[float, float]:
        """The longest time in which nothing could be heard (stalled, still busy, suspended) and that ended after
        ``since``, and when it ended; (0.0, ``since``) if there was none worth the name."""
        longest, at = self._gap(since)
        if now - self._expected > max(longest, NOTICED):
            longest, at = now - self._expected, now
        if self.resumed_at > since and self.suspended > longest:
            longest, at = self.suspended, self.resumed_at
        return longest, at

    def fault(self, heard_at: float, silent: float, detect: float, now: float) -> tuple[str, float] | None:
        """Which fault of ours has made a plain timer of ``detect`` condemn by now a peer that is not to be condemned.

        :param heard_at: when the silence began
        :param silent: the attentive seconds of it
        :returns: a name of :data:`.causes.SPARE_REASONS` and the seconds that were ours, or None
        """
        silence = now - heard_at
        if heard_at < self.resumed_at and silence + self.suspended >= detect > silent:
            return "suspended", self.suspended
        return ("local_stall", silence - silent) if silence >= detect > silent else None

    @staticmethod
    def crowded(due: int, watched: int) -> bool:
        """Whether so many peers are due in one turn that we suspect ourselves first."""
        return due > CROWD and due > CROWD_SHARE * watched

    # -- inside

    def _gap(self, since: float) -> tuple[float, float]:
        """The length and the end of the longest gap that ended after ``since``."""
        longest, at = 0.0, since
        for begun, ended in reversed(self._gaps):
            if ended <= since:
                break
            if ended - begun > longest:
                longest, at = ended - begun, ended
        return longest, at
