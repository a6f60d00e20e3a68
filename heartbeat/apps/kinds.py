"""What the value of an option may be: read from the command line (text) or from a config file (TOML).

Each kind either gives the value or raises :class:`~heartbeat.errors.ConfigError` that names the option and what was
written. Nothing is guessed: ``1_0``, ``nan`` and a quoted number in a file are all refused.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final

from heartbeat.config import check_id, check_meta, check_services
from heartbeat.errors import ConfigError

__all__ = [
    "Flag", "Keepalive", "Kind", "Many", "Names", "OneOf", "Pairs", "Seconds", "SecondsOr", "Text", "Whole", "shown",
]  # fmt: skip

#: How much of a wrong value is repeated to its user: enough to know it again, and the line stays a line.
MAX_SHOWN: Final = 120
#: A label of a metric or a path: 4096 bytes is the longest path of Linux.
MAX_TEXT_BYTES: Final = 4096

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)


def shown(value: Any) -> str:
    """``value`` as an error message repeats it: quoted, on one line, cut if it is long."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


class Kind(ABC):
    """One kind of value.

    :ivar metavar: how ``--help`` calls it; ``""`` for a flag, which takes none
    """

    metavar = "TEXT"

    @abstractmethod
    def from_text(self, name: str, text: str) -> Any:
        """The value that the command line means by ``text``. Raises ConfigError."""

    def from_toml(self, name: str, value: Any) -> Any:
        """The value of a config file. Raises ConfigError."""
        if not isinstance(value, str):
            raise ConfigError(name, f"must be text, not {shown(value)}")
        return self.from_text(name, value)


class Seconds(Kind):
    """A number of seconds from ``lowest`` to ``highest``, as a float."""

    metavar = "S"

    def __init__(self, lowest: float, highest: float) -> None:
        self.lowest = lowest
        self.highest = highest

    def from_text(self, name: str, text: str) -> float:
        """Decimal, with or without a fraction or an exponent."""
        if not _NUMBER.fullmatch(text):
            raise ConfigError(name, f"must be a number of seconds, not {shown(text)}")
        return self._within(name, float(text), text)

    def from_toml(self, name: str, value: Any) -> float:
        """An integer or a float."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(name, f"must be a number of seconds, not {shown(value)}")
        return self._within(name, value, value)

    def _within(self, name: str, value: float, written: Any) -> float:
        if not self.lowest <= value <= self.highest:  # not true of nan either
            raise ConfigError(name, f"must be from {self.lowest:g} to {self.highest:g} seconds, not {shown(written)}")
        return float(value)


class SecondsOr(Seconds):
    """A number of seconds, or one of a few words.

    :ivar words: from the word to the value that it stands for
    """

    def __init__(self, lowest: float, highest: float, words: Mapping[str, Any]) -> None:
        super().__init__(lowest, highest)
        self.words = words
        self.metavar = "|".join(("S", *words))

    def from_text(self, name: str, text: str) -> Any:
        """A word, or what is read as seconds."""
        if text in self.words:
            return self.words[text]
        if not _NUMBER.fullmatch(text):
            raise self._neither(name, text)
        return self._within(name, float(text), text)

    def from_toml(self, name: str, value: Any) -> Any:
        """A word as text, or a number."""
        if not isinstance(value, str):
            return super().from_toml(name, value)
        if value not in self.words:
            raise self._neither(name, value)
        return self.words[value]

    def _neither(self, name: str, text: str) -> ConfigError:
        return ConfigError(name, f"must be a number of seconds or {' or '.join(self.words)}, not {shown(text)}")


class Keepalive(Kind):
    """``IDLE[/INTERVAL[/COUNT]]`` in whole seconds, or ``none``: (idle, interval, count), or None."""

    metavar = "IDLE[/INTERVAL[/COUNT]]"

    def from_text(self, name: str, text: str) -> tuple[int, int | None, int | None] | None:
        """One to three whole numbers. Their ranges are checked with the other settings."""
        if text == "none":
            return None
        parts = text.split("/")
        if len(parts) > 3 or not all(_WHOLE.fullmatch(part) for part in parts):
            raise ConfigError(name, f"must be {self.metavar} in whole numbers, or none, not {shown(text)}")
        idle, *more = map(int, parts)
        interval, count = [*more, None, None][:2]
        return idle, interval, count

    def from_toml(self, name: str, value: Any) -> tuple[int, int | None, int | None] | None:
        """The text of the command line, or the idle time as an integer."""
        if type(value) is int:
            return value, None, None
        if not isinstance(value, str):
            raise ConfigError(name, f"must be {self.metavar} as text, or a whole number, not {shown(value)}")
        return self.from_text(name, value)


class Whole(Kind):
    """A whole number from ``lowest`` to ``highest``."""

    metavar = "N"

    def __init__(self, lowest: int, highest: int) -> None:
        self.lowest = lowest
        self.highest = highest

    def from_text(self, name: str, text: str) -> int:
        """Decimal digits."""
        if not _WHOLE.fullmatch(text):
            raise ConfigError(name, f"must be a whole number, not {shown(text)}")
        return self._within(name, int(text), text)

    def from_toml(self, name: str, value: Any) -> int:
        """An integer."""
        if type(value) is not int:
            raise ConfigError(name, f"must be a whole number, not {shown(value)}")
        return self._within(name, value, value)

    def _within(self, name: str, value: int, written: Any) -> int:
        if not self.lowest <= value <= self.highest:
            raise ConfigError(name, f"must be from {self.lowest} to {self.highest}, not {shown(written)}")
        return value


class Text(Kind):
    """A line of text. ``check(name, text)`` looks at it more closely: it gives the value, or raises ConfigError."""

    def __init__(self, metavar: str = "TEXT", check: Callable[[str, str], Any] | None = None) -> None:
        self.metavar = metavar
        self.check = check

    def from_text(self, name: str, text: str) -> Any:
        """Any line without control characters that is UTF-8."""
        try:
            bad = len(text.encode()) > MAX_TEXT_BYTES or _CONTROL.search(text)
        except UnicodeEncodeError:  # bytes of the command line that are no UTF-8
            bad = True
        if bad:
            raise ConfigError(name, f"must be UTF-8 text without control characters, not {shown(text)}")
        return text if self.check is None else self.check(name, text)


class OneOf(Kind):
    """One of a few words."""

    def __init__(self, metavar: str, words: tuple[str, ...]) -> None:
        self.metavar = metavar
        self.words = words

    def from_text(self, name: str, text: str) -> str:
        """Exactly one of the words."""
        if text not in self.words:
            raise ConfigError(name, f"must be one of {', '.join(self.words)}, not {shown(text)}")
        return text


class Flag(Kind):
    """On or off; on the command line its presence means ``True``.

    :ivar negative: there is a ``--no-NAME``, too
    """

    metavar = ""

    def __init__(self, *, negative: bool = False) -> None:
        self.negative = negative

    def from_text(self, name: str, text: str) -> bool:
        """A flag takes no text."""
        raise ConfigError(name, f"takes no value, not even {shown(text)}")

    def from_toml(self, name: str, value: Any) -> bool:
        """``true`` or ``false``."""
        if not isinstance(value, bool):
            raise ConfigError(name, f"must be true or false, not {shown(value)}")
        return value


class Many(Kind):
    """An option that may be repeated; in a file one value or an array of them. Its value is a tuple."""

    def __init__(self, each: Kind) -> None:
        self.each = each
        self.metavar = each.metavar

    def from_text(self, name: str, text: str) -> Any:
        """One of the values."""
        return self.each.from_text(name, text)

    def from_toml(self, name: str, value: Any) -> tuple[Any, ...]:
        """All of the values."""
        every = value if isinstance(value, list) else [value]
        if not every:
            raise ConfigError(name, "must have at least one value, not []")
        return tuple(self.each.from_toml(name, one) for one in every)


class Names(Kind):
    """Names of services: ``a,b,c``, in a file an array."""

    metavar = "A,B,…"

    def from_text(self, name: str, text: str) -> tuple[str, ...]:
        """Separated by commas; blanks around a name do not belong to it, and nothing at all means none."""
        names = tuple(one.strip() for one in text.split(",")) if text.strip() else ()
        try:
            return check_services(name, names)
        except ConfigError as error:
            message = str(error).partition(": ")[2]
            raise ConfigError(name, f"{message} (in {shown(text)})") from None

    def from_toml(self, name: str, value: Any) -> tuple[str, ...]:
        """An array of strings, or the text of the command line."""
        if isinstance(value, list):
            return check_services(name, tuple(value))
        taken: tuple[str, ...] = super().from_toml(name, value)
        return taken


class Pairs(Kind):
    """``KEY=VALUE``, repeated; in a file a table. Its value is a mapping."""

    metavar = "KEY=VALUE"

    def from_text(self, name: str, text: str) -> tuple[str, str]:
        """One pair; the value may contain further equals signs."""
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(name, f"must be KEY=VALUE, not {shown(text)}")
        check_meta(name, {key: value})
        return key, value

    def from_toml(self, name: str, value: Any) -> Mapping[str, str]:
        """A table of strings."""
        if not isinstance(value, Mapping):
            raise ConfigError(name, f"must be a table of text, not {shown(value)}")
        return check_meta(name, value)


def peer_id(name: str, text: str) -> str:
    """The check of a :class:`Text` that is the id of a peer (``wire.md`` §4)."""
    check_id(name, text)
    return text
