"""What a TLS connection is bound to: the exporter value of RFC 9266, and the names that its certificate proved."""

from __future__ import annotations

from typing import Any, Final

from OpenSSL.SSL import TLS1_3_VERSION, Connection

from heartbeat.session.channel import Channel

__all__ = ["channel_of", "exporter"]

LABEL: Final = b"EXPORTER-Channel-Binding"
#: Of length zero. On TLS 1.3 no context and an empty one give the same bytes (facts T0.17).
CONTEXT: Final = b""
EXPORTER_BYTES: Final = 32


def exporter(connection: Connection) -> bytes | None:
    """The channel binding ``tls-exporter`` (RFC 9266), 32 bytes; None on a TLS older than 1.3.

    There it is only safe with an extended master secret (RFC 9266 §3), and nobody can ask OpenSSL for that from here.

    :param connection: whose handshake is complete
    """
    if connection.get_protocol_version() < TLS1_3_VERSION:
        return None
    value: bytes = connection.export_keying_material(LABEL, EXPORTER_BYTES, CONTEXT)
    return value


def channel_of(transport: Any, names: tuple[str, ...] = ()) -> Channel:
    """What a session is told when the handshake is complete. Next: :meth:`.Session.secured`.

    :param transport: that provides ISSLTransport, in ``handshakeCompleted``; any but Twisted's own TLS binds nothing
    :param names: that a verified client certificate proved; see :class:`~heartbeat.session.channel.Channel`
    """
    connection = getattr(transport, "getHandle", lambda: None)()  # also through wrappers of Twisted's
    return Channel(True, exporter(connection) if isinstance(connection, Connection) else None, names)
