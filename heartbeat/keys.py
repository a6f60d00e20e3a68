"""Shared keys (``wire.md`` §5): the value, the ring of those that an end holds, and the file that they are kept in.

A key file has one key per line, in base64 or in hex; empty lines and lines that begin with ``#`` are skipped. On an
acceptor the id whose proof a key is may stand in front of it; without one, or behind ``*``, it proves membership::

    # the sensors prove that they are ours, the gateway that it is the gateway
    3q2+7wABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhs=
    gateway-7 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f

Only its owner may read or write it. No message ever shows any of it but names of files, numbers of lines and ids.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn, TypeVar

from heartbeat.errors import ConfigError

__all__ = [
    "ANYONE",
    "KEY_BYTES",
    "Keys",
    "Secret",
    "SecretFileError",
    "SharedKey",
    "new_key",
    "read_keys",
    "read_token_keys",
]

#: A key has at least so many bytes: what HMAC-SHA-256 makes of more is no stronger.
KEY_BYTES: Final = 32
#: The id of a key that proves membership and no id.
ANYONE: Final = "*"
#: A connector can offer no more (``wire.md`` §4); the others would never be used.
MOST_OFFERED: Final = 8
#: A file of a key for each of 10,000 peers is under a megabyte.
MOST_FILE_BYTES: Final = 16 * 1024 * 1024

T = TypeVar("T")

_KID_LABEL: Final = b"heartbeat 1 kid"
_SALT: Final = b"heartbeat 1"
_KID_BYTES: Final = 8
_HEX: Final = re.compile(r"[0-9a-fA-F]+\Z")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}\Z")
_NOT_OURS: Final = stat.S_IRWXG | stat.S_IRWXO


class SecretFileError(ConfigError):
    """A file of keys or passwords cannot be used as it is: others may read it, or a line is wrong. Names the file."""


class _Wrong(str):
    """What is wrong with a line."""

    __slots__ = ()


class Secret:
    """Something that is never written anywhere: it has no text, and is neither copied nor pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled or copied")


class SharedKey(Secret):
    """A key that both ends hold.

    Only what is derived from it is kept (PRK of ``wire.md`` §5, as secret as the key). Two are equal if their keys and
    their ids are.

    :param secret: at least 32 bytes from a random source (:func:`new_key`), never a password
    :param id: the peer whose proof it is; ``*``: it proves membership and no id. A connector's has none
    :raises ConfigError: the secret is too short or no bytes; shows none of it

    :ivar kid: its name on the wire, 16 hex digits; no secret
    :ivar prk: what the keys of a connection are made from
    """

    __slots__ = ("id", "kid", "prk")

    def __init__(self, secret: bytes, id: str = ANYONE) -> None:
        if not isinstance(secret, (bytes, bytearray)):
            raise ConfigError("key", f"must be bytes, not {type(secret).__name__}")
        if (size := len(secret)) < KEY_BYTES:
            del secret  # it may be a password, and tracebacks may show variables
            raise ConfigError("key", f"must be at least {KEY_BYTES} random bytes, not {size}")
        self.id = id
        self.kid = hashlib.sha256(_KID_LABEL + secret).digest()[:_KID_BYTES].hex()
        self.prk = hmac.digest(_SALT, secret, "sha256")  # HKDF-Extract (RFC 5869 §2.2)

    def __repr__(self) -> str:
        return f"<SharedKey {self.kid} for {self.id!r}>"

    def under(self, id: str) -> SharedKey:
        """The same key as the proof of another id."""
        other: SharedKey = object.__new__(SharedKey)
        other.id, other.kid, other.prk = id, self.kid, self.prk
        return other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SharedKey):
            return NotImplemented
        return hmac.compare_digest(self.prk, other.prk) and self.id == other.id

    def __hash__(self) -> int:
        return hash((self.kid, self.id))


class Keys(tuple[SharedKey, ...]):  # noqa: SLOT001  # a tuple has no room for slots of its own
    """The keys of one end, the preferred one first, and who proves what with them. Immutable.

    A key may be listed under several ids: it then proves each of them.

    :param keys: a sequence of :class:`SharedKey`, or on an acceptor a mapping from ids (and ``*``) to one or more keys
    :raises ConfigError: it holds something else
    """

    _ids: dict[str, frozenset[str]]
    _keys: dict[str, SharedKey]
    _listed: frozenset[str]

    def __new__(cls, keys: Iterable[SharedKey] | Mapping[str, Any] = ()) -> Keys:
        """The same object for what is one already."""
        if isinstance(keys, Keys):
            return keys
        ring = super().__new__(cls, _flat(keys))
        by_kid: dict[str, set[str]] = {}
        for key in ring:
            by_kid.setdefault(key.kid, set()).add(key.id)
        ring._ids = {kid: frozenset(ids) for kid, ids in by_kid.items()}
        ring._keys = {key.kid: key for key in reversed(ring)}
        ring._listed = frozenset(key.id for key in ring if key.id != ANYONE)
        return ring

    def __repr__(self) -> str:
        return f"<Keys {', '.join(self._keys)}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self:
            raise TypeError("Keys cannot be pickled or copied")
        return Keys, ()

    @property
    def kids(self) -> tuple[str, ...]:
        """The names that a connector lists."""
        return tuple(dict.fromkeys(key.kid for key in self))[:MOST_OFFERED]

    @property
    def listed(self) -> frozenset[str]:
        """The ids that are never given without a key of their own."""
        return self._listed

    def pick(self, kids: Iterable[str]) -> SharedKey | None:
        """The first key of these names that is here; None: none is."""
        for kid in kids:
            key = self._keys.get(kid.lower())
            if key is not None:
                return key
        return None

    def proves(self, key: SharedKey) -> frozenset[str]:
        """The ids that a key is listed under; ``*`` among them: it proves membership, too."""
        return self._ids[key.kid]


def _flat(keys: Any) -> list[SharedKey]:
    """All keys of a sequence or a mapping, each once, in order. Raises ConfigError."""
    if isinstance(keys, (str, bytes, SharedKey)) or not isinstance(keys, Iterable):
        raise ConfigError("keys", f"must be a list of SharedKey, or ids with theirs, not {type(keys).__name__}")
    found: dict[SharedKey, None] = {}
    if isinstance(keys, Mapping):
        for id, several in keys.items():
            if not isinstance(id, str):
                raise ConfigError("keys", f"an id must be text, not {id!r:.80}")
            for key in (several,) if isinstance(several, SharedKey) else several:
                found[_checked(key).under(id)] = None
    else:
        for key in keys:
            found[_checked(key)] = None
    return list(found)


def _checked(key: Any) -> SharedKey:
    if not isinstance(key, SharedKey):
        raise ConfigError("keys", f"must be SharedKey objects, not {type(key).__name__}")
    return key


def new_key() -> str:
    """A new key of 32 bytes from the system's random source, as a line of a key file has it."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def read_keys(path: str, *, ids: bool = False) -> Keys:
    """The keys in a file; see the module for its format.

    :param ids: an id may stand in front of a key, as an acceptor needs it
    :raises OSError: the file cannot be read
    :raises SecretFileError: others than its owner may read or write it, or a line is wrong; names file and line
    """
    found = _each(path, lambda words: _shared_key(words, ids))
    return Keys(found)


def read_token_keys(path: str) -> tuple[bytes, ...]:
    """The keys of resume tokens in a file: as shared keys, of 32 bytes exactly, the newest first, as Fernet takes them.

    Raises as :func:`read_keys`.
    """
    return tuple(_each(path, _token_key))


def _shared_key(words: str, ids: bool) -> SharedKey | _Wrong:
    *before, text = words.rsplit(None, 1)
    id = before[0] if before else ANYONE
    if before and not ids:
        return _Wrong("has an id in front of its key: that belongs into the file of an acceptor")
    if id.startswith("~"):
        return _Wrong("no id starts with ~")
    secret = decoded(text)
    if secret is None or len(secret) < KEY_BYTES:
        return _Wrong(f"is no key: at least {KEY_BYTES} bytes in base64 or hex are needed")
    return SharedKey(secret, id)


def _token_key(text: str) -> bytes | _Wrong:
    secret = decoded(text)
    if secret is None or len(secret) != KEY_BYTES:
        return _Wrong(f"is no key: {KEY_BYTES} bytes in base64 or hex are needed")
    return base64.urlsafe_b64encode(secret)


def _each(path: str, read: Callable[[str], T | _Wrong]) -> list[T]:
    """What ``read`` makes of each line of a file of secrets.

    What is wrong is returned and raised here, where no variable holds a secret: tracebacks may show variables.
    """
    found = [(at, read(line)) for at, line in secret_lines(path)]
    wrong = [(at, one) for at, one in found if isinstance(one, _Wrong)]
    if wrong:
        del found
        at, complaint = wrong[0]
        raise SecretFileError(at, complaint)
    if not found:
        raise SecretFileError(path, "has no key in it")
    return [one for _, one in found if not isinstance(one, _Wrong)]


def secret_lines(path: str) -> list[tuple[str, str]]:
    """The lines of a file of secrets that say something, each with where it stands (``FILE:LINE``).

    :raises OSError: it cannot be read
    :raises SecretFileError: others may read or write it, it is no regular file, too long or no text
    """
    # Without waiting: a pipe would keep the process until somebody writes into it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        seen = os.fstat(descriptor)  # of what was opened, whatever has its name by now
        if not stat.S_ISREG(seen.st_mode):
            raise SecretFileError(path, "is not a regular file")
        if os.name == "posix" and seen.st_mode & _NOT_OURS:
            raise SecretFileError(
                path, f"has mode {stat.S_IMODE(seen.st_mode):04o}: others must not reach it, chmod 600"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MOST_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MOST_FILE_BYTES:
        del data
        raise SecretFileError(path, f"is longer than {MOST_FILE_BYTES} bytes")
    lines = [_text(line) for line in data.split(b"\n")]
    if None in lines:
        number = lines.index(None) + 1
        del data, lines
        raise SecretFileError(f"{path}:{number}", "is not UTF-8")
    told = ((number, (line or "").strip()) for number, line in enumerate(lines, 1))
    return [(f"{path}:{number}", line) for number, line in told if line and not line.startswith("#")]


def decoded(text: str) -> bytes | None:
    """The bytes that a word of a key file stands for; None if it stands for none."""
    if _HEX.match(text):  # base64 of a key has other characters, too, but for one in 10^19
        return bytes.fromhex(text) if len(text) % 2 == 0 else None
    if not _BASE64.match(text):
        return None
    body = text.rstrip("=")
    try:  # both alphabets, with or without padding
        return base64.b64decode(body.replace("-", "+").replace("_", "/") + "=" * (-len(body) % 4), validate=True)
    except binascii.Error:
        return None


def _text(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None
