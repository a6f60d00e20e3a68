"""What an application may implement, each with a base that does nothing: override what you need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface, implementer

if TYPE_CHECKING:
    from heartbeat.liveness.events import Event, Refused
    from heartbeat.liveness.peer import Peer
    from heartbeat.liveness.report import Report

__all__ = ["HeartbeatListener", "IClocked", "IHeartbeat", "IHeartbeatListener", "IStateSource"]


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
