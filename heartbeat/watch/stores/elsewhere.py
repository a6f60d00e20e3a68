"""A peer as another server last told of it, where others look for a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from heartbeat.liveness.events import Alive, Dead, Left, Stuck, Suspect
from heartbeat.liveness.layers import Layers
from heartbeat.liveness.peer import NO_OPTIONS, Peer
from heartbeat.liveness.recorder import Flight, Kind, Recorder
from heartbeat.liveness.report import Report
from heartbeat.liveness.states import State
from heartbeat.liveness.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.liveness.events import Event
    from heartbeat.liveness.peer import Clocks
    from heartbeat.watch.stores.records import PeerRecord

__all__ = ["Elsewhere", "event_of"]


class ToldTrips(NamedTuple):
    """The round trips of a peer, as they were told, seconds."""

    last: float | None = None
    smoothed: float | None = None
    p95: float | None = None


class Elsewhere(Peer):
    """A peer that another server holds, or held: a live view of the last record of it.

    Its ages are as of now, its numbers as of the record. In JSON it has one member more, ``stale``: its server has
    fallen silent, or the store has, so it may be otherwise by now.

    :param stale: whether what this holder told is old news
    """

    __slots__ = ("_record", "_stale")

    def __init__(self, record: PeerRecord, clocks: Clocks, stale: Callable[[str], bool]) -> None:
        self._clocks = clocks
        self._stale = stale
        self.instance = None
        self.options = NO_OPTIONS
        self.take(record)

    def take(self, record: PeerRecord) -> None:
        """There is a newer record."""
        view = record.view
        self._record = record
        self.id = record.id
        self.node = record.node
        self.session = record.session
        self.address = view.get("address", "")
        self.transport = view.get("transport", "tcp")
        self.identity = view.get("identity")
        self.bare = bool(view.get("bare"))
        self.svc_hash = bytes.fromhex(view.get("svc_hash", ""))
        self.report = report_of(record)

    @property
    def record(self) -> PeerRecord:
        """What is known of it."""
        return self._record

    @property
    def state(self) -> State:
        """As its server last saw it."""
        return self._record.state

    @property
    def cause(self) -> str | None:
        """Why it is dead."""
        return self._record.cause

    @property
    def since(self) -> float:
        """When it came into this state, on our monotonic clock."""
        return self._here(float(self._record.view.get("since", 0.0)))

    @property
    def heard_at(self) -> float:
        """The last sign of life that is known here, on our monotonic clock."""
        return self._here(self._record.heard_at)

    @property
    def rtt(self) -> Any:
        """Its round trips, as they were told."""
        told = self._record.view.get("rtt_ms") or {}
        return ToldTrips(**{name: None if ms is None else ms / 1000.0 for name, ms in told.items()})

    @property
    def loss(self) -> float:
        """As it was told."""
        return float(self._record.view.get("loss_ratio", 0.0))

    @property
    def interval(self) -> float:
        """As it was told."""
        return float(self._record.view.get("interval_ms", 0)) / 1000.0

    @property
    def detect(self) -> float:
        """Seconds of silence after which its server gives it up."""
        return self._record.detect

    @property
    def phi(self) -> float | None:
        """As it was told."""
        phi: float | None = self._record.view.get("phi")
        return phi

    @property
    def tally(self) -> Tally:
        """Nothing is counted here."""
        return Tally()

    @property
    def layers(self) -> Layers:
        """As they were told."""
        return Layers(**self._record.view.get("layers", {}))

    def flight(self) -> Flight:
        """Its server has the flight recorder; here are its beginning and its last sign of life."""
        began = {State.DEAD: Kind.DEAD, State.LEFT: Kind.LEFT}.get(self.state, Kind.OPENED)
        offset = self._clocks.wall() - self._clocks.seconds()
        return Flight(Recorder(self.since, began).completed(self.heard_at), offset)

    def as_json(self) -> dict[str, Any]:
        """The shape of ``/api/peers``, and ``stale``."""
        ago = max(0, round((self._clocks.wall() - self._record.heard_at) * 1000))
        return {**self._record.view, "last_heard_ms": ago, "stale": self._stale(self._record.fence.holder)}

    def _here(self, wall: float) -> float:
        return self._clocks.seconds() - (self._clocks.wall() - wall)


def report_of(record: PeerRecord) -> Report:
    """The peer's last account of itself; what is not shown anywhere it tells anew when it is back."""
    view = record.view
    return Report(
        load=float(view.get("load", 0.0)),
        uptime=int(view.get("uptime_s", 0)),
        stuck=record.state is State.STUCK,
        services=tuple(view.get("services", ())),
        meta=dict(view.get("meta", {})),
        cert_expires=view.get("cert_expires_s"),
    )


def event_of(peer: Elsewhere) -> Event:
    """What has happened to it, as a value for listeners."""
    at, state = peer.since, peer.state
    if state is State.SUSPECT:
        return Suspect(at, max(0.0, at - peer.heard_at))
    if state is State.STUCK:
        return Stuck(at)
    if state is State.DEAD:
        return Dead(at, peer.cause or "unattributed", max(0.0, at - peer.heard_at))
    if state is State.LEFT:
        return Left(at, "elsewhere")
    return Alive(at)
