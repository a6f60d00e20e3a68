"""What servers keep of their peers beyond their memory: engines behind :class:`~heartbeat.interfaces.IPeerStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from heartbeat.errors import ConfigError, MissingExtra
from heartbeat.watch.stores.address import StoreAddress, store_address

if TYPE_CHECKING:
    from heartbeat.liveness.peer import Clocks

__all__ = ["MOST_AT_ONCE", "StoreAddress", "make_store", "store_address"]

#: Records and failures in one call: some 3 ms to make or to take in, and no beat should wait longer; less than a
#: millisecond of a Redis, which does nothing else meanwhile.
MOST_AT_ONCE: Final = 50
#: Seconds to connect to a Redis.
CONNECT_TIMEOUT: Final = 2.0


def make_store(
    address: StoreAddress, clocks: Clocks, *, reactor: Any, cluster: str = "", node: str = "", keep_failures: int = 1000
) -> Any:
    """The engine for an address, an IPeerStore that is not open yet; None for ``memory:``, which needs none.

    :param cluster: the name of the fleet
    :param node: the name of this server
    :raises MissingExtra: a Redis, and txredisapi is not installed
    :raises ConfigError: a certificate that is none
    :raises OSError: a file cannot be read
    """
    if address.kind == "memory":
        return None
    if address.kind == "sqlite":
        from heartbeat.watch.stores.sqlite import SqliteStore

        return SqliteStore(address.path, clocks.wall, keep_failures=keep_failures, reactor=reactor)
    from heartbeat.watch.stores.redis import RedisStore

    try:
        return RedisStore(
            reactor,
            _endpoint(address, reactor),
            username=address.username,
            password=address.read_password(),
            database=address.database,
            cluster=cluster,
            node=node,
            keep_failures=keep_failures,
        )
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "txredisapi":
            raise
        raise MissingExtra(f"--store {address}", "redis") from missing


def _endpoint(address: StoreAddress, reactor: Any) -> Any:
    """Reaches a Redis; with TLS its certificate must be for its host, and be signed by whom we trust."""
    from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS

    plain = HostnameEndpoint(reactor, address.host, address.port, timeout=CONNECT_TIMEOUT)
    if address.kind == "redis":
        return plain
    from pathlib import Path

    from cryptography.x509 import load_pem_x509_certificates
    from OpenSSL.crypto import X509, Error
    from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates

    files = dict(address.files)
    trusted = own = None
    try:
        if "ca" in files:
            every = load_pem_x509_certificates(Path(files["ca"]).read_bytes())
            trusted = trustRootFromCertificates([Certificate(X509.from_cryptography(one)) for one in every])
        if "cert" in files:
            own = PrivateCertificate.loadPEM(Path(files["cert"]).read_bytes() + Path(files["key"]).read_bytes())
        return wrapClientTLS(optionsForClientTLS(address.host, trustRoot=trusted, clientCertificate=own), plain)
    except (Error, ValueError) as wrong:
        raise ConfigError(f"--store {address}", f"a certificate or key is none: {wrong}") from wrong
