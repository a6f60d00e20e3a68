"""What the property tests draw from: frames of every type, streams of them, and ways to cut a stream."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

from heartbeat.errors import PeerViolation
from heartbeat.wire import frames as f
from heartbeat.wire.codec import Decoder

__all__ = ["ANYWHERE", "cuts", "decode_all", "frames", "pieces", "typed"]

#: An ``allowed`` that lets everything stand everywhere.
ANYWHERE: dict[bytes, int] = dict(f.BODY_LIMITS)

_U16 = st.integers(0, 2**16 - 1)
_U32 = st.integers(0, 2**32 - 1)
_TAG = st.binary(min_size=16, max_size=16)
_LOAD = st.floats(min_value=0.0, allow_infinity=False, allow_nan=False, width=32)
_BODY = st.binary(max_size=200)
_REASON = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60)

#: One frame of any type, as a decoder may give it.
frames: st.SearchStrategy[f.Frame] = st.one_of(
    st.builds(f.Ping, _U16, _U16),
    st.builds(f.Ack, _U16, _U16),
    st.builds(f.SignedAck, _U16, _U16, _TAG),
    st.builds(f.Sync, _U16, _U16, _TAG, _LOAD, _U32),
    st.builds(f.SyncAck, _U16, _U16),
    st.builds(f.Hello, _BODY),
    st.builds(f.State, _BODY),
    st.builds(f.Stalled, _U32),
    st.builds(f.Bye, _U16, _REASON),
    st.builds(f.Data, _BODY),
    st.builds(f.Window, st.integers(1, f.CREDIT_LIMIT)),
    st.builds(f.Confirm, _TAG, _BODY),
    st.builds(f.Seal, _U32, _TAG),
)


def cuts(length: int) -> st.SearchStrategy[list[int]]:
    """Where to cut ``length`` bytes: sorted offsets, repeated ones are empty reads."""
    return st.lists(st.integers(0, length), max_size=12).map(sorted)


def pieces(stream: bytes, offsets: Sequence[int]) -> list[bytes]:
    """``stream``, cut at ``offsets``."""
    edges = [0, *offsets, len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def typed(found: Sequence[f.Frame]) -> list[tuple[str, f.Frame]]:
    """Frames beside their types: as tuples alone, a PING equals its ACK."""
    return [(type(frame).__name__, frame) for frame in found]


def decode_all(parts: Sequence[bytes], allowed: dict[bytes, int] = ANYWHERE) -> tuple[list[tuple[str, f.Frame]], str]:
    """Feed the parts one by one, taking all frames after each: the frames, and the reason of a violation or ''."""
    decoder = Decoder()
    found: list[f.Frame] = []
    for part in parts:
        decoder.feed(part)
        # Every frame takes at least its header out, so this many calls are enough; the last gives None.
        for _ in range(decoder.pending // f.HEADER_SIZE + 1):
            try:
                frame = decoder.next(allowed)
            except PeerViolation as violation:
                return typed(found), violation.reason
            if frame is None:
                break
            found.append(frame)
        else:
            raise AssertionError("next() goes on after all that was fed")
    return typed(found), ""
