"""A minute of answered beats on a clock that is moved by hand: no garbage, and not one block of memory more.

Whole connections of :mod:`heartbeat.net`, from the factory down, whose transport hands every byte to an honest peer in
the same process. Both ends ask, both answer, a SYNC among every ten beats. Before the minute they beat for so long that
no counter is a small integer any more (those are no allocation, and would look like growth when they end).
"""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat.config import HeartbeatConfig
from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.net.link import ILinkSource, Link
from heartbeat.net.protocol import HeartbeatFactory
from tests.benchmarks.dialects import HeartbeatPeer
from tests.benchmarks.load import LoadError
from tests.benchmarks.stepped import Stepped

__all__ = ["Minute", "beat_for_a_minute"]

_INTERVAL: Final = 0.5
_STEP: Final = 0.02
_WARM: Final = 150.0  # seconds: 300 beats, more than the 256 small integers that Python keeps
_FILL: Final = 10.0  # a full collection empties Python's lists of free objects: let beats fill them again
_MINUTE: Final = 60.0


@implementer(ILinkSource)
class Pipe:
    """The transport and the link of the server's end, and the socket of the peer's."""

    exact = True
    disconnecting = False

    def __init__(self, number: int, stirred: list[Pipe]) -> None:
        self.transport = self
        self.protocol: Any = None
        self.peer: HeartbeatPeer | None = None
        self._address = IPv4Address("TCP", "127.0.0.1", 1024 + number)
        self._inbox = b""
        self._stirred = stirred

    # -- the server's end

    def heartbeat_link(self) -> Link:
        """Itself."""
        return self

    def getPeer(self) -> IPv4Address:
        """Some address."""
        return self._address

    getHost = getPeer

    def write(self, data: bytes) -> bool:
        """The peer will read it in this step."""
        if not self._inbox:
            self._stirred.append(self)
        self._inbox += data
        return True

    def drained(self, callback: Any) -> None:
        """Nothing ever waits."""
        callback()

    def look(self, now: float) -> Evidence:
        """Nothing to see."""
        return Evidence(now)

    def arrived_at(self, now: float) -> float | None:
        """It cannot say."""
        return None

    def pause(self) -> None:
        """Nobody stops reading here."""

    resume = pause

    def close(self) -> None:
        """Raises LoadError: nobody should end this."""
        raise LoadError("the server closed a connection")

    abort = loseConnection = abortConnection = close

    def ending(self, reason: Failure, now: float) -> Ending:
        """An ordinary one."""
        return Ending("eof")

    # -- the peer's end

    def send(self, data: bytes) -> int:
        """The server reads it now."""
        self.protocol.dataReceived(data)
        return len(data)

    sendall = send

    def recv(self, size: int) -> bytes:
        """All that the server wrote."""
        data, self._inbox = self._inbox, b""
        return data


@dataclass
class Minute:
    """What was counted.

    :ivar connections: how many there were
    :ivar beats: questions answered in the minute, of both ends
    :ivar collections: runs of the collector in it, by generation
    :ivar blocks: by how many the allocated blocks grew
    """

    connections: int
    beats: int
    collections: tuple[int, ...]
    blocks: int

    @property
    def clean(self) -> bool:
        """No collection, and not even one block for each connection: what is left is the measurement's own."""
        return not any(self.collections) and self.blocks < self.connections

    def __str__(self) -> str:
        return (
            f"a minute of {self.connections} connections, {self.beats} beats answered: "
            f"{sum(self.collections)} garbage collections, {self.blocks:+d} allocated blocks, "
            f"bar no collection and no growth: {'kept' if self.clean else 'MISSED'}"
        )


def beat_for_a_minute(connections: int) -> Minute:
    """Connect, warm up, beat for a minute, and count."""
    reactor = Stepped()
    stirred: list[Pipe] = []
    factory = HeartbeatFactory(HeartbeatConfig(interval=_INTERVAL), reactor=reactor, seconds=reactor.seconds)
    pipes = [_connected(factory, Pipe(number, stirred), number) for number in range(connections)]
    peers = [pipe.peer for pipe in pipes if pipe.peer is not None]
    _beat(reactor, pipes, stirred, _WARM)
    gc.collect()
    _beat(reactor, pipes, stirred, _FILL)
    collected = [one["collections"] for one in gc.get_stats()]
    before, blocks = _answered(peers), sys.getallocatedblocks()
    _beat(reactor, pipes, stirred, _MINUTE)
    grown = sys.getallocatedblocks() - blocks
    beats = _answered(peers) - before
    runs = tuple(one["collections"] - old for one, old in zip(gc.get_stats(), collected, strict=True))
    for pipe in pipes:
        pipe.protocol.connectionLost(Failure(ConnectionDone()))
    return Minute(connections, beats, runs, grown)


def _connected(factory: HeartbeatFactory, pipe: Pipe, number: int) -> Pipe:
    protocol: Any = factory.buildProtocol(pipe.getPeer())
    pipe.protocol = protocol
    protocol.makeConnection(pipe)
    socket: Any = pipe  # it has of a socket what a peer uses
    pipe.peer = HeartbeatPeer(socket, number)
    pipe.peer.greet()
    pipe.peer.greeted()
    return pipe


def _answered(peers: list[HeartbeatPeer]) -> int:
    return sum(one.pings + one.syncs + one.answered + one.synced for one in peers)


def _beat(reactor: Stepped, pipes: list[Pipe], stirred: list[Pipe], seconds: float) -> None:
    """Each peer asks once per interval, spread over it, and answers what it is asked."""
    turns = round(_INTERVAL / _STEP)
    for step in range(round(seconds / _STEP)):
        reactor.step(_STEP)
        for pipe in pipes[step % turns :: turns]:
            if pipe.peer is not None:
                if pipe.peer.expected:
                    raise LoadError(f"{pipe.peer.id} was not answered")
                pipe.peer.ask()
        while stirred:
            pipe = stirred.pop()
            data = pipe.recv(0)
            if pipe.peer is not None and (data == pipe.peer.expected or pipe.peer.other(data)):
                pipe.peer.expected = b""
