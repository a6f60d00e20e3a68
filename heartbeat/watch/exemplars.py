"""Which trace to look at: for a failure of a kind, and for a round trip of a length. Never touched by a beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.events import Synced
from heartbeat.liveness.rtt import FIRST_BOUND, bucket

if TYPE_CHECKING:
    from heartbeat.liveness.events import Event
    from heartbeat.liveness.peer import Clocks, Peer

__all__ = ["Example", "SyncExamples"]


class Example(NamedTuple):
    """One of those that were counted.

    :ivar trace_id: 32 hex digits
    :ivar value: seconds, or 1 where things are counted
    :ivar at: seconds since the epoch
    """

    trace_id: str
    value: float
    at: float


class SyncExamples(HeartbeatListener):
    """For each bucket of the round trips the newest peer that gave a new account of itself, if it has a trace.

    :ivar examples: by the number of the bucket, as :func:`heartbeat.liveness.rtt.bucket` gives it
    """

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self.examples: dict[int, Example] = {}

    def changed(self, peer: Peer, event: Event) -> None:
        """A SYNC with news: rare, and the round trip of the beat before it is at hand."""
        if isinstance(event, Synced) and peer.trace_id is not None and peer.rtt.last is not None:
            last = peer.rtt.last
            shown = max(bucket(last), FIRST_BOUND)  # all below have one reported bucket
            self.examples[shown] = Example(peer.trace_id, round(last, 6), self._clocks.wall())
