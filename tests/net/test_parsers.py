"""``heartbeat:`` in endpoint strings: what it takes for itself, what it leaves, and what it says about wrong values."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import endpoints
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    clientFromString,
    quoteStringArgument,
    serverFromString,
)
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.net.parsers import FIELDS, HeartbeatParser, configured, split_keys, unparse
from tests.net.wrapped import NotesFactory

keys = st.text(st.characters(codec="ascii"), max_size=12)
text = st.text(st.characters(codec="utf-8"), max_size=12)


class ParserTests(SynchronousTestCase):
    """Strings as users write them."""

    def setUp(self) -> None:
        """A reactor that remembers."""
        self.reactor = MemoryReactorClock()

    def client(self, string: str) -> Any:
        """What is inside of a client endpoint with a heartbeat."""
        endpoint: Any = clientFromString(self.reactor, string)
        verifyObject(IStreamClientEndpoint, endpoint)
        return endpoint._endpoint

    def config(self, string: str) -> HeartbeatConfig:
        """The configuration that a string makes."""
        endpoint: Any = clientFromString(self.reactor, string)
        config: HeartbeatConfig = endpoint._connectors.config
        return config

    def listening(self, string: str) -> tuple[Any, ...]:
        """What is listened on for a string."""
        endpoint = serverFromString(self.reactor, string)
        verifyObject(IStreamServerEndpoint, endpoint)
        self.successResultOf(endpoint.listen(NotesFactory()))
        kept: Any = self.reactor.tcpServers or self.reactor.unixServers
        found: tuple[Any, ...] = kept[-1]
        return found

    def complaint(self, string: str) -> str:
        """Why a string is refused: for servers and clients in the same words."""
        inner = f"heartbeat:tcp:example.net:8080:{string}"
        error = self.assertRaises(ConfigError, clientFromString, self.reactor, inner)
        self.assertIsInstance(error, ValueError)
        server = self.assertRaises(ConfigError, serverFromString, self.reactor, f"heartbeat:tcp:8080:{string}")
        self.assertEqual(str(server), str(error))
        return str(error)

    def test_twisted_finds_it(self) -> None:
        """The dropin offers one parser for both kinds, and it has the face that Twisted asks for."""
        for interface in (IStreamServerEndpointStringParser, IStreamClientEndpointStringParserWithReactor):
            found = [one for one in getPlugins(interface) if one.prefix == "heartbeat"]
            self.assertEqual(len(found), 1)
            verifyObject(interface, found[0])
            verifyObject(IPlugin, found[0])
            self.assertIsInstance(found[0], HeartbeatParser)

    def test_the_inner_endpoint_is_twisteds(self) -> None:
        """Client strings of every kind reach Twisted's own parsers, positional or by key, in any order."""
        inner = self.client("heartbeat:tcp:example.net:8080:beatInterval=2:timeout=7")
        self.assertIsInstance(inner, TCP4ClientEndpoint)
        self.assertEqual((inner._host, inner._port, inner._timeout), ("example.net", 8080, 7))
        inner = self.client("heartbeat:beatInterval=2:tcp:port=8080:host=example.net")
        self.assertEqual((inner._host, inner._port), ("example.net", 8080))
        self.assertEqual(self.client(r"heartbeat:tcp:2001\:db8\:\:1:443:beatId=a")._host, "2001:db8::1")
        inner = self.client("heartbeat:tls:example.net:443:beatId=a")
        self.assertIsInstance(inner._wrappedEndpoint, HostnameEndpoint)

    def test_special_characters_survive(self) -> None:
        """``:``, ``=`` and ``\\`` in a path, quoted once as for any endpoint, arrive as they are."""
        path = "/tmp/a:b=c\\d"
        quoted = quoteStringArgument(path).replace("=", "\\=")
        self.assertEqual(self.client(f"heartbeat:unix:{quoted}:beatInterval=2")._path, path)
        self.assertEqual(self.client(f"heartbeat:unix:path={quoteStringArgument(path)}")._path, path)
        self.assertIsInstance(self.client(f"heartbeat:unix:{quoted}"), UNIXClientEndpoint)
        self.assertEqual(self.config(r"heartbeat:tcp:h:1:beatId=a\:b=c").id, "a:b=c")

    @given(st.lists(text, min_size=1, max_size=4), st.dictionaries(keys, text, max_size=3))
    @settings(deadline=None)
    def test_parsed_strings_are_written_again(self, args: list[str], kwargs: dict[str, str]) -> None:
        """Whatever Twisted's parser made of a string, ours writes a string of which it makes the same."""
        written = unparse(["heartbeat", *args], kwargs)
        parsed_args, parsed_kwargs = endpoints._parse(written)
        self.assertEqual((parsed_args, parsed_kwargs), (["heartbeat", *args], kwargs))

    def test_servers(self) -> None:
        """Server strings of every kind listen as without us, with a wrapping factory."""
        port, factory, backlog, interface = self.listening(
            "heartbeat:tcp:8080:interface=127.0.0.1:beatInterval=2:backlog=7"
        )
        self.assertEqual((port, backlog, interface), (8080, 7, "127.0.0.1"))
        self.assertEqual(factory.config.interval, 2.0)
        self.assertEqual(type(factory).__name__, "WrappingFactory")
        port, factory, _, interface = self.listening("heartbeat:tcp6:8081:beatMultiplier=4")
        self.assertEqual((port, interface, factory.config.multiplier), (8081, "::", 4))

    def test_nested_both_ways(self) -> None:
        """``haproxy:`` before or behind: each takes its own and leaves the rest."""
        _, outer, *_ = self.listening("heartbeat:haproxy:tcp:8080:beatInterval=2")
        self.assertEqual(type(outer).__name__, "HAProxyWrappingFactory")
        self.assertEqual(outer.wrappedFactory.config.interval, 2.0)
        _, outer, *_ = self.listening("haproxy:heartbeat:tcp:8081:beatInterval=3")
        self.assertEqual(outer.config.interval, 3.0)
        self.assertEqual(type(outer.wrapped).__name__, "HAProxyWrappingFactory")

    def test_a_unix_path_with_everything_in_it(self) -> None:
        """A server on a path with ``=`` and ``:`` and a key of the inner endpoint's beside ours."""
        path = str(Path(tempfile.gettempdir(), "a=b:c"))
        quoted = quoteStringArgument(path).replace("=", "\\=")
        address, factory, *_ = self.listening(f"heartbeat:unix:{quoted}:mode=600:beatSync=9")
        self.assertEqual((address, factory.config.sync_interval), (path, 9.0))

    def test_every_key_reaches_its_field(self) -> None:
        """The keys of the surface page, with the values that they mean."""
        string = (
            "heartbeat:tcp:h:1:beatMode=frame:beatInterval=0.25:beatMultiplier=5:beatSync=7:beatMinInterval=0:"
            "beatDetector=phi:beatId=gateway:beatBare=refuse:beatMaxData=65536:beatHandshake=4"
        )
        config = self.config(string)
        found = (
            config.interval,
            config.multiplier,
            config.sync_interval,
            config.min_interval,
            config.detector,
            config.id,
            config.bare,
            config.max_data,
            config.handshake_timeout,
        )
        self.assertEqual(found, (0.25, 5, 7.0, 0.0, "phi", "gateway", "refuse", 65_536, 4.0))
        self.assertEqual({name for name, _ in FIELDS.values()} - set(HeartbeatConfig.__dataclass_fields__), set())

    def test_without_keys_the_defaults_hold(self) -> None:
        """5 s × 3 and no id: nobody wants 2 pings a second from adding a prefix."""
        config = self.config("heartbeat:tcp:h:1")
        self.assertEqual((config.interval, config.multiplier, config.id), (5.0, 3, None))

    def test_a_detection_time(self) -> None:
        """``beatDetect`` is multiplier × interval; said twice it is refused."""
        self.assertEqual(self.config("heartbeat:tcp:h:1:beatDetect=6").interval, 2.0)
        config = self.config("heartbeat:tcp:h:1:beatDetect=6:beatMultiplier=6")
        self.assertEqual((config.interval, config.detect), (1.0, 6.0))
        self.assertIn("beatDetect: '6'", self.complaint("beatDetect=6:beatInterval=2"))

    def test_wrong_values_are_named(self) -> None:
        """One line with the key and the value, whatever is wrong with it."""
        for key, value in (
            ("beatInterval", "soon"),
            ("beatInterval", "0"),
            ("beatInterval", "nan"),
            ("beatInterval", "-1"),
            ("beatInterval", ""),
            ("beatInterval", "1e9"),
            ("beatMultiplier", "1"),
            ("beatMultiplier", "2.5"),
            ("beatMultiplier", "-3"),
            ("beatMultiplier", "٣"),
            ("beatMultiplier", "9" * 5000),
            ("beatSync", "0.01"),
            ("beatMinInterval", "inf"),
            ("beatDetector", "guess"),
            ("beatId", "~me"),
            ("beatId", ""),
            ("beatBare", "perhaps"),
            ("beatMaxData", "1"),
            ("beatMaxData", "1 MiB"),
            ("beatHandshake", "0"),
            ("beatDetect", "5000"),
            ("beatDetect", "x"),
            ("beatMode", "loud"),
        ):
            complaint = self.complaint(f"{key}={value}")
            self.assertTrue(complaint.startswith(f"{key}: "), complaint)
            self.assertIn(repr(value)[:40].rstrip("'"), complaint)
            self.assertNotIn("\n", complaint)
            self.assertLess(len(complaint), 300)

    def test_two_values_that_do_not_go_together(self) -> None:
        """A detection time over the limit is laid at the door of one of the keys that made it."""
        self.assertTrue(self.complaint("beatInterval=100:beatMultiplier=4").startswith("beatMultiplier: "))
        self.assertTrue(self.complaint("beatInterval=200").startswith("beatInterval: "))

    def test_keys(self) -> None:
        """beatKey names a file: of a server with ids, of a client without; what is wrong with it is one line."""
        path = self.mktemp()
        line = f"{bytes(range(32)).hex()}\n"
        Path(path).write_text(f"gateway {line}{line}")
        Path(path).chmod(0o600)
        _, factory, *_ = self.listening(f"heartbeat:tcp:1:beatKey={path}")
        self.assertEqual([key.id for key in factory.config.ring], ["gateway", "*"])
        error = self.assertRaises(ConfigError, clientFromString, self.reactor, f"heartbeat:tcp:h:1:beatKey={path}")
        self.assertTrue(str(error).startswith(f"beatKey: {path}:1: has an id"), error)
        Path(path).write_text(line)
        self.assertEqual(self.config(f"heartbeat:tcp:h:1:beatKey={path}").ring.kids, ("b0bf7ef350123eea",))
        Path(path).chmod(0o640)
        self.assertIn("mode 0640", self.complaint(f"beatKey={path}"))
        self.assertIn("No such file", self.complaint("beatKey=/nowhere/at/all"))
        mixed = f"heartbeat:tcp:1:beatMode=accept:beatKey={path}"
        error = self.assertRaises(ConfigError, serverFromString, self.reactor, mixed)
        self.assertTrue(str(error).startswith("beatKey: proves nothing"), error)

    def test_an_unknown_key_is_refused(self) -> None:
        """A misspelt key of ours is no key of the inner endpoint; the known ones are listed."""
        complaint = self.complaint("beatIntervall=2")
        self.assertTrue(complaint.startswith("beatIntervall: "), complaint)
        self.assertIn("beatInterval,", complaint)

    def test_nothing_behind_the_prefix(self) -> None:
        """``heartbeat:`` alone is told what it needs; an unknown inner endpoint is Twisted's own error."""
        for parse in (clientFromString, serverFromString):
            for string in ("heartbeat", "heartbeat:beatInterval=2"):
                self.assertIn("needs an endpoint", str(self.assertRaises(ConfigError, parse, self.reactor, string)))
            error = self.assertRaises(ValueError, parse, self.reactor, "heartbeat:carrier-pigeon:1")
            self.assertIn("carrier-pigeon", str(error).lower())

    def test_keys_of_others_are_left(self) -> None:
        """Only keys that begin with ``beat`` are ours."""
        ours, theirs = split_keys({"beatId": "a", "timeout": "3", "interface": "::", "Beat": "x"})
        self.assertEqual((ours, theirs), ({"beatId": "a"}, {"timeout": "3", "interface": "::", "Beat": "x"}))
        self.assertEqual(configured({}).detect, 15.0)
