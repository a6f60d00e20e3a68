"""Pulses that put no question: they judge by what comes, for as long as the application reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import tcp
from twisted.protocols.tls import TLSMemoryBIOProtocol

from heartbeat.net.link import GONE, link_for
from heartbeat.net.pulse import Pulse

if TYPE_CHECKING:
    import weakref

    from heartbeat.liveness.beats import Beats
    from heartbeat.liveness.liveness import Liveness
    from heartbeat.net.link import Link
    from heartbeat.net.wheel import Wheel

__all__ = ["PAUSED_LOOK", "IdlePulse", "QuietPulse", "has_ended"]

# A paused connection stays in the wheel, seconds between two looks: an empty wheel does not know whether we listened.
PAUSED_LOOK: Final = 5.0


def has_ended(transport: Any) -> bool:
    """Whether this transport says that it is gone. TCP, UNIX and TLS over them do; of others it is not known."""
    while isinstance(transport, TLSMemoryBIOProtocol):
        transport = transport.transport
    return isinstance(transport, tcp.Connection) and bool(transport.disconnected)


class QuietPulse(Pulse):
    """A pulse that cannot ask. Nobody is judged while the application does not read, nor before what came was read."""

    __slots__ = ("_looking", "_reading")

    def __init__(self, wheel: Wheel, judge: Beats | Liveness, link: Link, decided: Callable[[], None]) -> None:
        super().__init__(wheel, judge, link, decided=decided)
        self._reading = True
        self._looking = False

    def deaf(self, now: float) -> None:
        """The application does not read: silence does not count."""
        self._reading = False
        self.judge.deaf(now)

    def hearing(self, now: float) -> None:
        """It reads again."""
        self._reading = True
        self.judge.hearing(now)
        self.attend(now)

    def judge_now(self, now: float, crowded: bool) -> None:
        """Not yet: a poll must lie between, because on many transports nobody can say what is unread."""
        if not self._looking:
            self._looking = True
            self.wheel.turns.after_two(self._polled)

    def _polled(self) -> None:
        self._looking = False
        if self._beating and self._reading:
            self.last_look(self.wheel.seconds())

    def last_look(self, now: float) -> None:
        """The verdict."""
        super().judge_now(now, False)


class IdlePulse(QuietPulse):
    """Judges silence alone. It refers weakly to its protocol, and ends when that or the transport is gone."""

    __slots__ = ("_protocol",)

    def __init__(self, wheel: Wheel, judge: Liveness, protocol: weakref.ref[Any], decided: Callable[[], None]) -> None:
        super().__init__(wheel, judge, GONE, decided)
        self._protocol = protocol

    def wake(self, now: float) -> float | None:
        """The wheel's call. Only now a link is made: who is never silent for half the time has none."""
        protocol = self._protocol()
        transport = getattr(protocol, "transport", None)
        if protocol is None or has_ended(transport):
            self.stop()
            return None
        if self.link is GONE and transport is not None:
            self.link = link_for(transport, self.wheel.turns, protocol)
        at = super().wake(now)
        self.judge.events()  # nobody follows them; they must not pile up
        return at if self._reading or not self._beating else now + PAUSED_LOOK
