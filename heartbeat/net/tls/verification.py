"""What was found out about the certificate of one peer, while OpenSSL verified it.

OpenSSL reports all that it dislikes in the same words, and the peer hears an alert only if it was OpenSSL that said
no. So the verdict on the name and on the pins is given here, within the handshake, and what it was is kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import idna
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.logger import Logger

from heartbeat.net.causes import x509_trouble
from heartbeat.net.tls.pins import pin_of

if TYPE_CHECKING:
    from OpenSSL.crypto import X509

    from heartbeat.net.tls.pins import Pins

__all__ = ["Verification", "is_address", "server_name", "verification_of"]

log = Logger()
# Wider than DNS: an underscore is common where services are named by people.
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,253}\Z")
#: A certificate is wanted, and none is a failure.
REQUIRED: Final = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT


class Verification:
    """The verdict on one peer's certificate. :func:`verification_of` finds it at the transport.

    :param hostname: the name or address that the certificate must be for; None: any (a client's)
    :param pins: of which those with the policy ``refuse`` are looked at here
    :ivar trouble: reason, detail, and words for people; None while nothing was found
    """

    __slots__ = ("_hostname", "_pins", "trouble")

    def __init__(self, hostname: str | None = None, pins: Pins | None = None) -> None:
        self._hostname = hostname
        self._pins = pins if pins is not None and pins.policy == "refuse" else None
        self.trouble: tuple[str, str, str] | None = None

    def watch(self, connection: Any, protocol: Any) -> Any:
        """Verify what this connection of OpenSSL will be shown; gives the connection.

        :param protocol: of Twisted's TLS layer, which keeps the connection
        """
        connection.set_verify(REQUIRED, self._verify)
        protocol.heartbeat_verification = self
        return connection

    def _verify(self, connection: Any, certificate: X509, code: int, depth: int, well: int) -> bool:
        """OpenSSL's callback: an exception here would be lost, and the handshake with it."""
        try:
            return self.judge(certificate, code, depth, bool(well))
        except Exception:  # noqa: BLE001  whatever it is, the certificate was not verified
            log.failure("a certificate could not be verified")
            return False

    def judge(self, certificate: X509, code: int, depth: int, well: bool) -> bool:
        """OpenSSL's verdict on one certificate of the chain, the issuers first, and ours on the last."""
        if not well:
            reason, words = x509_trouble(code)
            whose = "" if depth == 0 else " (an issuer)"
            self.trouble = reason, "certificate", f"certificate verify failed: {words}{whose}"
            return False
        if depth == 0:
            self.trouble = self._own(certificate)
        return self.trouble is None

    def _own(self, certificate: X509) -> tuple[str, str, str] | None:
        shown = certificate.to_cryptography()
        name = self._hostname
        if name is not None:
            try:
                if is_address(name):
                    verify_certificate_ip_address(shown, name)
                else:
                    verify_certificate_hostname(shown, name)
            except (VerificationError, CertificateError) as wrong:
                words = "it has no names" if isinstance(wrong, CertificateError) else "it is for other names"
                return "tls_hostname", "name", f"the certificate is not for {name}: {words}"
        if self._pins is not None and not self._pins.fit(shown):
            return "tls_pin", "key", f"the key of the certificate is not pinned: {pin_of(shown)}"
        return None


def verification_of(transport: Any) -> Verification | None:
    """The one that watched this transport, also through wrappers of Twisted's; None: none did."""
    found = getattr(transport, "heartbeat_verification", None)
    return found if isinstance(found, Verification) else None


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address: certificates have those apart from names, and SNI has none (RFC 6066)."""
    return isIPAddress(host) or isIPv6Address(host)


def server_name(host: str) -> bytes:
    """A host name as it is asked for (SNI).

    :raises ValueError: it is no name
    """
    if not host.isascii():
        return idna.encode(host)
    if not _NAME.match(host):
        raise ValueError("no host name")
    return host.encode("ascii")
