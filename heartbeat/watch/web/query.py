"""The parameters of a request, checked. A wrong one is a ConfigError that names it and its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from heartbeat.errors import ConfigError
from heartbeat.liveness.causes import FAILURE_REASONS
from heartbeat.watch.registry import LISTED

if TYPE_CHECKING:
    from twisted.web.server import Request

    from heartbeat.liveness.states import State

__all__ = ["cause", "failure_id", "limit", "state", "text"]

#: What may be asked for at once. More than any registry holds; it only keeps the number a number.
_MOST: Final = 10_000_000
#: The longest text: an id has at most 255 bytes.
_LONGEST: Final = 255
#: Digits of the longest id of a failure; they are microseconds, and 16 digits last until the year 2286.
_DIGITS: Final = 20
_SHOWN: Final = 60


def text(request: Request, name: str) -> str | None:
    """The value of a parameter; None if it is absent or empty. Raises ConfigError."""
    values: list[bytes] = (request.args or {}).get(name.encode(), [])
    if len(values) > 1:
        raise ConfigError(name, "is given more than once")
    if not values or not values[0]:
        return None
    try:
        value = values[0].decode()
    except UnicodeDecodeError:
        raise ConfigError(name, f"must be UTF-8, not {values[0][:_SHOWN]!r}") from None
    if len(values[0]) > _LONGEST:
        raise ConfigError(name, f"must be at most {_LONGEST} bytes long")
    return value


def state(request: Request) -> State | None:
    """``state``: one that a listed peer can have. Raises ConfigError."""
    value = text(request, "state")
    for one in LISTED:
        if value == one.value:
            return one
    if value is not None:
        raise ConfigError("state", f"must be one of {', '.join(one.value for one in LISTED)}, not {value[:_SHOWN]!r}")
    return None


def cause(request: Request) -> str | None:
    """``reason``: one of the closed list. Raises ConfigError."""
    value = text(request, "reason")
    if value is not None and value not in FAILURE_REASONS:
        raise ConfigError("reason", f"must be one of {', '.join(sorted(FAILURE_REASONS))}, not {value[:_SHOWN]!r}")
    return value


def limit(request: Request) -> int | None:
    """``limit``: how many at most. Raises ConfigError."""
    value = text(request, "limit")
    if value is None:
        return None
    number = _whole(value)
    if number is None or not 1 <= number <= _MOST:
        raise ConfigError("limit", f"must be a whole number from 1 to {_MOST}, not {value[:_SHOWN]!r}")
    return number


def failure_id(request: Request, name: str = "since") -> int:
    """``since``: the id of a failure; 0 if it is absent. Raises ConfigError."""
    value = text(request, name)
    number = 0 if value is None else _whole(value)
    if number is None:
        raise ConfigError(name, f"must be the id of a failure (digits), not {(value or '')[:_SHOWN]!r}")
    return number


def _whole(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) <= _DIGITS else None
