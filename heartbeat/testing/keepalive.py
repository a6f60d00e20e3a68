"""TCP keepalive of a simulated kernel, as Linux has it (``net/ipv4/tcp_timer.c``, ``tcp_keepalive_timer``). Pure.

While nothing is on its way and nothing came for ``idle`` seconds, a probe asks the peer's kernel for an
acknowledgement, and again each ``interval``. While something is on its way it asks nothing (``facts.md`` K0.6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from heartbeat.testing.incoming import Incoming
    from heartbeat.testing.outgoing import Outgoing

__all__ = ["Keepalive"]

#: The defaults of Linux: two hours, 75 s, nine probes.
IDLE: Final = 7200.0
INTERVAL: Final = 75.0
COUNT: Final = 9


class Keepalive:
    """Of one connection.

    :ivar deadline: when :meth:`expired` wants to be called, None: it is off
    """

    __slots__ = ("_count", "_idle", "_incoming", "_interval", "_outgoing", "deadline")

    def __init__(self, outgoing: Outgoing, incoming: Incoming) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._idle = IDLE
        self._interval = INTERVAL
        self._count = COUNT
        self.deadline: float | None = None

    def set(self, name: str, value: Any, now: float) -> None:
        """An option was set: ``keepalive``, ``idle``, ``interval``, ``count``, or ``user_timeout`` in milliseconds."""
        match name:
            case "keepalive":
                self.deadline = now + self._idle if value else None
            case "idle":
                self._idle = float(value)
                if self.deadline is not None:
                    self.deadline = now + max(0.0, self._idle - self._elapsed(now))
            case "interval":
                self._interval = float(value)
            case "count":
                self._count = int(value)
            case "user_timeout":
                self._outgoing.user_timeout = value / 1000.0 if value else None

    def expired(self, now: float) -> bool:
        """``deadline`` has come: probe, if that is due. False: it was tried often enough."""
        outgoing = self._outgoing
        elapsed = self._elapsed(now)
        if outgoing.flight or outgoing.notsent or not outgoing.ready:
            self.deadline = now + self._idle
        elif elapsed < self._idle:
            self.deadline = now + self._idle - elapsed
        elif self._is_enough(elapsed):
            return False
        else:
            outgoing.keep_alive()
            self.deadline = now + self._interval
        return True

    def _is_enough(self, elapsed: float) -> bool:
        probes, most = self._outgoing.probes, self._outgoing.user_timeout
        return probes >= self._count if most is None else elapsed >= most and probes > 0

    def _elapsed(self, now: float) -> float:
        """Seconds since the peer's kernel said anything."""
        newest = max(self._outgoing.last_ack_recv or 0.0, self._incoming.arrived_at or 0.0)
        return now - newest
