"""Who is there: the living peers, and for a while those that are dead or have left."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from heartbeat.liveness.events import Event
    from heartbeat.liveness.peer import Clocks, Peer

__all__ = ["LISTED", "SLICE", "Registry"]

#: The states that a listed peer can have. Who was refused never joined and is not listed.
LISTED: Final = (State.ALIVE, State.SUSPECT, State.STUCK, State.DEAD, State.LEFT)
#: Peers looked at in one go: 250 of them as JSON are about 3 ms, and no beat should wait longer than 5 for a page.
SLICE: Final = 250
# Ids whose peer is forgotten stay in the sorted list, as gaps, until there are more of them than of the others
# (and than this): taking each out at once would move the whole list each time.
_GAPS: Final = 1024
# What the one label of an address-made id begins with (wire.md §4; unix# for UNIX sockets, which have no address).
_MADE_UP: Final = ("~", "unix#")


class Registry(HeartbeatListener):
    """The map of peers by id. Give it to a factory as its listener; read it from wherever peers are shown.

    An id is not unique over time: whoever returns takes the place of its own remembered record. Peers without a name
    of their own (bare or anonymous: their id is their address) never return under it, so they are remembered only
    for ``keep_bare``; without that, clients behind a NAT would be a leak.

    :ivar keep: seconds for which a dead or left peer stays listed
    :ivar keep_peers: how many of them at most; the oldest goes first
    :ivar keep_bare: seconds for those without a name
    :ivar follower: called with a listed peer and what happened to it, once that is in the books
    :ivar clocks: says what time it is

    The three settings may be changed at any time. Forgetting needs no timer: it happens when a peer goes and when
    somebody reads, and costs O(1) for each that is forgotten.
    """

    def __init__(self, clocks: Clocks, keep: float = 3600.0, keep_peers: int = 10_000, keep_bare: float = 60.0) -> None:
        self.keep = keep
        self.keep_peers = keep_peers
        self.keep_bare = keep_bare
        self.follower: Callable[[Peer, Event], object] = lambda peer, event: None
        self.clocks = clocks
        self._peers: dict[str, Peer] = {}
        self._order: list[str] = []
        self._gaps = 0
        self._unwell: dict[str, State] = {}  # the living that are not ALIVE: few, so counting costs nobody anything
        self._named: OrderedDict[str, float] = OrderedDict()  # id → when it went, oldest first
        self._nameless: OrderedDict[str, float] = OrderedDict()
        self._ended = {State.DEAD: 0, State.LEFT: 0}

    # -- the listener

    def joined(self, peer: Peer) -> None:
        """List a peer. One of the same id, remembered or about to be superseded, gives way."""
        older = self._peers.get(peer.id)
        if older is None:
            self._insert(peer.id)
        else:
            self._strike(peer.id, older)
        self._peers[peer.id] = peer
        self._mark(peer)

    def changed(self, peer: Peer, event: Event) -> None:
        """Take over the state of a listed peer."""
        if self._peers.get(peer.id) is peer:
            self._mark(peer)
            self.follower(peer, event)

    def gone(self, peer: Peer, event: Event) -> None:
        """Remember a peer that is dead or has left, unless another has its id by now."""
        if self._peers.get(peer.id) is not peer:
            return
        self._unwell.pop(peer.id, None)
        nameless = peer.bare or peer.id.startswith(_MADE_UP)
        (self._nameless if nameless else self._named)[peer.id] = self.clocks.seconds()
        self._ended[peer.state] += 1
        self._forget()

    # -- reading

    def __len__(self) -> int:
        self._forget()
        return len(self._peers)

    @property
    def living(self) -> int:
        """How many are connected now."""
        return len(self._peers) - len(self._named) - len(self._nameless)

    def get(self, id: str) -> Peer | None:
        """The peer of this id, None if it is not listed (any more)."""
        self._forget()
        return self._peers.get(id)

    def counts(self) -> dict[State, int]:
        """How many are listed in each state of :data:`LISTED`. Costs the same for 5 and for 50,000."""
        self._forget()
        unwell = list(self._unwell.values())
        suspect, stuck = unwell.count(State.SUSPECT), unwell.count(State.STUCK)
        return {
            State.ALIVE: self.living - suspect - stuck,
            State.SUSPECT: suspect,
            State.STUCK: stuck,
            **self._ended,
        }

    def peers(
        self,
        state: State | None = None,
        q: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        reason: str | None = None,
    ) -> list[Peer]:
        """The listed peers, in the order of their ids; see :meth:`slices`."""
        return [peer for part in self.slices(state, q, after, limit, reason) for peer in part]

    def slices(
        self,
        state: State | None = None,
        q: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        reason: str | None = None,
        *,
        service: str | None = None,
        region: str | None = None,
        size: int = SLICE,
    ) -> Iterator[list[Peer]]:
        """The same in steps of at most ``size`` peers looked at, for a caller that must not keep others waiting.

        Peers may come and go between two steps: each one that is listed all the while is given, once.

        :param state: only those in this state
        :param q: only those with this text in id, address, node, identity or a service; in any case of letters
        :param after: only those behind this id, which need not be listed (any more)
        :param limit: no more than this many
        :param reason: only those that are dead of this cause
        :param service: only those that announce it
        :param region: only those that say they are there (``region`` in their meta)
        """
        self._forget()
        fits = _filter(state, q, reason, service, region)
        start = 0 if after is None else bisect_right(self._order, after)
        left = len(self._peers) + size if limit is None else limit
        while left > 0 and (ids := self._order[start : start + size]):
            part = [peer for id in ids if (peer := self._peers.get(id)) is not None and fits(peer)][:left]
            if limit is not None:
                left -= len(part)
            yield part
            start = bisect_right(self._order, ids[-1])

    # -- inside

    def _mark(self, peer: Peer) -> None:
        state = peer.state
        if state is State.SUSPECT or state is State.STUCK:
            self._unwell[peer.id] = state
        elif self._unwell:
            self._unwell.pop(peer.id, None)

    def _insert(self, id: str) -> None:
        at = bisect_left(self._order, id)
        if at < len(self._order) and self._order[at] == id:
            self._gaps -= 1  # it was forgotten and returns
        else:
            insort(self._order, id, at)

    def _strike(self, id: str, peer: Peer) -> None:
        """Take the record of a peer out of all books but the map itself."""
        self._unwell.pop(id, None)
        if self._named.pop(id, None) is not None or self._nameless.pop(id, None) is not None:
            self._ended[peer.state] -= 1

    def _forget(self) -> None:
        named, nameless = self._named, self._nameless
        if not named and not nameless:
            return
        now = self.clocks.seconds()
        for ended, keep in ((named, self.keep), (nameless, self.keep_bare)):
            while ended and now - next(iter(ended.values())) >= keep:
                self._drop(next(iter(ended)))
        while len(named) + len(nameless) > self.keep_peers:
            oldest = min((ended for ended in (named, nameless) if ended), key=lambda one: next(iter(one.values())))
            self._drop(next(iter(oldest)))

    def _drop(self, id: str) -> None:
        self._strike(id, self._peers.pop(id))
        self._gaps += 1
        if self._gaps > max(_GAPS, len(self._peers)):
            self._order = [one for one in self._order if one in self._peers]
            self._gaps = 0


def _filter(
    state: State | None, q: str | None, reason: str | None, service: str | None, region: str | None
) -> Callable[[Peer], bool]:
    wanted = q.casefold() if q else None

    def fits(peer: Peer) -> bool:
        return (
            (state is None or peer.state is state)
            and (reason is None or peer.cause == reason)
            and (service is None or service in peer.services)
            and (region is None or peer.meta.get("region") == region)
            and (wanted is None or _mentions(peer, wanted))
        )

    return fits


def _mentions(peer: Peer, wanted: str) -> bool:
    texts = (peer.id, peer.address, peer.node, peer.identity or "", *peer.services)
    return any(wanted in text.casefold() for text in texts)
