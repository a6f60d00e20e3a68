"""The JSON of HELLO, CONFIRM and STATE: one object within I-JSON (RFC 7493), as ``wire.md`` §1 narrows it.

Only the form is looked at here. What the members mean, their types and ranges, and that unknown ones are ignored, is
the business of whoever asked. An integer comes out as ``int``, a number with a fraction or an exponent as ``float``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from heartbeat.errors import ConfigError, PeerViolation

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "dump_object", "parse_object"]

#: How deep objects and arrays may stand in each other, the outermost object included.
MAX_DEPTH: Final = 8
#: The most digits of an integer. Anything shorter is finite as a double, so float() of a parsed number never fails; a
#: longer one is to most readers what 1e999 is: infinite. Far under the 4300 where int() itself gives up.
MAX_DIGITS: Final = 308

_MARK: Final = b"\xef\xbb\xbf"
# How much of a refused value is shown in a reason.
_SHOWN: Final = 32
# A string, or one bracket. Possessive, and an unfinished string reaches to the end, so nothing is ever tried twice:
# 64 KiB of quotes cost as little as 64 KiB of text.
_STRING_OR_BRACKET: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)
# Only an escape can bring a lone surrogate into text that was decoded from UTF-8.
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def parse_object(body: bytes, what: str) -> dict[str, Any]:
    """The members of the JSON object ``body``.

    :param what: the name of the frame, for the reason
    :raises PeerViolation: it is no UTF-8, no JSON, no object, or outside the profile; the reason says which
    """
    if body.startswith(_MARK):
        raise PeerViolation(f"{what} starts with a byte order mark")
    try:
        text = body.decode()
    except UnicodeDecodeError as wrong:
        raise PeerViolation(f"{what} is not UTF-8 at byte {wrong.start}: {body[wrong.start : wrong.end]!r}") from None
    # Before the parser runs: it recurses once per level, and the interpreter's own limit is not ours to hit.
    if _too_deep(text):
        raise PeerViolation(f"{what} is nested deeper than {MAX_DEPTH}")
    try:
        members = _DECODER.decode(text)
    except ValueError as wrong:
        raise PeerViolation(f"{what} is outside the JSON profile: {wrong}") from None
    if not isinstance(members, dict):
        raise PeerViolation(f"{what} must be a JSON object, not {_shown(text.strip())}")
    if _SURROGATE_ESCAPE.search(text) and not _encodable(members):
        raise PeerViolation(f"{what} has a string with an unpaired surrogate")
    return members


def dump_object(members: Mapping[str, Any]) -> bytes:
    """``members`` as a JSON object in UTF-8, without spaces.

    :raises ConfigError: names the member that has no place in the profile
    """
    parts = []
    for name, value in members.items():
        try:
            parts.append(f"{_ENCODER.encode(name)}:{_ENCODER.encode(value)}".encode())
        except (ValueError, TypeError) as wrong:
            raise ConfigError(name, f"cannot be written as JSON: {wrong}") from None
    return b"{" + b",".join(parts) + b"}"


def _too_deep(text: str) -> bool:
    if text.count("{") + text.count("[") <= MAX_DEPTH:  # nearly always
        return False
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        first = text[match.start()]
        if first in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in "}]":
            depth -= 1
    return False


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the member {_shown(name)} stands twice")
        members[name] = value
    return members


def _integer(text: str) -> int:
    digits = len(text) - text.startswith("-")
    if digits > MAX_DIGITS:
        raise ValueError(f"an integer of {digits} digits, at most {MAX_DIGITS}")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:_SHOWN]} is infinite")
    return number


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: str) -> str:
    return repr(value[:_SHOWN])


def _plain(value: Any) -> dict[Any, Any]:
    """Lets the encoder write read-only mappings."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON type")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=_integer, parse_float=_finite, parse_constant=_no_constant
)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
