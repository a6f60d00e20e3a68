"""twisted.web and treq, unchanged, over ``heartbeat:`` at both ends: 50 MB each way, and a reader that is slow."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from typing import Any, Final

import treq
from treq.client import HTTPClient
from twisted.internet import defer, reactor
from twisted.internet.interfaces import IConsumer, IPullProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, PartialDownloadError, ResponseDone
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from heartbeat import State
from heartbeat.net import IHeartbeat
from tests.real.wrapping import FAST, Through, WrappedCase, asynchronous, sleep

#: Bytes of a body, of one piece of it, and how many a slow reader takes before it pauses.
SIZE: Final = 50 * 2**20
PIECE: Final = 64 * 1024
STRETCH: Final = 20 * 2**20
#: Seconds of such a pause: three times the detection time of ``FAST``.
PAUSE: Final = 0.9
#: Requests at one time.
AT_ONCE: Final = 8


def pieces() -> Iterator[bytes]:
    """The body: no two pieces alike."""
    for number in range(SIZE // PIECE):
        yield hashlib.sha256(b"%d" % number).digest() * (PIECE // 32)


def digest_of(parts: Iterator[bytes]) -> str:
    """SHA-256 over all."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


DIGEST: Final = digest_of(pieces())


@implementer(IPullProducer)
class Pulled:
    """Gives one piece whenever the consumer wants one. ``done`` fires behind the last."""

    def __init__(self, consumer: IConsumer) -> None:
        self._consumer = consumer
        self._pieces = pieces()
        self.done: defer.Deferred[None] = defer.Deferred()

    def resumeProducing(self) -> None:
        """One piece."""
        piece = next(self._pieces, None)
        if piece is not None:
            self._consumer.write(piece)
        elif not self.done.called:
            self._consumer.unregisterProducer()
            self.done.callback(None)

    def stopProducing(self) -> None:
        """Nobody reads any more."""
        self.done.errback(PartialDownloadError(500))


class Big(Resource):
    """Gives the body piece by piece, and takes one and tells its digest."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.handles: list[Any] = []

    def render_GET(self, request: Any) -> Any:
        """All of it if ``big`` is asked for; else who asked."""
        handle = IHeartbeat(request.channel.transport)
        self.handles.append(handle)
        if not request.path.endswith(b"big"):
            return handle.peer.id.encode()
        request.setHeader(b"content-length", b"%d" % SIZE)
        pulled = Pulled(request)
        pulled.done.addCallbacks(lambda _: request.finish(), lambda _: None)
        request.registerProducer(pulled, False)
        return NOT_DONE_YET

    def render_POST(self, request: Any) -> bytes:
        """The digest."""
        return digest_of(iter(lambda: request.content.read(PIECE), b"")).encode()


class SlowReader(Protocol):
    """A body's reader that stops reading for a while after each stretch."""

    transport: Any

    def __init__(self, states: list[State], handle: Any) -> None:
        self.digest = hashlib.sha256()
        self.size = self.pauses = 0
        self._states, self._handle = states, handle
        self.ended: defer.Deferred[object] = defer.Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Count."""
        self.digest.update(data)
        before, self.size = self.size, self.size + len(data)
        if before // STRETCH != self.size // STRETCH:
            self.pauses += 1
            self.transport.pauseProducing()
            reactor.callLater(PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._states.append(self._handle.state)
        self.transport.resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is over."""
        self.ended.callback(reason.value)


class BigTests(WrappedCase):
    """One site, and clients with a pool of connections, all by endpoint strings."""

    async def serve(self, scheme: str = "tcp") -> None:
        """A site, and an Agent with persistent connections to it."""
        self.resource = Big()
        site = Site(self.resource)
        site.noisy = False
        self.connections = 0
        build = site.buildProtocol

        def counted(addr: Any) -> Any:
            self.connections += 1
            return build(addr)

        site.buildProtocol = counted
        host = await self.listen(f"heartbeat:{scheme}:0:interface=127.0.0.1:{FAST}", site)
        self.pool = HTTPConnectionPool(reactor)
        self.pool.maxPersistentPerHost = AT_ONCE
        self.addCleanup(self.pool.closeCachedConnections)
        through = Through(f"heartbeat:{scheme}:127.0.0.1:{host.port}:{FAST}")
        self.client = HTTPClient(Agent.usingEndpointFactory(reactor, through, self.pool))

    @asynchronous
    async def test_down_to_a_slow_reader(self) -> None:
        """50 MB, with pauses of three detection times: each byte arrives, and the server never doubts its client."""
        await self.serve()
        response = await self.client.get("http://site/big", unbuffered=True)
        states: list[State] = []
        reader = SlowReader(states, self.resource.handles[0])
        response.deliverBody(reader)
        self.assertIsInstance(await reader.ended, ResponseDone)
        self.assertEqual((reader.size, reader.pauses, reader.digest.hexdigest()), (SIZE, SIZE // STRETCH, DIGEST))
        self.assertEqual(states, [State.ALIVE] * reader.pauses)
        self.assertEqual(self.resource.handles[0].peer.tally.lost, 0)

    @asynchronous
    async def test_up(self) -> None:
        """50 MB from a file; the site tells their digest."""
        await self.serve()
        with tempfile.TemporaryFile() as file:
            file.writelines(pieces())
            file.seek(0)
            response = await self.client.post("http://site/", data=FileBodyProducer(file))
        self.assertEqual((await treq.content(response)).decode(), DIGEST)

    @asynchronous
    async def test_one_connection_and_many(self) -> None:
        """Requests one after the other share a connection; at one time each has its own; closing the pool is a farewell
        on each of them."""
        await self.serve()
        names = {await treq.content(await self.client.get("http://site/")) for _ in range(10)}
        self.assertEqual((len(names), self.connections), (1, 1))
        asked = [defer.Deferred.fromCoroutine(self.name()) for _ in range(AT_ONCE)]
        self.assertEqual(len(set(await defer.gatherResults(asked))), AT_ONCE)
        self.assertEqual(self.connections, AT_ONCE)
        await self.pool.closeCachedConnections()
        for handle in self.resource.handles:
            await handle.when_gone()
            self.assertIs(handle.state, State.LEFT)

    async def name(self) -> bytes:
        """What the server knows this connection by, once all of them are asked for."""
        response = await self.client.get("http://site/")
        await sleep(0.3)  # the connection is not in the pool before its body was read
        name: bytes = await treq.content(response)
        return name
