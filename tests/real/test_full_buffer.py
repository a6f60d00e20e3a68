"""A socket buffer that is really full: what the kernel refuses or takes in part goes on, in order, once."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import defer, reactor, threads
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from heartbeat.net.link import TcpLink, link_for
from heartbeat.net.turns import Turns

#: The smallest that Linux grants is a little more; it is doubled, and loopback holds twice that on its way.
BUFFER = 4096
#: Larger than all buffers on the way together.
LARGE = 8 << 20


def message(number: int, size: int) -> bytes:
    """Bytes that say where they belong, of any size."""
    return (number.to_bytes(4, "big") * (size // 4 + 1))[:size]


class Sends:
    """In the place of the link's socket: sends, and writes down what the kernel took."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.taken: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        """All else is the socket's own."""
        return getattr(self.real, name)

    def send(self, data: bytes) -> int:
        """(offered, taken); a refusal took 0."""
        try:
            sent = self.real.send(data)
        except BlockingIOError:
            self.taken.append((len(data), 0))
            raise
        self.taken.append((len(data), sent))
        return sent


class FullBufferTests(TestCase):
    """A TcpLink whose peer does not read."""

    timeout = 60

    async def connected(self) -> tuple[TcpLink, Sends, socket.socket]:
        """A link, what its socket does, and the other end, which nobody reads."""
        made: defer.Deferred[Protocol] = defer.Deferred()

        class Writer(Protocol):
            def connectionMade(self) -> None:
                made.callback(self)

        factory = Factory.forProtocol(Writer)
        factory.noisy = False
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        peer = socket.socket()
        self.addCleanup(peer.close)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        peer.connect(("127.0.0.1", port.getHost().port))
        peer.settimeout(10)
        protocol = await made
        transport: Any = protocol.transport
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        link = link_for(transport, Turns(reactor), protocol)
        assert isinstance(link, TcpLink)
        sends = Sends(link.socket)
        link.socket = sends  # type: ignore[assignment]  # it is one but for its send
        return link, sends, peer

    def all_of(self, peer: socket.socket, size: int) -> defer.Deferred[bytes]:
        """Read so many bytes, in a thread."""

        def read() -> bytes:
            got = bytearray()
            while len(got) < size:
                more = peer.recv(65_536)
                if not more:
                    break
                got += more
            return bytes(got)

        return threads.deferToThread(read)

    async def closed(self, link: TcpLink, peer: socket.socket) -> None:
        """End it, and let it go."""
        link.abort()
        peer.close()
        await deferLater(reactor, 0.05)

    def test_taken_in_part(self) -> defer.Deferred[None]:
        """The kernel takes a part of one write: the rest waits in user space, what is written later waits behind it,
        all arrives in order, and it is told once that everything was handed over, not before it was."""

        async def run() -> None:
            link, sends, peer = await self.connected()
            messages = [message(0, 100), message(1, LARGE)] + [message(number, 999) for number in range(2, 60)]
            told: list[int] = []
            self.assertEqual([link.write(each) for each in messages], [True] + [False] * 59)
            link.drained(lambda: told.append(1))
            (whole, partly) = sends.taken
            self.assertEqual(whole, (100, 100))
            self.assertTrue(0 < partly[1] < partly[0], partly)
            await deferLater(reactor, 0.3)
            self.assertEqual(told, [])
            expected = b"".join(messages)
            got = await self.all_of(peer, len(expected))
            self.assertEqual(len(got), len(expected))
            self.assertTrue(got == expected)
            await deferLater(reactor, 0.1)
            self.assertEqual(told, [1])
            self.assertTrue(link.write(b"and straight to the socket again"))
            self.assertEqual(await self.all_of(peer, 32), b"and straight to the socket again")
            await deferLater(reactor, 0.1)
            self.assertEqual(told, [1])
            await self.closed(link, peer)

        return defer.Deferred.fromCoroutine(run())

    def test_refused(self) -> defer.Deferred[None]:
        """The kernel takes nothing at all (EAGAIN): as above, and several writes and several who wait are no matter."""

        async def run() -> None:
            link, sends, peer = await self.connected()
            filled = 0
            while True:  # by the back door, to the last byte
                try:
                    filled += sends.real.send(b"f")
                except BlockingIOError:
                    await deferLater(reactor, 0.05)  # what is on its way may make room once more
                    try:
                        filled += sends.real.send(b"f")
                    except BlockingIOError:
                        break
            messages = [message(number, size) for number, size in enumerate((8, 1, 5000, 70_000, 3, 200_000, 8))]
            self.assertEqual([link.write(each) for each in messages], [False] * len(messages))
            self.assertEqual(sends.taken, [(8, 0)])
            told: list[int] = []
            link.drained(lambda: told.append(filled))
            await deferLater(reactor, 0.2)
            self.assertEqual(told, [])
            expected = b"f" * filled + b"".join(messages)
            got = await self.all_of(peer, len(expected))
            self.assertTrue(got == expected)
            await deferLater(reactor, 0.1)
            self.assertEqual(told, [filled])
            await self.closed(link, peer)

        return defer.Deferred.fromCoroutine(run())

    def test_full_again_and_again(self) -> defer.Deferred[None]:
        """A slow reader fills and empties the buffer many times, and each time it goes over and back in order."""

        async def run() -> None:
            link, sends, peer = await self.connected()
            told: list[int] = []
            expected = bytearray()
            reading = self.all_of(peer, 400 * 3001)
            direct = 0
            for number in range(400):
                data = message(number, 3001)
                expected += data
                direct += link.write(data)
                if number % 20 == 19:
                    told.clear()
                    link.drained(lambda: told.append(1))
                    while not told:
                        await deferLater(reactor, 0.002)
            got = await reading
            self.assertTrue(got == bytes(expected))
            self.assertGreater(direct, 10)
            self.assertGreater(400 - direct, 10)
            self.assertGreater(sum(taken < offered for offered, taken in sends.taken), 3)
            await self.closed(link, peer)

        return defer.Deferred.fromCoroutine(run())

    def test_dead_in_between(self) -> defer.Deferred[None]:
        """The peer resets while bytes wait: nobody is told that they were handed over, and nothing is left."""

        async def run() -> None:
            link, _, peer = await self.connected()
            told: list[int] = []
            self.assertFalse(link.write(message(7, LARGE)))
            link.drained(lambda: told.append(1))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            await deferLater(reactor, 0.2)
            self.assertEqual(told, [])
            self.assertFalse(link.transport.connected)
            self.assertFalse(link.write(b"into the void"))
            await deferLater(reactor, 0.05)

        return defer.Deferred.fromCoroutine(run())
