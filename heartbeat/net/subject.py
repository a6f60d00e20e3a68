"""What a handle speaks for: a connection with frames of ours, or a heartbeat in somebody else's framing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from heartbeat.liveness.states import FINAL
from heartbeat.net.link import GONE
from heartbeat.net.reasons import reason_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from heartbeat.liveness.beats import Beats
    from heartbeat.liveness.events import Event
    from heartbeat.liveness.peer import Peer
    from heartbeat.net.driver import Driver

__all__ = ["Framed", "Subject"]

LEAVING: Final = 0  # the BYE code


class Subject(Protocol):
    """The face that a handle sees."""

    @property
    def beats(self) -> Beats:
        """The judge."""

    @property
    def peer(self) -> Peer:
        """The view that others have."""

    @property
    def opened(self) -> bool:
        """Whether its gate has opened."""

    @property
    def gone(self) -> bool:
        """Whether its transport has ended."""

    def follow(self, follower: Callable[[Event], None]) -> None:
        """Tell every event to ``follower``."""

    def seconds(self) -> float:
        """The clock that it is judged by."""

    def ask(self, now: float) -> int | None:
        """Put one question now; its number, or None where that is impossible."""

    def leave(self, reason: str, now: float) -> None:
        """Part in peace."""

    def abort(self) -> None:
        """End it without a word."""

    def reason(self) -> Failure:
        """Why it ended; asked when it is in a final state."""


class Framed:
    """A connection with frames of ours."""

    __slots__ = ("_driver",)

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def beats(self) -> Beats:
        """The judge."""
        return self._driver.session.beats

    @property
    def peer(self) -> Peer:
        """The view that others have."""
        return self._driver.session.peer

    @property
    def opened(self) -> bool:
        """HELLO was exchanged, or the peer is bare."""
        return self._driver.session.gate is None

    @property
    def gone(self) -> bool:
        """The transport has ended."""
        return self._driver.link is GONE

    def follow(self, follower: Callable[[Event], None]) -> None:
        """The driver tells."""
        self._driver.follower = follower

    def seconds(self) -> float:
        """The wheel's clock."""
        return self._driver.seconds()

    def ask(self, now: float) -> int | None:
        """A PING, sent at once."""
        session = self._driver.session
        if session.gate is not None or session.beats.state in FINAL:
            return None
        number = session.ping(now)
        session.beats.watch(number)
        self._driver.attend(now)
        return number

    def leave(self, reason: str, now: float) -> None:
        """BYE 0, but not behind an abort."""
        if not self._driver.aborted:
            self._driver.session.bye(LEAVING, reason, now)
            self._driver.attend(now)

    def abort(self) -> None:
        """End the transport."""
        self._driver.abort()

    def reason(self) -> Failure:
        """Of its final state."""
        return reason_for(self._driver.session)
