"""TLS of a connection: certificates that renew, pins, why a handshake failed, and what ties a shared key to it.

:class:`Certificates` is the one name that a server needs, :class:`Pins` and :func:`tls_client` those of a client.
"""

from __future__ import annotations

from heartbeat.net.tls.certificates import Certificates
from heartbeat.net.tls.endpoints import tls_client, tls_server
from heartbeat.net.tls.material import Material, Pem, pem_files
from heartbeat.net.tls.pins import Pins

__all__ = ["Certificates", "Material", "Pem", "Pins", "pem_files", "tls_client", "tls_server"]
