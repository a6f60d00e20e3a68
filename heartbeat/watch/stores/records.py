"""What a store keeps: the last known record of each peer, and failures. Pure: values, and text of them.

**The data model.** A *record* is what the server that holds a peer last knew of it: the view that ``/api/peers`` shows,
when it was last heard, and what its session goes on with after a reconnect (its account of itself, and the number of
tokens given out). There is one for each id, so a record also says **who holds the peer**: the *holder*, which is one
run of one server. A holder has a *lease*; one whose lease has lapsed holds nothing any more, and its peers are orphans.
A *failure* is an entry of ``/api/failures``, kept as it is shown. Besides, a store keeps one key, under which tokens
are sealed.

**The fence.** Two servers may write of the same peer at the same time, and one of them may be late: it was stopped, or
cut off from the store. What they write is ordered by :class:`Fence`, whatever order it comes in: a newer session of the
peer beats an older one, within a session the later connection beats the one before (its epoch is the higher one, since
the token by which the peer came back brought the last), and of one connection the later account beats the earlier.
No clock of a store and no clock of another server is needed for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from heartbeat.liveness.states import FINAL, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from heartbeat.liveness.peer import Clocks, Peer

__all__ = ["Changes", "Fence", "PeerRecord", "Register", "Settlement", "StoredFailure", "readable", "record_of"]

#: How the text of a record begins in every version that can be read here.
FORMAT: Final = 1
# Times of day in milliseconds.
_DIGITS: Final = 3


class Fence(NamedTuple):
    """Which of two records of a peer is the newer one: they compare as tuples do.

    :ivar stamp: the id of its session (these sort by their age), or a text of that form for a peer that has none
    :ivar epoch: of its connection within the session
    :ivar holder: the run of the server that it is connected to
    :ivar version: counts what that server wrote
    """

    stamp: str
    epoch: int
    holder: str
    version: int


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """What was last known of a peer.

    :ivar id: of the peer
    :ivar fence: orders the records of this id
    :ivar node: the server that it is (or was) connected to
    :ivar state: as that server saw it
    :ivar cause: why it is dead
    :ivar heard_at: its last sign of life as of this record, seconds since the epoch
    :ivar lasts: seconds for which it is worth keeping
    :ivar held: the ``svc_hash`` in hexadecimal under which its STATE is held; ``""``: it is not
    :ivar view: the shape of ``/api/peers`` without ``last_heard_ms``
    :ivar text: what it was read from, if it was
    """

    id: str
    fence: Fence
    node: str
    state: State
    cause: str | None
    heard_at: float
    lasts: float
    held: str = ""
    view: Mapping[str, Any] = field(default_factory=dict)
    text: str = field(default="", repr=False, compare=False)

    @property
    def living(self) -> bool:
        """It was connected."""
        return self.state not in FINAL

    @property
    def session(self) -> str:
        """The id of its session, ``""`` if it has none."""
        session: str = self.view.get("session", "")
        return session

    @property
    def detect(self) -> float:
        """Seconds of silence after which its server would have given it up."""
        return float(self.view.get("detect_ms", 0)) / 1000.0

    def ended(self, state: State, cause: str | None, at: float) -> PeerRecord:
        """The same peer, dead of this cause or left since then. The fence stays: whoever holds it may know better."""
        view = {**self.view, "state": state.value, "since": round(at, _DIGITS)}
        return replace(self, state=state, cause=cause, view=view, text="")

    def to_text(self) -> str:
        """One line of JSON, in ASCII."""
        told = {
            "format": FORMAT,
            "fence": list(self.fence),
            "cause": self.cause,
            "heard_at": round(self.heard_at, _DIGITS),
            "lasts": self.lasts,
            "held": self.held,
            "view": self.view,
        }
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> PeerRecord:
        """Read what :meth:`to_text` wrote. Raises ValueError for anything else."""
        try:
            told = json.loads(text)
            view = told["view"]
            stamp, epoch, holder, version = told["fence"]
            return cls(
                id=str(view["id"]),
                fence=Fence(str(stamp), int(epoch), str(holder), int(version)),
                node=str(view["node"]),
                state=State(view["state"]),
                cause=told["cause"],
                heard_at=float(told["heard_at"]),
                lasts=float(told["lasts"]),
                held=str(told["held"]),
                view=view,
                text=text,
            )
        except (KeyError, TypeError, ValueError) as wrong:
            raise ValueError(f"no record of a peer: {text[:80]!r}") from wrong


def readable(texts: Iterable[str]) -> list[PeerRecord]:
    """The records of these texts. One that cannot be read was written by another release, which is its affair."""
    records = []
    for text in texts:
        with suppress(ValueError):
            records.append(PeerRecord.from_text(text))
    return records


def record_of(peer: Peer, fence: Fence, held: bytes | None, lasts: float, clocks: Clocks) -> PeerRecord:
    """The record of a peer that is connected here, or was until now."""
    view = peer.as_json()
    ago: int = view.pop("last_heard_ms")
    heard_at = clocks.wall() - ago / 1000.0
    return PeerRecord(
        id=peer.id,
        fence=fence,
        node=peer.node,
        state=peer.state,
        cause=peer.cause,
        heard_at=heard_at,
        lasts=lasts,
        held="" if held is None else held.hex(),
        view=view,
    )


class StoredFailure(NamedTuple):
    """One failure as it is kept.

    :ivar id: its number, which sorts by time
    :ivar node: who recorded it; number and node together are unique
    :ivar text: the entry of ``/api/failures`` as JSON, in ASCII
    :ivar knock: of a connection whose gate never opened: of these a store keeps half as many, apart from the deaths, so
        that whoever only knocks at the door (a port scan, say) does not push those out
    """

    id: int
    node: str
    text: str
    knock: bool = False


class Settlement(NamedTuple):
    """The end of an orphan.

    :ivar seen: the fence of the record that it is concluded from; if another one is there by now, nothing is written
    :ivar record: what is written instead
    :ivar failure: what is recorded with it, in the same step; None: it is no failure
    """

    seen: Fence
    record: PeerRecord
    failure: StoredFailure | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What was written since some moment, in that order, each thing once and as it is now.

    :ivar upto: ask for what comes behind this next time
    :ivar peers: records
    :ivar failures: new ones, and those whose reason was made exact
    :ivar more: there is more behind this
    """

    upto: int
    peers: Sequence[PeerRecord] = ()
    failures: Sequence[StoredFailure] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class Register:
    """What a store answers to whoever renews its lease.

    :ivar id: of the store: another one means that it has lost what it had
    :ivar upto: of its newest change
    :ivar leases: seconds until the lease of each holder lapses, by the clock of the store
    """

    id: str
    upto: int
    leases: Mapping[str, float]
