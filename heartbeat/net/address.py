"""How an address is shown, what counts as one address for the limits, and what kind of transport leads there."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import ISSLTransport, IUNIXTransport

__all__ = ["counted_as", "kind_of", "shown"]

# One household or host gets a /64, so its single addresses say nothing.
NETWORK_BITS: Final = 64


def shown(address: Any) -> str:
    """``host:port``, ``[host]:port`` for IPv6, ``""`` for what has no such thing. A mapped IPv4 is shown as IPv4."""
    if isinstance(address, (IPv4Address, IPv6Address)):
        host = _plain(address.host)
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    return "" if isinstance(address, UNIXAddress) or address is None else str(address)


def counted_as(address: Any) -> str:
    """What a limit per address counts: the IPv4 host, the /64 of an IPv6 host; ``""``: not limited."""
    if not isinstance(address, (IPv4Address, IPv6Address)):
        return ""
    host = _plain(address.host)
    try:
        parsed = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a host name, as simulated transports have
        return host
    if parsed.version == 4:
        return host
    return str(ipaddress.ip_network((parsed, NETWORK_BITS), strict=False))


def _plain(host: str) -> str:
    """A mapped IPv4 host as IPv4, however it is written: behind a PROXY header the text is somebody else's."""
    if ":" not in host:
        return host
    try:
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
    except ValueError:
        return host
    return host if mapped is None else str(mapped)


def kind_of(transport: Any) -> str:
    """``tls``, ``unix`` or ``tcp``: as a peer's ``transport`` says it."""
    if ISSLTransport.providedBy(transport):
        return "tls"
    return "unix" if IUNIXTransport.providedBy(transport) else "tcp"
