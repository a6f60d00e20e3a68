"""Pins: which keys the peer's certificate may have, whoever signed it (the idea of RFC 7469, without HTTP)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from heartbeat.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["POLICIES", "Pins", "Policy", "pin_of", "read_pin"]

#: What is done about a key that is not pinned; :class:`Pins` says what each means.
Policy = Literal["refuse", "alarm", "degrade"]
POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)
PREFIX: Final = "sha256/"
DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Pins:
    """The keys that a peer may have. Keep a backup among them: the pin of a key that waits in a safe.

    :ivar keys: ``sha256/BASE64`` of each, as :func:`pin_of` gives it
    :ivar policy: of a peer with another key. ``refuse``: the connection ends with the cause ``tls_pin``. ``alarm``: it
        goes on, and an :class:`~heartbeat.liveness.events.Unpinned` is told. ``degrade``: that too, but it is kept
        in phase one: no SYNC, no STATE, no resume token is given to it
    :raises ConfigError: ``pins`` is no list of such texts, or ``on_pin_mismatch`` no policy
    """

    keys: tuple[str, ...]
    policy: Policy = "refuse"

    def __post_init__(self) -> None:
        keys: Any = self.keys
        if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable) or not tuple(keys):
            raise ConfigError("pins", f"must be a list of at least one sha256/BASE64, not {keys!r:.80}")
        object.__setattr__(self, "keys", tuple(read_pin("pins", one) for one in keys))
        if self.policy not in POLICIES:
            raise ConfigError("on_pin_mismatch", f"must be one of {', '.join(POLICIES)}, not {self.policy!r:.80}")

    def fit(self, certificate: Certificate | None) -> bool:
        """Whether the key of this certificate is pinned. No certificate has no key."""
        return certificate is not None and pin_of(certificate) in self.keys


def pin_of(certificate: Certificate) -> str:
    """``sha256/`` and the base64 of the digest of its public key (SubjectPublicKeyInfo)."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PREFIX + base64.b64encode(hashlib.sha256(key).digest()).decode()


def read_pin(name: str, text: object) -> str:
    """``text`` as a pin, in the one way in which it is written. Raises ConfigError that names it."""
    if isinstance(text, str) and text.startswith(PREFIX):
        try:
            digest = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            digest = b""
        if len(digest) == DIGEST_BYTES:
            return PREFIX + base64.b64encode(digest).decode()
    raise ConfigError(name, f"must be sha256/ and the base64 of {DIGEST_BYTES} bytes, not {text!r:.80}")
