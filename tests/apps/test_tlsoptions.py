"""The options about TLS: what fits together, what is missing, and what they come to."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps import agent, tlsoptions
from heartbeat.apps.server import settings
from tests.net.tls.cases import LONG_AGO, pem

PIN = "sha256/" + "A" * 43 + "="


class ServerTests(SynchronousTestCase):
    """``twist heartbeat-server``."""

    def parse(self, *arguments: str) -> Any:
        """What the arguments come to."""
        options = settings.Options()
        options.parseOptions(list(arguments))
        return options.settings

    def refused(self, *arguments: str) -> str:
        """The one line that refuses them."""
        return str(self.assertRaises(UsageError, self.parse, *arguments))

    def test_defaults(self) -> None:
        """Without options there is no TLS; with a TLS listener the plain one is not there unless it is asked for."""
        found = self.parse()
        self.assertEqual((found.listen, found.listen_tls, found.tls_minimum), (("tcp:7600",), (), "1.3"))
        self.assertIsNone(tlsoptions.server_certificates(found, Clock()))
        tls = ("--listen-tls", "tcp:7601", "--tls-cert", "c", "--tls-key", "k")
        self.assertEqual(self.parse(*tls).listen, ())
        self.assertEqual(self.parse(*tls, "--listen", "tcp:1").listen, ("tcp:1",))

    def test_what_is_missing(self) -> None:
        """Each option names the one that it needs, and its own value."""
        for arguments, wanted in (
            (("--listen-tls", "tcp:1"), "--tls-cert"),
            (("--listen-tls", "tcp:1", "--tls-cert", "c"), "--tls-key"),
            (("--tls-cert", "c", "--tls-key", "k"), "--listen-tls"),
            (("--tls-client-ca", "a"), "--listen-tls"),
        ):
            line = self.refused(*arguments)
            self.assertTrue(line.startswith(f"{arguments[0]}: '{arguments[1]}' needs {wanted}"), line)

    def test_values(self) -> None:
        """TLS around TLS, an endpoint that is none, another version: refused with the value."""
        tls = ("--tls-cert", "c", "--tls-key", "k", "--listen-tls")
        for value in ("ssl:1:privateKey=k", "nowhere:1", "tcp:70000"):
            self.assertIn(value[:10], self.refused(*tls, value))
        self.assertIn("'1.1'", self.refused("--tls-minimum", "1.1"))

    def test_web_host(self) -> None:
        """A name or an address without port, or a star."""
        found = self.parse(
            "--web-host", "A.example", "--web-host", "192.0.2.1", "--web-host", "[::1]", "--web-host", "*"
        )
        self.assertEqual(found.web_host, ("a.example", "192.0.2.1", "::1", "*"))
        for value in ("a.example:80", "http://a", "", "a b"):
            self.assertIn(repr(value), self.refused("--web-host", value))


class AgentTests(SynchronousTestCase):
    """``twist heartbeat-agent``."""

    def parse(self, *arguments: str) -> Any:
        """What the arguments come to."""
        options = agent.Options()
        options.parseOptions(list(arguments))
        return options.settings

    def refused(self, *arguments: str) -> str:
        """The one line that refuses them."""
        return str(self.assertRaises(UsageError, self.parse, *arguments))

    def test_servers(self) -> None:
        """HOST:PORT with names and addresses of both families; nothing else."""
        for value in ("localhost:1", "127.0.0.1:2", "[::1]:3", "my_service:4", "bücher.example:5"):
            self.assertEqual(self.parse("--connect-tls", value).connect_tls, (value,))
        for value in ("localhost", "tcp:localhost:1", "localhost:0", "[nonsense]:1", ":1", "a" * 64 + "ü:1"):
            line = self.refused("--connect-tls", value)
            self.assertTrue(line.startswith("--connect-tls: "), line)
            self.assertIn(value[:20], line)

    def test_what_is_missing(self) -> None:
        """Each option names the one that it needs."""
        secure = ("--connect-tls", "localhost:1")
        for arguments, wanted in (
            (("--connect", "localhost:1", "--tls-ca", "a"), "--connect-tls"),
            (("--connect", "localhost:1", "--pin", PIN), "--connect-tls"),
            ((*secure, "--tls-cert", "c"), "--tls-key"),
            ((*secure, "--tls-key", "k"), "--tls-cert"),
            ((*secure, "--on-pin-mismatch", "alarm"), "--pin"),
        ):
            self.assertIn(f"needs {wanted}", self.refused(*arguments))
        self.assertIn("--connect", self.refused())

    def test_pins(self) -> None:
        """Several, in the one way in which a pin is written, with a policy."""
        found = self.parse("--connect-tls", "localhost:1", "--pin", PIN, "--pin", PIN, "--on-pin-mismatch", "degrade")
        pins = tlsoptions.agent_pins(found)
        assert pins is not None
        self.assertEqual((pins.keys, pins.policy), ((PIN, PIN), "degrade"))
        self.assertIn("sha256/AA", self.refused("--connect-tls", "localhost:1", "--pin", "sha256/AA"))
        self.assertIsNone(tlsoptions.agent_pins(self.parse("--connect-tls", "localhost:1")))
        self.parse("--connect", "tls:localhost:1", "--pin", PIN)


class FileTests(SynchronousTestCase):
    """Certificates behind the options."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hb-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.clock = Clock()
        self.clock.rightNow = 1.8e9

    def write(self, name: str, given: Any) -> list[str]:
        """A pair in files, and the options that name them."""
        cert, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert.write_bytes(given.certificate)
        key.write_bytes(given.key)
        return ["--tls-cert", str(cert), "--tls-key", str(key)]

    def settings(self, *arguments: str) -> Any:
        """Of a server."""
        options = settings.Options()
        options.parseOptions(["--listen-tls", "tcp:0", *arguments])
        return options.settings

    def test_loaded(self) -> None:
        """A good pair is in force when the server is made."""
        held = tlsoptions.server_certificates(self.settings(*self.write("s", pem("localhost"))), self.clock)
        assert held is not None
        self.assertIsNotNone(held.not_after)

    def test_bad_at_the_start(self) -> None:
        """A bad one is an OSError that names option and file: status 1, not 64."""
        for given in (
            self.settings(*self.write("x", pem("x", valid=LONG_AGO))),
            self.settings("--tls-cert", "/c", "--tls-key", "/k"),
        ):
            failed = self.assertRaises(OSError, tlsoptions.server_certificates, given, self.clock)
            self.assertIn(f"--tls-cert {given.tls_cert} ", str(failed.strerror))

    def test_reload(self) -> None:
        """Told again, it looks at the files as they are named now; what is bad leaves the old ones in force."""
        first = self.settings(*self.write("s", pem("localhost")))
        held = tlsoptions.server_certificates(first, self.clock)
        assert held is not None
        self.write("s", pem("localhost"))
        self.assertIs(tlsoptions.server_certificates(first, self.clock, held), held)
        other = self.settings(*self.write("other", pem("localhost")), "--tls-minimum", "1.2")
        tlsoptions.server_certificates(other, self.clock, held)
        self.assertEqual(held.reloads, {"ok": 2, "error": 0})
        tlsoptions.server_certificates(self.settings("--tls-cert", "/c", "--tls-key", "/k"), self.clock, held)
        self.assertEqual(held.reloads, {"ok": 2, "error": 1})

    def test_an_agents_servers(self) -> None:
        """Each is called as it was written, and has the pins."""
        options = agent.Options()
        options.parseOptions(["--connect-tls", "localhost:1", "--connect-tls", "[::1]:2", "--pin", PIN])
        roots = self.folder / "ca"
        roots.write_bytes(pem().authorities or b"")
        options.parseOptions(["--tls-ca", str(roots)])
        held = tlsoptions.agent_certificates(options.settings, self.clock)
        servers = tlsoptions.tls_servers(options.settings, held, self.clock)
        self.assertEqual([str(one) for one in servers], ["localhost:1", "[::1]:2"])
        self.assertEqual({one.check.pins for one in servers}, {tlsoptions.agent_pins(options.settings)})
