"""A config file: TOML whose keys are the names of the options. Every complaint names the file and the line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from heartbeat.errors import ConfigError

__all__ = ["ConfigFile", "read_config", "read_text"]

#: No hand-written file of settings is longer. It bounds how long a slip of the pen can keep a running server busy.
MAX_BYTES: Final = 65_536

_AT_LINE: Final = re.compile(r"\(at line (\d+)")


class ConfigFile:
    """One file as it was when it was read.

    :ivar path: as its user wrote it
    :ivar values: what the TOML says
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self._lines = text.split("\n")
        try:
            self.values: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}:{self._line_of(error)}", f"is not TOML: {error}") from None
        except RecursionError:
            raise ConfigError(path, "is nested too deeply") from None

    def _line_of(self, error: tomllib.TOMLDecodeError) -> int:
        """Where ``tomllib`` gave up; it says so in its message only (and the end of the document without a number)."""
        found = _AT_LINE.search(str(error))
        return int(found[1]) if found else len(self._lines)

    def line(self, *keys: str) -> int:
        """The number of the line on which the value under ``keys`` begins; 1 where it cannot be told.

        ``tomllib`` keeps no positions, but what it makes of the first n lines does tell: a key stands directly behind
        the longest beginning of the file that can be read and does not have it. Slow, and only needed for complaints.
        """
        before = 0
        for count in range(1, len(self._lines) + 1):
            try:
                table: Any = tomllib.loads("\n".join(self._lines[:count]) + "\n")
            except (tomllib.TOMLDecodeError, RecursionError):
                continue  # in the middle of a value of several lines
            for key in keys:
                table = table.get(key) if isinstance(table, Mapping) else None
            if table is not None:
                return before + 1
            before = count
        return 1

    def at(self, *keys: str) -> str:
        """``FILE:LINE`` of the value under ``keys``."""
        return f"{self.path}:{self.line(*keys)}"

    def name(self, *keys: str) -> str:
        """``FILE:LINE: KEY``: how an error calls the value under ``keys``."""
        return f"{self.at(*keys)}: {'.'.join(keys)}"


def read_config(path: str) -> ConfigFile:
    """The file at ``path``.

    :raises OSError: it cannot be read
    :raises ConfigError: it is too long, no UTF-8 or no TOML; names the file and the line
    """
    return ConfigFile(path, read_text(path, MAX_BYTES))


def read_text(path: str, most: int) -> str:
    """A whole regular file of UTF-8.

    :raises OSError: it cannot be read, or is no regular file (a pipe would keep the process waiting)
    :raises ConfigError: it is longer than ``most`` bytes, or not UTF-8
    """
    file = Path(path)
    if file.exists() and not file.is_file():
        raise OSError(None, "not a regular file", path)
    with file.open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ConfigError(path, f"is longer than {most} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(path, f"is not UTF-8 (line {data[: error.start].count(10) + 1})") from None
