"""How often to ask: more often while answers are being lost, so that a verdict rests on as many of them as ever.

Pure functions. Seconds throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["JITTER", "factor", "jittered", "paced"]

#: From this share of lost questions on, the interval is multiplied by this. That three in a row are lost by accident
#: happens once in 125,000 times at 2 % and once in 2000 at 8 %, which is a false alarm every quarter of an hour at
#: two beats a second: then more questions must fit into the same detection time.
STEPS: Final = ((0.08, 0.4), (0.02, 0.7))
#: ``wire.md`` §2: the beats of a fleet that was started at one instant must not stay in step.
JITTER: Final = 0.15


def factor(loss: float) -> float:
    """What the interval is multiplied by at this loss ratio: 1.0 under 2 %, 0.7 under 8 %, 0.4 from there on."""
    for least, multiple in STEPS:
        if loss >= least:
            return multiple
    return 1.0


def paced(base: float, loss: float, floor: float, rtt: float | None) -> float:
    """Seconds between two questions at this loss ratio. Next: :func:`jittered`.

    :param base: the agreed interval of this direction: the answer is never longer (but for the floor)
    :param loss: what :meth:`.loss.Loss.ratio` says
    :param floor: the receiver's ``min_rx``: never shorter, whatever else holds
    :param rtt: what :attr:`.rtt.RoundTrips.for_pacing` says, None while unknown. Speeding up stops there: a second
        question before the first could have been answered tells nothing new
    """
    slowest = max(base, floor)
    multiple = factor(loss)
    if multiple == 1.0:
        return slowest
    return min(slowest, max(base * multiple, floor, rtt or 0.0))


def jittered(interval: float, draw: Callable[[], float]) -> float:
    """``interval``, longer or shorter by at most 15 %, evenly spread, so that its mean stays.

    :param draw: gives 0 ≤ x < 1 (``random.random``, or a seeded one in tests)
    """
    return interval * (1.0 - JITTER + 2.0 * JITTER * draw())
