"""From bytes to frames: ``wire.md`` §1, its limits and its rules of place.

One :class:`Decoder` per connection. It works over one bytes object with an offset, so a read of 64 KiB with 8,000
PINGs is never copied; only what is left behind the last whole frame is kept. A frame that may not stand where it
stands, or is too long, is refused at its header, before any of its body is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final

from heartbeat.errors import PeerViolation
from heartbeat.wire.frames import (
    ACK,
    BODY_LIMITS,
    BYE,
    CONFIRM,
    CREDIT_LIMIT,
    DATA,
    HEADER_SIZE,
    HELLO,
    NAMES,
    PING,
    SEAL,
    SIGNED_ACK,
    STALLED,
    STATE,
    SYNC,
    SYNC_ACK,
    TAG_SIZE,
    WINDOW,
    Ack,
    Bye,
    Confirm,
    Data,
    Frame,
    Hello,
    Ping,
    Seal,
    SignedAck,
    Stalled,
    State,
    Sync,
    SyncAck,
    Window,
    without_controls,
)

__all__ = ["FOREIGN", "Decoder", "frame_size"]

#: The reason given to whoever speaks something else: often a person, or a browser, who got the port wrong.
FOREIGN: Final = "this port speaks txheartbeat frames"

# What a broken decoder holds instead of input: something, so that neither feed nor next takes its quick way.
_BROKEN: Final = b"\0"
# How much of a refused value is shown in a reason.
_SHOWN: Final = 32

# A frame is a tuple, and its own constructor costs twice as much as this.
_new: Final = tuple.__new__
_header: Final = Struct(">4sHH").unpack_from
_number: Final = Struct(">4xI").unpack_from
_low: Final = Struct(">6xH").unpack_from
_signed: Final = Struct(">4xHH16s").unpack_from
_sealed: Final = Struct(">4xI16s").unpack_from
_sync: Final = Struct(">4xHH16sfI").unpack_from


class Decoder:
    """The bytes of one direction of one connection, frame by frame.

    Call :meth:`feed` with what was read, then :meth:`next` until it gives None. Held after that is less than one
    frame: at most its header and the body that ``allowed`` grants. After a :exc:`~heartbeat.errors.PeerViolation`
    it holds nothing, takes nothing and raises the same again: nobody guesses where the next frame starts.
    """

    __slots__ = ("_at", "_broken", "_data", "_from", "_tail")

    def __init__(self) -> None:
        self._data = b""  # what frames are taken from; empty only if nothing is held
        self._at = 0  # how much of it is taken
        self._from = 0  # where the last frame began, unless it is one of _PAIRS
        self._tail: bytearray | None = None  # what came behind it while it held something
        self._broken: str | None = None  # the reason of the violation

    def feed(self, data: bytes) -> None:
        """Take what was read, cut anywhere. Next: :meth:`next`."""
        if not self._data:
            self._data = data
        elif self._broken is None:
            # Growing one bytearray, and joining once when the frame is whole, stays linear for bytes that drip in.
            if self._tail is None:
                self._tail = bytearray(data)
            else:
                self._tail += data

    def next(self, allowed: Mapping[bytes, int]) -> Frame | None:
        """The next whole frame, or None until there is one. Next: this again, or :meth:`feed` after None.

        :param allowed: by magic, the most bytes of body that a frame may have here; a frame that is not in it may not
            stand here. The limits of ``wire.md`` hold besides (:data:`~heartbeat.wire.frames.BODY_LIMITS`).
        :raises PeerViolation: code 2, the reason names the frame and the value
        """
        data = self._data
        at = self._at
        left = len(data) - at
        if left < HEADER_SIZE:
            if left and self._broken is None and not _begins_frame(data[at:]):
                self._data, self._at, self._broken = _BROKEN, 0, FOREIGN  # "QUIT" is told at once, not after a timeout
            if left or self._tail is not None:
                return self._wait(HEADER_SIZE, allowed)
            self._data = b""  # a read is not kept alive by an idle connection
            self._at = 0
            return None
        magic, first, second = _header(data, at)
        if magic in _PAIRS and magic in allowed:
            self._at = at + HEADER_SIZE
            return _new(_PAIRS[magic], (first, second))
        try:
            end = at + _size(magic, data, at, allowed)
            if len(data) < end:
                return self._wait(end - at, allowed)
            frame = _DECODE[magic](data, at, end)
        except PeerViolation as violation:
            self._data, self._at, self._tail, self._broken = _BROKEN, 0, None, violation.reason
            raise
        self._from = at
        self._at = end
        return frame

    def raw(self, frame: Frame) -> bytes:
        """The bytes of ``frame`` as they were on the wire; it is the one that :meth:`next` gave out last."""
        return self._data[self._at - HEADER_SIZE if type(frame) in _SHORT else self._from : self._at]

    @property
    def pending(self) -> int:
        """Bytes held: fed and not yet given out as a frame."""
        if self._broken is not None:
            return 0
        return len(self._data) - self._at + (len(self._tail) if self._tail is not None else 0)

    def _wait(self, size: int, allowed: Mapping[bytes, int]) -> Frame | None:
        """The next frame, of at least ``size`` bytes, is not whole yet: bring the tail in, or keep the rest."""
        if self._broken is not None:
            raise PeerViolation(self._broken)
        rest = self._data[self._at :]
        self._at = 0
        tail = self._tail
        if tail is not None and (not rest or len(rest) + len(tail) >= size):
            self._data = rest + tail
            self._tail = None
            return self.next(allowed)  # once: there is no tail any more
        self._data = rest
        return None


def _begins_frame(rest: bytes) -> bool:
    """Whether less than a header may become one."""
    begun = rest[:_MAGIC_SIZE]
    return any(magic.startswith(begun) for magic in _LIMITS)


def _size(magic: bytes, data: bytes, at: int, allowed: Mapping[bytes, int]) -> int:
    """Bytes of the whole frame whose header is at ``at``. Raises PeerViolation if it may not stand here."""
    limit = _LIMITS.get(magic)
    if limit is None:
        raise PeerViolation(FOREIGN)
    most = allowed.get(magic)
    if most is None:
        raise PeerViolation(f"{NAMES[magic]} may not stand here")
    length_of = _LENGTHS.get(magic)
    length: int = limit if length_of is None else length_of(data, at)[0]
    if length > limit or length > most:
        if magic == HELLO and length >= _TEXT:  # a line of SMTP: "HELO example.net"
            raise PeerViolation(FOREIGN)
        raise PeerViolation(f"{NAMES[magic]} of {length} bytes, at most {min(limit, most)} may stand here")
    if magic == CONFIRM and length < TAG_SIZE:
        raise PeerViolation(f"CONFIRM of {length} bytes, at least {TAG_SIZE} are its tag")
    return HEADER_SIZE + length


def frame_size(data: bytes, at: int) -> int:
    """Bytes of the whole frame that begins at ``at``, one of our own: nothing is checked."""
    magic = data[at : at + 4]
    length_of = _LENGTHS.get(magic)
    length: int = _LIMITS[magic] if length_of is None else length_of(data, at)[0]
    return HEADER_SIZE + length


def _decode_sync(data: bytes, at: int, end: int) -> Sync:
    seq, flags, svc_hash, load, uptime = _sync(data, at)
    if not 0.0 <= load < math.inf:  # NaN compares as false
        raise PeerViolation(f"SYNC load {load} is no number from 0")
    return Sync(seq, flags, svc_hash, load + 0.0, uptime)  # -0.0 + 0.0 is 0.0


def _decode_bye(data: bytes, at: int, end: int) -> Bye:
    raw = data[at + HEADER_SIZE : end]
    try:
        reason = raw.decode()
    except UnicodeDecodeError:
        raise PeerViolation(f"BYE reason is not UTF-8: {raw[:_SHOWN]!r}") from None
    # The sender may not put control characters there; a peer that leaves has left all the same, and logs stay clean.
    return Bye(_header(data, at)[1], without_controls(reason))


def _decode_window(data: bytes, at: int, end: int) -> Window:
    (credit,) = _number(data, at)
    if not 0 < credit <= CREDIT_LIMIT:
        raise PeerViolation(f"WINDOW of {credit} bytes, 1 to {CREDIT_LIMIT} may be given")
    return Window(credit)


# Two numbers behind the magic and no way to be wrong: the quick way of Decoder.next.
_PAIRS: Final[dict[bytes, type[Ping] | type[Ack] | type[SyncAck]]] = {PING: Ping, ACK: Ack, SYNC_ACK: SyncAck}

_SHORT: Final = frozenset(_PAIRS.values())

# All others, by (data, start of the header, end of the body).
_DECODE: Final[dict[bytes, Callable[[bytes, int, int], Frame]]] = {
    SIGNED_ACK: lambda data, at, end: SignedAck(*_signed(data, at)),
    SYNC: _decode_sync,
    STALLED: lambda data, at, end: Stalled(*_number(data, at)),
    HELLO: lambda data, at, end: Hello(data[at + HEADER_SIZE : end]),
    STATE: lambda data, at, end: State(data[at + HEADER_SIZE : end]),
    BYE: _decode_bye,
    DATA: lambda data, at, end: Data(data[at + HEADER_SIZE : end]),
    WINDOW: _decode_window,
    CONFIRM: lambda data, at, end: Confirm(_sealed(data, at)[1], data[at + HEADER_SIZE + TAG_SIZE : end]),
    SEAL: lambda data, at, end: Seal(*_sealed(data, at)),
}

_MAGIC_SIZE: Final = 4
_TEXT: Final = 0x20000000  # from here on the first byte of a length is a printable sign
_LIMITS: Final = dict(BODY_LIMITS)  # quicker to ask than the read-only one
# Where the frames of variable length have their length; of all others _LIMITS has the only one.
_LENGTHS: Final[dict[bytes, Callable[[bytes, int], tuple[Any, ...]]]] = {
    HELLO: _number,
    STATE: _number,
    BYE: _low,
    DATA: _number,
    CONFIRM: _number,
}
