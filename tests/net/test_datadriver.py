"""Control before DATA, and little DATA at a time: byte by byte, on a transport that only writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat.config import HeartbeatConfig
from heartbeat.interfaces import IHeartbeat
from heartbeat.liveness.states import State
from heartbeat.net import heartbeat_factory
from heartbeat.net.datadriver import AHEAD, BATCH
from heartbeat.net.kernel import MOST_UNSENT
from heartbeat.net.link import ILinkSource, Link, OpaqueLink
from heartbeat.net.outbox import CLOGGED
from heartbeat.net.turns import Turns
from heartbeat.wire.frames import Hello, Ping
from tests.net.wrapped import NotesFactory, frames

HELLO = b'{"v":1,"caps":["data"],"want_ping_ms":60000,"min_rx_ms":0,"max_data":10485760}'
ADDRESS = IPv4Address("TCP", "192.0.2.1", 4242)


class SlowLink(OpaqueLink):
    """A link that says when it is empty only when it is told so."""

    __slots__ = ("callbacks", "kernel_holds", "takes")

    def __init__(self, transport: Any, turns: Turns) -> None:
        super().__init__(transport, turns)
        self.takes = False
        self.kernel_holds = 0

    def write(self, data: bytes) -> bool:
        """Whether the kernel takes it is for the test to say."""
        super().write(data)
        return self.takes

    def unsent(self) -> int | None:
        """What the test says."""
        return self.kernel_holds

    def drained(self, callback: Callable[[], None]) -> None:
        """Keep it."""
        self.callbacks: list[Callable[[], None]] = [*getattr(self, "callbacks", []), callback]


@implementer(ILinkSource)
class SlowTransport(StringTransport):
    """A transport with such a link."""

    link: SlowLink

    def heartbeat_link(self) -> Link:
        """Its link."""
        self.link = SlowLink(self, Turns(lambda call: None))
        return self.link


class OrderTests(SynchronousTestCase):
    """A wrapped server on a transport that is empty when the test says so."""

    def setUp(self) -> None:
        """Let a peer in whose credit is ten megabytes."""
        self.clock = Clock()
        served = NotesFactory()
        config = HeartbeatConfig(interval=60.0, multiplier=3, min_interval=0.0)
        factory = heartbeat_factory(served, config, reactor=self.clock)
        self.ours: Any = factory.buildProtocol(ADDRESS)
        self.transport = SlowTransport(peerAddress=ADDRESS)
        self.ours.makeConnection(self.transport)
        self.ours.dataReceived(Hello(HELLO).encode())
        self.application = served.built[0]
        self.turn()
        self.transport.clear()

    def turn(self) -> None:
        """The link is empty again."""
        callbacks, self.transport.link.callbacks = getattr(self.transport.link, "callbacks", []), []
        for callback in callbacks:
            callback()

    def taken(self) -> list[tuple[bytes, bytes]]:
        """The frames that the transport was given since the last call."""
        found = frames(self.transport.value())
        self.transport.clear()
        return found

    def test_a_batch_at_a_time(self) -> None:
        """Of ten megabytes the transport holds no more than a batch; the next goes when that is gone."""
        self.application.transport.write(bytes(10_000_000))
        sent = 0
        while sent < 10_000_000:
            held = self.taken()
            self.assertEqual({magic for magic, _ in held}, {b"HDAT"})
            self.assertLessEqual(sum(len(body) + 4 for _, body in held), BATCH)
            sent += sum(len(body) - 4 for _, body in held)
            self.turn()
        self.assertEqual(sent, 10_000_000)
        self.assertEqual(self.taken(), [])

    def test_as_much_as_the_kernel_leaves_room_for(self) -> None:
        """Where the kernel says what it has not sent, that and a batch together are 64 KiB; what it holds goes down
        before it is offered more, and beats are not kept waiting for that."""
        driver, link = self.ours.driver, self.transport.link
        driver.limited = link.takes = True
        sizes = []
        for held in (0, 8, 5000, MOST_UNSENT - 100):
            link.kernel_holds = held
            driver.session.stream.send(bytes(1_000_000))
            driver.push(0.0)
            sizes.append(sum(len(body) + 4 for _, body in self.taken()) + held)
            driver.session.stream.drop()
        self.assertEqual(sizes, [AHEAD] * 4)
        self.assertFalse(driver.busy)
        link.kernel_holds = MOST_UNSENT
        self.application.transport.write(bytes(100_000))
        self.assertEqual((self.taken(), driver.busy), ([], True))
        link.kernel_holds = 0
        self.turn()
        self.assertEqual(sum(len(body) - 4 for _, body in self.taken()), 100_000)

    def test_the_end_of_the_stream_waits_for_room_too(self) -> None:
        """A half-close while the kernel holds too much goes out when it holds less."""
        driver, link = self.ours.driver, self.transport.link
        driver.limited = link.takes = True
        link.kernel_holds = MOST_UNSENT
        self.application.transport.loseWriteConnection()
        self.assertEqual(self.taken(), [])
        link.kernel_holds = 0
        self.turn()
        self.assertEqual(self.taken(), [(b"HDAT", b"\0\0\0\0")])

    def test_writes_of_a_busy_connection_are_gathered(self) -> None:
        """A thousand small writes while the link is busy are one batch of full frames."""
        self.application.transport.write(b"first")
        self.taken()
        for _ in range(1000):
            self.application.transport.write(bytes(40))
        self.turn()
        self.assertEqual([len(body) - 4 for _, body in self.taken()], [16376, 16376, 7248])

    def test_an_answer_goes_before_the_next_batch(self) -> None:
        """A PING that comes while DATA is under way is answered as soon as the link takes anything, before DATA."""
        self.application.transport.write(bytes(1_000_000))
        self.taken()
        for number in range(3):
            self.ours.dataReceived(Ping(number, 7).encode())
        self.turn()
        self.assertEqual([magic for magic, _ in self.taken()], [b"HACK", b"HSYN", b"HACK", b"HACK"])
        self.turn()
        self.assertEqual({magic for magic, _ in self.taken()}, {b"HDAT"})

    def test_data_does_not_count_as_owed(self) -> None:
        """However much DATA waits this end reads on: only 64 KiB of other frames stop it (``wire.md`` §2)."""
        self.ours.dataReceived(Ping(0, 0).encode())  # the SYNC behind its answer is out of the way
        self.turn()
        self.application.transport.write(bytes(1_000_000))
        self.assertEqual(self.transport.producerState, "producing")
        self.ours.dataReceived(Ping(1, 1).encode() * (CLOGGED // 8 - 1))
        self.assertEqual(self.transport.producerState, "producing")
        self.ours.dataReceived(Ping(1, 1).encode())
        self.assertEqual(self.transport.producerState, "paused")
        self.turn()
        self.turn()
        self.assertEqual(self.transport.producerState, "producing")
        self.assertIs(IHeartbeat(self.application.transport).state, State.ALIVE)

    def test_a_question_is_not_behind_all_that_waits(self) -> None:
        """``ping()`` in the middle of ten megabytes goes out with the next batch, and its clock starts there."""
        self.application.transport.write(bytes(10_000_000))
        self.taken()
        asked = IHeartbeat(self.application.transport).ping()
        asked.addErrback(lambda _: None)
        self.assertEqual(self.taken(), [])
        self.turn()
        self.assertEqual(self.taken()[0][0], b"HEAR")

    def test_the_evidence_tells_what_waits(self) -> None:
        """A look at a busy link counts the DATA that it holds, and says that hand-over is a guess."""
        self.application.transport.write(bytes(1_000_000))
        seen = self.ours.driver.look(0.0)
        self.assertEqual((seen.waiting, seen.handed_over), (len(self.transport.value()), "guess"))

    def tearDown(self) -> None:
        """The end: no timer is left."""
        self.ours.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(0)
        self.assertEqual(self.application.said, ["made", "lost"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
