"""What an application may implement, each with a base that does nothing: override what you need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface, implementer

if TYPE_CHECKING:
    from heartbeat.liveness.events import Event, Refused
    from heartbeat.liveness.peer import Peer
    from heartbeat.liveness.report import Report
    from heartbeat.watch.stores.records import PeerRecord, Settlement, StoredFailure

__all__ = ["HeartbeatListener", "IClocked", "IHeartbeat", "IHeartbeatListener", "IPeerStore", "IStateSource"]


class IHeartbeat(Interface):
    """The handle of a heartbeat. ``IHeartbeat(transport, None)`` gives it, or None where there is no heartbeat."""

    state = Attribute("What is known of the peer: a State.")
    since = Attribute("When it came into this state, monotonic seconds.")
    cause = Attribute("Why it is dead or was refused, or None.")
    evidence = Attribute("What was observable when the verdict fell, or None.")
    peer = Attribute("The live view of the peer.")
    rtt = Attribute("The round trips: last, smoothed, p95, in seconds.")

    def ping(timeout: float | None = None) -> Any:
        """Ask now: a Deferred of the round trip in seconds."""

    def when_alive() -> Any:
        """A Deferred of the handle: the gate is open."""

    def when_gone() -> Any:
        """A Deferred that fires when the transport is gone."""

    def events() -> Any:
        """The changes from now on, for ``async for``."""

    def leave(reason: str = "") -> Any:
        """Say BYE 0; a Deferred that fires when the transport is gone."""

    def abort() -> None:
        """End the connection now, without a word."""

    def progress(done: int, queued: int) -> None:
        """Tell how much work was done and how much waits."""


class IHeartbeatListener(Interface):
    """Is told about changes of peers, never about beats.

    Called in the reactor thread. What it raises is logged and harms nobody. Two more methods are optional and
    looked for once per connection: ``refused(peer, event)`` (it ended before its gate opened: neither joined nor
    gone) and ``round_trip(peer, seconds)`` (each round trip of an own PING, for those who really want each).
    """

    def joined(peer: Peer) -> None:
        """The gate of a connection opened."""

    def changed(peer: Peer, event: Event) -> None:
        """A joined peer is Suspect, Alive, Stuck, Spared, Synced, Explained; or Dead or Left, just before gone."""

    def gone(peer: Peer, event: Event) -> None:
        """A joined peer is Dead or has Left. Called once; its numbers move no more."""


@implementer(IHeartbeatListener)
class HeartbeatListener:
    """A listener that does nothing."""

    def joined(self, peer: Peer) -> None:
        """The gate of a connection opened."""

    def changed(self, peer: Peer, event: Event) -> None:
        """Something happened to a joined peer."""

    def gone(self, peer: Peer, event: Event) -> None:
        """A joined peer is Dead or has Left."""

    def refused(self, peer: Peer, event: Refused) -> None:
        """A connection ended before its gate opened."""


class IStateSource(Interface):
    """Gives this end's account of itself when a SYNC is due."""

    def report() -> Report:
        """The account as it is now. Called about once per sync interval and connection: keep it cheap."""


class IClocked(Interface):
    """A reactor that brings its own clocks and its own chance (the simulated ones do)."""

    def monotonic() -> float:
        """Seconds that never step."""

    def wall() -> float:
        """Seconds since the epoch, which may step."""

    def draw() -> float:
        """Chance: 0 ≤ x < 1."""


class IPeerStore(Interface):
    """Keeps what servers know of their peers, for a restart and for each other.

    What is kept is told in :mod:`heartbeat.watch.stores.records`. Every method that gives a Deferred may fail with
    :class:`~heartbeat.errors.StoreUnavailable`, and then may or may not have been carried out: each may be repeated.
    Nobody calls a store for a beat. The caller bounds every wait (:class:`heartbeat.watch.stores.timed.Timed`).
    """

    backend = Attribute("What it is called in metrics: memory, sqlite, redis.")
    shared = Attribute("Whether several servers may use it at the same time.")

    def open(nudge: Callable[[], object]) -> Any:
        """Get ready: a Deferred of None. Fails for good only with ConfigError. Next: :meth:`renew`.

        :param nudge: called in the reactor thread when another server has written something; a hint, it may be lost
        """

    def close() -> Any:
        """Let go of everything: a Deferred of None, which never fails. Whatever is called after it fails."""

    def renew(holder: str, lasts: float) -> Any:
        """Take or prolong the lease of a holder: a Deferred of a Register. The other calls need no lease.

        :param lasts: seconds from now on, by the clock of the store
        """

    def release(holder: str) -> Any:
        """Give up a lease: a Deferred of None."""

    def token_key(proposal: bytes) -> Any:
        """The key of all that share this store, a Deferred of bytes: the one that is kept, else this one, kept now."""

    def write(records: Sequence[PeerRecord], failures: Sequence[StoredFailure]) -> Any:
        """Keep each record that is newer (by its fence) than what is there, and each failure in the place of an
        earlier text of the same number and node. A Deferred of the ids of records that are not newer.

        Each record and each failure is kept as a whole or not at all. At most ``heartbeat.watch.stores.MOST_AT_ONCE``
        of both together.
        """

    def settle(settlements: Sequence[Settlement]) -> Any:
        """Write the end of each orphan whose record is still the one that was seen: a Deferred of the ids of those.

        Record and failure are kept in one step, once, however many servers try it.
        """

    def changes(after: int, limit: int, but: str = "") -> Any:
        """What was written behind ``after`` (0: everything): a Deferred of Changes, at most ``limit`` of them.

        :param but: without the records of this holder
        """

    def recall(peer: str) -> Any:
        """The record of one peer: a Deferred of a PeerRecord, or None."""
