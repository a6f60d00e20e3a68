"""Reads of an exact length: in order, and nothing is ever lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import AlreadyExpired, ConfigError, DeadlineExpired, IncompleteRead, NotConnected
from heartbeat.net import Deadline, ExactReader

STREAM = bytes(range(256)) * 4


class Frames(Protocol):
    """As in the documentation: a length byte, then so many bytes."""

    def connectionMade(self) -> None:
        """Begin to read."""
        self.reader = ExactReader(self.transport)
        self.frames: list[bytes] = []
        self.over = Deferred.fromCoroutine(self.run())

    def dataReceived(self, data: bytes) -> None:
        """Into the reader."""
        self.reader.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end."""
        self.reader.end(reason)

    async def run(self) -> None:
        """The protocol, in one piece."""
        while True:
            size = (await self.reader.read_exactly(1))[0]
            self.frames.append(await self.reader.read_exactly(size))


class Case(SynchronousTestCase):
    """A reader, its transport and a clock."""

    def setUp(self) -> None:
        """Empty."""
        self.clock = Clock()
        self.transport = StringTransport()
        self.reader = ExactReader(self.transport, high_water=64, most=1000)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))


class ReadTests(Case):
    """What a read gives."""

    def test_waits_for_all_of_it(self) -> None:
        """However it is cut, a read gives exactly so many bytes, and the rest is for the next."""
        read = self.reader.read_exactly(5)
        for piece in (b"ab", b"", b"cd"):
            self.reader.feed(piece)
            self.assertNoResult(read)
        self.reader.feed(b"efgh")
        self.assertEqual(self.successResultOf(read), b"abcde")
        self.assertEqual(self.reader.buffered, 3)
        self.assertEqual(self.successResultOf(self.reader.read_exactly(3)), b"fgh")
        self.assertEqual(self.reader.buffered, 0)

    def test_nothing_is_there_at_once(self) -> None:
        """0 bytes are answered at once, also while others wait and after the end."""
        self.assertEqual(self.successResultOf(self.reader.read_exactly(0)), b"")
        waiting = self.reader.read_exactly(1)
        self.assertEqual(self.successResultOf(self.reader.read_exactly(0)), b"")
        self.assertNoResult(waiting)
        self.reader.end()
        self.failureResultOf(waiting, IncompleteRead)
        self.assertEqual(self.successResultOf(self.reader.read_exactly(0, Deadline(5.0, self.clock))), b"")

    def test_wrong_lengths(self) -> None:
        """Negative, over the limit, or no whole number: one clear error, at the call, and nothing is taken."""
        self.reader.feed(b"abc")
        wrong: tuple[Any, ...] = (-1, 1001, 2**63, 1.0, "3", None, True)
        for n in wrong:
            error = self.assertRaises(ConfigError, self.reader.read_exactly, n)
            self.assertEqual(str(error), f"n: must be a whole number from 0 to 1000, not {n!r}")
        self.assertEqual(self.successResultOf(self.reader.read_exactly(3)), b"abc")
        for limit in ("high_water", "most"):
            self.assertEqual(self.assertRaises(ConfigError, ExactReader, None, **{limit: 0}).name, limit)

    def test_in_order(self) -> None:
        """Several that wait are served in the order in which they asked."""
        reads = [self.reader.read_exactly(n) for n in (2, 3, 1)]
        self.reader.feed(b"abcd")
        self.assertEqual(self.successResultOf(reads[0]), b"ab")
        self.assertNoResult(reads[1])
        self.assertNoResult(reads[2])
        self.reader.feed(b"ef")
        self.assertEqual([self.successResultOf(each) for each in reads[1:]], [b"cde", b"f"])

    def test_who_is_told_reads_on(self) -> None:
        """A callback that reads again is behind those who wait already, and one that cancels harms nobody else."""
        got: list[bytes] = []
        first, second, third = (self.reader.read_exactly(1) for _ in range(3))
        third.addErrback(lambda failure: failure.trap(CancelledError))

        def again(data: bytes) -> None:
            got.append(data)
            third.cancel()
            self.reader.read_exactly(1).addCallback(got.append)

        first.addCallback(again)
        second.addCallback(got.append)
        self.reader.feed(b"abc")
        self.assertEqual(got, [b"a", b"b", b"c"])


class GivenUpTests(Case):
    """Reads that end before their bytes have come."""

    def test_cancelled(self) -> None:
        """Fails with CancelledError; what had come is for the next."""
        read = self.reader.read_exactly(5)
        self.reader.feed(b"abc")
        read.cancel()
        self.failureResultOf(read, CancelledError)
        self.assertEqual(self.successResultOf(self.reader.read_exactly(3)), b"abc")

    def test_cancelled_with_others_behind(self) -> None:
        """Those behind it do not wait for it any more."""
        large, small = self.reader.read_exactly(500), self.reader.read_exactly(2)
        self.reader.feed(b"abc")
        self.assertNoResult(small)
        large.cancel()
        self.failureResultOf(large, CancelledError)
        self.assertEqual(self.successResultOf(small), b"ab")

    def test_timed_out(self) -> None:
        """Fails with DeadlineExpired, which names the read; the stream goes on."""
        read = self.reader.read_exactly(5, Deadline(2.0, self.clock))
        self.reader.feed(b"abc")
        self.clock.advance(2.0)
        error = self.failureResultOf(read, DeadlineExpired).value
        self.assertTrue(str(error).startswith("a read of 5 bytes: no result within 2 s; "), str(error))
        self.reader.feed(b"de")
        self.assertEqual(self.successResultOf(self.reader.read_exactly(5)), b"abcde")

    def test_in_time(self) -> None:
        """A read that got its bytes leaves no timer."""
        read = self.reader.read_exactly(1, Deadline(2.0, self.clock))
        self.reader.feed(b"a")
        self.assertEqual(self.successResultOf(read), b"a")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_over_before(self) -> None:
        """With a deadline that is over it fails at once and takes nothing, though the bytes are there."""
        self.reader.feed(b"abc")
        read = self.reader.read_exactly(2, Deadline(0.0, self.clock))
        self.failureResultOf(read, AlreadyExpired)
        self.assertEqual(self.successResultOf(self.reader.read_exactly(3)), b"abc")

    def test_a_budget_for_many(self) -> None:
        """One deadline for a whole exchange: its parts take what is left."""
        deadline = Deadline(2.0, self.clock)
        first, second = self.reader.read_exactly(1, deadline), self.reader.read_exactly(1, deadline)
        self.clock.advance(1.5)
        self.reader.feed(b"a")
        self.assertEqual(self.successResultOf(first), b"a")
        self.clock.advance(0.5)
        self.failureResultOf(second, DeadlineExpired)


class EndTests(Case):
    """The end of the stream."""

    def test_too_early(self) -> None:
        """Fails, says how much had come of how much, and why the stream ended; those bytes can still be read."""
        read = self.reader.read_exactly(5)
        self.reader.feed(b"abc")
        reason = ConnectionLost()
        self.reader.end(Failure(reason))
        error = self.failureResultOf(read, IncompleteRead).value
        self.assertEqual((error.partial, error.wanted), (3, 5))
        self.assertIs(error.__cause__, reason)
        self.assertFalse(self.reader.at_end)
        self.assertEqual(self.successResultOf(self.reader.read_exactly(3)), b"abc")
        self.assertTrue(self.reader.at_end)
        self.assertEqual(self.failureResultOf(self.reader.read_exactly(1), IncompleteRead).value.partial, 0)

    def test_each_its_own(self) -> None:
        """Of those that wait each gets what is left for it: the bytes, or the error."""
        reads = [self.reader.read_exactly(n) for n in (5, 2, 2)]
        self.reader.feed(b"abc")
        self.reader.end()
        self.failureResultOf(reads[0], IncompleteRead)
        self.assertEqual(self.successResultOf(reads[1]), b"ab")
        self.assertEqual(self.failureResultOf(reads[2], IncompleteRead).value.partial, 1)

    def test_once(self) -> None:
        """A second end changes nothing, and nothing can come after it."""
        self.reader.end(Failure(ConnectionDone()))
        self.reader.end(Failure(ConnectionLost()))
        error = self.failureResultOf(self.reader.read_exactly(1), IncompleteRead).value
        self.assertIsInstance(error.__cause__, ConnectionDone)
        self.assertRaises(NotConnected, self.reader.feed, b"x")

    def test_end_and_timeout_are_different(self) -> None:
        """Whoever waits with a deadline and meets the end gets the end, and no timer is left."""
        read = self.reader.read_exactly(1, Deadline(9.0, self.clock))
        self.reader.end()
        self.failureResultOf(read, IncompleteRead)


class PressureTests(Case):
    """What waits here is bounded."""

    def test_pauses_and_resumes(self) -> None:
        """Over the mark the transport stops reading; at half the mark it reads again."""
        self.reader.feed(b"x" * 63)
        self.assertEqual(self.transport.producerState, "producing")
        self.reader.feed(b"x")
        self.assertEqual(self.transport.producerState, "paused")
        self.successResultOf(self.reader.read_exactly(31))
        self.assertEqual(self.transport.producerState, "paused")
        self.successResultOf(self.reader.read_exactly(1))
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_read_over_the_mark(self) -> None:
        """A read for more than the mark is not starved: while it waits the transport reads, and afterwards no more."""
        self.reader.feed(b"x" * 64)
        self.assertEqual(self.transport.producerState, "paused")
        read = self.reader.read_exactly(500)
        self.assertEqual(self.transport.producerState, "producing")
        self.reader.feed(b"x" * 400)
        self.assertEqual(self.transport.producerState, "producing")
        read.cancel()
        self.failureResultOf(read, CancelledError)
        self.assertEqual(self.transport.producerState, "paused")

    def test_not_after_the_end(self) -> None:
        """A transport that has ended is left alone."""
        self.reader.feed(b"x" * 64)
        self.reader.end()
        self.successResultOf(self.reader.read_exactly(64))
        self.assertEqual(self.transport.producerState, "paused")


class StyleTests(SynchronousTestCase):
    """How it is used."""

    def test_a_protocol_in_one_piece(self) -> None:
        """The protocol of the documentation reads its frames byte by byte, and ends with the stream."""
        protocol = Frames()
        protocol.makeConnection(StringTransport())
        for byte in b"\x03abc\x00\x02d":
            protocol.dataReceived(bytes([byte]))
        self.assertEqual(protocol.frames, [b"abc", b""])
        protocol.connectionLost(Failure(ConnectionDone()))
        error = self.failureResultOf(protocol.over, IncompleteRead).value
        self.assertEqual((error.partial, error.wanted), (1, 2))

    def test_inline_callbacks(self) -> None:
        """Many reads of what is there already do not pile up on the stack."""
        reader = ExactReader(StringTransport())
        reader.feed(STREAM * 20)

        @inlineCallbacks
        def all_of_it() -> Any:
            got = bytearray()
            for _ in range(len(STREAM) * 20):
                got += yield reader.read_exactly(1)
            return bytes(got)

        self.assertEqual(self.successResultOf(all_of_it()), STREAM * 20)


STEP = st.one_of(
    st.tuples(st.just("feed"), st.integers(0, 40)),
    st.tuples(st.just("read"), st.integers(0, 60)),
    st.tuples(st.just("timed"), st.integers(0, 60)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("wait"), st.integers(1, 4)),
)


class LossTests(SynchronousTestCase):
    """Whatever happens, no byte is lost, doubled or moved."""

    @settings(deadline=None, max_examples=300)
    @given(st.lists(STEP, max_size=60))
    def test_the_same_bytes_in_the_same_order(self, steps: list[tuple[str, int]]) -> None:
        """Any cuts of the stream, reads, cancels and timeouts: what was read, and what is left, is the stream; no read
        waits whose bytes are there; no read gets other than it asked for; memory is bounded."""
        clock, transport = Clock(), StringTransport()
        reader = ExactReader(transport, high_water=50, most=60)
        got: list[bytes] = []
        given_up: list[type] = []
        reads: list[tuple[int, Deferred[bytes]]] = []
        fed = 0

        def ask(n: int, deadline: Deadline | None) -> None:
            read = reader.read_exactly(n, deadline)
            reads.append((n, read))

            def take(data: bytes) -> None:
                self.assertEqual(len(data), n)
                got.append(data)

            read.addCallback(take).addErrback(
                lambda failure: given_up.append(failure.trap(CancelledError, DeadlineExpired, IncompleteRead))
            )

        for kind, n in steps:
            if kind == "feed" and transport.producerState == "producing":
                reader.feed(STREAM[fed : fed + n])
                fed = min(len(STREAM), fed + n)
            elif kind == "read":
                ask(n, None)
            elif kind == "timed":
                ask(n, Deadline(2.0, clock))
            elif kind == "cancel" and reads:
                reads[n % len(reads)][1].cancel()
            elif kind == "wait":
                clock.advance(n)
            self.assertEqual(reader.buffered, fed - sum(map(len, got)))
            self.assertLess(reader.buffered, 60 + 40)
            waiting = [size for size, read in reads if not read.called]
            if waiting:
                self.assertLess(reader.buffered, waiting[0])
                self.assertEqual(transport.producerState, "producing")
        reader.end()
        rest = b""
        while not reader.at_end:
            rest += self.successResultOf(reader.read_exactly(min(60, reader.buffered)))
        self.assertEqual(b"".join(got) + rest, STREAM[:fed])
        self.assertTrue(all(read.called for _, read in reads))
        self.assertEqual(len(got) + len(given_up), len(reads))
        self.assertEqual(clock.getDelayedCalls(), [])
