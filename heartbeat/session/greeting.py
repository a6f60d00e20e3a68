"""HELLO: who, and on what terms (``wire.md`` §4). Reads and writes its members; the gate itself is the session's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import PeerViolation
from heartbeat.liveness.terms import Terms
from heartbeat.wire.frames import Hello as HelloFrame
from heartbeat.wire.profile import dump_object, parse_object

__all__ = [
    "VERSION", "Hello", "Welcome", "hello_frame", "is_id", "known_traceparent", "milliseconds", "parse_hello",
    "parse_welcome",
]  # fmt: skip

VERSION: Final = 1
VERSION_REFUSED: Final = 3  # BYE codes
TERMS_REFUSED: Final = 4
IDENTITY_REFUSED: Final = 5

MOST_VERSIONS: Final = 16
MOST_CAPS: Final = 32
MOST_KIDS: Final = 8
MOST_ID_BYTES: Final = 255

_ID_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_INSTANCE: Final = re.compile(r"[\x20-\x7e]{1,64}\Z")
_CAP: Final = re.compile(r"[a-z0-9.-]{1,32}\Z")
_NONCE: Final = re.compile(r"[0-9a-fA-F]{32}\Z")
_KID: Final = re.compile(r"[0-9a-fA-F]{16}\Z")
_RESUME: Final = re.compile(r"[\x20-\x7e]{1,1024}\Z")
# W3C Trace Context §3.2.2; a later version may say more behind it, version 00 may not.
_CONTEXT: Final = r"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT: Final = re.compile(rf"00{_CONTEXT}\Z|(?!00|ff)[0-9a-f]{{2}}{_CONTEXT}(?=-|\Z)")

# member: (lowest, highest, what it is when absent)
_NUMBERS: Final = {
    "want_ping_ms": (1, 3_600_000, 500),
    "min_rx_ms": (0, 3_600_000, 100),
    "mult": (2, 255, 3),
    "sync_ms": (100, 86_400_000, 5000),
    "max_data": (16_384, 2**30, 1_048_576),
}

_LAST: Final = {"session": str, "cause": str, "heard_ms": int, "idle_ms": int, "heard_seq": int, "acked_seq": int}


@dataclass(frozen=True, slots=True)
class Hello:
    """A HELLO that was read and found to be in order; absent members have the values of ``wire.md`` §4."""

    id: str | None
    instance: str | None
    caps: frozenset[str]
    want_ping_ms: int
    min_rx_ms: int
    mult: int
    sync_ms: int
    max_data: int
    nonce: str | None
    kids: tuple[str, ...]
    kid: str | None
    resume: str | None
    traceparent: str | None
    last: Mapping[str, Any] | None
    session: str | None
    resumed: bool


def parse_hello(body: bytes) -> Hello:
    """Read a HELLO.

    :raises PeerViolation: code 3 when there is no common version (looked at before anything else), 4 for a number
        out of its range, 2 for all else
    """
    members = parse_object(body, "HELLO")
    _check_version(members)
    hello = Hello(
        id=_string(members, "id", is_id, "1-255 bytes without control characters, not starting with ~"),
        instance=_string(members, "instance", _INSTANCE.match, "1-64 printable ASCII characters"),
        caps=frozenset(_strings(members, "caps", MOST_CAPS, _CAP.match, "names of 1-32 of a-z 0-9 . -")),
        **{name: _whole(members, name, absent) for name, (_, _, absent) in _NUMBERS.items()},
        nonce=_string(members, "nonce", _NONCE.match, "32 hex digits"),
        kids=tuple(_strings(members, "kids", MOST_KIDS, _KID.match, "of 16 hex digits")),
        kid=_string(members, "kid", _KID.match, "16 hex digits"),
        resume=_string(members, "resume", _RESUME.match, "1-1024 printable ASCII characters"),
        traceparent=_traceparent(members),
        last=_last(members),
        session=_string(members, "session", _RESUME.match, "1-1024 printable ASCII characters"),
        resumed=bool(_typed(members, "resumed", bool, "true or false")),
    )
    _typed(members, "agreed", dict, "an object")
    if hello.nonce is None and ("kids" in members or "kid" in members):
        raise PeerViolation("HELLO: kids without a nonce")
    for name, (lowest, highest, _) in _NUMBERS.items():
        if not lowest <= getattr(hello, name) <= highest:
            raise PeerViolation(f"HELLO: {name} is {getattr(hello, name)}, not {lowest} to {highest}", TERMS_REFUSED)
    return hello


class Welcome(NamedTuple):
    """What an acceptor says to a named peer that it lets in: in its HELLO, or in CONFIRM where a key is used."""

    session: str | None = None
    resume: str | None = None
    resumed: bool = False


def parse_welcome(body: bytes) -> Welcome:
    """Read the JSON of an acceptor's CONFIRM, or its absence. Raises PeerViolation, code 2."""
    frame = "CONFIRM"
    members = parse_object(body, frame) if body else {}
    return Welcome(
        session=_string(members, "session", _RESUME.match, "1-1024 printable ASCII characters", frame),
        resume=_string(members, "resume", _RESUME.match, "1-1024 printable ASCII characters", frame),
        resumed=bool(_typed(members, "resumed", bool, "true or false", frame)),
    )


def known_traceparent(text: str | None) -> str | None:
    """The part of a traceparent that every version of W3C Trace Context has (55 characters); None if it is none."""
    match = None if text is None else _TRACEPARENT.match(text)
    return None if match is None else match[0]


def milliseconds(seconds: float) -> int:
    """Seconds as the whole milliseconds of a HELLO."""
    return round(seconds * 1000.0)


def hello_frame(
    config: HeartbeatConfig,
    nonce: str,
    caps: tuple[str, ...],
    *,
    last: Mapping[str, Any] | None = None,
    resume: str | None = None,
    answer: Mapping[str, Any] | None = None,
    agreed: Terms | None = None,
    kids: Sequence[str] = (),
    kid: str | None = None,
    traceparent: str | None = None,
) -> bytes:
    """The HELLO of an end with this configuration.

    :param last: how a connector's previous connection ended
    :param resume: the token that a connector was given there
    :param answer: what only the acceptor says: ``session``, ``resumed``
    :param agreed: the terms that the acceptor judges by
    :param kids: the keys that a connector has, the preferred one first
    :param kid: the one that the acceptor chose
    :param traceparent: the trace context of this connection
    """
    members: dict[str, Any] = {
        "v": VERSION,
        "id": config.id,
        "instance": config.instance,
        "caps": list(caps),
        "want_ping_ms": max(1, milliseconds(config.interval)),
        "min_rx_ms": milliseconds(config.min_interval),
        "mult": config.multiplier,
        "sync_ms": milliseconds(config.sync_interval),
        "max_data": config.max_data if "data" in caps else None,
        "nonce": nonce,
        "kids": list(kids) or None,
        "kid": kid,
        "resume": resume,
        "traceparent": traceparent,
        "last": last,
        **(answer or {}),
    }
    if agreed is not None:
        members["agreed"] = {"ping_ms": milliseconds(agreed.interval), "detect_ms": milliseconds(agreed.detect)}
    return HelloFrame(dump_object({name: value for name, value in members.items() if value is not None})).encode()


def _check_version(members: Mapping[str, Any]) -> None:
    version = members.get("v")
    versions = members.get("versions", [version])
    if type(version) is not int:
        raise PeerViolation(f"HELLO: v must be an integer, not {version!r:.60}")
    if type(versions) is not list or len(versions) > MOST_VERSIONS or not all(type(one) is int for one in versions):
        raise PeerViolation(f"HELLO: versions must be at most {MOST_VERSIONS} integers")
    if VERSION not in versions:
        raise PeerViolation(f"versions={VERSION}", VERSION_REFUSED)


def _typed(members: Mapping[str, Any], name: str, kind: type, what: str, frame: str = "HELLO") -> Any:
    if name not in members:
        return None
    value = members[name]
    if type(value) is not kind:
        raise PeerViolation(f"{frame}: {name} must be {what}, not {value!r:.60}")
    return value


def _last(members: Mapping[str, Any]) -> Mapping[str, Any] | None:
    last: Mapping[str, Any] | None = _typed(members, "last", dict, "an object")
    for name, kind in _LAST.items():
        if last is not None and name in last and type(last[name]) is not kind:
            raise PeerViolation(f"HELLO: last.{name} must be of another type, not {last[name]!r:.60}")
    return last


def _whole(members: Mapping[str, Any], name: str, absent: int) -> int:
    value = _typed(members, name, int, "an integer")
    return absent if value is None else int(value)


def _string(members: Mapping[str, Any], name: str, fits: Any, what: str, frame: str = "HELLO") -> str | None:
    value = _typed(members, name, str, f"a string of {what}", frame)
    if value is not None and not fits(value):
        raise PeerViolation(f"{frame}: {name} must be {what}, not {value!r:.60}")
    return None if value is None else str(value)


def _strings(members: Mapping[str, Any], name: str, most: int, fits: Any, what: str) -> list[str]:
    values = _typed(members, name, list, f"a list of {what}")
    if values is None:
        return []
    if len(values) > most or not all(type(one) is str and fits(one) for one in values):
        raise PeerViolation(f"HELLO: {name} must be at most {most} {what}")
    return list(values)


def is_id(text: str) -> bool:
    """Whether a text may be an id."""
    return 0 < len(text.encode()) <= MOST_ID_BYTES and not text.startswith("~") and _ID_CONTROL.search(text) is None


def _traceparent(members: Mapping[str, Any]) -> str | None:
    return known_traceparent(_typed(members, "traceparent", str, "a string"))
