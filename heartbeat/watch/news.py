"""What changed, numbered: for readers that follow, and for those that lost their connection and come back.

Nothing is kept for nobody: the record begins with the first reader, and ends :data:`LINGER` seconds after the last one
has left. Until then a reader that returns finds what it missed, up to :data:`KEPT` events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from heartbeat.liveness.events import Alive, Dead, Left, Stuck, Suspect
from heartbeat.watch.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from heartbeat.liveness.events import Event
    from heartbeat.liveness.peer import Peer
    from heartbeat.liveness.states import State
    from heartbeat.watch.failures import Failures
    from heartbeat.watch.registry import Registry

__all__ = ["KEPT", "LINGER", "Item", "News"]

#: Events that can be read again. A thousand peers that die at once are three thousand. Whoever was away for longer
#: reads the lists anew, which is cheaper than so many changes. Each is about 0.1 KB, its peer or failure not counted.
KEPT: Final = 4096
#: Seconds for which they are kept without any reader: a browser comes back after 2, a phone out of a tunnel after some.
LINGER: Final = 300.0

_CHANGES: Final = (Alive, Suspect, Stuck, Dead, Left)


class Item(NamedTuple):
    """One piece of news.

    :ivar number: increases by one with each
    :ivar subject: the peer whose state changed, or the failure
    :ivar state: of the peer, as it was when it changed
    :ivar since: when that was, seconds since the epoch
    :ivar reason: why it is dead, if it is
    """

    number: int
    subject: Peer | Failure
    state: State | None = None
    since: float = 0.0
    reason: str | None = None

    @property
    def kind(self) -> Literal["peer", "failure"]:
        """The name of the event."""
        return "failure" if isinstance(self.subject, Failure) else "peer"

    def as_json(self) -> dict[str, Any]:
        """The shape of ``/api/failures``, or of ``/api/peers`` with the state of the change and ``failure_reason``.

        Everything else of a peer is as of now.
        """
        told = self.subject.as_json()
        if self.state is not None:
            told |= {"state": self.state.value, "since": round(self.since, 3), "failure_reason": self.reason}
        return told


class News:
    """Numbers the changes of state and the failures. It follows both, which has room for one follower each.

    :param registry: who is listed; of a peer whose id another has by now it tells nothing
    :param failures: its records are told as they are made, and as they are made exact
    :ivar epoch: names this record; numbers of another one mean nothing here
    :ivar newest: the number of the last event
    """

    def __init__(self, registry: Registry, failures: Failures) -> None:
        self.epoch = ""
        self.newest = 0
        self._clocks = registry.clocks
        self._items: list[Item] = []
        self._reader: Callable[[], object] | None = None
        self._left_at = -LINGER
        self._begun = 0
        registry.follower = self._changed
        failures.follower = self._failed

    # -- the reader

    def follow(self, reader: Callable[[], object]) -> None:
        """Call ``reader`` after each event, from now on; it reads :meth:`after` when it likes. There is one reader."""
        if not self._wanted:
            self._begin()
        self._reader = reader

    def leave(self) -> None:
        """Nobody reads any more."""
        self._reader = None
        self._left_at = self._clocks.seconds()

    def after(self, number: int, most: int) -> Sequence[Item]:
        """The events behind ``number``, the oldest first, ``most`` at most."""
        start = max(0, number + 1 - self._oldest)
        return self._items[start : start + most]

    def missed(self, number: int) -> int:
        """How many of the events behind ``number`` are not kept any more."""
        return max(0, self._oldest - 1 - number)

    # -- inside

    def _changed(self, peer: Peer, event: Event) -> None:
        if isinstance(event, _CHANGES) and self._wanted:
            since = self._clocks.wall() - (self._clocks.seconds() - event.at)
            self._record(Item(self.newest + 1, peer, peer.state, since, peer.cause))

    def _failed(self, failure: Failure) -> None:
        if self._wanted:
            self._record(Item(self.newest + 1, failure))

    @property
    def _oldest(self) -> int:
        return self.newest + 1 - len(self._items)

    @property
    def _wanted(self) -> bool:
        if self._reader is not None or self._clocks.seconds() - self._left_at < LINGER:
            return True
        self._items = []
        return False

    def _begin(self) -> None:
        self._begun = max(self._begun + 1, int(self._clocks.wall() * 1000))
        self.epoch = f"{self._begun:x}"
        self.newest = 0
        self._items = []

    def _record(self, item: Item) -> None:
        self.newest = item.number
        self._items.append(item)
        if len(self._items) >= 2 * KEPT:  # seldom, so that each event costs the same
            del self._items[:-KEPT]
        if self._reader is not None:
            self._reader()
