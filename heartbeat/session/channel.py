"""What a transport has proved by the time that frames may pass: the shell tells the session, once."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["PLAIN", "Channel"]


class Channel(NamedTuple):
    """Given to :meth:`.Session.secured` when the handshake of TLS is complete; without TLS nobody calls it.

    :ivar tls: it is TLS, of any version
    :ivar exporter: on TLS 1.3 the 32 bytes of RFC 9266 (label ``EXPORTER-Channel-Binding``, context of length zero);
        None elsewhere
    :ivar names: at an acceptor, the names that a *verified* client certificate proves: dNSName (in lower case, no
        wildcards), URI and iPAddress of its subjectAltName, in their order there. Empty: there is no such certificate
    """

    tls: bool = False
    exporter: bytes | None = None
    names: tuple[str, ...] = ()


PLAIN: Final = Channel()
