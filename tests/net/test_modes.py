"""``beatMode`` in endpoint strings: what each mode takes, and what it refuses."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from heartbeat.config import KernelOptions
from heartbeat.errors import ConfigError
from heartbeat.net.accept import AcceptingFactory
from heartbeat.net.limits import ObserveLimits, probing
from heartbeat.net.observe import ObservingClientEndpoint, ObservingServerEndpoint, observe_factory, observe_server
from heartbeat.net.observed import ObservingFactory
from heartbeat.net.shadow import ShadowObserver
from tests.net.wrapped import NotesFactory


class ModeTests(SynchronousTestCase):
    """Strings as users write them."""

    def setUp(self) -> None:
        """A reactor that remembers."""
        self.reactor = MemoryReactorClock()

    def server(self, string: str) -> Any:
        """The endpoint of a server."""
        endpoint = serverFromString(self.reactor, string)
        verifyObject(IStreamServerEndpoint, endpoint)
        return endpoint

    def client(self, string: str) -> Any:
        """That of a client."""
        endpoint = clientFromString(self.reactor, string)
        verifyObject(IStreamClientEndpoint, endpoint)
        return endpoint

    def complaint(self, keys: str) -> str:
        """Why keys are refused: for servers and clients in the same words, one line, the key first."""
        error = self.assertRaises(ConfigError, serverFromString, self.reactor, f"heartbeat:tcp:8080:{keys}")
        other = self.assertRaises(ConfigError, clientFromString, self.reactor, f"heartbeat:tcp:h:8080:{keys}")
        self.assertEqual(str(error), str(other))
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_observe(self) -> None:
        """Servers and clients, nested as ever; the keys reach their limits, 30 s are the default."""
        server = self.server("heartbeat:tcp:5432:beatMode=observe")
        self.assertIsInstance(server, ObservingServerEndpoint)
        self.assertEqual((server.observer.limits.detect, server.observer.limits.idle), (30.0, None))
        self.successResultOf(server.listen(NotesFactory()))
        self.assertIsInstance(self.reactor.tcpServers[0][1], ObservingFactory)
        client = self.client(
            "heartbeat:tls:example.net:443:beatMode=observe:beatDetect=12:beatIdle=90.5:beatHandshake=3"
        )
        self.assertIsInstance(client, ObservingClientEndpoint)
        limits = client.observer.limits
        self.assertEqual((limits.detect, limits.idle, limits.handshake_timeout), (12.0, 90.5, 3.0))
        self.assertIn("Observing", repr(client) + repr(server))
        nested = self.server("heartbeat:haproxy:tcp:8081:beatMode=observe")
        self.successResultOf(nested.listen(NotesFactory()))
        self.assertEqual(type(self.reactor.tcpServers[1][1]).__name__, "HAProxyWrappingFactory")

    def test_shadow(self) -> None:
        """As observe, with nobody to act, not even the kernel; the endpoint has the shadow with its report."""
        server = self.server("heartbeat:tcp:5432:beatMode=shadow:beatDetect=60")
        self.assertIsInstance(server.observer, ShadowObserver)
        self.assertEqual(server.observer.shadow.report().connections, 0)
        options = server.observer.limits.options
        self.assertEqual((options.keepalive, options.user_timeout, options.keepalive_count), (True, None, 127))

    def test_accept(self) -> None:
        """Servers take all comers, with the keys of framed connections; a client is one thing or the other."""
        server = self.server("heartbeat:tcp:8080:beatMode=accept:beatDetect=6")
        self.successResultOf(server.listen(NotesFactory()))
        factory = self.reactor.tcpServers[0][1]
        self.assertIsInstance(factory, AcceptingFactory)
        self.assertEqual((factory.config.detect, factory.observer.limits.detect), (6.0, 6.0))
        error = self.assertRaises(ConfigError, self.client, "heartbeat:tcp:h:1:beatMode=accept")
        self.assertEqual(str(error), "beatMode: 'accept' is for servers: a client is framed or it is not")

    def test_keys_of_other_modes(self) -> None:
        """A key that means nothing in a mode is refused, and not passed over."""
        self.assertTrue(self.complaint("beatIdle=30").startswith("beatIdle: belongs to beatMode=observe"))
        complaint = self.complaint("beatMode=observe:beatInterval=2")
        self.assertTrue(complaint.startswith("beatInterval: means nothing with beatMode=observe"), complaint)
        self.assertTrue(self.complaint("beatMode=shadow:beatFoo=2").startswith("beatFoo: "))
        error = self.assertRaises(ConfigError, self.server, "heartbeat:tcp:1:beatMode=accept:beatIdle=3")
        self.assertTrue(str(error).startswith("beatIdle: "))

    def test_wrong_values(self) -> None:
        """The key, what it must be, and the value."""
        for keys, wanted in (
            ("beatMode=loud", "must be one of frame, accept, observe, shadow, not 'loud'"),
            ("beatMode=observe:beatDetect=soon", "must be a number of seconds, not 'soon'"),
            ("beatMode=observe:beatDetect=0.5", "(in beatDetect='0.5')"),
            ("beatMode=observe:beatDetect=nan", "(in beatDetect='nan')"),
            ("beatMode=observe:beatIdle=0", "(in beatIdle='0')"),
            ("beatMode=observe:beatIdle=-1", "(in beatIdle='-1')"),
            ("beatMode=shadow:beatHandshake=inf", "(in beatHandshake='inf')"),
        ):
            complaint = self.complaint(keys)
            self.assertTrue(complaint.startswith(keys.rpartition(":")[2].partition("=")[0] + ": "), complaint)
            self.assertIn(wanted, complaint)


class LimitTests(SynchronousTestCase):
    """The same in Python."""

    def test_wrong_values(self) -> None:
        """The parameter is named."""
        wrong: Any
        for name, wrong in (
            ("detect", 0.9), ("detect", "30"), ("idle", 0), ("handshake_timeout", -1.0), ("kernel", "keepalive"),
        ):  # fmt: skip
            error = self.assertRaises(ConfigError, observe_factory, NotesFactory(), **{name: wrong})
            self.assertTrue(str(error).startswith(f"{name}: "), str(error))
        self.assertRaises(ConfigError, observe_server, None, detect=0.0)

    def test_the_schedule_of_the_kernel(self) -> None:
        """At least two keepalives go unanswered before the time is over, an eighth of lateness of each included, for
        every detection time that whole seconds allow; and the kernel never gives up before three times as long."""
        for detect in (2.5, 3.0, 4.5, 6.0, 7.9, 15.0, 30.0, 100.0, 3600.0):
            options = probing(detect)
            assert options.keepalive_idle is not None
            assert options.keepalive_interval is not None
            assert options.keepalive_count is not None
            second = options.keepalive_idle + options.keepalive_interval
            self.assertLessEqual(1.125 * second, max(detect, 2.25))
            self.assertGreaterEqual(
                options.keepalive_idle + options.keepalive_interval * options.keepalive_count, 3 * detect
            )
            self.assertFalse(options.nodelay)
        self.assertEqual(ObserveLimits().options, probing(30.0))
        own = KernelOptions(keepalive=False)
        self.assertIs(ObserveLimits(kernel=own).options, own)
