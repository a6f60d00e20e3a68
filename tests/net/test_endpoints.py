"""Servers as users write them."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from heartbeat import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.net import HeartbeatClientService
from heartbeat.net.endpoints import client_endpoint


class ClientEndpointTests(SynchronousTestCase):
    """From text to an endpoint."""

    def setUp(self) -> None:
        """A reactor that opens nothing."""
        self.reactor = MemoryReactorClock()

    def assert_hostname(self, text: str, shown: str) -> None:
        """It tries both IP families."""
        endpoint = client_endpoint(self.reactor, text)
        self.assertIsInstance(endpoint, HostnameEndpoint, text)
        self.assertIn(shown, repr(endpoint))

    def complaint(self, text: str) -> str:
        """What is said about a wrong one."""
        return str(self.assertRaises(ConfigError, client_endpoint, self.reactor, text))

    def test_host_and_port(self) -> None:
        """HOST:PORT without a prefix goes through HostnameEndpoint, which tries both IP families."""
        self.assert_hostname("example.net:7600", "example.net:7600")
        self.assert_hostname("192.0.2.7:1", "192.0.2.7:1")
        self.assert_hostname("localhost:65535", "localhost:65535")
        self.assert_hostname("bücher.example:80", "xn--bcher-kva.example:80")

    def test_ipv6(self) -> None:
        """An IPv6 address stands in brackets, with a scope if it needs one."""
        for host in ("::1", "2001:db8::7", "fe80::1%eth0", "::ffff:192.0.2.7"):
            self.assertIsInstance(client_endpoint(self.reactor, f"[{host}]:7600"), HostnameEndpoint, host)

    def test_prefixed_strings(self) -> None:
        """Strings with a prefix are Twisted's, and passed on as they are: tcp: stays IPv4 only."""
        self.assertIsInstance(client_endpoint(self.reactor, "tcp:example.net:7600"), TCP4ClientEndpoint)
        self.assertIsInstance(client_endpoint(self.reactor, "tcp:host=example.net:port=7600"), TCP4ClientEndpoint)
        self.assertIsInstance(client_endpoint(self.reactor, "unix:/run/heartbeat.sock"), UNIXClientEndpoint)
        self.assertTrue(IStreamClientEndpoint.providedBy(client_endpoint(self.reactor, "tls:example.net:7600")))

    def test_wrong_ports(self) -> None:
        """A port from 1 to 65535, else the message names the text and the range."""
        for port in ("0", "65536", "99999", "00000", "9" * 5000):
            complaint = self.complaint(f"example.net:{port}")
            self.assertIn("example.net:", complaint)
            self.assertIn("1 to 65535", complaint)

    def test_wrong_texts(self) -> None:
        """Whatever is no server is one line that names the text, never another exception."""
        for text in (
            "", ":", ":7600", "example.net", "example.net:", "example.net:http", "example.net:-1", "example.net:7 600",
            "::1:7600", "[::1]", "[::1]:", "[]:7600", "[nonsense]:7600", "[::1:7600", "::1]:7600", "[192.0.2.7]:7600",
            "nowhere:a=b:c=d", "tcp:", "tls:", "tcp:example.net:7600:1:2:3", "tcp:example.net:http:timeout=x",
            "a b:7600", "example\n.net:7600", "http://example.net:7600", "example.net:٧٦٠٠", "example.net:7600\n",
        ):  # fmt: skip
            complaint = self.complaint(text)
            self.assertIn(repr(text), complaint)
            self.assertEqual(len(complaint.splitlines()), 1, complaint)

    def test_the_message_is_short(self) -> None:
        """A text of megabytes is cut, not repeated on the terminal."""
        self.assertLess(len(self.complaint("x" * 100_000)), 1000)


class ServersTests(SynchronousTestCase):
    """The list that a client service takes."""

    def refused(self, servers: Any) -> str:
        """What is said about a wrong list."""
        reactor = MemoryReactorClock()
        complaint = str(
            self.assertRaises(ConfigError, HeartbeatClientService, servers, HeartbeatConfig(), reactor=reactor)
        )
        self.assertEqual(reactor.getDelayedCalls(), [])
        return complaint

    def test_no_list(self) -> None:
        """One text is no list: it would be taken apart into letters."""
        for servers in ("tcp:example.net:7600", b"tcp:x:1", [], (), None):
            self.assertIn("servers", self.refused(servers))

    def test_wrong_members(self) -> None:
        """Each member is a text or an endpoint; what is neither is named at once, not when it fails to connect."""
        for one in (None, 7600, b"example.net:7600", object(), ["example.net:7600"]):
            self.assertIn(repr(one)[:20], self.refused(["example.net:7600", one]))

    def test_endpoints_are_taken(self) -> None:
        """Endpoints and texts may stand together; nothing is opened before the service starts."""
        reactor = MemoryReactorClock()
        endpoint = TCP4ClientEndpoint(reactor, "192.0.2.7", 7600)
        service = HeartbeatClientService(["tcp:192.0.2.8:7600", endpoint], HeartbeatConfig(), reactor=reactor)
        self.assertFalse(service.running)
        self.assertEqual((reactor.tcpClients, reactor.getDelayedCalls()), ([], []))
