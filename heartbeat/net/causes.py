"""From an exception of Twisted's or OpenSSL's to the reason on the closed list: connecting, and the TLS handshake.

:func:`name_connect` and :func:`name_tls` are pure. What they do not know is ``unattributed``, or None.
"""

from __future__ import annotations

import errno
from typing import Final

from OpenSSL.SSL import Error as TlsError
from service_identity import CertificateError, VerificationError
from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as WaitedTooLong

from heartbeat.errors import BadCertificate, CertificateNotReady

__all__ = ["name_connect", "name_tls", "tls_text", "x509_trouble"]

#: Of the kernel, for a connect that failed.
_REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET})
_TIMED_OUT: Final = frozenset({errno.ETIMEDOUT})

# What OpenSSL says of a certificate (X509_V_ERR_…, openssl/x509_vfy.h), where it is more than "it does not verify".
_X509: Final = {
    2: "no issuer certificate",
    7: "a bad signature",
    9: "not valid yet",
    10: "has expired",
    18: "self-signed",
    19: "self-signed certificate in the chain",
    20: "unknown issuer",
    21: "unknown issuer",
    23: "revoked",
    24: "issued by what is no authority",
    26: "not for this purpose",
    28: "rejected",
    66: "the key is too weak",
    67: "the key of an authority is too weak",
    68: "the signature is too weak",
}
_EXPIRED: Final = frozenset({9, 10})

# What the peer's alerts and our own errors come to, by the words of OpenSSL; the first that is contained wins.
_WORDS: Final = (
    # The peer says so in an alert (RFC 8446 §6.2); TLS 1.3 tells a client late, after its own handshake is done.
    ("alert certificate expired", "tls_expired", "alert"),
    ("alert unknown ca", "tls_verify", "alert"),
    ("alert certificate required", "tls_verify", "no_certificate"),
    ("alert no certificate", "tls_verify", "no_certificate"),
    ("alert bad certificate", "tls_verify", "alert"),
    ("alert certificate unknown", "tls_verify", "alert"),
    ("alert certificate revoked", "tls_verify", "alert"),
    ("alert unsupported certificate", "tls_verify", "alert"),
    ("alert access denied", "tls_verify", "alert"),
    ("alert unrecognized name", "tls_hostname", "alert"),
    ("unrecognized name", "tls_hostname", "alert"),
    ("alert protocol version", "tls_handshake", "version"),
    # We found out.
    ("certificate verify failed", "tls_verify", "certificate"),
    ("peer did not return a certificate", "tls_verify", "no_certificate"),
    ("unsupported protocol", "tls_handshake", "version"),
    ("wrong ssl version", "tls_handshake", "version"),
    ("version too low", "tls_handshake", "version"),
    ("no protocols available", "tls_handshake", "version"),
    ("no shared cipher", "tls_handshake", "cipher"),
    ("http request", "tls_handshake", "http"),
    ("https proxy request", "tls_handshake", "http"),
    ("wrong version number", "tls_handshake", "not_tls"),
    ("packet length too long", "tls_handshake", "not_tls"),
    ("bad record type", "tls_handshake", "not_tls"),
    ("unknown protocol", "tls_handshake", "not_tls"),
)


def x509_trouble(code: int) -> tuple[str, str]:
    """The reason, and words for people, for an error of OpenSSL's in the verification of a certificate."""
    return "tls_expired" if code in _EXPIRED else "tls_verify", _X509.get(code, f"error {code}")


def name_tls(failed: BaseException) -> tuple[str, str] | None:
    """The reason and the detail of what ended a TLS handshake; None: it was not TLS that ended it."""
    if isinstance(failed, (VerificationError, CertificateError)):
        return "tls_hostname", "name"
    if not isinstance(failed, TlsError):
        return None
    text = tls_text(failed)
    for words, reason, detail in _WORDS:
        if words in text:
            return reason, detail
    return "tls_handshake", "alert" if "alert" in text else "error"


def tls_text(failed: BaseException) -> str:
    """OpenSSL's own words, the first cause first; else what the exception says."""
    queue = failed.args[0] if isinstance(failed, TlsError) and failed.args else None
    if isinstance(queue, (list, tuple)):
        return "; ".join(str(one[-1]) for one in queue if one) or "the TLS connection ended"
    return " ".join(str(failed).split()) or type(failed).__name__


def name_connect(failed: BaseException) -> tuple[str, str]:
    """The reason and the detail of a connection that did not come about: of the phase ``connect``, but for our own
    certificate, which cannot be used (``tls_handshake``) or was not there in time (``tls_timeout``)."""
    known = name_tls(failed)
    if known is not None:
        return known
    if isinstance(failed, BadCertificate):
        return "tls_timeout" if isinstance(failed, CertificateNotReady) else "tls_handshake", "own_certificate"
    if isinstance(failed, (error.DNSLookupError, error.UnknownHostError)):
        return "dns_fail", "lookup"
    code = failed.osError if isinstance(failed, error.ConnectError) else getattr(failed, "errno", None)
    if isinstance(failed, (error.ConnectionRefusedError, ConnectionRefusedError)) or code in _REFUSED:
        return "tcp_refused", _name(code, "refused")
    timed_out = (error.TimeoutError, error.TCPTimedOutError, WaitedTooLong, TimeoutError, CancelledError)
    if isinstance(failed, timed_out) or code in _TIMED_OUT:
        return "tcp_timeout", _name(code, "timeout")
    if isinstance(failed, (error.ConnectError, OSError)):
        return "tcp_unreachable", _name(code, "unreachable")
    return "unattributed", type(failed).__name__


def _name(code: object, otherwise: str) -> str:
    return errno.errorcode.get(code, otherwise) if isinstance(code, int) else otherwise
