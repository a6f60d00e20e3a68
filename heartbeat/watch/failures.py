"""Who failed and why: the newest records, and counts that never go back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.causes import CONNECT_REASONS, FAILURE_REASONS, HTTP_REASONS, Phase, known_reason, phase_of
from heartbeat.liveness.events import Dead, Explained, Unpinned
from heartbeat.liveness.layers import layers
from heartbeat.liveness.states import State
from heartbeat.watch.doubt import Doubt
from heartbeat.watch.exemplars import Example

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from heartbeat.liveness.events import Event, Refused
    from heartbeat.liveness.evidence import Evidence
    from heartbeat.liveness.peer import Clocks, Peer
    from heartbeat.liveness.recorder import Flight

__all__ = ["EXPECTED", "Failure", "Failures", "Phase"]

#: Each (reason, phase) that can be expected: where they are counted they begin at 0, so that the first failure of its
#: kind is an increase.
EXPECTED: Final = (
    *((reason, "connect") for reason in CONNECT_REASONS),
    *((reason, "live") for reason in HTTP_REASONS),
    *(
        (reason, phase)
        for reason in sorted(FAILURE_REASONS.difference(CONNECT_REASONS, HTTP_REASONS))
        for phase in ("handshake", "live")
    ),
)

#: Of the records kept, at most this part may be of peers that never joined, as soon as there are enough others:
#: whoever only knocks at the door (a port scan, a balancer's check) does not push the deaths off the board.
_KNOCKS: Final = 0.5
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, as it was when it happened; the reason is made exact if the peer's return says more.

    :ivar id: increases with each; microseconds since the epoch wherever the clock on the wall allows, so that it
        goes on increasing over a restart
    :ivar at: seconds since the epoch
    :ivar reason: one of :data:`heartbeat.liveness.causes.FAILURE_REASONS`
    :ivar p95: of the round trips, seconds; None if there were none
    :ivar evidence: plain values
    :ivar flight: the last events of its connection
    :ivar services: that the peer had announced
    :ivar region: of the peer, as it says (``region`` in its meta); else of this server
    :ivar trace_id: of the trace that its connection belonged to, None without one
    """

    id: int
    at: float
    peer: str
    address: str
    node: str
    session: str
    reason: str
    phase: Phase
    p95: float | None
    evidence: Mapping[str, Any]
    flight: Flight
    services: tuple[str, ...] = ()
    region: str = ""
    trace_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The shape of ``/api/failures``. The id is text of a fixed length: it sorts as the number does."""
        return {
            "id": f"{self.id:016d}",
            "at": round(self.at, 3),
            "peer": self.peer,
            "address": self.address,
            "node": self.node,
            "session": self.session,
            "failure_reason": self.reason,
            "phase": self.phase,
            "p95_latency_ms": None if self.p95 is None else round(self.p95 * 1000, 3),
            "trace_id": self.trace_id,
            "services": list(self.services),
            "region": self.region,
            "evidence": dict(self.evidence),
            "events": self.flight.as_json(),
        }


class Failures(HeartbeatListener):
    """The board of failures. Give it to a factory as its listener; read :meth:`since` and :meth:`counts`.

    A peer that is Dead is a failure in phase ``live``, one that was Refused in phase ``handshake`` (or ``connect``,
    by its cause). Who has Left is none, and neither is who said a BYE 0, 1, 7 or 12 before its gate opened.

    :param clocks: says what time it is
    :param node: the name of this server, for peers that do not say
    :ivar keep: how many records at most; the oldest goes first. May be changed at any time
    :ivar region: of this server, for peers that do not say. May be changed at any time
    :ivar follower: called with each record when it is made or learnt, and when it is made exact
    :ivar told: called with each record that is made here, and again when its reason is made exact
    :ivar doubt: holds back the records of deaths that may turn out to be none; see there
    :ivar moved: whether the session of a peer goes on at another server, which then knows better whether it is dead
    """

    def __init__(self, clocks: Clocks, node: str = "", keep: int = 1000) -> None:
        self.keep = keep
        self.region = ""
        self.follower: Callable[[Failure], object] = lambda one: None
        self.told: Callable[[Failure], object] = lambda failure: None
        self.doubt = Doubt(clocks.seconds)
        self.moved: Callable[[Peer], bool] = lambda peer: False
        self._clocks = clocks
        self._node = node
        self._deaths: deque[Failure] = deque()  # newest first, both
        self._knocks: deque[Failure] = deque()
        self._counts: dict[tuple[str, str], int] = {}
        self._last = 0
        #: The newest of each (reason, phase) that has a trace.
        self.examples: dict[tuple[str, str], Example] = {}

    # -- the listener

    def joined(self, peer: Peer) -> None:
        """Who is back was perhaps never dead."""
        self.doubt.back(peer)

    def gone(self, peer: Peer, event: Event) -> None:
        """Record a death."""
        if isinstance(event, Dead) and not self.doubt.holds(peer, event, lambda: self._death(peer, event)):
            self._death(peer, event)

    def _death(self, peer: Peer, event: Dead) -> None:
        if not self.moved(peer):
            evidence = {"silent_s": round(event.silent, 3), **self._plain(event.evidence)}
            evidence["layers"] = peer.layers.as_json()
            self._record(self._deaths, peer, event.at, event.cause, phase_of(event.cause), evidence=evidence)

    def changed(self, peer: Peer, event: Event) -> None:
        """A peer is back, and that says more about its last death: its record gets the exact reason.

        What it was called first stays in the evidence, as ``was``, and in :meth:`counts`: a counter never goes back.
        A key that is not pinned is a failure of the handshake, also where the policy lets the peer go on.
        """
        if isinstance(event, Unpinned):
            told = {"detail": "key", "found": event.found, "policy": event.policy}
            self._record(self._knocks, peer, event.at, "tls_pin", "handshake", evidence=told)
        if not isinstance(event, Explained):
            return
        for index, one in enumerate(self._deaths):  # the newest first
            if one.peer == peer.id and one.session == event.session:
                if one.reason == known_reason(event.was):
                    evidence = {**one.evidence, "was": one.reason, "detail": event.detail}
                    evidence["layers"] = layers(State.DEAD, event.cause).as_json()
                    exact = replace(one, reason=known_reason(event.cause), evidence=evidence)
                    self._deaths[index] = exact
                    self.told(exact)
                    self.follower(exact)
                return

    def refused(self, peer: Peer, event: Refused) -> None:
        """Record a connection that ended before its gate opened; without a cause it is no failure."""
        if not event.cause:
            return
        evidence = self._plain(event.evidence)
        if event.reason:
            evidence["reason"] = event.reason
        phase: Phase = "connect" if event.cause in CONNECT_REASONS else "handshake"
        self._record(self._knocks, peer, event.at, event.cause, phase, evidence=evidence)

    # -- those of other servers

    def number(self) -> int:
        """The id for one that happens now."""
        self._last = max(self._last + 1, int(self._clocks.wall() * _US))
        return self._last

    def learn(self, failure: Failure, *, ours: bool = False) -> None:
        """Take a record that was made elsewhere, in the place of an earlier account of the same failure.

        :param ours: it is counted, since it is this server that concluded it
        """
        if ours:
            pair = failure.reason, failure.phase
            self._counts[pair] = self._counts.get(pair, 0) + 1
        if failure.node == self._node:
            self._last = max(self._last, failure.id)
        board = self._deaths if failure.phase == "live" else self._knocks
        index = next((at for at, one in enumerate(board) if one.id <= failure.id), len(board))
        if index < len(board) and (board[index].id, board[index].node) == (failure.id, failure.node):
            board[index] = failure
        else:
            board.insert(index, failure)
            self._trim()
        self.follower(failure)

    # -- reading

    def __len__(self) -> int:
        self.doubt.look()
        return len(self._deaths) + len(self._knocks)

    def counts(self) -> dict[tuple[str, str], int]:
        """How many there were by (reason, phase), remembered or not. Only what there was at least once."""
        self.doubt.look()
        return dict(self._counts)

    def since(
        self, id: int = 0, limit: int | None = None, *, peer: str | None = None, reason: str | None = None
    ) -> Iterator[Failure]:
        """The records newer than ``id``, newest first; a snapshot, so it may be read slowly.

        :param limit: no more than this many, the newest of them
        :param peer: only those of this peer
        :param reason: only those with this reason
        """
        fits = (
            one
            for one in self.newest()
            if one.id > id and (peer is None or one.peer == peer) and (reason is None or one.reason == reason)
        )
        return islice(fits, limit)

    def __iter__(self) -> Iterator[Failure]:
        """The records, newest first; to be read at once."""
        self.doubt.look()
        return merge(self._deaths, self._knocks, key=lambda one: -one.id)

    def newest(self) -> list[Failure]:
        """All of them, newest first: a snapshot. About 0.3 ms for a thousand."""
        return list(self)

    def get(self, id: int) -> Failure | None:
        """The record of this id, None if it is not remembered (any more)."""
        return next((one for board in (self._deaths, self._knocks) for one in board if one.id == id), None)

    # -- inside

    def _record(
        self, board: deque[Failure], peer: Peer, at: float, cause: str, phase: Phase, *, evidence: Mapping[str, Any]
    ) -> None:
        reason = known_reason(cause)
        self._counts[reason, phase] = self._counts.get((reason, phase), 0) + 1
        wall = self._on_the_wall(at)
        self._last = max(self._last + 1, int(wall * _US))
        failure = Failure(
            id=self._last,
            at=wall,
            peer=peer.id,
            address=peer.address,
            node=peer.node or self._node,
            session=peer.session,
            reason=reason,
            phase=phase,
            p95=peer.rtt.p95,
            evidence=evidence,
            flight=peer.flight(),
            services=peer.services,
            region=peer.meta.get("region", "") or self.region,
            trace_id=peer.trace_id,
        )
        board.appendleft(failure)
        if peer.trace_id is not None:
            self.examples[reason, phase] = Example(peer.trace_id, 1.0, wall)
        self._trim()
        self.told(failure)
        self.follower(failure)

    def _trim(self) -> None:
        while len(self._deaths) + len(self._knocks) > self.keep:
            crowded = not self._deaths or len(self._knocks) > self.keep * _KNOCKS
            (self._knocks if crowded else self._deaths).pop()

    def _on_the_wall(self, at: float) -> float:
        return self._clocks.wall() - (self._clocks.seconds() - at)

    def _plain(self, evidence: Evidence | None) -> dict[str, Any]:
        if evidence is None:
            return {}
        return {**evidence.as_json(), "at": round(self._on_the_wall(evidence.at), 3)}
