"""TLS for probes: the platform's trust or a CA of one's own, and a note of how far it came and what was wrong."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import idna
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.logger import Logger
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from heartbeat.probes.reasons import Progress, Trouble

if TYPE_CHECKING:
    from OpenSSL.crypto import X509
    from twisted.protocols.tls import TLSMemoryBIOProtocol

__all__ = ["Policy"]

log = Logger()
REQUIRED: Final = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
# Of x509_vfy.h.
TIMES: Final = {9: "not valid yet", 10: "expired"}
ISSUERS: Final = {
    18: "self-signed certificate",
    19: "self-signed certificate in the chain",
    20: "unknown issuer",
    21: "unknown issuer",
    23: "revoked",
    26: "not for this purpose",
}


@implementer(IPolicyForHTTPS)
class Policy:
    """Who is believed, for the requests of one target. One request at a time, which :meth:`begin` is told of.

    :param trust: what Twisted takes as ``trustRoot``; None: the platform's
    :ivar progress: of the request that is under way
    """

    def __init__(self, trust: Any = None) -> None:
        options: Any = CertificateOptions(trustRoot=platformTrust() if trust is None else trust)
        self._context: SSL.Context = options.getContext()
        self._context.set_info_callback(self._moved)
        # Of the request that is under way: more than one where a host has addresses of both families.
        self._open: list[tuple[SSL.Connection, TLSMemoryBIOProtocol]] = []
        self.progress = Progress()

    def begin(self, tls: bool) -> Progress:
        """A new request."""
        self.progress = Progress(tls=tls)
        return self.progress

    def end(self) -> None:
        """The request is over. Twisted would wait for the other end's last word in TLS, which may never come."""
        over, self._open = self._open, []
        for _, transport in over:
            if transport.connected:
                transport.abortConnection()

    def creatorForNetloc(self, hostname: bytes, port: int) -> Creator:
        """For one connection."""
        return Creator(self, hostname.decode("ascii"))

    def connect(self, hostname: str, transport: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection of OpenSSL that verifies this name."""
        progress = self.progress
        progress.connected = True
        connection = SSL.Connection(self._context, None)
        self._open.append((connection, transport))
        if not _is_address(hostname):
            connection.set_tlsext_host_name(hostname.encode("ascii") if hostname.isascii() else idna.encode(hostname))
        connection.set_verify(REQUIRED, partial(_verify, progress, hostname))
        return connection

    def _moved(self, connection: SSL.Connection, where: int, result: int) -> None:
        if where & SSL.SSL_CB_HANDSHAKE_DONE and any(connection is one for one, _ in self._open):
            self.progress.secured = True


@implementer(IOpenSSLClientConnectionCreator)
class Creator:
    """Makes the TLS of one connection."""

    def __init__(self, policy: Policy, hostname: str) -> None:
        self._policy = policy
        self._hostname = hostname

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """TCP is there."""
        return self._policy.connect(self._hostname, tlsProtocol)


def _verify(  # noqa: PLR0917  the arguments are OpenSSL's
    progress: Progress, hostname: str, connection: SSL.Connection, certificate: X509, code: int, depth: int, well: int
) -> bool:
    """OpenSSL's callback: an exception in it would be lost, and the handshake with it."""
    try:
        if not well:
            progress.certificate = _trouble(code)
        elif depth == 0:
            progress.certificate = _named(certificate, hostname)
    except Exception:  # noqa: BLE001  whatever it is, the certificate was not verified
        log.failure("a certificate could not be verified")
        return False
    return progress.certificate is None


def _trouble(code: int) -> Trouble:
    if code in TIMES:
        return Trouble("tls_expired", TIMES[code])
    return Trouble("tls_verify", ISSUERS.get(code, f"error {code} of OpenSSL"))


def _named(certificate: X509, hostname: str) -> Trouble | None:
    shown = certificate.to_cryptography()
    try:
        if _is_address(hostname):
            verify_certificate_ip_address(shown, hostname)
        else:
            verify_certificate_hostname(shown, hostname)
    except (VerificationError, CertificateError):
        return Trouble("tls_hostname", f"not for {hostname}")
    return None


def _is_address(host: str) -> bool:
    return isIPAddress(host) or isIPv6Address(host)
