"""The terms of one direction, worked out from the two HELLOs as in BFD (RFC 5880 §6.8.4; ``wire.md`` §4)."""

from __future__ import annotations

from typing import Final

from heartbeat.errors import PeerViolation
from heartbeat.liveness.terms import Terms, terms

__all__ = ["TERMS_REFUSED", "agree"]

TERMS_REFUSED: Final = 4  # the BYE code


def agree(want_ms: int, multiplier: int, floor_ms: int, most_ms: float) -> Terms:
    """The terms by which a receiver judges a sender.

    :param want_ms: the sender's ``want_ping_ms``
    :param multiplier: the sender's ``mult``
    :param floor_ms: the receiver's ``min_rx_ms``
    :param most_ms: the longest detection time that the asking end agrees to
    :raises PeerViolation: with code 4, when the detection time is over it
    """
    interval_ms = max(want_ms, floor_ms)
    detect_ms = multiplier * interval_ms
    if detect_ms > most_ms:
        raise PeerViolation(f"a detection time of {detect_ms} ms is over {most_ms:.0f} ms", TERMS_REFUSED)
    return terms(interval_ms / 1000.0, detect_ms / 1000.0)
