"""Every frame of ``wire.md`` §1 as a value that encodes itself, with its magic, its limits and its flag bits.

All numbers on the wire are big-endian. Bytes become frames again in :mod:`heartbeat.wire.codec`.

Frames are tuples, so ``Ping(1, 2) == Ack(1, 2)``: look at the type first. A range that a docstring states and no
``raises`` repeats is the caller's promise and not checked again: beats are the hot path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from struct import Struct
from types import MappingProxyType
from typing import Final, NamedTuple

from heartbeat.errors import ConfigError

__all__ = [
    "ACK",
    "BODY_LIMITS",
    "BYE",
    "BYE_LIMIT",
    "CHANGED",
    "CONFIRM",
    "CONFIRM_LIMIT",
    "CREDIT_LIMIT",
    "DATA",
    "HEADER_SIZE",
    "HELLO",
    "HELLO_LIMIT",
    "NAMES",
    "PING",
    "SEAL",
    "SIGNED_ACK",
    "STALLED",
    "STATE",
    "STATE_LIMIT",
    "STUCK",
    "SYNC",
    "SYNC_ACK",
    "SYNC_BODY",
    "TAG_SIZE",
    "WANT_STATE",
    "WINDOW",
    "Ack",
    "Bye",
    "Confirm",
    "Data",
    "Frame",
    "Hello",
    "Ping",
    "Seal",
    "SignedAck",
    "Stalled",
    "State",
    "Sync",
    "SyncAck",
    "Window",
    "without_controls",
]

# The magics: the first four bytes of a frame.
PING: Final = b"HEAR"
ACK: Final = b"HACK"
SIGNED_ACK: Final = b"HACS"
SYNC: Final = b"HSYN"
SYNC_ACK: Final = b"HSAK"
HELLO: Final = b"HELO"
STATE: Final = b"HSTA"
STALLED: Final = b"HSTL"
BYE: Final = b"HBYE"
DATA: Final = b"HDAT"
WINDOW: Final = b"HWIN"
CONFIRM: Final = b"HCFM"
SEAL: Final = b"HSEA"

HEADER_SIZE: Final = 8  #: the magic and four bytes more, whose meaning depends on it
TAG_SIZE: Final = 16  #: of SIGNED ACK, CONFIRM and SEAL: half of an HMAC-SHA-256 (``wire.md`` §5)
SYNC_BODY: Final = 24  #: always: the digest of the services, load, uptime
HELLO_LIMIT: Final = 8 * 1024  #: before anything is proved: room for all members of §4 and no more
CONFIRM_LIMIT: Final = 4 * 1024  #: a tag and three short members, before anything is proved
STATE_LIMIT: Final = 64 * 1024  #: as much as a peer may say about itself in all (``wire.md`` §3)
BYE_LIMIT: Final = 256  #: a reason is one line for people
CREDIT_LIMIT: Final = 2**31 - 1  #: more never stands open (``wire.md`` §7), so no DATA or WINDOW can name more

# The table of wire.md §1: magic, name, the most bytes of body.
_TABLE: Final = (
    (PING, "PING", 0),
    (ACK, "ACK", 0),
    (SIGNED_ACK, "SIGNED ACK", TAG_SIZE),
    (SYNC, "SYNC", SYNC_BODY),
    (SYNC_ACK, "SYNC-ACK", 0),
    (HELLO, "HELLO", HELLO_LIMIT),
    (STATE, "STATE", STATE_LIMIT),
    (STALLED, "STALLED", 0),
    (BYE, "BYE", BYE_LIMIT),
    (DATA, "DATA", CREDIT_LIMIT),
    (WINDOW, "WINDOW", 0),
    (CONFIRM, "CONFIRM", CONFIRM_LIMIT),
    (SEAL, "SEAL", TAG_SIZE),
)
#: What the frames are called in reasons and logs, by magic.
NAMES: Final[Mapping[bytes, str]] = MappingProxyType({magic: name for magic, name, _ in _TABLE})
#: By magic the most bytes of body that a frame ever has: what an ``allowed`` of the decoder is made from. For DATA put
#: the credit that is left instead.
BODY_LIMITS: Final[Mapping[bytes, int]] = MappingProxyType({magic: most for magic, _, most in _TABLE})

STUCK: Final = 1 << 0  #: SYNC: the sender's progress counter has not moved while work is queued
CHANGED: Final = 1 << 1  #: SYNC: the sender's STATE differs from the last that it sent in this session
WANT_STATE: Final = 1 << 0  #: SYNC-ACK: send me your STATE

_MOST_U32: Final = 2**32 - 1
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f]")

_pack_pair: Final = Struct(">4sHH").pack
_pack_number: Final = Struct(">4sI").pack
_pack_signed: Final = Struct(">4sHH16s").pack
_pack_sealed: Final = Struct(">4sI16s").pack
_pack_sync: Final = Struct(">4sHH16sfI").pack


class Ping(NamedTuple):
    """Are you there? Answered with ACK at once.

    :ivar seq: 0 to 65535, counts the PINGs of one direction and wraps
    :ivar ts: 0 to 65535, the sender's monotonic milliseconds modulo 65536; only an echo
    """

    seq: int
    ts: int

    def encode(self) -> bytes:
        """The 8 bytes on the wire."""
        return _pack_pair(PING, self[0], self[1])


class Ack(NamedTuple):
    """The answer to a PING: both of its numbers, echoed."""

    seq: int
    ts: int

    def encode(self) -> bytes:
        """The 8 bytes on the wire."""
        return _pack_pair(ACK, self[0], self[1])


class SignedAck(NamedTuple):
    """An ACK with proof of the key (``wire.md`` §5).

    :ivar tag: 16 bytes over the header
    """

    seq: int
    ts: int
    tag: bytes

    def encode(self) -> bytes:
        """The 24 bytes on the wire."""
        return _pack_signed(SIGNED_ACK, self.seq, self.ts, self.tag)


class Sync(NamedTuple):
    """The sender's state in short (``wire.md`` §3).

    :ivar seq: 0 to 65535, a counter of its own
    :ivar flags: :data:`STUCK`, :data:`CHANGED`; a receiver ignores all others
    :ivar svc_hash: 16 bytes, the digest of the sender's services
    :ivar load: 0.0 idle to 1.0 saturated, more is allowed; single precision on the wire
    :ivar uptime: whole seconds since the process or host started
    """

    seq: int
    flags: int
    svc_hash: bytes
    load: float
    uptime: int

    def encode(self) -> bytes:
        """The 32 bytes on the wire; the uptime saturates.

        :raises ConfigError: load or uptime, which come from the application, do not fit
        """
        if self.uptime < 0:
            raise ConfigError("uptime", f"must be whole seconds from 0, not {self.uptime!r}")
        if not self.load >= 0.0 or self.load == math.inf:  # so that NaN is refused too
            raise ConfigError("load", f"must be a number from 0, not {self.load!r}")
        try:
            return _pack_sync(SYNC, self.seq, self.flags, self.svc_hash, self.load + 0.0, min(self.uptime, _MOST_U32))
        except OverflowError:
            raise ConfigError("load", f"{self.load!r} does not fit into single precision") from None


class SyncAck(NamedTuple):
    """The answer to a SYNC.

    :ivar seq: echoed
    :ivar flags: :data:`WANT_STATE`; a receiver ignores all others
    """

    seq: int
    flags: int

    def encode(self) -> bytes:
        """The 8 bytes on the wire."""
        return _pack_pair(SYNC_ACK, self.seq, self.flags)


class Hello(NamedTuple):
    """Who, and on what terms (``wire.md`` §4).

    :ivar body: a JSON object as it is on the wire, for :func:`heartbeat.wire.profile.parse_object`; a proof covers it
    """

    body: bytes

    def encode(self) -> bytes:
        """The bytes on the wire. Raises ConfigError for more than :data:`HELLO_LIMIT`."""
        return _pack_number(HELLO, _counted(HELLO, self.body)) + self.body


class State(NamedTuple):
    """The sender's state in full, sent when a SYNC-ACK asked for it (``wire.md`` §3).

    :ivar body: a JSON object as it is on the wire, for :func:`heartbeat.wire.profile.parse_object`
    """

    body: bytes

    def encode(self) -> bytes:
        """The bytes on the wire. Raises ConfigError for more than :data:`STATE_LIMIT`."""
        return _pack_number(STATE, _counted(STATE, self.body)) + self.body


class Stalled(NamedTuple):
    """The sender's event loop could not run for this long until now (``wire.md`` §6).

    :ivar ms: milliseconds, from 0
    """

    ms: int

    def encode(self) -> bytes:
        """The 8 bytes on the wire; the time saturates."""
        return _pack_number(STALLED, min(self.ms, _MOST_U32))


class Bye(NamedTuple):
    """The last frame of its sender (``wire.md`` §6). Make one with :meth:`of`.

    :ivar code: 0 to 65535; a receiver treats an unknown one as 10
    :ivar reason: one line for people, at most 256 bytes of UTF-8
    """

    code: int
    reason: str

    @classmethod
    def of(cls, code: int, reason: str) -> Bye:
        """A BYE that always encodes: control characters are taken out, and what is over 256 bytes is cut off."""
        # A lone surrogate (an undecodable file name in a reason) becomes "?"; "ignore" drops half a character.
        raw = without_controls(reason).encode("utf-8", "replace")[:BYE_LIMIT]
        return cls(code, raw.decode("utf-8", "ignore"))

    def encode(self) -> bytes:
        """The bytes on the wire.

        :raises ConfigError: the reason is too long or no Unicode text; nothing is cut in silence
        """
        try:
            raw = self.reason.encode()
        except UnicodeEncodeError:
            raise ConfigError("reason", f"{self.reason!r} cannot be written in UTF-8") from None
        if len(raw) > BYE_LIMIT:
            raise ConfigError("reason", f"must be at most {BYE_LIMIT} bytes, not {len(raw)}")
        return _pack_pair(BYE, self.code, len(raw)) + raw


class Data(NamedTuple):
    """Application bytes (``wire.md`` §7). None at all ends the application's stream in this direction."""

    payload: bytes

    def encode(self) -> bytes:
        """The bytes on the wire. The caller keeps to the credit and to chunks of 16 KiB."""
        return _pack_number(DATA, len(self.payload)) + self.payload


class Window(NamedTuple):
    """More credit for DATA (``wire.md`` §7).

    :ivar credit: bytes, 1 to :data:`CREDIT_LIMIT`; the receiver of the frame checks the sum
    """

    credit: int

    def encode(self) -> bytes:
        """The 8 bytes on the wire."""
        return _pack_number(WINDOW, self.credit)


class Confirm(NamedTuple):
    """The proof of a shared key, once each way before the gate opens (``wire.md`` §5).

    :ivar tag: 16 bytes
    :ivar body: a JSON object as it is on the wire, or nothing
    """

    tag: bytes
    body: bytes

    def encode(self) -> bytes:
        """The bytes on the wire. Raises ConfigError for more than :data:`CONFIRM_LIMIT`, tag included."""
        return _pack_sealed(CONFIRM, _counted(CONFIRM, self.body, TAG_SIZE), self.tag) + self.body


class Seal(NamedTuple):
    """The tag over the frame directly before it, where there is a key and no TLS (``wire.md`` §5).

    :ivar count: the number of the tag modulo 2^32
    :ivar tag: 16 bytes
    """

    count: int  # type: ignore[assignment]  # wire.md's name; it hides tuple.count, which nobody asks of a frame
    tag: bytes

    def encode(self) -> bytes:
        """The 24 bytes on the wire."""
        return _pack_sealed(SEAL, self.count, self.tag)


#: Any frame.
Frame = Ping | Ack | SignedAck | Sync | SyncAck | Hello | State | Stalled | Bye | Data | Window | Confirm | Seal


def without_controls(text: str) -> str:
    """``text`` without control characters (U+0000-001F, U+007F-009F): one line, harmless to a terminal or a log."""
    return _CONTROLS.sub("", text)


def _counted(magic: bytes, body: bytes, before: int = 0) -> int:
    """The length field of a frame with ``before`` bytes in front of its body. Raises ConfigError if it is too long."""
    length = before + len(body)
    if length > BODY_LIMITS[magic]:
        raise ConfigError(NAMES[magic], f"must be at most {BODY_LIMITS[magic]} bytes, not {length}")
    return length
