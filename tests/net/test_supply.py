"""Producers on the transport of a wrapped connection, and a wrapped connection as a producer."""

from __future__ import annotations

import io
from typing import Any

from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer
from twisted.protocols.basic import FileSender
from zope.interface import implementer
from zope.interface.verify import verifyObject

from heartbeat.net.supply import MOST_WAITING
from tests.net.test_application import MEGABYTE, beneath
from tests.net.wrapped import WrappedCase


@implementer(IPushProducer)
class Source:
    """Writes a megabyte as fast as it may."""

    def __init__(self, transport: Any, size: int = len(MEGABYTE)) -> None:
        self.transport = transport
        self.left = size
        self.calls: list[str] = []
        self.paused = False

    def pauseProducing(self) -> None:
        """Stop."""
        self.paused = True
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        """Go on."""
        self.paused = False
        self.calls.append("resume")
        self.run()

    def stopProducing(self) -> None:
        """Stop for good."""
        self.paused = True
        self.calls.append("stop")

    def run(self) -> None:
        """Write until told not to."""
        while self.left and not self.paused:
            self.transport.write(MEGABYTE[:4096])
            self.left -= 4096
        if not self.left:
            self.transport.unregisterProducer()


@implementer(IPullProducer)
class Bucket(Source):
    """Writes 1000 bytes when asked."""

    def resumeProducing(self) -> None:
        """One helping."""
        self.calls.append("resume")
        self.transport.write(MEGABYTE[:1000])
        self.left -= 1000
        if self.left <= 0:
            self.transport.unregisterProducer()


class ProducerTests(WrappedCase):
    """What writes is stopped when the other end does not read."""

    def waiting(self, application: Any) -> int:
        """Bytes that wait at this end, outside of the link."""
        driver: Any = beneath(application).driver
        waiting: int = driver.session.stream.queued
        return waiting

    def test_the_face_is_complete(self) -> None:
        """The transport is a consumer and a push producer."""
        theirs, _ = self.pair()
        verifyObject(IConsumer, theirs.transport)
        verifyObject(IPushProducer, theirs.transport)

    def test_a_push_producer_waits_for_the_reader(self) -> None:
        """It is paused with little over 64 KiB waiting, goes on with the credit, and everything arrives in order."""
        theirs, mine = self.pair()
        mine.transport.pauseProducing()
        source = Source(theirs.transport)
        theirs.transport.registerProducer(source, True)
        source.run()
        self.net.run(5.0)
        self.assertTrue(source.paused)
        self.assertLessEqual(self.waiting(theirs), MOST_WAITING + 4096)
        mine.transport.resumeProducing()
        self.net.run(10.0)
        self.assertEqual(bytes(mine.received), MEGABYTE[:4096] * 256)
        self.assertEqual(source.left, 0)
        self.assertGreater(source.calls.count("resume"), 2)

    def test_a_pull_producer_is_asked_when_nothing_waits(self) -> None:
        """It is asked for more as long as there is credit, and not beyond."""
        theirs, mine = self.pair()
        mine.transport.pauseProducing()
        bucket = Bucket(theirs.transport)
        theirs.transport.registerProducer(bucket, False)
        self.net.run(5.0)
        self.assertLessEqual(len(bucket.calls) * 1000, self.config.max_data + 1000)
        self.assertGreaterEqual(len(bucket.calls) * 1000, self.config.max_data)
        mine.transport.resumeProducing()
        self.net.run(10.0)
        self.assertEqual(len(mine.received), len(bucket.calls) * 1000)
        self.assertLessEqual(bucket.left, 0)

    def test_twisteds_own_file_sender(self) -> None:
        """A pull producer of Twisted's sends a file and says when it is done."""
        theirs, mine = self.pair()
        done = FileSender().beginFileTransfer(io.BytesIO(MEGABYTE), theirs.transport)
        self.net.result(done)
        theirs.transport.loseConnection()
        self.net.run(5.0)
        self.assertEqual(bytes(mine.received), MEGABYTE)

    def test_one_producer_at_a_time(self) -> None:
        """As Twisted's transports: a second one is refused until the first has left."""
        theirs, _ = self.pair()
        theirs.transport.registerProducer(Source(theirs.transport), True)
        self.assertRaises(RuntimeError, theirs.transport.registerProducer, Source(theirs.transport), True)
        theirs.transport.unregisterProducer()
        theirs.transport.registerProducer(Source(theirs.transport), True)
        theirs.transport.unregisterProducer()

    def test_one_producer_makes_way_for_the_next(self) -> None:
        """A producer that leaves when it is asked, without a word, and registers another: that one is asked."""
        theirs, mine = self.pair()

        class First(Bucket):
            def resumeProducing(self) -> None:
                self.transport.unregisterProducer()
                self.transport.registerProducer(Bucket(self.transport, 3000), False)

        self.net.run(0.2)  # all is quiet: no beat comes to its help
        theirs.transport.registerProducer(First(theirs.transport), False)
        self.net.run(0.05)
        self.assertEqual(len(mine.received), 3000)

    def test_a_close_waits_for_the_producer(self) -> None:
        """``loseConnection`` with a producer registered sends what that still brings, as on Twisted's transports."""
        theirs, mine = self.pair()
        source = Source(theirs.transport)
        theirs.transport.registerProducer(source, True)
        source.run()
        theirs.transport.loseConnection()
        self.net.run(10.0)
        self.assertEqual(len(mine.received), len(MEGABYTE))
        self.assertEqual(mine.lost.value.detail, "leaving")

    def test_a_slow_producer_is_no_stuck_path(self) -> None:
        """A producer that brings nothing for longer than the close timeout is waited for: the path is in order."""
        theirs, mine = self.pair()
        source = Source(theirs.transport)
        theirs.transport.registerProducer(source, True)
        theirs.transport.loseConnection()
        self.server.reactor.callLater(10.0, source.run)
        self.net.run(9.0)
        self.assertIsNone(mine.lost)
        self.net.run(10.0)
        self.assertEqual(len(mine.received), len(MEGABYTE))

    def test_a_producer_is_stopped_with_the_connection(self) -> None:
        """Once; one that comes later is stopped at once."""
        theirs, mine = self.pair()
        source = Source(theirs.transport)
        theirs.transport.registerProducer(source, True)
        mine.transport.abortConnection()
        self.net.run(1.0)
        self.assertEqual(source.calls, ["stop"])
        late = Source(theirs.transport)
        theirs.transport.registerProducer(late, True)
        self.assertEqual(late.calls, ["stop"])

    def test_two_connections_as_a_pipe(self) -> None:
        """A connection produces for another: when the far end stops reading, the near end stops getting credit."""
        near_server, near = self.pair()
        far_server, far = self.pair(port=7601)
        far_server.transport.registerProducer(near_server.transport, True)
        near_server.on_data = far_server.transport.write
        far.transport.pauseProducing()
        near.transport.write(4 * MEGABYTE)
        self.net.run(5.0)
        held = self.waiting(far_server) + sum(map(len, beneath(near_server).driver.session.stream.inbox))
        self.assertLess(held, MOST_WAITING + 2 * self.config.max_data)
        far.transport.resumeProducing()
        self.net.run(30.0)
        self.assertEqual(bytes(far.received), 4 * MEGABYTE)
