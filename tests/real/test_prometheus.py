"""A real Prometheus scrapes a server: an alert fires when an agent is killed, and clears when it returns."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import skipUnless
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.environment import CHECKOUT
from tests.real.processes import Agent, Server, poll

PROMETHEUS = shutil.which("prometheus")
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s, scrape_timeout: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: heartbeat-server
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def free_port() -> int:
    """One that nobody has, at this moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Prometheus:
    """A Prometheus with our rules, whose waiting times are cut short; ready when constructed."""

    def __init__(self, scraped: int) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="heartbeat-real-")
        folder = Path(self._home.name)
        rules = (CHECKOUT / "docs/deploy/prometheus/rules.yml").read_text()
        (folder / "rules.yml").write_text(rules.replace("for: 30s", "for: 1s"))
        (folder / "prometheus.yml").write_text(CONFIG.format(rules=folder / "rules.yml", port=scraped))
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._output = (folder / "output").open("w+")
        assert PROMETHEUS is not None
        self._process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._output.close()
        self._home.cleanup()

    def get(self, path: str) -> Any:
        """What its API says; None while it says nothing."""
        try:
            with urllib.request.urlopen(f"{self._url}{path}", timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            assert self._process.poll() is None, "prometheus ended"
            return None

    def value(self, query: str) -> float | None:
        """The first value of a query, None if there is none."""
        data = self.get(f"/api/v1/query?query={quote(query)}")
        return float(data["result"][0]["value"][1]) if data is not None and data["result"] else None

    def traces(self, query: str) -> set[str]:
        """The trace ids in the exemplars of a series within the last minute."""
        now = time.time()
        data = self.get(f"/api/v1/query_exemplars?query={quote(query)}&start={now - 60}&end={now}")
        return {one["labels"]["trace_id"] for series in data or [] for one in series["exemplars"]}

    def firing(self, alert: str) -> bool:
        """Whether this alert fires."""
        data = self.get("/api/v1/alerts")
        return any(
            one["labels"]["alertname"] == alert and one["state"] == "firing"
            for one in (data or {"alerts": []})["alerts"]
        )


@skipUnless(PROMETHEUS, "prometheus is not installed: apt install prometheus")
class PrometheusTests(SynchronousTestCase):
    """The whole way from a killed process to an alert, and back."""

    def test_an_alert_fires_and_clears(self) -> None:
        """The alert fires after the agent was killed, and is over when it has returned."""
        server = Server("--ping-interval", "0.3")
        self.addCleanup(server.kill)
        prometheus = Prometheus(server.web)
        self.addCleanup(prometheus.close)
        nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}  # its HELLO names a trace all the same
        agent = Agent(server.port, "--id", "watched", "--ping-interval", "0.3", variables=nowhere)
        self.addCleanup(agent.kill)
        alive = 'heartbeat_peers{state="alive"}'
        poll(lambda: prometheus.value(alive) == 1.0, 20.0, "the agent, scraped", 0.1)
        self.assertEqual(prometheus.value('up{job="heartbeat-server"}'), 1.0)
        # A counter is there before it has counted anything, so that its first step is an increase.
        self.assertEqual(prometheus.value('heartbeat_failures_total{reason="peer_reset",phase="live"}'), 0.0)
        self.assertFalse(prometheus.firing("HeartbeatPeerDead"))
        agent.kill()
        poll(lambda: prometheus.firing("HeartbeatPeerDead"), 15.0, "the alert", 0.1)
        self.assertEqual(prometheus.value("sum(heartbeat_failures_total)"), 1.0)
        traced = server.failure("watched")["trace_id"]
        if find_spec("opentelemetry") is not None:
            self.assertIsNotNone(traced)
            poll(lambda: traced in prometheus.traces("heartbeat_failures_total"), 5.0, "the exemplar", 0.1)
        again = Agent(server.port, "--id", "watched", "--ping-interval", "0.3")
        self.addCleanup(again.kill)
        poll(lambda: not prometheus.firing("HeartbeatPeerDead"), 15.0, "the end of the alert", 0.1)
        self.assertEqual(server.complaints(), [])
        text = server.get("/metrics")[1]
        lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        self.assertEqual((lint.returncode, lint.stdout + lint.stderr), (0, ""))
