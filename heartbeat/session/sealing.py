"""SIGNED ACK and SEAL, both ways (``wire.md`` §5): what is sent is signed on its way out, what is read is checked.

Nothing else of a session knows of tags. It writes plain frames, which pass :class:`Signed` last, and reads plain
frames, which :class:`ProvedDecoder` gives out only when they are proved.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from heartbeat.errors import PeerViolation
from heartbeat.session.proving import FALSE_TAG
from heartbeat.session.stream import CHUNK, Stream
from heartbeat.wire import frames
from heartbeat.wire.codec import Decoder, frame_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.session.signing import Tags
    from heartbeat.wire.frames import Frame

__all__ = ["SEAL_SIZE", "ProvedDecoder", "SealedStream", "Signed"]

HEADER: Final = frames.HEADER_SIZE
SEAL_SIZE: Final = HEADER + frames.TAG_SIZE
ACK: Final = frames.ACK
SIGNED_ACK: Final = frames.SIGNED_ACK
# What goes out as it is: these are the handshake, and CONFIRM has its own tag.
HANDSHAKE: Final = (frames.HELLO, frames.CONFIRM)
_SEAL_ONLY: Final[Mapping[bytes, int]] = {frames.SEAL: frames.TAG_SIZE}
_COUNTS: Final = 0xFFFFFFFF

_count: Final = Struct(">4xI").unpack_from
_SEAL: Final = Struct(">4sI16s").pack


class Signed:
    """What this end sends behind its CONFIRM.

    :param tags: ours
    :param signs: SIGNED ACK is in force
    :param seals: there is no TLS: every other frame gets its SEAL
    """

    __slots__ = ("_seals", "_signs", "_tags")

    def __init__(self, tags: Tags, *, signs: bool, seals: bool) -> None:
        self._tags = tags
        self._signs = signs
        self._seals = seals

    def out(self, data: bytes) -> bytes:
        """Whole frames, as they leave. Call it once for each, in the order of the wire."""
        if self._signs and len(data) == HEADER and data[:4] == ACK:  # the usual answer
            return self._ack(data)
        if not self._seals and not (self._signs and ACK in data):
            return data
        parts = []
        at = 0
        while at < len(data):
            end = at + frame_size(data, at)
            frame = data[at:end]
            magic = frame[:4]
            if magic == ACK and self._signs:
                frame = self._ack(frame)
            elif self._seals and magic not in HANDSHAKE:
                count = self._tags.count & _COUNTS
                frame += _SEAL(frames.SEAL, count, self._tags.tag(frame))
            parts.append(frame)
            at = end
        return b"".join(parts)

    def _ack(self, ack: bytes) -> bytes:
        header = SIGNED_ACK + ack[4:]
        return header + self._tags.tag(header)


class ProvedDecoder:
    """A decoder that gives a frame out when it is proved. It has the face of :class:`~heartbeat.wire.codec.Decoder`.

    Until :meth:`begin` it gives all frames out as they come: the handshake has no other tags than CONFIRM's.
    """

    __slots__ = ("_decoder", "_held", "_raw", "_tags", "sealed")

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._tags: Tags | None = None
        self._held: Frame | None = None  # a frame that waits for its SEAL
        self._raw = b""  # its bytes
        self.sealed = False

    def begin(self, tags: Tags, *, sealed: bool) -> None:
        """The peer's CONFIRM was true. ``sealed``: there is no TLS, so every frame but SIGNED ACK has its SEAL."""
        self._tags = tags
        self.sealed = sealed

    @property
    def begun(self) -> bool:
        """Whether tags are looked for."""
        return self._tags is not None

    @property
    def pending(self) -> int:
        """Bytes held: fed, and not yet given out as a frame."""
        return self._decoder.pending + len(self._raw)

    def feed(self, data: bytes) -> None:
        """Take what was read, cut anywhere. Next: :meth:`next`."""
        self._decoder.feed(data)

    def next(self, allowed: Mapping[bytes, int]) -> Frame | None:
        """The next frame that is proved, or None until there is one; a SIGNED ACK comes out as the ACK that it is.

        :raises PeerViolation: code 8 for a tag that is false or missing, else as a decoder
        """
        tags = self._tags
        if self._held is None:
            frame = self._decoder.next(allowed)
            if frame is None or tags is None:
                return frame
            if type(frame) is frames.SignedAck:
                return self.signed(self._decoder.raw(frame))
            if not self.sealed:
                return frame
            self._held = frame
            self._raw = self._decoder.raw(frame)
        try:
            seal = self._decoder.next(_SEAL_ONLY)
        except PeerViolation:
            raise PeerViolation("a frame without its SEAL", FALSE_TAG) from None
        if seal is None:
            return None
        frame, raw = self._held, self._raw
        self._held, self._raw = None, b""
        self.check(raw, seal.encode())
        return frame

    def check(self, raw: bytes, seal: bytes) -> None:
        """Whether a whole frame and its whole SEAL belong together. Raises PeerViolation with code 8."""
        tags = self._tags
        assert tags is not None
        (count,) = _count(seal)
        if count != tags.count & _COUNTS or not tags.match(seal[HEADER:], raw):
            raise PeerViolation("a SEAL is false: somebody is between us", FALSE_TAG)

    def signed(self, raw: bytes) -> frames.Ack:
        """The ACK of a whole SIGNED ACK. Raises PeerViolation with code 8."""
        tags = self._tags
        assert tags is not None
        if not tags.match(raw[HEADER:], raw[:HEADER]):
            raise PeerViolation("a SIGNED ACK is false: somebody is between us", FALSE_TAG)
        return frames.Ack(int.from_bytes(raw[4:6], "big"), int.from_bytes(raw[6:8], "big"))


class SealedStream(Stream):
    """A stream whose DATA leaves sealed. WINDOW goes with the control frames."""

    __slots__ = ("_signed",)

    def __init__(self, ours: int, theirs: int, signed: Signed) -> None:
        super().__init__(ours, theirs)
        self._signed = signed

    def data_to_send(self, room: int) -> bytes:
        """DATA frames and their SEALs, of at most ``room`` bytes in all, as far as the credit goes."""
        return self._signed.out(super().data_to_send(room - SEAL_SIZE * (room // CHUNK + 1)))
