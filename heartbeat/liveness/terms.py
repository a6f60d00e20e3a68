"""The agreed times by which one direction is judged (BFD, RFC 5880 §6.8.4; ``wire.md`` §2 and §4)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from heartbeat.liveness.detectors import Detector
    from heartbeat.liveness.rtt import RoundTrips

__all__ = ["Terms", "patient", "terms"]

# Each gap of attention counts for at most this share of D, so that a verdict rests on at least this many polls.
POLLS: Final = 8
# Distinct terms that are kept to be shared; a server with more has peers that each ask for their own.
SHARED: Final = 256


class Terms:
    """I and D of one direction, and what follows from them. Immutable and shared between connections.

    :ivar interval: I, seconds between two PINGs of the peer
    :ivar detect: D, seconds of attentive silence after which the peer is dead
    :ivar half: (D + I) / 2, when it becomes suspect
    :ivar timeout: T = D - I, what an asked peer has to answer
    :ivar cap: what a gap of our own attention counts for at most
    """

    __slots__ = ("cap", "detect", "half", "interval", "timeout")

    def __init__(self, interval: float, detect: float) -> None:
        self.interval = interval
        self.detect = detect
        self.half = (detect + interval) / 2.0
        self.timeout = detect - interval
        self.cap = detect / POLLS

    def answer_time(self, rtt: RoundTrips | None) -> float:
        """How long a question must be with the kernel before it condemns: T / 2, and what a round trip may take."""
        return self.timeout / 2.0 if rtt is None else max(self.timeout / 2.0, rtt.answer_term)


@lru_cache(maxsize=SHARED)
def terms(interval: float, detect: float) -> Terms:
    """Terms, the same object for the same times."""
    return Terms(interval, detect)


def patient(agreed: Terms, granted: float, detector: Detector | None) -> Terms:
    """The agreed terms, more patient by what a STALLED of the peer granted and by what the detector has learned."""
    detect = agreed.detect
    if detector is not None:
        detect = max(detect, detector.patience())
    if granted:
        detect += granted
    return agreed if detect == agreed.detect else Terms(agreed.interval, detect)
