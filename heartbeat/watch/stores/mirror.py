"""What other servers know of their peers, as far as it has been read from the store."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from heartbeat.watch.stores.elsewhere import Elsewhere, event_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Set

    from heartbeat.liveness.peer import Clocks
    from heartbeat.watch.stores.records import Fence, PeerRecord

__all__ = ["Mirror"]


class Mirror:
    """The newest record of each peer that this server does not hold, and a view of each for those who list peers.

    :param holder: ourselves: what we wrote is not mirrored
    :param clocks: say what time it is
    :param listener: an IHeartbeatListener that lists peers; it is told of those of others as of our own
    :param ours: the fence of our newest connection of an id, None if there is none
    :ivar stale: whether what a holder told is old news; set it before anything is read
    """

    def __init__(
        self, holder: str, clocks: Clocks, listener: Any, ours: Callable[[str], tuple[str, int] | None]
    ) -> None:
        self.stale: Callable[[str], bool] = lambda holder: False
        self._holder = holder
        self._clocks = clocks
        self._listener = listener
        self._ours = ours
        self._views: dict[str, Elsewhere] = {}
        self._held: dict[str, set[str]] = {}  # by holder, the ids of those that are connected to it
        self._ended: OrderedDict[str, float] = OrderedDict()  # id → until when it is worth keeping

    def __len__(self) -> int:
        return len(self._views)

    def records(self) -> Iterator[PeerRecord]:
        """All of them; a snapshot."""
        return iter([view.record for view in self._views.values()])

    def fence(self, id: str) -> Fence | None:
        """That of the record of a peer that others hold, None if none does."""
        view = self._views.get(id)
        return None if view is None else view.fence

    def holders(self) -> Set[str]:
        """Those that hold somebody."""
        return self._held.keys()

    def held_by(self, holder: str) -> list[Elsewhere]:
        """The peers that are connected to it, as far as it told."""
        return [self._views[id] for id in self._held.get(holder, ())]

    def take(self, record: PeerRecord) -> None:
        """A record was read. Our own say nothing new."""
        id = record.id
        if record.fence.holder == self._holder:
            return
        view = self._views.get(id)
        if view is not None:
            self._strike(view)
        if record.living:
            self._held.setdefault(record.fence.holder, set()).add(id)
        else:
            age = max(0.0, self._clocks.wall() - float(record.view.get("since", 0.0)))
            self._ended[id] = self._clocks.seconds() + max(0.0, record.lasts - age)
        ours = self._ours(id)
        self._show(view, record, told=ours is None or (*ours, self._holder) < record.fence[:3])

    def recall(self, session: str, peer: str) -> PeerRecord | None:
        """The record of a peer, if this session is its newest."""
        view = self._views.get(peer)
        return None if view is None or view.session != session else view.record

    def moved(self, peer: str, stamp: str, epoch: int) -> bool:
        """Whether this session goes on, or went on, in a later connection to another server."""
        fence = self.fence(peer)
        return fence is not None and fence.stamp == stamp and fence.epoch > epoch

    def drop(self, id: str) -> None:
        """Others hold this peer no more: we do."""
        view = self._views.pop(id, None)
        if view is not None:
            self._strike(view)

    def forget(self) -> None:
        """Drop what ended long ago."""
        now = self._clocks.seconds()
        while self._ended and next(iter(self._ended.values())) <= now:
            self.drop(next(iter(self._ended)))

    # -- inside

    def _show(self, view: Elsewhere | None, record: PeerRecord, *, told: bool) -> None:
        """Tell the listener, as a server that holds the peer would have been told."""
        # The same connection, that is: of another one those who list peers hear that it joined.
        goes_on = view is not None and view.living and view.fence[:3] == record.fence[:3]
        if view is not None and goes_on:
            before = view.state
            view.take(record)
            changed = before is not view.state
        else:
            view = self._views[record.id] = Elsewhere(record, self._clocks, self.stale)
            changed = True
            if told:
                self._listener.joined(view)
        if told and changed:
            event = event_of(view)
            self._listener.changed(view, event)
            if not record.living:
                self._listener.gone(view, event)

    def _strike(self, view: Elsewhere) -> None:
        self._ended.pop(view.id, None)
        held = self._held.get(view.fence.holder)
        if held is not None:
            held.discard(view.id)
            if not held:
                del self._held[view.fence.holder]
