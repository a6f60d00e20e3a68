"""How addresses are shown, and which of them count as one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.net.address import counted_as, shown


def v4(host: str, port: int = 7600) -> IPv4Address:
    """An IPv4 address."""
    return IPv4Address("TCP", host, port)


def v6(host: str, port: int = 7600) -> IPv6Address:
    """An IPv6 address."""
    return IPv6Address("TCP", host, port)


class ShownTests(SynchronousTestCase):
    """What people read."""

    def test_ipv4(self) -> None:
        """An IPv4 address is host:port."""
        self.assertEqual(shown(v4("192.0.2.7", 41000)), "192.0.2.7:41000")

    def test_ipv6(self) -> None:
        """An IPv6 host stands in brackets, so that the port is seen; a scope stays with it."""
        self.assertEqual(shown(v6("2001:db8::1")), "[2001:db8::1]:7600")
        self.assertEqual(shown(v6("fe80::1%eth0", 1)), "[fe80::1%eth0]:1")

    def test_mapped(self) -> None:
        """A mapped IPv4 address, as dual stack listeners report it, is shown as IPv4, however it is written."""
        for host in ("::ffff:192.0.2.7", "::ffff:c000:207", "::FFFF:192.0.2.7", "0:0:0:0:0:ffff:c000:0207"):
            self.assertEqual(shown(v6(host)), "192.0.2.7:7600", host)

    def test_nearly_mapped(self) -> None:
        """What only begins like a mapped address is an IPv6 address."""
        self.assertEqual(shown(v6("::ffff:0:1:2")), "[::ffff:0:1:2]:7600")
        self.assertEqual(shown(v6("::ffff:x")), "[::ffff:x]:7600")

    def test_no_address(self) -> None:
        """UNIX sockets and transports without an address have none to show."""
        self.assertEqual([shown(one) for one in (UNIXAddress(None), UNIXAddress("/run/x"), None)], ["", "", ""])

    def test_foreign_addresses(self) -> None:
        """Any other address is shown as it shows itself: never an exception for a strange transport."""
        address = HostnameAddress(b"example.net", 1)
        self.assertEqual(shown(address), str(address))


class CountedTests(SynchronousTestCase):
    """What the limit per address counts."""

    def test_ipv4(self) -> None:
        """The ports of one IPv4 host are one address."""
        self.assertEqual(counted_as(v4("192.0.2.7", 1)), counted_as(v4("192.0.2.7", 2)))
        self.assertNotEqual(counted_as(v4("192.0.2.7")), counted_as(v4("192.0.2.8")))

    def test_mapped(self) -> None:
        """A host is the same over a dual stack listener, and two mapped hosts are not one network."""
        self.assertEqual(counted_as(v6("::ffff:192.0.2.7")), counted_as(v4("192.0.2.7")))
        self.assertEqual(counted_as(v6("0:0:0:0:0:ffff:c000:207")), "192.0.2.7")
        self.assertNotEqual(counted_as(v6("::ffff:192.0.2.7")), counted_as(v6("::ffff:192.0.2.8")))

    def test_a_network_is_one(self) -> None:
        """The addresses of one /64 are one; those of the next are another."""
        one = counted_as(v6("2001:db8:0:1::1"))
        self.assertEqual(one, "2001:db8:0:1::/64")
        self.assertEqual(counted_as(v6("2001:db8:0:1:ffff:ffff:ffff:ffff")), one)
        self.assertNotEqual(counted_as(v6("2001:db8:0:2::1")), one)

    def test_scopes(self) -> None:
        """A scope id does not make another network, nor an error."""
        self.assertEqual(counted_as(v6("fe80::1%eth0")), counted_as(v6("fe80::2%eth1")))

    def test_not_limited(self) -> None:
        """What has no IP address is not limited."""
        for address in (UNIXAddress(None), None, HostnameAddress(b"example.net", 1)):
            self.assertEqual(counted_as(address), "")

    def test_names(self) -> None:
        """A transport that reports a name is counted by it."""
        self.assertEqual(counted_as(v4("client")), "client")

    @settings(deadline=None)
    @given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
    def test_any_network(self, network: int, one: int, other: int) -> None:
        """Two addresses count as one exactly when their upper 64 bits are the same, whatever the lower ones are."""
        groups = [f"{(network << 64 | host) >> shift & 0xFFFF:x}" for host in (one, other) for shift in SHIFTS]
        first, second = v6(":".join(groups[:8])), v6(":".join(groups[8:]))
        if network:  # the network of all zeros holds the mapped addresses
            self.assertEqual(counted_as(first), counted_as(second))
            neighbour = [f"{(network ^ 1) >> shift & 0xFFFF:x}" for shift in SHIFTS[4:]] + groups[4:8]
            self.assertNotEqual(counted_as(first), counted_as(v6(":".join(neighbour))))


SHIFTS = range(112, -1, -16)
