"""Tests of where the agents of the demo connect."""

from __future__ import annotations

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.server.demo import where_to_connect


class WhereTests(SynchronousTestCase):
    """From the address of a listener to what a client connects to."""

    def test_addresses(self) -> None:
        """A listener on all addresses is reached on the loopback, any other where it is."""
        for address, text in (
            (IPv4Address("TCP", "0.0.0.0", 7600), "tcp:127.0.0.1:7600"),
            (IPv4Address("TCP", "192.0.2.1", 7600), "tcp:192.0.2.1:7600"),
            (IPv6Address("TCP", "::", 7600), "[::1]:7600"),
            (IPv6Address("TCP", "2001:db8::1", 7600), "[2001:db8::1]:7600"),
            (UNIXAddress("/run/a:b=c"), "unix:/run/a\\:b\\=c"),
            (UNIXAddress("\0abstract"), ""),
            (HostnameAddress(b"h", 1), ""),
        ):
            self.assertEqual(where_to_connect(address), text)
