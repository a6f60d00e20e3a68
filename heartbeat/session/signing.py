"""The arithmetic of a shared key (``wire.md`` §5): what both ends derive from it, and the tags of one direction."""

from __future__ import annotations

import hashlib
import hmac
from struct import Struct
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from heartbeat.keys import Secret
from heartbeat.wire.frames import TAG_SIZE

if TYPE_CHECKING:
    from heartbeat.keys import SharedKey

__all__ = ["ACCEPTOR", "CONNECTOR", "Tags", "binding", "derived", "transcript"]

#: Whose tags a key is for: part of what it is derived from, so that nothing can be sent back to where it came from.
CONNECTOR: Final = b"heartbeat 1 connector"
ACCEPTOR: Final = b"heartbeat 1 acceptor"

_DIRECTION_BYTES: Final = 32
_COUNT: Final = Struct(">Q").pack


class Tags(Secret):
    """The tags of one direction of one connection: ``tag(n, x)``, where n counts them from 0.

    The sender calls :meth:`tag` for each frame that it signs, the receiver :meth:`match` for each tag that it reads,
    each in the order of the wire.

    :param key: K_c or K_a
    :ivar count: n of the next tag
    """

    __slots__ = ("_keyed", "count")

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")
        self.count = 0

    def tag(self, data: bytes) -> bytes:
        """The next tag, over ``data``: 16 bytes."""
        keyed = self._keyed.copy()
        keyed.update(_COUNT(self.count) + data)
        self.count += 1
        return keyed.digest()[:TAG_SIZE]

    def match(self, tag: bytes, data: bytes) -> bool:
        """Whether this is the next tag, over ``data``; compared in constant time."""
        return hmac.compare_digest(self.tag(data), tag)


def transcript(connector: bytes, acceptor: bytes) -> bytes:
    """TH: the digest of both HELLO frames, as they were on the wire, headers included."""
    return hashlib.sha256(connector + acceptor).digest()


def binding(exporter: bytes | None) -> bytes:
    """B: what ties the tags to one TLS connection.

    :param exporter: the 32 bytes of RFC 9266; None: there is no TLS
    """
    return b"\x00" if exporter is None else b"\x01" + exporter


def derived(key: SharedKey, label: bytes, digest: bytes, bound: bytes) -> bytes:
    """K_c or K_a, by HKDF-Expand (RFC 5869 §2.3).

    :param label: :data:`CONNECTOR` or :data:`ACCEPTOR`
    :param digest: the :func:`transcript`
    :param bound: the :func:`binding`
    """
    return HKDFExpand(SHA256(), _DIRECTION_BYTES, label + digest + bound).derive(key.prk)
