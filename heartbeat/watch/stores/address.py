"""Where a store is, from the text of ``--store``. No password is ever repeated in a message or a ``repr``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from heartbeat.errors import ConfigError

__all__ = ["StoreAddress", "store_address"]

REDIS_PORT: Final = 6379
#: Redis has 16 databases unless it is told otherwise; more than these it does not count.
MOST_DATABASES: Final = 1 << 16
_FORMS: Final = "memory:, sqlite:PATH, redis://HOST:PORT/DB or rediss://HOST:PORT/DB"
_FILES: Final = {"redis": ("password-file",), "rediss": ("password-file", "ca", "cert", "key")}


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """One store.

    :ivar kind: ``memory``, ``sqlite``, ``redis`` or ``rediss``
    :ivar path: of the SQLite file
    :ivar host: of the Redis
    :ivar files: by name: ``password-file``, ``ca`` (PEM), ``cert`` and ``key`` (PEM, of ours)
    """

    kind: str
    path: str = ""
    host: str = ""
    port: int = REDIS_PORT
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    files: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """As it may be shown: without user and password."""
        if self.kind == "memory":
            return "memory:"
        if self.kind == "sqlite":
            return f"sqlite:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}/{self.database}"

    def read_password(self) -> str | None:
        """The password, from its file if there is one. Raises OSError."""
        path = dict(self.files).get("password-file")
        return self.password if path is None else Path(path).read_text(encoding="utf-8").strip()


def store_address(name: str, text: str) -> StoreAddress:
    """Read the value of an option of this name. Raises ConfigError, in which there is no password."""
    kind, _, rest = text.partition(":")
    if text == "memory:":
        return StoreAddress("memory")
    if kind == "sqlite" and rest:
        return StoreAddress("sqlite", path=rest)
    if kind in _FILES and rest.startswith("//"):
        return _redis(name, kind, text)
    raise ConfigError(name, f"must be {_FORMS}, not {_without_password(text)!r}")


def _redis(name: str, kind: str, text: str) -> StoreAddress:
    shown = _without_password(text)
    try:
        url = urlsplit(text)
        port = url.port or REDIS_PORT
        options = parse_qsl(url.query, strict_parsing=True) if url.query else []
    except ValueError as wrong:
        raise ConfigError(name, f"is no URL ({wrong}): {shown!r}") from None
    if not url.hostname or url.fragment:
        raise ConfigError(name, f"must be {kind}://HOST:PORT/DB, not {shown!r}")
    database = url.path.strip("/") or "0"
    if not (database.isascii() and database.isdecimal() and int(database) < MOST_DATABASES):
        raise ConfigError(name, f"the database must be a whole number: {shown!r}")
    files = dict(options)
    unknown = sorted(set(files).difference(_FILES[kind]))
    if unknown or len(files) < len(options):
        what = f"unknown: {', '.join(unknown)}" if unknown else "one of them stands twice"
        raise ConfigError(name, f"may have ?{'= ?'.join(_FILES[kind])}= ({what})")
    if ("cert" in files) != ("key" in files):
        raise ConfigError(name, "cert and key go together")
    return StoreAddress(
        kind,
        host=url.hostname,
        port=port,
        database=int(database),
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password is not None else None,
        files=tuple(files.items()),
    )


def _without_password(text: str) -> str:
    scheme, slashes, rest = text.partition("//")
    if "@" not in rest:
        return text
    return f"{scheme}{slashes}…@{rest.rpartition('@')[2]}"
