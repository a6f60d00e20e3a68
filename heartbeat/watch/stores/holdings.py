"""The peers that this server holds, as a store is to know them."""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.states import FINAL
from heartbeat.session.session import Session
from heartbeat.session.sync import service_hash
from heartbeat.watch.stores.journal import Journal
from heartbeat.watch.stores.records import Fence, record_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heartbeat.liveness.events import Event
    from heartbeat.liveness.peer import Peer
    from heartbeat.watch.registry import Registry
    from heartbeat.watch.stores.mirror import Mirror
    from heartbeat.watch.stores.records import PeerRecord

__all__ = ["LIVING_LASTS", "Holdings"]

#: A record of a living peer is kept for a day, as long as the token by which it comes back is good; it is written anew
#: all the while.
LIVING_LASTS: Final = 86_400.0
#: What its session goes on with is kept for an hour after the end, however short ended peers are listed.
LEAST_LASTS: Final = 3600.0
# UNIX sockets have no address, so their made-up ids count up in each process: they mean nothing to others.
_OURS_ALONE: Final = "unix#"


class Holdings(HeartbeatListener):
    """Watches our own connections: what changes goes into the journal. Give it to a factory as its listener.

    :param holder: this run of this server
    :param registry: of our own peers
    :ivar journal: what waits to be written
    """

    def __init__(self, holder: str, registry: Registry) -> None:
        self.journal = Journal(self.rank)
        self._holder = holder
        self._registry = registry
        self._clocks = registry.clocks
        self._versions = count(1)
        self._admitted: dict[Peer, Session] = {}
        # What its fence is made of: while it is connected its session, afterwards no more than is needed of that.
        self._sources: WeakKeyDictionary[Peer, Session | tuple[str, int]] = WeakKeyDictionary()
        self._round: Iterator[Peer] = iter(())

    # -- sessions

    def admitted(self, session: Session) -> None:
        """A peer with an id is let in."""
        self._admitted[session.peer] = session

    def ended(self, session: Session) -> None:
        """A connection is gone, whether its gate opened or not."""
        self._admitted.pop(session.peer, None)

    # -- the listener

    def joined(self, peer: Peer) -> None:
        """A gate opened."""
        if peer.id.startswith(_OURS_ALONE):
            return
        session = self._admitted.pop(peer, None)
        stamp = f"{int(self._clocks.wall() * 1000.0):012x}"
        self._sources[peer] = session if session is not None else (stamp, 0)
        self.journal.add(peer)

    def changed(self, peer: Peer, event: Event) -> None:
        """A joined peer has changed."""
        if peer in self._sources:
            self.journal.add(peer)

    def gone(self, peer: Peer, event: Event) -> None:
        """A joined peer is dead or has left."""
        if peer in self._sources:
            self._sources[peer] = self.rank(peer)
            self.journal.add(peer)

    # -- what others ask

    def rank(self, peer: Peer) -> tuple[str, int]:
        """The beginning of its fence: stamp and epoch."""
        source = self._sources[peer]
        return (peer.session, source.epoch) if isinstance(source, Session) else source

    def newest(self, id: str) -> tuple[str, int] | None:
        """That of our newest connection of an id, None if there is none or it is forgotten."""
        peer = self._registry.get(id)
        return None if peer is None or peer not in self._sources else self.rank(peer)

    def moved(self, peer: Peer, mirror: Mirror) -> bool:
        """Whether the session of a peer that we hold, or held, goes on at another server."""
        return peer in self._sources and mirror.moved(peer.id, *self.rank(peer))

    def record(self, peer: Peer) -> PeerRecord:
        """What is to be written of it, as of now."""
        # The hash that it last sent is the one of the services that we have, unless its STATE is still on its way.
        held = peer.svc_hash if peer.svc_hash and service_hash(peer.services) == peer.svc_hash else None
        fence = Fence(*self.rank(peer), self._holder, next(self._versions))
        return record_of(peer, fence, held, self._lasts(peer), self._clocks)

    def __len__(self) -> int:
        return len(self._sources)

    def refresh(self, most: int) -> None:
        """Write so many of the living anew, in turn: their numbers move, and what is not written expires."""
        living = list(islice(self._round, most))
        if not living:
            self._round = iter(list(self._sources))
            living = list(islice(self._round, most))
        for peer in living:
            if peer.state not in FINAL and peer in self._sources:
                self.journal.add(peer)

    def rewrite(self) -> None:
        """Write all of them anew: the store has lost what it had."""
        for peer in list(self._sources):
            self.journal.add(peer)

    def _lasts(self, peer: Peer) -> float:
        if peer.state not in FINAL:
            return LIVING_LASTS
        if peer.session:
            return max(LEAST_LASTS, self._registry.keep)
        return max(1.0, self._registry.keep_bare)
