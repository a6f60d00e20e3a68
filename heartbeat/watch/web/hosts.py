"""Under which names the pages may be asked for: a web page of somebody else's must not read ours.

DNS rebinding: a page from ``evil.example`` gives that name a new address, 127.0.0.1 or one of this network, and its
scripts may then read what they find there. What it cannot do is change the ``Host`` that the browser sends.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

__all__ = ["AllowedHosts", "plain_host"]

#: What stands for every name.
ANY: Final = "*"
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[\w.~-]+)?\]|[A-Za-z0-9._-]+)(?::\d*)?\Z", re.ASCII)


class AllowedHosts:
    """The hosts that a request may be meant for: the loopback, the address that it came to, and these.

    :ivar names: more of them, in lower case, without a port; ``*``: any
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = frozenset(names)

    def allow(self, header: str, own: str | None) -> bool:
        """Whether a request with this ``Host`` is meant for us.

        :param header: as it was sent
        :param own: the address that the connection came to; None: it has none (a UNIX socket), which no name leads to
        """
        if own is None or ANY in self.names:
            return True
        host = plain_host(header)
        if not host:
            return False
        if host in self.names or host == "localhost" or host.endswith(".localhost"):  # RFC 6761 §6.3
            return True
        address = _address(host)
        return address is not None and (address.is_loopback or address == _address(own))


def plain_host(header: str) -> str:
    """The host of a ``Host`` header: in lower case, without port, brackets and the dot at the end; ``""``: none."""
    found = _HOST.match(header)
    return "" if found is None else found[1].strip("[]").rstrip(".").lower()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
