"""Soft deadlines: how long one caller waits. What they end is that waiting, and nothing else.

A deadline is an absolute moment on the monotonic clock, so it can be handed down through any number of calls and the
time is counted once. It closes nothing and judges nobody. Hard deadlines belong to the transport, and each is set in a
place of its own:

=========  =======================================================  ================================================
read       ``HeartbeatConfig(interval=, multiplier=)``, the verdict  ``UnresponsiveConnection`` in ``connectionLost``
write      ``KernelOptions`` (TCP_USER_TIMEOUT) and ``max_data``     the same, or ``PeerLeft``
handshake  ``HeartbeatConfig(handshake_timeout=)``                   ``RefusedConnection``
connect    ``timeout`` of the endpoint                               Twisted's ``error.TimeoutError``
=========  =======================================================  ================================================
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from heartbeat.errors import AlreadyExpired, BudgetExpired, ConfigError, DeadlineExpired
from heartbeat.net.clocks import clocks_for

__all__ = ["Deadline"]

T = TypeVar("T")

# Below the resolution of any timer: rounding, not time that is left.
EPSILON: Final = 1e-6
# A wake that is less late than this is ordinary scheduling and not worth a word in the error.
NOTICED: Final = 0.05


class Deadline:
    """A moment by which a caller wants its answer.

    Wait by :meth:`watch`; give a part of the time away with :meth:`within`; ask :meth:`left`. Time is the monotonic
    clock of :func:`heartbeat.net.clocks.clocks_for`: a step of the wall clock neither shortens nor lengthens it. (A
    step *back* freezes the timers of a reactor whose own clock is the wall clock, Twisted's default, so the waiting
    may be ended late; never early.) The time in which the machine is suspended does not count, where the platform's
    monotonic clock stands still meanwhile (Linux).

    :param seconds: from now; 0 is over at once, ``math.inf`` never
    :param reactor: wakes us, and its clock is used if it is a test's; None: the installed one
    :raises ConfigError: not a number, or negative

    :ivar at: the moment, monotonic seconds
    :ivar seconds: how long it was when it was made
    """

    __slots__ = ("_budget", "_clock", "_file", "_line", "_reactor", "at", "seconds")

    def __init__(self, seconds: float, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor as installed  # importing it installs one

            reactor = installed
        _check(seconds)
        self._reactor = reactor
        self._clock = clocks_for(reactor).seconds
        self.seconds = float(seconds)
        self.at = self._clock() + self.seconds
        self._budget: Deadline | None = None  # the one whose end this is, if not its own
        self._file, self._line = _caller()

    def within(self, seconds: float) -> Deadline:
        """A new deadline, in ``seconds`` at most, and never later than this one.

        If it is this one's end that comes first, the error is a :exc:`.BudgetExpired`.
        """
        part = Deadline(seconds, self._reactor)
        if part.at > self.at:
            part.at = self.at
            part._budget = self._budget or self
        return part

    def part(self, share: float) -> Deadline:
        """A new deadline after this share of the time that is left: ``part(0.5)`` for the first of two attempts."""
        if not 0.0 < share <= 1.0:
            raise ConfigError("share", f"must be over 0 and at most 1, not {share!r:.80}")
        return self.within(self.left() * share)

    def left(self) -> float:
        """Seconds, never below 0."""
        left = self.at - self._clock()
        return left if left > EPSILON else 0.0

    @property
    def expired(self) -> bool:
        """Whether it is over."""
        return not self.left()

    @property
    def made(self) -> str:
        """Where it was made, ``file:line``."""
        return f"{self._file}:{self._line}"

    def check(self, what: str = "") -> None:
        """Call this before work that cannot be watched.

        :param what: names that work in the error
        :raises AlreadyExpired: it is over
        """
        if self.expired:
            raise self._already(what)

    def watch(
        self,
        waiting: Deferred[T] | Coroutine[Any, Any, T],
        what: str = "",
        late: Callable[[T], object] | None = None,
    ) -> Deferred[T]:
        """Wait for ``waiting``, but not longer than this. Any number may be watched, one after another or at once.

        The result, or the failure, goes to the Deferred that is returned; ``waiting`` itself is from now on None. When
        the time is up ``waiting`` is cancelled and the returned one fails **at once**, whatever a callback or a
        canceller in between does about it. (A result that the canceller itself brings is not thrown away.) Cancelling
        the returned one cancels ``waiting``. What comes after that is swallowed, or given to ``late``.

        The timer is only a wake-up: when it comes too early it is set again, and when it comes one turn of the reactor
        is left, so that an answer which lay in the kernel while our own loop was stalled is still taken.

        :param waiting: a Deferred, or a coroutine that has not begun
        :param what: names the request in the error
        :param late: is called with a result that nobody waits for any more, to close what must be closed
        :returns: fails with DeadlineExpired, BudgetExpired if the time was a part of a budget that is spent, or at once
            with AlreadyExpired, and then a coroutine was never begun
        """
        expired = self.expired
        if not isinstance(waiting, Deferred):
            if expired:
                waiting.close()
                return fail(self._already(what))
            waiting = Deferred.fromCoroutine(waiting)
        watch = Watch(waiting, self.left, self._reactor.callLater, lambda: self._error(what), late)
        return watch.refuse(self._already(what)) if expired else watch.start()

    def _error(self, what: str) -> DeadlineExpired:
        late = max(0.0, self._clock() - self.at)
        stalled = f"; our own loop was {late:.3g} s late" if late > NOTICED else ""
        name = f"{what}: " if what else ""
        budget = self._budget
        if budget is not None:
            text = f"{name}the budget of {budget.seconds:g} s, made at {budget.made}, is spent"
            return BudgetExpired(text + stalled, budget.made, budget.seconds, late)
        text = f"{name}no result within {self.seconds:g} s; the deadline was made at {self.made}"
        return DeadlineExpired(text + stalled, self.made, self.seconds, late)

    def _already(self, what: str) -> AlreadyExpired:
        whose = self._budget or self
        late = max(0.0, self._clock() - self.at)
        name = f"{what}: " if what else ""
        text = (
            f"{name}the deadline of {whose.seconds:g} s, made at {whose.made}, was over {late:.3g} s before this began"
        )
        return AlreadyExpired(text, whose.made, whose.seconds, late)

    def __repr__(self) -> str:
        return f"<Deadline {self.left():.3g} of {self.seconds:g} s left, made at {self.made}>"


class Watch(Generic[T]):
    """One Deferred that is waited for. It has one timer at most, and none when it is over.

    :param left: seconds until the time is up, 0 or less when it is
    :param call_later: the reactor's
    :param error: makes what it fails with
    :ivar out: what the caller waits for
    """

    __slots__ = ("_call", "_call_later", "_error", "_expired", "_late", "_left", "_looking", "_waiting", "out")

    def __init__(
        self,
        waiting: Deferred[T],
        left: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Any],
        error: Callable[[], DeadlineExpired],
        late: Callable[[T], object] | None,
    ) -> None:
        self._waiting = waiting
        self._left = left
        self._call_later = call_later
        self._error = error
        self._late = late
        self._call: Any = None
        self._looking = False  # the last turn is running
        self._expired: DeadlineExpired | None = None
        self.out: Deferred[T] = Deferred(self._cancel)

    def start(self) -> Deferred[T]:
        """Wait, with a timer."""
        self._waiting.addBoth(self._came)
        if not self.out.called:
            self._arm()
        return self.out

    def refuse(self, error: DeadlineExpired) -> Deferred[T]:
        """Do not wait at all. Even a result that is there is not given: it would hide that the deadline was over."""
        self.out.errback(error)
        self._waiting.addBoth(self._came)
        self._waiting.cancel()
        return self.out

    def _arm(self) -> None:
        left = self._left()
        if left < math.inf:
            self._call = self._call_later(left, self._woken)

    def _woken(self) -> None:
        self._call = None
        if self._left() > 0.0:
            self._arm()
        elif not self._looking:
            self._looking = True
            self._call = self._call_later(0, self._woken)
        else:
            self._expire()

    def _expire(self) -> None:
        self._expired = self._error()
        try:
            self._waiting.cancel()
        finally:
            if not self.out.called:  # the canceller did not end it, or raised
                self.out.errback(self._expired)

    def _came(self, result: T | Failure) -> None:
        self._stop()
        if self.out.called:
            if self._late is not None and not isinstance(result, Failure):
                self._late(result)
        elif not isinstance(result, Failure):
            self.out.callback(result)
        elif self._expired is None:
            self.out.errback(result)
        else:
            self._expired.__cause__ = result.value
            self.out.errback(self._expired)

    def _cancel(self, out: Deferred[T]) -> None:
        self._stop()
        self._waiting.cancel()

    def _stop(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()


def _check(seconds: float) -> None:
    if type(seconds) not in {int, float} or not seconds >= 0.0:  # the second is false for NaN, too
        raise ConfigError("seconds", f"must be a number of seconds, 0 or more, not {seconds!r:.80}")


def _caller() -> tuple[str, int]:
    """The file and the line that called into this module. Two frames are looked at and none is kept."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return ("?", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)
