"""heartbeat.watch.web.health and .metrics: what programs ask all the time."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parse

from heartbeat import __version__
from heartbeat.liveness.counters import Counters
from heartbeat.watch.export import metrics_of
from heartbeat.watch.export.sources import Sources
from heartbeat.watch.web import make_site
from tests.watch.web.browser import WebCase


class ProbeTests(WebCase):
    def test_livez(self) -> None:
        """The loop runs: always 200, also while draining."""
        self.reason = "draining"
        answered = self.ask("/livez")
        self.assertEqual((answered.status, answered.text), (200, "ok\n"))

    def test_readyz(self) -> None:
        """200 while new peers are wanted; else 503 and one line that says why."""
        answered = self.ask("/readyz")
        self.assertEqual((answered.status, answered.text), (200, "ok\n"))
        self.reason = "draining: 12 peers left"
        answered = self.ask("/readyz")
        self.assertEqual((answered.status, answered.text), (503, "draining: 12 peers left\n"))

    def test_degraded(self) -> None:
        """With something out of order that keeps no peer out it is 200 and says so; draining goes before that."""
        self.trouble = "the store is away"
        answered = self.ask("/readyz")
        self.assertEqual((answered.status, answered.text), (200, "degraded: the store is away\n"))
        answered = self.ask("/health")
        self.assertEqual(answered.status, 200)
        self.assertEqual((answered.json["status"], answered.json["reason"]), ("degraded", "the store is away"))
        self.reason = "draining"
        self.assertEqual((self.ask("/readyz").status, self.ask("/readyz").text), (503, "draining\n"))
        self.assertEqual(self.ask("/health").json["reason"], "draining")

    def test_health(self) -> None:
        """The same as JSON, with the peers counted."""
        self.join("a")
        self.join("b").die()
        answered = self.ask("/health")
        self.assertEqual(answered.status, 200)
        self.assertEqual(
            answered.json,
            {
                "status": "ok",
                "reason": None,
                "version": __version__,
                "peers": {"alive": 1, "suspect": 0, "stuck": 0, "dead": 1, "left": 0},
            },
        )
        self.reason = "draining"
        answered = self.ask("/health")
        self.assertEqual(answered.status, 503)
        self.assertEqual((answered.json["status"], answered.json["reason"]), ("unready", "draining"))

    def test_traceparent(self) -> None:
        """/health goes on with the trace of who asks, in a span of its own; what is no trace is left alone."""
        trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
        for flags, answered_flags in (("01", "01"), ("00", "00"), ("ff", "01")):
            told = self.ask("/health", traceparent=f"00-{trace}-{span}-{flags}").headers["traceparent"]
            self.assertRegex(told, f"^00-{trace}-[0-9a-f]{{16}}-{answered_flags}$")
            self.assertNotIn(span, told)
        later = self.ask("/health", traceparent=f"01-{trace}-{span}-01-more").headers["traceparent"]
        self.assertTrue(later.startswith(f"00-{trace}-"))
        for header in (
            "",
            "x",
            f"00-{trace}-{span}",
            f"00-{trace}-{span}-01-more",
            f"ff-{trace}-{span}-01",
            f"00-{trace.upper()}-{span}-01",
            f"00-{'0' * 32}-{span}-01",
            f"00-{trace}-{'0' * 16}-01",
        ):
            self.assertNotIn("traceparent", self.ask("/health", traceparent=header).headers, header)
        self.assertNotIn("traceparent", self.ask("/health").headers)

    def test_a_probe_takes_no_turn(self) -> None:
        """A probe is answered at once, with its length."""
        self.connection.send("/livez")
        self.assertIn(b"\r\n\r\nok\n", self.connection.transport.value())
        self.assertEqual(self.connection.answer().headers["content-length"], "3")


class MetricsPageTests(WebCase):
    def make_site(self) -> Any:
        sources = Sources(self.registry, self.failures, self.totals, Counters(), Counters(), connections=lambda: 1)
        return make_site(self.registry, self.failures, metrics=metrics_of(sources), reactor=self.clock)

    def test_text(self) -> None:
        """The Prometheus text, whole."""
        self.join().answer()
        answered = self.ask("/metrics")
        self.assertEqual(answered.status, 200)
        self.assertTrue(answered.headers["content-type"].startswith("text/plain; version=0.0.4"))
        self.assertIn("heartbeat_connections", {family.name for family in parse(answered.text)})

    def test_openmetrics(self) -> None:
        """Who accepts OpenMetrics gets it."""
        answered = self.ask("/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        self.assertTrue(answered.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0"))
        self.assertTrue(answered.text.endswith("# EOF\n"))

    def test_some_series(self) -> None:
        """``name[]`` chooses, as prometheus_client's own page does."""
        answered = self.ask("/metrics?name[]=heartbeat_connections&name[]=heartbeat_peers")
        self.assertEqual({family.name for family in parse(answered.text)}, {"heartbeat_connections", "heartbeat_peers"})

    def test_head(self) -> None:
        """HEAD has the media type, and counts nobody."""
        answered = self.ask("/metrics", "HEAD")
        self.assertEqual((answered.status, answered.body, answered.turns), (200, b"", 0))
        self.assertTrue(answered.headers["content-type"].startswith("text/plain"))

    def test_many_peers_take_several_turns(self) -> None:
        """Over 5,000 peers are counted in slices."""
        for number in range(5001):
            self.join(f"p{number}")
        answered = self.ask("/metrics")
        self.assertGreaterEqual(answered.turns, 2)
        self.assertIn('\nheartbeat_peers{state="alive"} 5001.0\n', answered.text)


class NoMetricsTests(WebCase):
    def test_what_to_install(self) -> None:
        """Without the optional package the page says in one line what is missing."""
        answered = self.ask("/metrics")
        self.assertEqual(answered.status, 501)
        self.assertEqual(answered.text, "/metrics: needs an optional package: pip install 'txheartbeat[prometheus]'\n")
