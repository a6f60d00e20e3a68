"""Application bytes inside DATA (``wire.md`` §7): credit in both directions, chunks, half-close."""

from __future__ import annotations

import random
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.errors import NotConnected, PeerViolation
from heartbeat.session.stream import CHUNK, MOST_CREDIT, SMALL, Stream
from heartbeat.wire import frames as f
from tests.session.ends import SessionTestCase, decoded

LEAST = 16_384


def payload(frames: bytes) -> bytes:
    """The application bytes in DATA frames."""
    return b"".join(frame.payload for frame in decoded(frames) if isinstance(frame, f.Data))


def sent(stream: Stream, room: int) -> bytes:
    """The frames that leave, as they come out of the kernel."""
    return b"".join(stream.data_to_send(room))


def credit(frames: bytes) -> int:
    """What WINDOW frames give in all."""
    return sum(frame.credit for frame in decoded(frames) if isinstance(frame, f.Window))


class ReceivingTests(SessionTestCase):
    """The peer's direction."""

    def test_payloads_in_order(self) -> None:
        """The application takes them, small ones together; nothing is there when it took all."""
        stream = Stream(2 * LEAST, LEAST)
        self.assertEqual(stream.take(), b"")
        stream.received(b"one")
        stream.received(b"two")
        stream.received(CHUNK * b"3")
        stream.received(b"four")
        taken = [stream.take() for _ in range(4)]
        self.assertEqual(taken, [b"onetwo", CHUNK * b"3", b"four", b""])
        self.assertEqual({type(one) for one in taken}, {bytes})

    def test_a_flood_of_tiny_frames_is_held_as_few_objects(self) -> None:
        """A credit's worth of single bytes costs hardly more memory than one frame of it would."""
        stream = Stream(10 * LEAST, LEAST)
        stream.received(b"first")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(8 * LEAST):
            stream.received(b"xy"[:1])
        self.assertLess(tracemalloc.get_traced_memory()[1], 8 * LEAST * 1.3)
        self.assertLessEqual(len(stream.inbox), 9)

    def test_credit_is_used_up(self) -> None:
        """Exactly what was given may come, and not a byte more."""
        stream = Stream(LEAST, LEAST)
        stream.received(b"x" * (LEAST - 1))
        stream.received(b"x")
        self.assertEqual(stream.credit_in, 0)
        with self.assertRaises(PeerViolation) as caught:
            stream.received(b"x")
        self.assertEqual(caught.exception.code, 2)

    def test_credit_is_given_back_as_it_is_taken(self) -> None:
        """In steps of at most half, not before half came together, and all of it in the end."""
        stream = Stream(LEAST, LEAST)
        stream.received(b"x" * LEAST)
        self.assertEqual(stream.ate(LEAST // 2 - 1), b"")
        self.assertEqual(decoded(stream.ate(1)), [f.Window(LEAST // 2)])
        self.assertEqual(stream.credit_in, LEAST // 2)
        self.assertEqual(decoded(stream.ate(LEAST // 2)), [f.Window(LEAST // 2)])
        self.assertEqual(stream.credit_in, LEAST)

    def test_all_at_once(self) -> None:
        """An application that takes everything in one go gives back everything: the window does not shrink."""
        stream = Stream(LEAST, LEAST)
        stream.received(b"x" * LEAST)
        self.assertEqual(decoded(stream.ate(LEAST)), [f.Window(LEAST // 2), f.Window(LEAST // 2)])
        self.assertEqual(stream.credit_in, LEAST)

    def test_an_odd_number(self) -> None:
        """Half is rounded down; what is left over comes with the next step."""
        stream = Stream(LEAST + 1, LEAST)
        stream.received(b"x" * (LEAST + 1))
        self.assertEqual(credit(stream.ate(LEAST + 1)), LEAST)
        stream.received(b"x" * LEAST)
        self.assertEqual(credit(stream.ate(LEAST)), LEAST)
        self.assertEqual(stream.credit_in, LEAST)

    def test_the_end(self) -> None:
        """DATA of length 0 ends it, without credit too; any DATA after it is a violation; no WINDOW either."""
        for after in (b"x", b""):
            stream = Stream(LEAST, LEAST)
            stream.received(b"x" * LEAST)
            stream.received(b"")
            self.assertTrue(stream.ended_in)
            with self.assertRaises(PeerViolation):
                stream.received(after)
            self.assertEqual(stream.ate(LEAST), b"")

    @settings(deadline=None)
    @given(
        st.integers(LEAST, 10 * LEAST), st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 40_000)), max_size=60)
    )
    def test_never_more_is_held_than_was_promised(self, ours: int, steps: list[tuple[int, int]]) -> None:
        """Whatever comes and is taken: what is held, the credit and what waits for a WINDOW are what we gave."""
        stream = Stream(ours, LEAST)
        held = given_back = came = ate = 0
        for wish, taken in steps:
            comes = min(wish, stream.credit_in)
            if comes:
                stream.received(b"x" * comes)
            came, held = came + comes, held + comes
            takes = min(taken, held)
            frames = stream.ate(takes)
            held, ate = held - takes, ate + takes
            for frame in decoded(frames):
                assert isinstance(frame, f.Window)
                self.assertLessEqual(frame.credit, ours // 2)
            given_back += credit(frames)
            self.assertEqual(stream.credit_in, ours - came + given_back)
            self.assertLessEqual(held + stream.credit_in, ours)
            self.assertLess(ate - given_back, ours // 2 + 1)  # nothing is kept back for good


class SendingTests(SessionTestCase):
    """Our direction."""

    def test_chunks(self) -> None:
        """At most 16 KiB each, in order, as far as the credit goes."""
        stream = Stream(LEAST, 3 * CHUNK + 5)
        data = random.Random(1).randbytes(5 * CHUNK)
        stream.send(data)
        self.assertEqual(stream.queued, len(data))
        out = sent(stream, 1_000_000)
        sizes = [len(frame.payload) for frame in decoded(out) if isinstance(frame, f.Data)]
        self.assertEqual(sizes, [CHUNK, CHUNK, CHUNK, 5])
        self.assertEqual((stream.credit_out, stream.queued), (0, 2 * CHUNK - 5))
        self.assertEqual(sent(stream, 1_000_000), b"")
        stream.window(2 * CHUNK)
        self.assertEqual(payload(out) + payload(sent(stream, 1_000_000)), data)
        self.assertEqual((stream.credit_out, stream.queued), (5, 0))

    def test_room(self) -> None:
        """No more bytes than asked for, headers included, down to none."""
        stream = Stream(LEAST, 1_000_000)
        stream.send(b"x" * 1000)
        self.assertEqual(sent(stream, 0), b"")
        self.assertEqual(sent(stream, 8), b"")
        self.assertEqual(len(sent(stream, 9)), 9)
        self.assertEqual(len(sent(stream, 100)), 100)
        self.assertEqual(len(sent(stream, 10_000)), 8 + 1000 - 1 - 92)

    def test_nothing_to_say(self) -> None:
        """No bytes, no frame; sending none is no end of the stream."""
        stream = Stream(LEAST, LEAST)
        stream.send(b"")
        self.assertEqual(sent(stream, 1000), b"")
        self.assertFalse(stream.ended_out)

    def test_the_end(self) -> None:
        """Behind what is queued, once, and it needs no credit; afterwards nothing can be sent."""
        stream = Stream(LEAST, 10)
        stream.send(b"0123456789")
        stream.end()
        stream.end()
        self.assertEqual(decoded(sent(stream, 1000)), [f.Data(b"0123456789"), f.Data(b"")])
        self.assertEqual(stream.credit_out, 0)
        with self.assertRaises(NotConnected):
            stream.send(b"more")

    def test_the_end_waits_for_credit_like_the_rest(self) -> None:
        """It does not overtake what cannot leave yet."""
        stream = Stream(LEAST, 4)
        stream.send(b"012345")
        stream.end()
        self.assertEqual(decoded(sent(stream, 1000)), [f.Data(b"0123")])
        stream.window(2)
        self.assertEqual(decoded(sent(stream, 1000)), [f.Data(b"45"), f.Data(b"")])

    def test_windows_that_make_no_sense(self) -> None:
        """0, or more than 2^31 - 1 in all, is a violation."""
        stream = Stream(LEAST, LEAST)
        stream.window(MOST_CREDIT - LEAST)
        self.assertEqual(stream.credit_out, MOST_CREDIT)
        for wrong in (1, 0):
            with self.assertRaises(PeerViolation):
                stream.window(wrong)

    def test_a_large_write_is_not_copied_again_and_again(self) -> None:
        """20 MB in one piece leave in chunks at the cost of about one copy."""
        stream = Stream(LEAST, MOST_CREDIT)
        data = bytes(20_000_000)
        stream.send(data)
        chunks = 0
        while stream.queued:
            chunks += 1
            self.assertLessEqual(len(sent(stream, CHUNK + 8)), CHUNK + 8)
        self.assertEqual(chunks, -(-len(data) // CHUNK))

    def test_small_writes_share_frames(self) -> None:
        """A thousand writes of a kilobyte are as few frames as one of a megabyte, and few objects while they wait."""
        stream = Stream(LEAST, MOST_CREDIT)
        for _ in range(1000):
            stream.send(bytes(1000))
        self.assertLess(len(stream._outbox), 20)
        sizes = [len(frame.payload) for frame in decoded(sent(stream, 2_000_000)) if isinstance(frame, f.Data)]
        self.assertEqual((sum(sizes), min(sizes[:-1])), (1_000_000, CHUNK))

    def test_tiny_writes_are_held_as_few_objects(self) -> None:
        """A line at a time, whoever takes them: what waits costs about what it counts."""
        for easy in (0, 65_536):
            tracemalloc.start()
            try:
                stream = Stream(LEAST, MOST_CREDIT)
                stream.ease(easy)
                before = tracemalloc.get_traced_memory()[0]
                for number in range(8000):
                    line = b"%08d" % number
                    if not stream.gather(line):
                        stream.send(line)
                held = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            self.assertEqual(stream.queued, 64_000)
            self.assertLess(held, 2 * 64_000)
            self.assertEqual(payload(sent(stream, 100_000)), b"".join(b"%08d" % number for number in range(8000)))

    def test_what_only_waits(self) -> None:
        """Small writes are taken while no more than was allowed waits. A large one, one too many, and one behind the
        end are not, and leave nothing behind."""
        stream = Stream(LEAST, MOST_CREDIT)
        self.assertFalse(stream.gather(b"x"))
        stream.ease(10_000)
        self.assertTrue(stream.gather(b"one"))
        self.assertTrue(stream.gather(b""))
        self.assertFalse(stream.gather(bytes(SMALL + 1)))
        self.assertTrue(stream.gather(bytes(SMALL)))
        self.assertTrue(stream.gather(bytes(SMALL)))
        self.assertFalse(stream.gather(bytes(SMALL)))
        self.assertTrue(stream.gather(bytes(10_000 - 3 - 2 * SMALL)))
        self.assertFalse(stream.gather(b"x"))
        self.assertEqual(payload(sent(stream, 20_000)), b"one" + bytes(10_000 - 3))
        self.assertTrue(stream.gather(b"two"))
        stream.end()
        self.assertFalse(stream.gather(b"three"))
        stream.ease(10_000)
        self.assertFalse(stream.gather(b"four"))
        self.assertEqual(decoded(sent(stream, 20_000)), [f.Data(b"two"), f.Data(b"")])

    def test_the_bytes_of_a_large_write_are_not_copied(self) -> None:
        """What leaves are views of it, between headers."""
        stream = Stream(LEAST, MOST_CREDIT)
        data = bytes(3 * CHUNK)
        stream.send(data)
        pieces = stream.data_to_send(1_000_000)
        self.assertEqual([len(piece) for piece in pieces], [8, CHUNK] * 3)
        views = [piece for piece in pieces if isinstance(piece, memoryview)]
        self.assertEqual([view.obj is data for view in views], [True] * 3)

    def test_dropped(self) -> None:
        """What is dropped is not sent, and nothing is counted as waiting."""
        stream = Stream(LEAST, 100)
        stream.send(b"x" * 300)
        sent(stream, 1000)
        stream.drop()
        stream.window(1000)
        self.assertEqual((stream.queued, stream.ready, sent(stream, 1000)), (0, False, b""))

    def test_ready(self) -> None:
        """There is something to send while bytes with credit wait, and until the end was said, which needs none."""
        stream = Stream(LEAST, 5)
        self.assertFalse(stream.ready)
        stream.send(b"0123456789")
        self.assertTrue(stream.ready)
        sent(stream, 1000)
        self.assertFalse(stream.ready)
        stream.end()
        self.assertFalse(stream.ready)
        stream.window(5)
        self.assertTrue(stream.ready)
        sent(stream, 13)
        self.assertTrue(stream.ready)
        self.assertEqual(decoded(sent(stream, 8)), [f.Data(b"")])
        self.assertFalse(stream.ready)

    @settings(deadline=None)
    @given(
        st.lists(
            st.one_of(st.binary(max_size=100), st.integers(0, 3).map(lambda more: b"large" * (SMALL // 5 + more))),
            max_size=20,
        ),
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 120)), max_size=60),
        st.integers(0, 5000),
    )
    def test_any_credit_and_any_room(self, writes: list[bytes], steps: list[tuple[int, int]], easy: int) -> None:
        """The bytes come out in order, never over the credit, never over the room, and all of them in the end; whether
        they were sent or only gathered."""
        stream = Stream(LEAST, 0)
        stream.ease(easy)
        for data in writes:
            if not stream.gather(data):
                stream.send(data)
        stream.end()
        out, given_credit = b"", 0
        for more, room in [*steps, (100_000, 200_000)]:
            if more:
                stream.window(more)
                given_credit += more
            some = sent(stream, room)
            self.assertLessEqual(len(some), room)
            out += some
            self.assertLessEqual(len(payload(out)), given_credit)
        self.assertEqual(payload(out), b"".join(writes))
        frames = decoded(out)
        self.assertEqual([index for index, frame in enumerate(frames) if frame == f.Data(b"")], [len(frames) - 1])
