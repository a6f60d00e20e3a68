"""Keys and certificates: from PEM to objects that were found to fit together. Nothing half-written gets through."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from heartbeat.errors import BadCertificate

__all__ = ["Material", "Pem", "pem_files"]

#: More than any bundle of authorities: Mozilla's is a quarter of it. It bounds what a wrong path can make us read.
MOST_BYTES: Final = 1024 * 1024
NAMES: Final = ("certificate", "key", "authorities")

_DATE: Final = "%Y-%m-%d %H:%M:%S"
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_KEY: Final = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pem:
    """Text as it stands in files. A certificate needs its key; either end may have only ``authorities``.

    :ivar certificate: the own certificate, then those that lead to an authority
    :ivar key: of the own certificate, without a passphrase
    :ivar authorities: whose certificates the peer's must descend from
    :ivar names: how errors call the three
    """

    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    authorities: bytes | None = None
    names: tuple[str, str, str] = NAMES

    def digest(self) -> bytes:
        """Of the content: the same as long as nothing has changed. Nothing of a key can be learnt from it."""
        digest = hashlib.sha256()
        for part in (self.certificate, self.key, self.authorities):
            digest.update(b"-" if part is None else b"%d:" % len(part) + part)
        return digest.digest()

    def read(self) -> Material:
        """The objects. Raises BadCertificate that names the part and what is wrong with it."""
        chain = () if self.certificate is None else _certificates(self.certificate, self.names[0])
        key = None if self.key is None else _private_key(self.key, self.names[1])
        roots = None if self.authorities is None else _certificates(self.authorities, self.names[2])
        return Material(chain, key, roots, self.names)


@dataclass(frozen=True)
class Material:
    """What one end needs for TLS: give one to :class:`.Certificates`, by a provider of your own.

    :ivar chain: the own certificate first; empty for a client that has none
    :ivar key: its private key
    :ivar authorities: whose certificates the peer's must descend from; None: on a client those of the platform, on a
        server no certificate is asked for
    :ivar names: how errors call the three
    """

    chain: tuple[x509.Certificate, ...] = ()
    key: Any = field(default=None, repr=False)
    authorities: tuple[x509.Certificate, ...] | None = None
    names: tuple[str, str, str] = NAMES

    def check(self, wall: float) -> None:
        """Whether it can be used.

        :param wall: seconds since the epoch
        :raises BadCertificate: it cannot, and why
        """
        if not self.chain and self.key is None:
            return
        if not self.chain or self.key is None:
            missing, there = (0, 1) if not self.chain else (1, 0)
            raise BadCertificate(self.names[missing], f"is missing, and {self.names[there]} is of no use without")
        try:
            fits = self.chain[0].public_key() == self.key.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadCertificate(self.names[0], "has a public key that cannot be read") from error
        if not fits:
            raise BadCertificate(self.names[0], f"does not belong to the key in {self.names[1]}")
        # Only our own: an issuer that has expired may be there for the sake of old clients, beside another way up.
        now, own = datetime.fromtimestamp(wall, UTC), self.chain[0]
        after, before = own.not_valid_after_utc, own.not_valid_before_utc
        if after <= now:
            raise BadCertificate(self.names[0], f"has expired on {after:{_DATE}} UTC")
        if before > now:
            raise BadCertificate(self.names[0], f"is not valid before {before:{_DATE}} UTC")

    @property
    def not_after(self) -> float | None:
        """When our own certificate expires, seconds since the epoch; None without one."""
        return self.chain[0].not_valid_after_utc.timestamp() if self.chain else None

    def digest(self) -> bytes:
        """Of what it comes to; as :meth:`Pem.digest`."""
        digest = hashlib.sha256()
        for one in (*self.chain, *(self.authorities or ())):
            digest.update(one.public_bytes(Encoding.DER))
        if self.key is not None:
            digest.update(self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        digest.update(b"-" if self.authorities is None else b"%d" % len(self.authorities))
        return digest.digest()

    def read(self) -> Material:
        """As :meth:`Pem.read`: itself."""
        return self

    def __str__(self) -> str:
        """For people: whose certificate, which one, until when."""
        if not self.chain:
            return f"{len(self.authorities or ())} authorities, no certificate of our own"
        own = self.chain[0]
        return f"serial {own.serial_number:x}, valid until {own.not_valid_after_utc:{_DATE}} UTC"


def pem_files(
    certificate: str | None = None,
    key: str | None = None,
    authorities: str | None = None,
    names: tuple[str, str, str] | None = None,
) -> Callable[[], Pem]:
    """A provider that reads files anew each time it is asked. Symbolic links are followed as they are then.

    :param names: how errors call the three; None: by their paths
    """
    paths = (certificate, key, authorities)
    called = names if names is not None else (paths[0] or NAMES[0], paths[1] or NAMES[1], paths[2] or NAMES[2])

    def read() -> Pem:
        own, private, roots = (
            None if path is None else _content(path, name) for path, name in zip(paths, called, strict=True)
        )
        return Pem(own, private, roots, called)

    return read


def _content(path: str, name: str) -> bytes:
    file = Path(path)
    try:
        if file.exists() and not file.is_file():  # a pipe would keep the process waiting
            raise BadCertificate(name, "is no regular file")
        with file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadCertificate(name, f"cannot be read: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise BadCertificate(name, f"is longer than {MOST_BYTES} bytes")
    return data


def _certificates(pem: bytes, name: str) -> tuple[x509.Certificate, ...]:
    blocks = _CERTIFICATE.findall(pem)
    if not blocks:
        raise BadCertificate(name, "has no certificate in PEM" if _BEGIN not in pem else "ends within a certificate")
    if pem.count(_BEGIN) != len(blocks):  # what is written right now has its last certificate half
        raise BadCertificate(name, "ends within a certificate")
    try:
        return tuple(x509.load_pem_x509_certificate(block) for block in blocks)
    except ValueError as error:
        raise BadCertificate(name, "has a certificate that cannot be read") from error


def _private_key(pem: bytes, name: str) -> Any:
    block = _KEY.search(pem)
    if block is None:
        raise BadCertificate(name, "has no whole private key in PEM")
    try:
        return load_pem_private_key(block[0], password=None)
    except TypeError as error:
        raise BadCertificate(name, "has a passphrase: nobody is there to type it") from error
    except (ValueError, UnsupportedAlgorithm):  # not chained: the library may quote what it could not read
        raise BadCertificate(name, "has a private key that cannot be read") from None
