"""What holds for every stream of bytes, however it is cut: the decoder's properties."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import PeerViolation
from heartbeat.wire import frames as f
from heartbeat.wire.codec import Decoder
from tests.wire.strategies import ANYWHERE, cuts, decode_all, frames, pieces, typed

#: Streams of whole frames.
streams = st.lists(frames, max_size=8)
#: What looks like frames and is none: any header of a known type, with anything behind it.
headers = st.builds(
    lambda magic, word: magic + word, st.sampled_from(sorted(f.NAMES)), st.binary(min_size=4, max_size=4)
)
#: Known magics with small lengths, so that bodies of garbage are reached and not only refused.
short_headers = st.builds(
    lambda magic, low: magic + b"\0\0\0" + bytes([low]), st.sampled_from(sorted(f.NAMES)), st.integers(0, 40)
)
garbage = st.lists(st.one_of(st.binary(max_size=40), headers, short_headers, frames.map(lambda one: one.encode())))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A stream of frames with bytes changed, taken out, put in, or cut off."""
    raw = bytearray(b"".join(frame.encode() for frame in draw(streams)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(raw)


class RoundTripTests(SynchronousTestCase):
    """encode, then decode."""

    @given(frames)
    @settings(deadline=None, max_examples=300)
    def test_each(self, frame: f.Frame) -> None:
        """Every frame is read as it was written, and written again as it was read."""
        raw = frame.encode()
        self.assertEqual(decode_all([raw]), (typed([frame]), ""))
        self.assertEqual(raw[:4], _magic_of(frame))

    @given(streams, st.data())
    @settings(deadline=None)
    def test_any_split(self, sent: list[f.Frame], data: st.DataObject) -> None:
        """Any split of any stream gives the same frames."""
        raw = b"".join(frame.encode() for frame in sent)
        parts = pieces(raw, data.draw(cuts(len(raw))))
        self.assertEqual(decode_all(parts), (typed(sent), ""))

    @given(streams)
    @settings(deadline=None, max_examples=30)
    def test_every_byte(self, sent: list[f.Frame]) -> None:
        """A stream that comes byte by byte gives the same frames."""
        raw = b"".join(frame.encode() for frame in sent)
        self.assertEqual(decode_all(pieces(raw, range(1, len(raw)))), (typed(sent), ""))

    @given(streams, st.data())
    @settings(deadline=None)
    def test_feeding_ahead(self, sent: list[f.Frame], data: st.DataObject) -> None:
        """It does not matter either when frames are taken: one per read, or all at the end."""
        raw = b"".join(frame.encode() for frame in sent)
        decoder = Decoder()
        found = []
        for part in pieces(raw, data.draw(cuts(len(raw)))):
            decoder.feed(part)
            if data.draw(st.booleans()) and (frame := decoder.next(ANYWHERE)) is not None:
                found.append(frame)
        while (frame := decoder.next(ANYWHERE)) is not None:
            found.append(frame)
        self.assertEqual((typed(found), decoder.pending), (typed(sent), 0))


#: Streams with much DATA in them, some of it side by side.
data_streams = st.lists(st.one_of(st.binary(max_size=40).map(f.Data), frames), max_size=12)


class RunTests(SynchronousTestCase):
    """Runs of DATA are taken in one go."""

    @given(data_streams, st.integers(0, 200), st.data())
    @settings(deadline=None, max_examples=400)
    def test_as_frame_by_frame(self, sent: list[f.Frame], credit: int, data: st.DataObject) -> None:
        """However a stream is cut and whatever the credit, runs and frames together are what the frames alone are."""
        raw = b"".join(frame.encode() for frame in sent)
        decoder = Decoder()
        found: list[f.Frame] = []
        for part in pieces(raw, data.draw(cuts(len(raw)))):
            decoder.feed(part)
            if data.draw(st.booleans()):
                _take(decoder, credit, found)
        _take(decoder, credit, found)
        self.assertEqual(_runs(typed(found)), _runs(typed(sent)))
        self.assertEqual(decoder.pending, 0)

    def test_what_a_run_is(self) -> None:
        """Whole frames with something in them, side by side, within the credit; the rest is left to next()."""
        decoder = Decoder()
        self.assertEqual(decoder.run(100), b"")
        decoder.feed(b"".join(frame.encode() for frame in (f.Data(b"12"), f.Data(b"345"), f.Ping(1, 2), f.Data(b"6"))))
        self.assertEqual(decoder.run(1), b"")
        self.assertEqual(decoder.run(4), b"12")
        self.assertEqual(decoder.run(3), b"345")
        self.assertEqual(decoder.run(100), b"")
        self.assertEqual(decoder.next(ANYWHERE), f.Ping(1, 2))
        self.assertEqual(decoder.run(100), b"6")
        self.assertEqual((decoder.run(100), decoder.next(ANYWHERE), decoder.pending), (b"", None, 0))

    def test_a_frame_in_two_reads(self) -> None:
        """Its end comes with a read full of others: they are one run, and half a frame is held behind it."""
        stream = b"".join(f.Data(bytes([number]) * 1000).encode() for number in range(10))
        for cut in (3, 8, 9, 700, 1008):
            decoder = Decoder()
            decoder.feed(stream[:cut])
            first = decoder.run(100_000)
            while decoder.next(ANYWHERE) is not None:
                self.fail("nothing but whole frames may come")
            decoder.feed(stream[cut:-500])
            found: list[f.Frame] = [f.Data(first)] if first else []
            _take(decoder, 100_000, found)
            self.assertEqual(b"".join(one[0] for one in found), b"".join(bytes([n]) * 1000 for n in range(9)), cut)
            self.assertEqual(decoder.pending, 508)

    def test_after_a_violation(self) -> None:
        """A broken decoder gives no run either."""
        decoder = Decoder()
        decoder.feed(b"garbage!")
        self.assertRaises(PeerViolation, decoder.next, ANYWHERE)
        decoder.feed(f.Data(b"x").encode())
        self.assertEqual(decoder.run(100), b"")
        self.assertRaises(PeerViolation, decoder.next, ANYWHERE)


def _take(decoder: Decoder, credit: int, found: list[f.Frame]) -> None:
    """All that is whole, as a session takes it."""
    while True:
        if payload := decoder.run(credit):
            found.append(f.Data(payload))
        if (frame := decoder.next(ANYWHERE)) is None:
            return
        found.append(frame)


def _runs(found: list[tuple[type, f.Frame]]) -> list[tuple[type, object]]:
    """With neighbouring DATA put together; the end of a stream stands for itself."""
    together: list[tuple[type, object]] = []
    joins = False
    for kind, frame in found:
        if isinstance(frame, f.Data) and frame.payload:
            last = together.pop()[1] if joins else b""
            assert isinstance(last, bytes)
            together.append((kind, last + frame.payload))
            joins = True
        else:
            together.append((kind, frame))
            joins = False
    return together


class HostileTests(SynchronousTestCase):
    """Whatever a peer sends."""

    @given(st.one_of(garbage.map(b"".join), mutated()), st.data())
    @settings(deadline=None, max_examples=400)
    def test_only_violations(self, raw: bytes, data: st.DataObject) -> None:
        """Any bytes give frames, or one PeerViolation and no other error, the same for every split, in few calls."""
        whole = decode_all([raw])
        self.assertEqual(decode_all(pieces(raw, data.draw(cuts(len(raw))))), whole)
        self.assertNotIn("\n", whole[1])

    @given(
        st.one_of(garbage.map(b"".join), mutated()),
        st.dictionaries(st.sampled_from(sorted(f.NAMES)), st.integers(0, 64)),
        st.integers(1, 50),
    )
    @settings(deadline=None, max_examples=400)
    def test_bounded(self, raw: bytes, allowed: dict[bytes, int], step: int) -> None:
        """Held is never more than a header and the longest body allowed, and no frame comes out that may not stand."""
        decoder = Decoder()
        most = f.HEADER_SIZE + max(allowed.values(), default=0)
        for offset in range(0, len(raw), step):
            decoder.feed(raw[offset : offset + step])
            try:
                while (frame := decoder.next(allowed)) is not None:
                    self.assertIn(_magic_of(frame), allowed)
                    self.assertLessEqual(len(frame.encode()) - f.HEADER_SIZE, allowed[_magic_of(frame)])
            except PeerViolation as violation:
                self.assertEqual(violation.code, 2)
                self.assertEqual(decoder.pending, 0)
                break
            self.assertLess(decoder.pending, most)


def _magic_of(frame: f.Frame) -> bytes:
    """The magic of a frame's type, by its name."""
    name = type(frame).__name__.lower()
    (magic,) = (magic for magic, shown in f.NAMES.items() if shown.lower().translate({32: None, 45: None}) == name)
    return magic
