"""Requests that are meant for somebody else: what a browser sends for a page that had its name pointed at us."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.watch.web import make_site
from heartbeat.watch.web.hosts import AllowedHosts, plain_host
from tests.watch.web.browser import WebCase

OWN = "192.0.2.80"


class HostTests(SynchronousTestCase):
    """Which names are ours."""

    def allowed(self, header: str, *names: str, own: str | None = OWN) -> bool:
        """Whether such a Host is."""
        return AllowedHosts(names).allow(header, own)

    def test_the_loopback(self) -> None:
        """By name or address, with any port."""
        for header in (
            "localhost",
            "LOCALHOST:7680",
            "a.localhost",
            "127.0.0.1:7680",
            "127.9.9.9",
            "[::1]:80",
            "[::1]",
            "localhost.",
        ):
            self.assertTrue(self.allowed(header), header)

    def test_our_own_address(self) -> None:
        """The one that the connection came to, however it is written."""
        self.assertTrue(self.allowed(f"{OWN}:7680"))
        self.assertTrue(self.allowed(OWN, own=f"::ffff:{OWN}"))
        self.assertTrue(self.allowed("[2001:DB8:0::1]:7680", own="2001:db8::1"))
        self.assertTrue(self.allowed("[fe80::1]", own="fe80::1%eth0"))

    def test_everybody_else(self) -> None:
        """A name that leads to us, another address, and what only looks like ours."""
        for header in (
            "evil.example", "evil.example:7680", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.81", "",
            "evil.example/localhost", "user@localhost", "localhost localhost", "[::1", "[evil]", "2130706433", "0x7f.1",
            "notlocalhost", "[::2]",
        ):  # fmt: skip
            self.assertFalse(self.allowed(header), header)

    def test_given_names(self) -> None:
        """Those of --web-host, in any case and with any port; a star is for all."""
        self.assertTrue(self.allowed("Heartbeat.Example:8443", "heartbeat.example"))
        self.assertFalse(self.allowed("other.example", "heartbeat.example"))
        self.assertTrue(self.allowed("other.example", "*"))
        self.assertTrue(self.allowed("203.0.113.5", "203.0.113.5"))

    def test_unix(self) -> None:
        """No name of DNS leads to a UNIX socket."""
        self.assertTrue(self.allowed("whatever", own=None))

    def test_plain(self) -> None:
        """Without port, brackets and the dot at the end."""
        for header, host in (("A.b.:1", "a.b"), ("[::1]:2", "::1"), ("a:b", ""), ("a b", ""), ("1.2.3.4:", "1.2.3.4")):
            self.assertEqual(plain_host(header), host)


class SiteTests(WebCase):
    """What such a request gets."""

    def make_site(self) -> Any:
        """A site that has a name."""
        self.hosts = AllowedHosts(["pages.example"])
        return make_site(self.registry, self.failures, reactor=self.clock, hosts=self.hosts)

    def test_refused(self) -> None:
        """421 and one line that says how to allow it, JSON under /api; whatever the path, and nothing of ours in it."""
        self.join("secret")
        for path in ("/", "/api/peers", "/api/peers/secret", "/metrics", "/health", "/nothing"):
            answered = self.ask(path, Host="evil.example")
            self.assertEqual(answered.status, 421, path)
            self.assertIn("--web-host", answered.text)
            self.assertNotIn("secret", answered.text)
            self.assertEqual(answered.text.count("\n"), 1)
            self.assertEqual("error" in answered.text, path.startswith("/api"))

    def test_allowed(self) -> None:
        """Our own names, the given ones, and those that are given later."""
        self.assertEqual(self.ask("/health", Host="pages.example").status, 200)
        self.assertEqual(self.ask("/health", Host="more.example").status, 421)
        self.hosts.names = frozenset({"more.example"})
        self.assertEqual(self.ask("/health", Host="more.example").status, 200)

    def test_probes(self) -> None:
        """Whether we live and are ready is told under any name: a balancer asks by its own, and it is no secret."""
        for path in ("/livez", "/readyz"):
            self.assertEqual(self.ask(path, Host="hb1.internal:7680").status, 200, path)
        for path in ("//livez", "/livez/", "/api/../livez", "/readyz/api/peers"):  # only looks like one
            self.assertEqual(self.ask(path, Host="hb1.internal:7680").status, 421, path)

    def test_long_and_strange(self) -> None:
        """What was sent is shown cut and quoted."""
        answered = self.ask("/", Host="<b>" + "x" * 5000)
        self.assertEqual(answered.status, 421)
        self.assertLess(len(answered.body), 400)
        self.assertTrue(answered.headers["content-type"].startswith("text/plain"))

    def test_no_host(self) -> None:
        """HTTP/1.0 without one is no browser: a balancer's check."""
        self.connection.protocol.dataReceived(b"GET /livez HTTP/1.0\r\n\r\n")
        self.assertEqual(self.connection.answer().status, 200)

    def test_two_hosts(self) -> None:
        """Two of them are refused, though one is ours."""
        self.connection.protocol.dataReceived(b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        self.assertEqual(self.connection.answer().status, 421)

    def test_on_a_unix_socket(self) -> None:
        """Any name will do."""
        self.connection.transport.hostAddr = UNIXAddress(b"/run/web")
        self.assertEqual(self.ask("/livez", Host="whatever").status, 200)

    def test_by_our_address(self) -> None:
        """The address that the connection came to."""
        self.connection.transport.hostAddr = IPv4Address("TCP", OWN, 7680)
        self.assertEqual(self.ask("/health", Host=f"{OWN}:7680").status, 200)
        self.assertEqual(self.ask("/health", Host="192.0.2.81").status, 421)
