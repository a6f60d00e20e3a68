"""A peer that is played by hand: its frames, and a transport that does what the test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat.liveness.evidence import Ending, Evidence, TcpInfo
from heartbeat.net.link import ILinkSource, Link
from heartbeat.wire.codec import Decoder
from heartbeat.wire.frames import BODY_LIMITS, Bye, Frame, Hello, Ping

ENDINGS = {ConnectionDone: "eof", ConnectionAborted: "aborted"}


def hello(id: str | None = None, **members: Any) -> bytes:
    """A connector's HELLO, as any implementation may write it."""
    said = {"v": 1, "id": id, "want_ping_ms": 500, "min_rx_ms": 0, "caps": ["state", "stalled"], **members}
    body = json.dumps({name: value for name, value in said.items() if value is not None})
    return Hello(body.encode()).encode()


def ping(seq: int = 1, ts: int = 0) -> bytes:
    """A PING."""
    return Ping(seq, ts).encode()


def bye(code: int = 0, reason: str = "") -> bytes:
    """A BYE."""
    return Bye(code, reason).encode()


def decoded(data: bytes) -> list[Frame]:
    """The frames in some bytes, which must be whole."""
    decoder = Decoder()
    decoder.feed(data)
    found = []
    while (frame := decoder.next(BODY_LIMITS)) is not None:
        found.append(frame)
    assert not decoder.pending, data
    return found


@implementer(ILinkSource)
class HandTransport:
    """A transport and its link in one. The test says what the kernel takes, and is the peer.

    :ivar takes: whether the kernel takes what is written
    :ivar queue: what it did not take; :meth:`empty` hands it over
    :ivar sent: what the kernel has, as far as :meth:`said` has not read it
    :ivar history: all frames that :meth:`said` has read so far
    :ivar done: ``close`` and ``abort``, as they were called
    :ivar arrived: what :meth:`arrived_at` answers; each call is counted in :ivar:`asked`
    """

    exact = True

    def __init__(self, reactor: Clock, host: str = "192.0.2.1", port: int = 40000) -> None:
        self.reactor = reactor
        self.peer: Any = IPv4Address("TCP", host, port)
        self.protocol: Any = None
        self.takes = True
        self.queue = b""
        self.sent = b""
        self.history: list[Frame] = []
        self.reading = True
        self.done: list[str] = []
        self.arrived: float | None = None
        self.asked = 0
        self.unread: int | None = None
        self.tcp: TcpInfo | None = None
        self.gone = False
        self.transport = self
        self._waiting: list[Callable[[], None]] = []

    # -- the transport

    def heartbeat_link(self) -> Link:
        """It is its own."""
        return self

    def getPeer(self) -> Any:
        """The address of the peer."""
        return self.peer

    def getHost(self) -> Any:
        """Ours."""
        return IPv4Address("TCP", "192.0.2.254", 7600)

    # -- the link

    def write(self, data: bytes) -> bool:
        """The kernel takes all of it, or nothing."""
        if self.takes and not self.queue:
            self.sent += data
            return True
        self.queue += data
        return False

    def drained(self, callback: Callable[[], None]) -> None:
        """When :meth:`empty` is called."""
        self._waiting.append(callback)

    def look(self, now: float) -> Evidence:
        """What the test set."""
        return Evidence(now, unread=self.unread, reading=self.reading, tcp=self.tcp)

    def arrived_at(self, now: float) -> float | None:
        """What the test set."""
        self.asked += 1
        return self.arrived

    def pause(self) -> None:
        """Read nothing."""
        self.reading = False

    def resume(self) -> None:
        """Read again."""
        self.reading = True

    def close(self) -> None:
        """As a socket: gone in the next turn, unless something is unsent."""
        self.done.append("close")
        if not self.queue:
            self.reactor.callLater(0, self.lose)

    def abort(self) -> None:
        """As a socket: gone in the next turn."""
        if "abort" not in self.done:
            self.done.append("abort")
            self.reactor.callLater(0, self.lose, ConnectionAborted)

    def ending(self, reason: Failure, now: float) -> Ending:
        """What the reason says."""
        return Ending(ENDINGS.get(reason.type, "error"))  # type: ignore[arg-type]  # a table of the allowed words

    # -- the test

    def say(self, data: bytes) -> None:
        """The peer sent this."""
        self.protocol.dataReceived(data)

    def said(self) -> list[Frame]:
        """The frames that came since the last call."""
        data, self.sent = self.sent, b""
        frames = decoded(data)
        self.history += frames
        return frames

    def empty(self) -> None:
        """The kernel takes all that waits, and says so."""
        self.sent += self.queue
        self.queue = b""
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def lose(self, why: type[Exception] = ConnectionDone) -> None:
        """The connection ends."""
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(why()))
