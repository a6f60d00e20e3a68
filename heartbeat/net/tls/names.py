"""The names that a certificate proves: those of its subjectAltName, and no others (the common name proves nothing)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from heartbeat.config import check_id
from heartbeat.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["names_of"]


def names_of(certificate: Certificate) -> tuple[str, ...]:
    """Each dNSName (in lower case), URI and iPAddress, in the order of the certificate, each once.

    A DNS name with a wildcard names nobody, and neither does what can be no peer's id (``wire.md`` §4): both are left
    out. A certificate whose names cannot be read has none.
    """
    try:
        every = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    found: dict[str, None] = {}
    for one in every:
        name = _text(one)
        if _is_id(name):
            found[name] = None
    return tuple(found)


def _text(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DNSName):
        return "" if "*" in name.value else name.value.lower()
    if isinstance(name, x509.UniformResourceIdentifier):
        return name.value
    return str(name.value) if isinstance(name, x509.IPAddress) else ""


def _is_id(name: str) -> bool:
    try:
        check_id("name", name)
    except ConfigError:
        return False
    return True
