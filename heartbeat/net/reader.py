"""Exactly so many bytes of a stream: for protocols that are written as one piece of ``async def``."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from heartbeat.config import check_whole
from heartbeat.errors import ConfigError, IncompleteRead, NotConnected
from heartbeat.net.deadline import Deadline

__all__ = ["HIGH_WATER", "MOST_READ", "ExactReader"]

#: Bytes that wait for a reader before the transport is told to stop reading: what one turn of Twisted reads.
HIGH_WATER: Final = 65_536
#: The largest single read, so that a length field from the peer cannot make us hold anything. As DATA's credit.
MOST_READ: Final = 1_048_576
# Reading begins again when this share of the high-water mark is left: not one pause for every read.
LOW_WATER_SHARE: Final = 0.5


class ExactReader:
    """Bytes in at one end, reads of a known length out at the other, in order.

    Make it in ``connectionMade``, call :meth:`feed` from ``dataReceived`` and :meth:`end` from ``connectionLost``::

        def connectionMade(self) -> None:
            self.reader = ExactReader(self.transport)

        def dataReceived(self, data: bytes) -> None:
            self.reader.feed(data)

        def connectionLost(self, reason: Failure) -> None:
            self.reader.end(reason)

    Bytes leave the reader only together with a whole answer. A read that is cancelled, that times out or that meets
    the end of the stream has therefore taken nothing: the next one sees those bytes. Several reads may wait at once
    and are served in the order in which they were asked for; one that is given up does not hold up those behind it.

    What waits here is bounded: over ``high_water`` the transport is paused, unless a read waits for more, and no read
    is for more than ``most``. The reader owns the pausing of its transport; pause it by not reading.

    :param transport: what is paused and resumed, an ``IPushProducer``
    :param high_water: bytes; 65,536
    :param most: the largest ``n``, bytes; 1,048,576
    :raises ConfigError: a limit that is no whole number over 0
    """

    __slots__ = ("_buffer", "_ended", "_high", "_low", "_most", "_paused", "_reads", "_reason", "_transport")

    def __init__(self, transport: Any, *, high_water: int = HIGH_WATER, most: int = MOST_READ) -> None:
        for name, value in (("high_water", high_water), ("most", most)):
            if type(value) is not int or value < 1:
                raise ConfigError(name, f"must be a whole number over 0, not {value!r:.80}")
        self._transport = transport
        self._high = high_water
        self._low = int(high_water * LOW_WATER_SHARE)
        self._most = most
        self._buffer = bytearray()
        self._reads: deque[tuple[int, Deferred[bytes]]] = deque()
        self._paused = False
        self._ended = False
        self._reason: BaseException | None = None

    @property
    def buffered(self) -> int:
        """Bytes that came and that nobody has read."""
        return len(self._buffer)

    @property
    def at_end(self) -> bool:
        """The stream has ended and everything was read."""
        return self._ended and not self._buffer

    def read_exactly(self, n: int, deadline: Deadline | None = None) -> Deferred[bytes]:
        """The next ``n`` bytes. 0 bytes are there at once, whatever waits and also after the end.

        :param n: from 0 to ``most``
        :param deadline: of this one caller; the stream goes on after it
        :returns: cancellable (``CancelledError``); fails with IncompleteRead at the end of the stream, with
            DeadlineExpired when the time is up, and at once if it was up before
        :raises ConfigError: ``n`` is negative, too large or no whole number
        """
        check_whole("n", n, 0, self._most)
        if deadline is None:
            return self._read(n)
        return deadline.watch(self._reading(n), f"a read of {n} bytes")

    def feed(self, data: bytes) -> None:
        """More came.

        :raises NotConnected: the stream has ended
        """
        if self._ended:
            raise NotConnected("the stream has ended; nothing can come any more")
        self._buffer += data
        self._serve()

    def end(self, reason: Failure | None = None) -> None:
        """No more will come. What came can still be read; a read for more than that fails. Twice is once."""
        if self._ended:
            return
        self._ended = True
        self._reason = None if reason is None else reason.value
        self._serve()

    def _read(self, n: int) -> Deferred[bytes]:
        if n == 0:
            return succeed(b"")
        waiting: Deferred[bytes] = Deferred(self._give_up)
        self._reads.append((n, waiting))
        self._serve()
        return waiting

    async def _reading(self, n: int) -> bytes:
        """Begins only if there is time left: a deadline that is over takes nothing out."""
        return await self._read(n)

    def _give_up(self, waiting: Deferred[bytes]) -> None:
        """Its caller waits no more. Nothing was taken, so there is nothing to give back."""
        self._reads = deque(read for read in self._reads if read[1] is not waiting)
        waiting.errback(CancelledError())
        self._serve()

    def _serve(self) -> None:
        """Whoever is told may read, cancel or feed: all is in order before each is told."""
        buffer = self._buffer
        while self._reads:
            n, waiting = self._reads[0]
            if n <= len(buffer):
                self._reads.popleft()
                data = bytes(buffer[:n])
                del buffer[:n]
                waiting.callback(data)
            elif self._ended:
                self._reads.popleft()
                error = IncompleteRead(len(buffer), n)
                error.__cause__ = self._reason
                waiting.errback(error)
            else:
                break
        self._press()

    def _press(self) -> None:
        """Pause the transport, or resume it."""
        if self._ended:
            return
        held = len(self._buffer)
        if self._paused:
            if self._reads or held <= self._low:
                self._paused = False
                self._transport.resumeProducing()
        elif held >= self._high and not self._reads:
            self._paused = True
            self._transport.pauseProducing()
