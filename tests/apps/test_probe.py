"""heartbeat.apps.probe: its options, and what it is made of."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import LogLevel
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site

from heartbeat.apps.logs import LogLevels
from heartbeat.apps.probe import Probe
from heartbeat.apps.probesettings import Options, ProbeSettings

URL = "http://192.0.2.1/"


def parsed(*arguments: str) -> ProbeSettings:
    """What these options come to."""
    options = Options()
    options.parseOptions(list(arguments))
    return options.settings


class OptionTests(SynchronousTestCase):
    """What it can be told."""

    def refused(self, *arguments: str) -> str:
        """The complaint."""
        return str(self.assertRaises(UsageError, parsed, *arguments))

    def test_defaults(self) -> None:
        """One URL is enough."""
        settings = parsed("--url", URL)
        self.assertEqual(
            (settings.url, settings.interval, settings.longest, settings.method), ((URL,), 5.0, 5.0, "GET")
        )
        self.assertEqual((settings.expect_status, settings.max_redirects), (None, 0))
        self.assertEqual(parsed("--url", URL, "--interval", "1").longest, 1.0)

    def test_urls(self) -> None:
        """Only HTTP, complete, without a password (which is not even repeated), and each once."""
        self.assertIn("--url: at least one", self.refused())
        for wrong in (
            "ftp://x/",
            "x",
            "http://",
            "http:///x",
            "http://x:99999/",
            "http://[::1/",
            "http://x/#y",
            "http://x/a b",
        ):
            self.assertIn("--url", self.refused("--url", wrong), wrong)
        secret = self.refused("--url", "http://me:secret@x/")
        self.assertNotIn("secret", secret)
        self.assertIn("no password", secret)
        self.assertIn("twice", self.refused("--url", URL, "--url", URL))
        self.assertIn("255", self.refused("--url", URL + "x" * 300))

    def test_what_does_not_fit_together(self) -> None:
        """A timeout in which no verdict could fall; a body that HEAD does not bring."""
        self.assertIn("--timeout: 11 s is over", self.refused("--url", URL, "--timeout", "11"))
        self.assertIn("needs method GET", self.refused("--url", URL, "--method", "HEAD", "--expect-body", "x"))

    def test_values(self) -> None:
        """Each is checked."""
        for name, value in (
            ("--expect-status", "99"),
            ("--interval", "0"),
            ("--multiplier", "1"),
            ("--max-redirects", "21"),
            ("--method", "POST"),
            ("--traces", "yes"),
        ):
            self.assertIn(name, self.refused("--url", URL, name, value))


class TrustTests(SynchronousTestCase):
    """``--tls-ca``."""

    def made(self, path: str) -> Probe:
        """A prober that trusts what is in the file."""
        settings = parsed("--url", URL, "--tls-ca", path, "--web", "none", "--traces", "none")
        return Probe(reactor, settings, read=lambda: settings, levels=LogLevels(LogLevel.info))

    def test_what_cannot_be_read(self) -> None:
        """A file that is not there, or holds no certificate, is named with its option."""
        empty = self.mktemp()
        Path(empty).write_text("nothing\n")
        for path, words in (("/nonexistent.pem", "No such file"), (empty, "has no certificate")):
            error = self.assertRaises(OSError, self.made, path)
            self.assertEqual((error.filename, words in str(error.strerror)), (f"--tls-ca {path}", True))

    def test_some(self) -> None:
        """One or more certificates."""
        import trustme

        path = self.mktemp()
        Path(path).write_bytes(trustme.CA().cert_pem.bytes() + trustme.CA().cert_pem.bytes())
        self.assertEqual(len(self.made(path).targets.targets), 1)


class Health(Resource):
    """A target.

    :ivar code: what it answers
    """

    isLeaf = True
    code = 200

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str | None] = []

    def render_GET(self, request: Any) -> bytes:
        self.asked.append(request.getHeader("traceparent"))
        request.setResponseCode(self.code)
        return b"all is well"


class ProbeTests(TestCase):
    """A prober in the process of the tests, over the loopback."""

    timeout = 20

    async def get(self, probe: Probe, path: str) -> Any:
        """GET of a path."""
        assert probe.web is not None and probe.web.port is not None
        port = probe.web.port.getHost().port  # type: ignore[attr-defined]  # of TCP
        answer: Any = await Agent(reactor).request(b"GET", f"http://127.0.0.1:{port}{path}".encode())
        return (await readBody(answer)).decode()

    async def test_from_alive_to_dead_and_back(self) -> None:
        """A target is listed, dies with its reason and the trace of its last request, and comes back."""
        self.patch(sys, "stdout", io.StringIO())
        health = Health()
        site = Site(health)
        port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}/health"
        options = Options()
        web = ("--web", "tcp:0:interface=127.0.0.1", "--service", "s", "--traces", "none")
        options.parseOptions(["--url", url, "--interval", "0.1", "--expect-body", "well", *web])
        probe = Probe(
            reactor,
            options.settings,
            read=options.read,
            levels=LogLevels(LogLevel.info),
        )
        self.addCleanup(probe.stopService)
        probe.startService()

        async def until(state: str) -> dict[str, Any]:
            for _ in range(200):
                peers = json.loads(await self.get(probe, "/api/peers"))
                if peers and peers[0]["state"] == state:
                    peer: dict[str, Any] = peers[0]
                    return peer
                await deferLater(reactor, 0.02)
            raise AssertionError(f"not {state}")

        peer = await until("alive")
        self.assertEqual((peer["id"], peer["transport"], peer["meta"]["status"]), (url, "http", "200"))
        health.code = 503
        await until("dead")
        (failure,) = json.loads(await self.get(probe, "/api/failures"))
        self.assertEqual((failure["failure_reason"], failure["evidence"]["detail"]), ("http_5xx", "status 503"))
        self.assertIn(failure["trace_id"], [one[3:35] for one in health.asked if one is not None])
        metrics = await self.get(probe, "/metrics")
        self.assertIn('heartbeat_failures_total{phase="live",reason="http_5xx"} 1.0', metrics)
        self.assertIn('heartbeat_peers{state="dead"} 1.0', metrics)
        lost = float(metrics.split('service="s",status="lost"} ')[1].split()[0])
        self.assertGreaterEqual(lost, 1.0)
        self.assertEqual(probe.registry.keep, float("inf"), "as long as it is asked it is listed")
        health.code = 200
        await until("alive")
        metrics = await self.get(probe, "/metrics")
        self.assertIn('heartbeat_peers{state="dead"} 0.0', metrics)
