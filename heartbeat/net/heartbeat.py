"""The handle: what an application holds of a heartbeat, in every mode the same."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from heartbeat.errors import NotConnected, PingLost
from heartbeat.liveness.events import Dead, Dropped, Event, Left, Refused, RoundTrip
from heartbeat.liveness.states import FINAL, State
from heartbeat.net.deadline import Deadline
from heartbeat.session.source import ConfigSource

if TYPE_CHECKING:
    from heartbeat.liveness.evidence import Evidence
    from heartbeat.liveness.peer import Peer
    from heartbeat.liveness.rtt import RoundTrips
    from heartbeat.net.subject import Subject

__all__ = ["EventStream", "Heartbeat"]

#: Events that wait for a slow reader; what comes then is counted in one Dropped.
MOST_WAITING: Final = 256


class Heartbeat:
    """One connection's heartbeat. Get it from :attr:`HeartbeatProtocol.heartbeat` or from a client service.

    :ivar peer: the live view of the peer
    """

    def __init__(self, subject: Subject, reactor: Any, source: ConfigSource | None) -> None:
        self._subject = subject
        self._reactor = reactor
        self._source = source
        self._pings: dict[int, Deferred[float]] = {}
        self._alive: list[Deferred[Heartbeat]] = []
        self._gone: list[Deferred[None]] = []
        self._streams: WeakSet[EventStream] = WeakSet()
        self._readers: set[EventStream] = set()
        self._over = subject.gone
        self.peer: Peer = subject.peer
        subject.follow(self._follow)

    @property
    def subject(self) -> Subject:
        """What it speaks for."""
        return self._subject

    @property
    def now(self) -> float:
        """The clock of :attr:`since`, monotonic seconds."""
        return self._subject.seconds()

    @property
    def state(self) -> State:
        """What is known of the peer."""
        return self.peer.state

    @property
    def since(self) -> float:
        """When it came into this state, monotonic seconds."""
        return self.peer.since

    @property
    def cause(self) -> str | None:
        """Why it is dead or was refused."""
        return self.peer.cause

    @property
    def evidence(self) -> Evidence | None:
        """What was observable when the verdict fell."""
        return self._subject.beats.evidence

    @property
    def rtt(self) -> RoundTrips:
        """The round trips: ``last``, ``smoothed``, ``p95``, in seconds."""
        return self.peer.rtt

    def ping(self, timeout: float | None = None) -> Deferred[float]:
        """Ask now. Fires with the round trip in seconds.

        :param timeout: gives up waiting after so many seconds; nothing is closed by it
        :returns: cancellable; fails with DeadlineExpired, PingLost, NotConnected, or the reason of the connection's end
        """
        subject = self._subject
        beats = subject.beats
        if not subject.opened or beats.state in FINAL:
            return fail(NotConnected("this heartbeat is not open"))
        if beats.full:
            return fail(PingLost("not put: as many questions as may be are waiting for their answers"))
        number = beats.number

        def forget(_: object) -> None:
            self._pings.pop(number, None)

        waiting: Deferred[float] = Deferred(forget)
        self._pings[number] = waiting
        if subject.ask(subject.seconds()) is None:
            del self._pings[number]
            return fail(PingLost("not put: this connection cannot carry a question now"))
        return waiting if timeout is None else Deadline(timeout, self._reactor).watch(waiting, "ping")

    def when_alive(self) -> Deferred[Heartbeat]:
        """Fires with this handle when the gate is open; fails with the reason if it never opens."""
        subject = self._subject
        if subject.beats.state in FINAL:
            return fail(subject.reason())
        waiting: Deferred[Heartbeat] = Deferred(self._alive.remove)
        if subject.opened:
            waiting.callback(self)
        else:
            self._alive.append(waiting)
        return waiting

    def when_gone(self) -> Deferred[None]:
        """Fires when the transport is gone."""
        waiting: Deferred[None] = Deferred(self._gone.remove)
        if self._over:
            waiting.callback(None)
        else:
            self._gone.append(waiting)
        return waiting

    def events(self) -> EventStream:
        """The changes from now on, for ``async for``; ends after Dead, Left or Refused."""
        stream = EventStream(self._readers)
        if self._over:
            stream.close()
        else:
            self._streams.add(stream)
        return stream

    def leave(self, reason: str = "") -> Deferred[None]:
        """Say BYE 0. Fires when the transport is gone, which takes a second at most, whatever the path does."""
        self._subject.leave(reason, self._subject.seconds())
        return self.when_gone()

    def abort(self) -> None:
        """End the connection now, without a word."""
        self._subject.abort()

    def progress(self, done: int, queued: int) -> None:
        """Tell how much work was done and how much waits: if some waits and none moves, the peer sees us STUCK.

        :raises NotConnected: this connection's account comes from a state source of the application, or it is in
            somebody else's framing, which carries none
        """
        if self._source is None:
            raise NotConnected("progress is told by the state source that was given, or this framing carries none")
        self._source.progress(done, queued)

    # -- told by the driver and its protocol

    def _follow(self, event: Event) -> None:
        if isinstance(event, RoundTrip):
            ping = self._pings.pop(event.number, None)
            if ping is not None and event.seconds is not None:
                ping.callback(event.seconds)
            elif ping is not None:
                ping.errback(Failure(PingLost("a later question was answered and this one was not")))
            return
        for stream in tuple(self._streams):
            stream.put(event)
        if self._subject.opened:
            while self._alive:
                self._alive.pop(0).callback(self)

    def ended(self) -> None:
        """The transport is gone: settle everybody who waits. The protocol calls it once."""
        self._over = True
        reason = self._subject.reason()
        # One by one: whoever is told may cancel others.
        while self._pings:
            self._pings.pop(next(iter(self._pings))).errback(reason)
        while self._alive:
            self._alive.pop(0).errback(reason)
        while self._gone:
            self._gone.pop(0).callback(None)
        for stream in tuple(self._streams):
            stream.close()


class EventStream:
    """An async iterator over events. A class and no async generator: ``break`` lets go of it at once (facts R9).

    Whoever makes the events refers to it weakly, so that it is gone with its reader; while a reader waits for it, it
    stands in ``readers``, because then nothing else may refer to the two.
    """

    def __init__(self, readers: set[EventStream]) -> None:
        self._events: deque[Event] = deque()
        self._dropped = 0
        self._dropped_at = 0.0
        self._waiting: list[Deferred[None]] = []
        self._closed = False
        self._readers = readers

    def put(self, event: Event) -> None:
        """One more; over 256 that nobody took, it is only counted, unless it is the last."""
        last = isinstance(event, (Dead, Left, Refused))
        if len(self._events) >= MOST_WAITING and not last:
            self._dropped += 1
            self._dropped_at = event.at
            return
        if self._dropped:
            self._events.append(self._gap())
        self._events.append(event)
        if last:
            self._closed = True
        self._awake()

    def close(self) -> None:
        """No more will come; what is waiting can still be read."""
        self._closed = True
        self._awake()

    def _gap(self) -> Dropped:
        count, self._dropped = self._dropped, 0
        return Dropped(self._dropped_at, count)

    def _awake(self) -> None:
        for _ in range(len(self._waiting)):  # who finds nothing waits again, behind the others
            if self._waiting:
                self._waiting.pop(0).callback(None)

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._dropped:
                return self._gap()
            if self._closed:
                raise StopAsyncIteration
            await self._wait()
        return self._events.popleft()

    async def _wait(self) -> None:
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        self._readers.add(self)
        try:
            await waiting
        finally:
            if not self._waiting:
                self._readers.discard(self)
