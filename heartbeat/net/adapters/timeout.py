"""A drop-in for Twisted's ``TimeoutMixin`` that does not kill the living. One changed import line.

Theory of operation. Twisted's mixin is one timer on the wall clock: it fires when this process was stopped for long
enough, with the peer's bytes unread in the kernel; when somebody sets the clock; and while the application itself has
paused reading. Here a bare :class:`.Liveness` sits on a :class:`.Pulse` in the wheel of the reactor: its silence is
monotonic and attentive, ends with a drain of what is unread, and stands still while we do not read. Where the
application brings a ``callLater`` of its own that is no reactor's (tests do), time is what that says, and no more than
Twisted's timer is possible.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from heartbeat.errors import ConfigError
from heartbeat.net.adapters.idle import AttentiveTimer, PlainTimer
from heartbeat.net.quietpulse import has_ended
from heartbeat.net.wheel import wheel_for

if TYPE_CHECKING:
    from heartbeat.liveness.evidence import Evidence

__all__ = ["TimeoutMixin"]

# It cannot ask, so it cannot know more (facts K3, row 21).
CAUSE: Final = "unattributed"


class TimeoutMixin:
    """Ends a connection that is silent for too long.

    Everything that works with ``twisted.protocols.policies.TimeoutMixin`` works with this: :meth:`setTimeout`,
    :meth:`resetTimeout`, :meth:`timeoutConnection`, :attr:`timeOut` and :meth:`callLater`. What differs:

    * A stall of our own process never fires it. What lies unread when the time is up is read first, and two turns of
      the reactor pass before the end.
    * A step of the wall clock does not matter.
    * While ``transport.pauseProducing`` is in force, silence does not count. Pauses are seen from the first
      :meth:`setTimeout` on that finds a transport. What pauses the reading by other means is not seen.
    * :meth:`timeoutConnection` aborts: a graceful close hangs for ever on a dead path.
    * It fires up to 20 ms late, the slot of the wheel, and not at all once a TCP or TLS transport has ended.

    Without :meth:`callLater` of one's own, or with that of a reactor (``self.callLater = reactor.callLater``), all this
    holds. With any other, for example a ``task.Clock``'s, it is one plain timer of that clock, at exactly the times of
    Twisted's, paused and aborting as above; a ``callLater`` *method* of a subclass counts as such.

    :cvar timeOut: seconds, or None; what :meth:`setTimeout` was last given
    :ivar timeout_cause: after a timeout ``unattributed``: this only listens, and who cannot ask cannot know why
    :ivar timeout_evidence: after a timeout what was observable of the connection, or None
    """

    timeOut: float | None = None
    timeout_cause: str | None = None
    timeout_evidence: Evidence | None = None

    __timer: AttentiveTimer | PlainTimer | None = None
    __aborted: Any = None

    def callLater(self, period: float, func: Callable[[], object]) -> Any:
        """The installed reactor's. Replace it, in a subclass or on an instance, to bring another clock."""
        from twisted.internet import reactor  # importing it installs one

        there: Any = reactor
        return there.callLater(period, func)

    def resetTimeout(self) -> None:
        """A sign of life: the time begins anew. Without a timeout, or after it has fired, this does nothing."""
        timer = self.__timer
        if timer is not None and timer.armed and self.timeOut is not None:
            timer.reset(self.timeOut)

    def setTimeout(self, period: float | None) -> float | None:
        """Change the timeout, which begins anew; None switches it off and leaves nothing behind.

        :param period: seconds of silence
        :returns: what it was
        :raises ConfigError: no number of seconds, or a negative one
        """
        _check(period)
        before, self.timeOut = self.timeOut, period
        timer = self.__timer
        if timer is not None and timer.armed:
            if period is None:
                timer.stop()
            else:
                timer.reset(period)
        elif period is not None:
            self.__timer = timer = self.__by_what(timer)
            timer.watch_pauses(getattr(self, "transport", None))
            timer.start(period)
        return before

    def __by_what(self, known: AttentiveTimer | PlainTimer | None) -> AttentiveTimer | PlainTimer:
        reactor = _reactor_of(self.callLater)
        if reactor is None:
            return known if isinstance(known, PlainTimer) else PlainTimer(self, weakref.WeakMethod(self.__timed_out))
        wheel = wheel_for(reactor)
        if isinstance(known, AttentiveTimer) and known.wheel is wheel:
            return known
        return AttentiveTimer(self, wheel, weakref.WeakMethod(self.__timed_out))

    def __timed_out(self, evidence: Evidence | None) -> None:
        self.timeout_cause = CAUSE
        self.timeout_evidence = evidence
        self.timeoutConnection()

    def timeoutConnection(self) -> None:
        """The connection is silent for too long. Override it to do something else than to abort; twice is once."""
        transport = getattr(self, "transport", None)
        if transport is None or transport is self.__aborted or has_ended(transport):
            return
        self.__aborted = transport  # a second abort of a TLS transport raises (facts K0.12)
        getattr(transport, "abortConnection", transport.loseConnection)()


def _reactor_of(call_later: Any) -> Any:
    """The reactor whose time this is, or None: a test's clock, or anything else."""
    if getattr(call_later, "__func__", None) is TimeoutMixin.callLater:
        from twisted.internet import reactor  # importing it installs one

        return reactor
    owner = getattr(call_later, "__self__", None)
    is_reactor = IReactorTime.providedBy(owner) and not isinstance(owner, Clock)
    return owner if is_reactor and call_later.__name__ == "callLater" else None


def _check(period: Any) -> None:
    if period is not None and not (isinstance(period, (int, float)) and 0.0 <= period < math.inf):
        raise ConfigError("period", f"must be a number of seconds, 0 or more, or None, not {period!r:.80}")
