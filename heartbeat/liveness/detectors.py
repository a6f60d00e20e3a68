"""How long to wait for a peer that is heard at irregular times. Pure; each detector answers one question in seconds.

A detector watches when beats come and says how long after the last one it would give up: :meth:`Detector.patience`.
It only ever lengthens what was agreed (``wire.md`` §2: an end may be more patient, never less), so on a path that
beats steadily every detector says exactly the agreed detection time. ``fixed`` is no object at all: nothing to
update, nothing to keep.

============  ==============================================================================================
``fixed``     the agreed detection time
``phi``       waits until the silence is as unlikely as 10^-8, were the intervals normally distributed
``2w``        waits for the later of two expectations of the next beat, plus the agreed margin
============  ==============================================================================================
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from array import array
from functools import lru_cache
from typing import Final

from heartbeat.config import DETECTORS
from heartbeat.errors import ConfigError

__all__ = ["Detector", "PhiAccrual", "TwoWindow", "detector_for", "phi_at"]

#: Akka's and Cassandra's default: one false suspicion in 10^8 beats, which is a year and a half at two a second.
PHI_THRESHOLD: Final = 8.0
#: Intervals that phi remembers: at two beats a second 100 s. The authors took 1000; what a path did a quarter of an
#: hour ago says less about the next beat than it costs (800 bytes instead of 4000).
PHI_WINDOW: Final = 200
#: Beats in the long window of 2W-FD, the authors' choice. The short one is a single beat.
LONG_WINDOW: Final = 1000
#: No detector waits longer than this many detection times: what it learned may be weather that has passed, and a
#: dead peer gets its verdict in a time that can be named. Longer intervals are failures and not learned from.
MOST: Final = 4.0

# Above this many deviations the complement of the normal distribution comes from its asymptotic series (the relative
# error there is under 10^-7); erfc itself underflows to 0 at 38, and phi would be infinite.
_FAR: Final = 25.0


class Detector(ABC):
    """What all detectors have in common. ``now`` is the monotonic clock of the judge, in seconds."""

    __slots__ = ("_detect", "_interval", "_last", "_longest", "_spoiled")

    def __init__(self, interval: float, detect: float) -> None:
        self.agree(interval, detect)

    def agree(self, interval: float, detect: float) -> None:
        """Prime it, so that it has an answer before the first beat. What it had learned is forgotten.

        :param interval: the agreed interval of the peer's direction
        :param detect: the agreed detection time of that direction, longer than the interval
        :raises ConfigError: it is not longer
        """
        if not 0.0 < interval < detect < math.inf:
            raise ConfigError("detect", f"must be longer than the interval of {interval} s, not {detect} s")
        self._interval = interval
        self._detect = detect
        self._longest = MOST * detect
        self._last: float | None = None
        self._spoiled = False

    @abstractmethod
    def heard(self, now: float, number: int | None = None) -> None:
        """A beat of the peer arrived. The first call only starts the clock: make it when the gate opens.

        :param number: its sequence number; None: the one after the last. A jump that cannot be one of this peer's
            counting (back, or over a thousand beats) makes the detector begin anew
        """

    @abstractmethod
    def patience(self) -> float:
        """Seconds after the last beat at which it gives up: at least the agreed time, at most four times that."""

    def phi(self, now: float) -> float | None:
        """How suspicious the silence is on a logarithmic scale; None for a detector that has no such scale."""
        return None

    def skip(self) -> None:
        """Do not learn from the interval that the next beat ends: it spans a stall of ours or a time without reading.

        Otherwise one stall makes every peer look irregular for as long as the window lasts.
        """
        self._spoiled = True


class PhiAccrual(Detector):
    """Suspicion as a probability (Hayashibara, Défago, Yared, Katayama: The φ accrual failure detector, 2004).

    phi = -log10 P(a beat comes even later than now), for intervals that are normally distributed with the mean
    and deviation of the last 200. The exact distribution is used, where Akka takes a logistic approximation that is
    good to 2 × 10^-4 in the probability, and so gives up 7 % of the deviations too early where that is 10^-8.

    The mean counts as at least the agreed interval, the deviation as at least what makes a steady peer's phi reach
    the threshold at the agreed detection time exactly ((detect - interval) / 5.61: about a third of the interval
    where three intervals were agreed). Without such a floor a peer that beats like a clock is
    condemned for its first delay. Two primed intervals stand in the window until 200 real ones came.
    """

    __slots__ = ("_deviations", "_floor", "_next", "_square_sum", "_sum", "_threshold")

    def __init__(self, interval: float, detect: float, threshold: float = PHI_THRESHOLD) -> None:
        self._threshold = _deviations_at(threshold)
        super().__init__(interval, detect)

    def agree(self, interval: float, detect: float) -> None:
        """Prime the window with two intervals that are one least deviation off the agreed one."""
        super().agree(interval, detect)
        self._floor = (detect - interval) / self._threshold
        # Kept as differences from the agreed interval: small numbers, whose squares do not cancel.
        self._deviations: array[float] | None = None
        self._next = 0
        self._sum = 0.0
        self._square_sum = 2.0 * self._floor * self._floor

    def heard(self, now: float, number: int | None = None) -> None:
        """A beat arrived; its number does not matter here. Beats that are read in one go count as one."""
        last = self._last
        if last is not None and now <= last:
            return
        self._last = now
        if last is None or self._spoiled:
            self._spoiled = False
        elif now - last <= self._longest:
            self._learn(now - last - self._interval)

    def _learn(self, deviation: float) -> None:
        window = self._deviations
        if window is None:
            # The longer one goes first: the other one, while it is alone, must not lengthen the mean.
            window = self._deviations = array("f", (self._floor, -self._floor))
        if len(window) < PHI_WINDOW:
            window.append(deviation)
            self._sum += deviation
            self._square_sum += deviation * deviation
            return
        index = self._next
        old = window[index]
        window[index] = deviation
        self._next = index = (index + 1) % PHI_WINDOW
        if index:
            self._sum += deviation - old
            self._square_sum += deviation * deviation - old * old
        else:  # once around: what adding and taking away left behind is dropped
            self._sum = sum(window)
            self._square_sum = sum(each * each for each in window)

    def _model(self) -> tuple[float, float]:
        """The mean and the deviation of the intervals, both with their floors."""
        count = 2 if self._deviations is None else len(self._deviations)
        mean = self._sum / count
        variance = self._square_sum / count - mean * mean
        return self._interval + max(mean, 0.0), max(math.sqrt(max(variance, 0.0)), self._floor)

    def patience(self) -> float:
        """Seconds after the last beat at which phi reaches the threshold."""
        mean, deviation = self._model()
        return min(mean + self._threshold * deviation, self._longest)

    def phi(self, now: float) -> float:
        """The suspicion at ``now``; finite and rising however long the silence, 0.0 before the first beat."""
        if self._last is None:
            return 0.0
        mean, deviation = self._model()
        return phi_at((now - self._last - mean) / deviation)


class TwoWindow(Detector):
    """2W-FD (Tomsic, Sens, Garcia, Arantes, Sopena: 2W-FD: A Failure Detector Algorithm with QoS, 2015).

    Chen's estimate of the next arrival is the mean of (arrival - number × interval) over a window, plus the next
    number × interval. It is made over the last 1000 beats and over the last one, and the later of the two, plus
    the agreed margin (detect - interval), is the limit. So a beat that came early (behind a burst, after a delay that
    is over) shortens nothing, and one that came late lengthens at once.

    Two things differ from the paper. The interval is measured over the long window, not taken as given: no two clocks
    agree, and a peer that is 0.1 % fast would otherwise be waited for half an interval longer, for ever. And our
    peers do not beat on a grid: each interval is jittered anew, so the long window wanders by about an interval, and
    a peer that speeds up under loss bends it: both only ever lengthen, at most to four times the agreed time.
    """

    __slots__ = ("_base", "_base_number", "_next", "_number", "_offset", "_offsets", "_ranked_sum", "_sum")
    _base: float  # the arrival that offsets are counted from, and its number
    _base_number: int
    _number: int  # the newest beat's, and its offset
    _offset: float
    _offsets: array[float] | None  # of the long window, a ring whose oldest is at _next once it is full
    _next: int
    _sum: float  # of the offsets, and of each times its place in the window (0 is the oldest)
    _ranked_sum: float

    def agree(self, interval: float, detect: float) -> None:
        """Begin anew with other terms."""
        super().agree(interval, detect)
        self._restart(0.0, 0)

    def heard(self, now: float, number: int | None = None) -> None:
        """A beat arrived. A delayed one that brings others with it counts like the others: that is what is measured."""
        last = self._last
        if number is None:
            number = self._number + 1
        if last is None or not 0 < number - self._number <= LONG_WINDOW:
            self._last = now
            self._restart(now, number)
            return
        now = max(now, last)
        self._last = now
        self._number = number
        self._offset = offset = now - self._base - self._interval * (number - self._base_number)
        if self._spoiled:
            self._spoiled = False
        else:
            self._learn(offset)

    def _restart(self, now: float, number: int) -> None:
        """Forget all beats; the one that is heard now is the first of its counting."""
        self._number = self._base_number = number
        self._base = now
        self._offset = self._sum = self._ranked_sum = 0.0
        self._next = 0
        self._spoiled = False
        self._offsets = None

    def _learn(self, offset: float) -> None:
        window = self._offsets
        if window is None:
            window = self._offsets = array("f", (0.0,))  # the beat that started the counting
        count = len(window)
        if count < LONG_WINDOW:
            window.append(offset)
            self._sum += offset
            self._ranked_sum += count * offset
            return
        index = self._next
        oldest = window[index]
        window[index] = offset
        # All others move one place to the front.
        self._ranked_sum += (count - 1) * offset - (self._sum - oldest)
        self._sum += offset - oldest
        self._next = index = (index + 1) % LONG_WINDOW
        if not index:
            self._rebase(window)

    def _rebase(self, window: array[float]) -> None:
        """Once around: count from the newest beat, so that the offsets stay small and exact to 10^-4 of an interval."""
        moved = self._offset
        for index, offset in enumerate(window):
            window[index] = offset - moved
        self._base += moved + self._interval * (self._number - self._base_number)
        self._base_number = self._number
        self._offset = 0.0
        self._sum = sum(window)
        self._ranked_sum = sum(rank * offset for rank, offset in enumerate(window))

    def patience(self) -> float:
        """Seconds after the last beat: the agreed detection time, plus what the long window expects later than that."""
        window = self._offsets
        if window is None:
            return self._detect
        count = len(window)
        # In offsets, what the peer's interval differs from the agreed one is a slope: that of least squares, which no
        # single beat at an end can turn. Chen's estimate with this interval is where that line will be next.
        mean = self._sum / count
        slope = (12.0 * self._ranked_sum / count - 6.0 * (count - 1) * mean) / (count * count - 1)
        later = mean + slope * (count + 1) / 2.0 - self._offset
        return min(self._detect + max(later, 0.0), self._longest)


def detector_for(name: str, interval: float, detect: float) -> Detector | None:
    """The detector of that name for one direction; None for ``fixed``, where the agreed time is all there is.

    :param interval: the agreed interval
    :param detect: the agreed detection time; the judge waits for the longer of it and :meth:`Detector.patience`
    :raises ConfigError: there is no such detector
    """
    if name == "fixed":
        return None
    if name == "phi":
        return PhiAccrual(interval, detect)
    if name == "2w":
        return TwoWindow(interval, detect)
    raise ConfigError("detector", f"must be one of {', '.join(DETECTORS)}, not {name!r}")


def phi_at(deviations: float) -> float:
    """-log10 of the probability that a normally distributed value is more than so many deviations over its mean."""
    if deviations < _FAR:
        return max(-math.log10(0.5 * math.erfc(deviations / math.sqrt(2.0))), 0.0)
    square = deviations * deviations
    series = 1.0 - 1.0 / square + 3.0 / (square * square)
    return (square / 2.0 + math.log(deviations * math.sqrt(2.0 * math.pi)) - math.log(series)) / math.log(10.0)


@lru_cache
def _deviations_at(threshold: float) -> float:
    """The inverse of :func:`phi_at`, by bisection to the last bit: once per threshold, and no module to import."""
    low, high = 0.0, 1.0
    while phi_at(high) < threshold:
        high *= 2.0
    while low < (middle := (low + high) / 2.0) < high:
        if phi_at(middle) < threshold:
            low = middle
        else:
            high = middle
    return high
