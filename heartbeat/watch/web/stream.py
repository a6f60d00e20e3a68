"""Those who follow the news: each at its own pace, none with a queue of its own.

Theory of operation. A follower is a number, that of the event it was sent last. What it does not read stays in
:class:`~heartbeat.watch.news.News`, once for all; when it reads again it goes on from its number, and what is not kept
any more is told as a gap. So a follower that stops reading costs what its connection already holds: at most
:data:`UNREAD` and one chunk in this process, and :data:`IN_KERNEL` in the kernel. After :data:`PATIENCE` seconds of
that it is cut off; a browser comes back by itself, and says where it was.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IPushProducer
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from heartbeat.watch.web.answers import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IDelayedCall
    from twisted.web.server import Request

    from heartbeat.watch.news import News
    from heartbeat.watch.web.slices import Turns

__all__ = ["KEEP_ALIVE", "MOST", "PATIENCE", "Broadcast", "Follower"]

#: Followers at once; one more is told to come back later. A browser needs one for each window that shows the page.
MOST: Final = 1024
#: Seconds between two comments to each follower, so that no box on the way forgets it.
KEEP_ALIVE: Final = 15.0
#: Seconds for which a follower may read nothing, give or take a keep-alive; then its connection is cut.
PATIENCE: Final = 30.0
#: Milliseconds after which a browser comes back when its connection was lost.
RETRY: Final = 2000
#: Events in one chunk: ten failures with all their events are about 4 ms, and no beat should wait longer.
CHUNK: Final = 10
#: Bytes after which a chunk is full; it is always at least one event.
CHUNK_BYTES: Final = 16_384
#: Followers written to in one turn: about 2 ms.
TOGETHER: Final = 100
#: Bytes that wait in this process for a follower before it is given no more, and in the kernel (which doubles it).
UNREAD: Final = 4096
IN_KERNEL: Final = 16_384


@implementer(IPushProducer)
class Follower:
    """One connection that follows.

    :param number: of the event that it knows of
    :ivar paused_at: since when it does not read; None while it does
    """

    __slots__ = ("_broadcast", "number", "paused_at", "request")

    def __init__(self, broadcast: Broadcast, request: Request, number: int) -> None:
        self._broadcast = broadcast
        self.request = request
        self.number = number
        self.paused_at: float | None = None

    def abort(self) -> None:
        """Cut the connection: what was not read is lost, and its client finds out."""
        transport: Any = self.request.channel.transport
        transport.abortConnection()

    def pauseProducing(self) -> None:
        """It does not read what it was sent."""
        if self.paused_at is None:
            self.paused_at = self._broadcast.seconds()

    def resumeProducing(self) -> None:
        """It has read all of it."""
        self.paused_at = None
        self._broadcast.wake()

    def stopProducing(self) -> None:
        """It is gone."""
        self._broadcast.lost(self)


class Broadcast:
    """Sends the news to all who follow, in the turns of the reactor: one chunk, or some followers, in each."""

    def __init__(self, turns: Turns, news: News) -> None:
        self._turns = turns
        self._news = news
        self._followers: dict[Follower, None] = {}  # in the order in which they came
        self._timer: IDelayedCall | None = None
        self._sending = False

    def __len__(self) -> int:
        return len(self._followers)

    @property
    def full(self) -> bool:
        """There is no room for one more."""
        return len(self._followers) >= MOST

    def seconds(self) -> float:
        """The time of the reactor."""
        return float(self._turns.reactor.seconds())

    def admit(self, request: Request, last: str) -> int:
        """Let a request follow; return what this returns from ``render``.

        :param last: the id of the last event that it knows of (``Last-Event-ID``); ``""``: it wants what comes
        """
        news = self._news
        news.follow(self.wake)
        number = self._number(last)
        opening = f"retry: {RETRY}\n".encode()
        if number is None and last:  # of another server, or too old: what was missed cannot be counted
            opening += self._gap(None, news.newest)
        elif number is None:
            opening += f"id: {news.epoch}-{news.newest}\n\n".encode()
        follower = Follower(self, request, news.newest if number is None else number)
        _tighten(request.channel.transport)
        request.notifyFinish().addErrback(lambda _: self.lost(follower))
        request.registerProducer(follower, True)
        self._followers[follower] = None
        request.write(opening if number is None else opening + b"\n")
        if self._timer is None:
            self._timer = self._turns.reactor.callLater(KEEP_ALIVE, self._look_round)
        self.wake()
        return NOT_DONE_YET

    def wake(self) -> None:
        """There is news, or somebody reads again."""
        if not self._sending and self._followers:
            self._sending = True
            self._turns.cooperator.cooperate(self._send())

    def lost(self, follower: Follower) -> None:
        """A follower is gone."""
        if self._followers.pop(follower, follower) is None and not self._followers:
            self._news.leave()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def close(self) -> None:
        """End all of it: the server stops."""
        for follower in list(self._followers):
            self.lost(follower)
            follower.request.unregisterProducer()
            follower.request.finish()

    # -- inside

    def _number(self, last: str) -> int | None:
        epoch, _, number = last.rpartition("-")
        if epoch != self._news.epoch or not (number.isascii() and number.isdigit()) or len(number) > 20:
            return None
        return int(number) if int(number) <= self._news.newest else None

    def _send(self) -> Iterator[None]:
        """Until everybody who reads knows everything. Those who know the same get the same bytes."""
        try:
            while behind := self._behind():
                number, text, reached = -1, b"", -1
                for index, follower in enumerate(behind):
                    if follower.number != number:
                        if index:
                            yield
                        number = follower.number
                        text, reached = self._chunk(number)
                    elif index % TOGETHER == 0:
                        yield
                    if follower in self._followers and follower.paused_at is None and follower.number == number:
                        follower.number = reached
                        follower.request.write(text)  # may pause it
                yield
        finally:
            self._sending = False

    def _behind(self) -> list[Follower]:
        newest = self._news.newest
        behind = [one for one in self._followers if one.number < newest and one.paused_at is None]
        return sorted(behind, key=lambda one: one.number)

    def _chunk(self, number: int) -> tuple[bytes, int]:
        """What follows on an event, and the number of its last event."""
        news = self._news
        parts: list[bytes] = []
        missed = news.missed(number)
        if missed:
            number += missed
            parts.append(self._gap(missed, number))
        size = 0
        for item in news.after(number, CHUNK):
            head = f"event: {item.kind}\nid: {news.epoch}-{item.number}\ndata: "
            parts.append(b"%s%s\n\n" % (head.encode(), dumps(item.as_json())))
            number = item.number
            size += len(parts[-1])
            if size >= CHUNK_BYTES:
                break
        return b"".join(parts), number

    def _gap(self, missed: int | None, number: int) -> bytes:
        return b"event: gap\nid: %s-%d\ndata: %s\n\n" % (self._news.epoch.encode(), number, dumps({"missed": missed}))

    def _look_round(self) -> None:
        self._timer = self._turns.reactor.callLater(KEEP_ALIVE, self._look_round)
        self._turns.cooperator.cooperate(self._keep_alive())

    def _keep_alive(self) -> Iterator[None]:
        """A comment to each; and who does not read for too long is cut off."""
        for index, follower in enumerate(list(self._followers)):
            if index and index % TOGETHER == 0:
                yield
            if follower not in self._followers:
                continue
            if follower.paused_at is None:
                follower.request.write(b":\n\n")
            elif self.seconds() - follower.paused_at >= PATIENCE:
                follower.abort()


def _tighten(transport: Any) -> None:
    """Let less wait on this connection than Twisted (64 KiB) and the kernel (megabytes) would."""
    if isinstance(transport, TLSMemoryBIOProtocol):
        transport = transport.transport
    if isinstance(transport, Connection):  # by its type: a wrapper would claim to have what is below it
        transport.bufferSize = UNREAD
        with suppress(OSError):
            transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, IN_KERNEL)
