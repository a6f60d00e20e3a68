"""A peer as another server last told of it, where others look for a peer."""

from __future__ import annotations

import json
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple

from heartbeat.liveness.events import Alive, Dead, Left, Stuck, Suspect
from heartbeat.liveness.layers import Layers
from heartbeat.liveness.peer import NO_OPTIONS, Peer
from heartbeat.liveness.recorder import Flight, Kind, Recorder
from heartbeat.liveness.report import Report
from heartbeat.liveness.states import FINAL, State
from heartbeat.liveness.tally import Tally
from heartbeat.session.sync import shared
from heartbeat.watch.stores.records import Fence, PeerRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.liveness.events import Event
    from heartbeat.liveness.peer import Clocks

__all__ = ["Elsewhere", "event_of"]


class ToldTrips(NamedTuple):
    """The round trips of a peer, as they were told, seconds."""

    last: float | None = None
    smoothed: float | None = None
    p95: float | None = None


class Elsewhere(Peer):
    """A peer that another server holds, or held: a live view of the last record of it.

    Its ages are as of now, its numbers as of the record. In JSON it has one member more, ``stale``: its server has
    fallen silent, or the store has, so it may be otherwise by now. Most of a record is kept as the text that it is,
    and read when somebody asks: there may be tens of thousands of them in each server.

    :param stale: whether what this holder told is old news
    :ivar fence: of the record
    :ivar detect_s: seconds of silence after which its server gives it up
    """

    __slots__ = ("_cause", "_heard_wall", "_since_wall", "_stale", "_state", "_text", "detect_s", "fence")

    def __init__(self, record: PeerRecord, clocks: Clocks, stale: Callable[[str], bool]) -> None:
        self._clocks = clocks
        self._stale = stale
        self.instance = self.traceparent = None
        self.options = NO_OPTIONS
        self.take(record)

    def take(self, record: PeerRecord) -> None:
        """There is a newer record."""
        view = record.view
        session = record.session
        stamp = session if record.fence.stamp == session else record.fence.stamp
        self.fence = Fence(stamp, record.fence.epoch, intern(record.fence.holder), record.fence.version)
        self._text = (record.text or record.to_text()).encode("ascii")
        self._state = record.state
        self._cause = None if record.cause is None else intern(record.cause)
        self._heard_wall = record.heard_at
        self._since_wall = float(view.get("since", 0.0))
        self.detect_s = record.detect
        self.id = record.id
        self.node = intern(record.node)
        self.session = session
        self.address = view.get("address", "")
        self.transport = intern(view.get("transport", "tcp"))
        self.identity = view.get("identity")
        self.bare = bool(view.get("bare"))
        self.svc_hash = shared(bytes.fromhex(view.get("svc_hash", "")))
        self.report = report_of(record)

    @property
    def record(self) -> PeerRecord:
        """What is known of it."""
        return PeerRecord.from_text(self._text.decode("ascii"))

    @property
    def living(self) -> bool:
        """It was connected."""
        return self._state not in FINAL

    @property
    def state(self) -> State:
        """As its server last saw it."""
        return self._state

    @property
    def cause(self) -> str | None:
        """Why it is dead."""
        return self._cause

    @property
    def since(self) -> float:
        """When it came into this state, on our monotonic clock."""
        return self._here(self._since_wall)

    @property
    def heard_at(self) -> float:
        """The last sign of life that is known here, on our monotonic clock."""
        return self._here(self._heard_wall)

    @property
    def rtt(self) -> Any:
        """Its round trips, as they were told."""
        told = self._view().get("rtt_ms") or {}
        return ToldTrips(**{name: None if ms is None else ms / 1000.0 for name, ms in told.items()})

    @property
    def loss(self) -> float:
        """As it was told."""
        return float(self._view().get("loss_ratio", 0.0))

    @property
    def interval(self) -> float:
        """As it was told."""
        return float(self._view().get("interval_ms", 0)) / 1000.0

    @property
    def detect(self) -> float:
        """Seconds of silence after which its server gives it up."""
        return self.detect_s

    @property
    def phi(self) -> float | None:
        """As it was told."""
        phi: float | None = self._view().get("phi")
        return phi

    @property
    def tally(self) -> Tally:
        """Nothing is counted here."""
        return Tally()

    @property
    def layers(self) -> Layers:
        """As they were told."""
        return Layers(**self._view().get("layers", {}))

    def flight(self) -> Flight:
        """Its server has the flight recorder; here are its beginning and its last sign of life."""
        began = {State.DEAD: Kind.DEAD, State.LEFT: Kind.LEFT}.get(self.state, Kind.OPENED)
        offset = self._clocks.wall() - self._clocks.seconds()
        return Flight(Recorder(self.since, began).completed(self.heard_at), offset)

    def as_json(self) -> dict[str, Any]:
        """The shape of ``/api/peers``, and ``stale``."""
        view = self._view()
        view["last_heard_ms"] = max(0, round((self._clocks.wall() - self._heard_wall) * 1000))
        view["stale"] = self._stale(self.fence.holder)
        return view

    def _view(self) -> dict[str, Any]:
        view: dict[str, Any] = json.loads(self._text)["view"]
        return view

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
