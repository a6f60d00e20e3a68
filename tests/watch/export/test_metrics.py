"""heartbeat.watch.export: the metrics, as a Prometheus reads them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from typing import ClassVar
from unittest import skipUnless

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from heartbeat import __version__
from heartbeat.errors import MissingExtra
from heartbeat.liveness.causes import FAILURE_REASONS, SPARE_REASONS
from heartbeat.liveness.counters import Counters
from heartbeat.liveness.events import Synced
from heartbeat.net.tls.certificates import Certificates
from heartbeat.watch.exemplars import SyncExamples
from heartbeat.watch.export import metrics_of
from heartbeat.watch.export.metrics import Metrics
from heartbeat.watch.export.sources import Labels, Sources
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.registry import Registry
from heartbeat.watch.tally import Totals
from tests.net.tls.cases import LONG_AGO, pem
from tests.watch.crowd import Hands, Somebody

#: Names, types and labels of surface.md, as far as they are not of later features.
SURFACE = {
    "heartbeat_peers": ("gauge", {"state"}),
    "heartbeat_beats": ("counter", {"direction"}),
    "heartbeat_rtt_seconds": ("histogram", {"le"}),
    "heartbeat_failures": ("counter", {"reason", "phase"}),
    "heartbeat_spared": ("counter", {"reason"}),
    "heartbeat_health_check": ("counter", {"service", "region", "cluster", "status"}),
    "heartbeat_interval_seconds": ("gauge", set()),
    "heartbeat_loss_ratio": ("gauge", set()),
    "heartbeat_scheduler_lag_seconds": ("histogram", {"le"}),
    "heartbeat_connections": ("gauge", set()),
    "heartbeat_certificate_not_after_timestamp_seconds": ("gauge", set()),  # no samples where there is no TLS
    "heartbeat_certificate_reloads": ("counter", set()),
    "heartbeat_store_operation_duration_seconds": ("histogram", {"backend", "operation", "outcome", "le"}),
    "heartbeat_store_up": ("gauge", {"backend"}),
    "heartbeat_store_dropped": ("counter", {"backend", "kind"}),
    "heartbeat_build_info": ("gauge", {"version", "twisted", "python", "openssl"}),
}


def whole(steps: Iterable[bytes]) -> str:
    """The text that some steps make."""
    return b"".join(steps).decode()


class MetricsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.hands = Hands()
        self.sources = Sources(
            registry=Registry(self.hands),
            failures=Failures(self.hands),
            totals=Totals(),
            rtt=Counters(),
            lag=Counters(),
            connections=lambda: 3,
        )
        self.listener = Listeners(self.sources.registry, self.sources.failures, self.sources.totals)
        self.metrics = Metrics(self.sources)

    def join(self, id: str = "a") -> Somebody:
        """A peer that everybody hears of."""
        return Somebody(self.hands, id, self.listener).join()

    def text(self, accept: str = "", names: Iterable[str] = ()) -> str:
        """What a scrape gives."""
        return whole(self.metrics.scrape(accept, names)[1])

    def sample(self, name: str, **labels: str) -> float | None:
        """One sample of a scrape."""
        found = [
            sample.value
            for family in parse(self.text())
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        self.assertLessEqual(len(found), 1)
        return found[0] if found else None


class Store:
    """The numbers of a store that was asked twice and is away."""

    backend = "redis"
    away = True
    dropped: ClassVar[dict[str, int]] = {"peers": 3, "failures": 0}

    def __init__(self) -> None:
        self.durations = {("write", "ok"): Counters(), ("renew", "timeout"): Counters()}
        self.durations["write", "ok"].add(0.002)
        self.durations["renew", "timeout"].add(2.5)


class SurfaceTests(MetricsCase):
    """What programs rely on."""

    def test_names_types_and_labels(self) -> None:
        """The metrics are those of the documented surface, and no more."""
        self.sources.store = Store()
        self.join().answer()
        families = {family.name: family for family in parse(self.text())}
        self.assertEqual(
            {
                name: (family.type, set().union(*(sample.labels for sample in family.samples)))
                for name, family in families.items()
            },
            SURFACE,
        )
        self.assertTrue(all(family.documentation for family in families.values()))

    def test_openmetrics(self) -> None:
        """Who asks for OpenMetrics gets text that its strict parser takes."""
        self.join().answer()
        media, steps = self.metrics.scrape("application/openmetrics-text; version=1.0.0")
        self.assertTrue(media.startswith("application/openmetrics-text"), media)
        names = {family.name for family in parse_openmetrics(whole(steps))}
        self.assertIn("heartbeat_beats", names)
        self.assertIn("heartbeat_build", names)

    def test_plain_text_for_everybody_else(self) -> None:
        """Without a wish it is the Prometheus text."""
        media, steps = self.metrics.scrape()
        self.assertTrue(media.startswith("text/plain; version=0.0.4"), media)
        steps.close()

    def test_a_wish_that_makes_no_sense(self) -> None:
        """A header that nobody can read is as none."""
        for accept in ("application/openmetrics-text; version=x", "text/plain; version=1.x", ";;;,=,\xff"):
            media, steps = self.metrics.scrape(accept)
            self.assertTrue(media.startswith("text/plain; version=0.0.4"), accept)
            self.assertIn("heartbeat_peers", whole(steps))

    def test_only_some_series(self) -> None:
        """``?name[]=`` chooses series."""
        families = list(parse(self.text(names=["heartbeat_beats_total", "nothing"])))
        self.assertEqual([family.name for family in families], ["heartbeat_beats"])

    def test_described_without_counting(self) -> None:
        """What is described is what is collected, by name and type, and nobody is counted for it."""
        self.assertEqual(
            {(family.name, family.type) for family in self.metrics.describe()},
            {(family.name, family.type) for family in self.metrics.collect()},
        )
        self.assertTrue(all(not family.samples for family in self.metrics.describe()))

    def test_a_registry_that_is_passed_in(self) -> None:
        """It may be shared with others, and read by prometheus_client's own means."""
        registry = CollectorRegistry()
        Gauge("other", "Somebody else's.", registry=registry).set(1)
        Metrics(self.sources, registry)
        text = generate_latest(registry).decode()
        self.assertIn("\nother 1.0\n", text)
        self.assertIn('\nheartbeat_beats_total{direction="in"} 0.0\n', text)


class ValueTests(MetricsCase):
    """What the numbers are."""

    def test_everything_that_can_be_expected_begins_at_zero(self) -> None:
        """rate() needs the zero before the first failure: each reason in its phases, each spared reason, each state."""
        self.assertEqual(self.sample("heartbeat_failures_total", reason="path_dead", phase="live"), 0.0)
        self.assertEqual(self.sample("heartbeat_failures_total", reason="peer_closed", phase="handshake"), 0.0)
        self.assertEqual(self.sample("heartbeat_failures_total", reason="dns_fail", phase="connect"), 0.0)
        self.assertIsNone(self.sample("heartbeat_failures_total", reason="dns_fail", phase="live"))
        text = self.text()
        for reason in FAILURE_REASONS | set(SPARE_REASONS):
            self.assertIn(f'reason="{reason}"', text)
        for state in ("alive", "suspect", "stuck", "dead", "left"):
            self.assertIn(f'heartbeat_peers{{state="{state}"}} 0.0', text)

    def test_beats(self) -> None:
        """in: PINGs read, out: PINGs sent, of the living and of the dead."""
        one, two = self.join("a"), self.join("b")
        one.beats.tally.pings_in = 5
        one.answer()
        one.answer()
        two.answer()
        two.die()
        self.assertEqual(self.sample("heartbeat_beats_total", direction="in"), 5.0)
        self.assertEqual(self.sample("heartbeat_beats_total", direction="out"), 3.0)

    def test_health_checks(self) -> None:
        """Each settled question once, under the labels of the process, which may change."""
        one = self.join()
        one.answer()
        one.lose()
        one.fall_silent()
        one.answer()
        self.sources.labels = Labels("web", "eu", "blue")
        for status, number in {"ok": 2.0, "late": 1.0, "lost": 1.0}.items():
            found = self.sample(
                "heartbeat_health_check_total", service="web", region="eu", cluster="blue", status=status
            )
            self.assertEqual(found, number, status)

    def test_histograms(self) -> None:
        """Bounds from 0.512 ms to 16.8 s, with the exact sum and count."""
        for seconds in (0.0001, 0.003, 0.003, 40.0):
            self.sources.rtt.add(seconds)
        self.sources.lag.add(1.0)
        text = self.text()
        for line in (
            'heartbeat_rtt_seconds_bucket{le="0.000512"} 1.0',
            'heartbeat_rtt_seconds_bucket{le="0.002048"} 1.0',
            'heartbeat_rtt_seconds_bucket{le="0.004096"} 3.0',
            'heartbeat_rtt_seconds_bucket{le="16.777216"} 3.0',
            'heartbeat_rtt_seconds_bucket{le="+Inf"} 4.0',
            "heartbeat_rtt_seconds_count 4.0",
            "heartbeat_rtt_seconds_sum 40.0061",
            'heartbeat_scheduler_lag_seconds_bucket{le="1.048576"} 1.0',
            "heartbeat_scheduler_lag_seconds_sum 1.0",
        ):
            self.assertIn(f"\n{line}\n", text)

    def test_failures_and_spared(self) -> None:
        """By reason and phase; who was spared is no failure."""
        self.join("a").die("peer_closed")
        Somebody(self.hands, "b", self.listener).die("server_full")
        self.join("c").spare("suspended")
        self.assertEqual(self.sample("heartbeat_failures_total", reason="peer_closed", phase="live"), 1.0)
        self.assertEqual(self.sample("heartbeat_failures_total", reason="server_full", phase="handshake"), 1.0)
        self.assertEqual(self.sample("heartbeat_spared_total", reason="suspended"), 1.0)
        self.assertEqual(self.sample("heartbeat_peers", state="dead"), 1.0)
        self.assertEqual(self.sample("heartbeat_peers", state="alive"), 1.0)

    def test_a_failure_where_nobody_expected_it(self) -> None:
        """It is counted all the same."""
        Somebody(self.hands, "b", self.listener).die("tcp_refused")
        self.assertEqual(self.sample("heartbeat_failures_total", reason="tcp_refused", phase="connect"), 1.0)

    def test_gauges(self) -> None:
        """Means over the living, and the open connections; without anybody alive no mean is invented."""
        self.assertIsNone(self.sample("heartbeat_interval_seconds"))
        self.assertIsNone(self.sample("heartbeat_loss_ratio"))
        self.join().lose()
        self.assertEqual(self.sample("heartbeat_interval_seconds"), 0.5)
        self.assertEqual(self.sample("heartbeat_loss_ratio"), 0.5)
        self.assertEqual(self.sample("heartbeat_connections"), 3.0)

    def test_certificates(self) -> None:
        """When ours expires, and how often it was renewed; without TLS there is nothing to say."""
        name = "heartbeat_certificate_not_after_timestamp_seconds"
        self.assertIsNone(self.sample(name))
        self.assertIsNone(self.sample("heartbeat_certificate_reloads_total", outcome="ok"))
        clock = Clock()
        clock.rightNow = 1.8e9
        given = [pem("a"), pem("a"), pem("b", valid=LONG_AGO)]
        held = self.sources.certificates = Certificates(lambda: given.pop(0), reactor=clock)
        for _ in range(3):
            self.successResultOf(held.reload())
        self.assertEqual(self.sample(name), held.not_after)
        self.assertEqual(self.sample("heartbeat_certificate_reloads_total", outcome="ok"), 1.0)
        self.assertEqual(self.sample("heartbeat_certificate_reloads_total", outcome="error"), 1.0)

    def test_store(self) -> None:
        """Calls of a store by what was asked and how it ended, and whether it answers; without one there are no
        samples."""
        name = "heartbeat_store_operation_duration_seconds"
        self.assertNotIn(f"{name}_count", self.text())
        self.assertNotIn("heartbeat_store_up{", self.text())
        self.sources.store = Store()
        labels = {"backend": "redis", "operation": "renew", "outcome": "timeout"}
        self.assertEqual(self.sample(f"{name}_count", **labels), 1.0)
        self.assertEqual(self.sample(f"{name}_sum", **labels), 2.5)
        self.assertEqual(self.sample("heartbeat_store_up", backend="redis"), 0.0)
        self.assertEqual(self.sample("heartbeat_store_dropped_total", backend="redis", kind="peers"), 3.0)

    def test_build(self) -> None:
        """What is running."""
        self.assertIn("heartbeat_build_info{", self.text())
        self.assertIn(f'version="{__version__}"', self.text())
        self.assertIn('openssl="OpenSSL ', self.text())


class WalkTests(MetricsCase):
    """Many peers are counted in slices, and no counter goes back for it."""

    def setUp(self) -> None:
        super().setUp()
        self.metrics = Metrics(
            Sources(
                registry=self.sources.registry,
                failures=self.sources.failures,
                totals=Small(),
                rtt=Counters(),
                lag=Counters(),
                connections=lambda: 0,
            )
        )
        self.totals = self.metrics._sources.totals

    def crowd(self, size: int) -> list[Somebody]:
        """Peers with an answered question each."""
        crowd = [Somebody(self.hands, f"p{number}", self.totals).join() for number in range(size)]
        for one in crowd:
            one.answer()
        return crowd

    def out(self, text: str) -> int:
        """PINGs sent, as a scrape says."""
        line = next(line for line in text.splitlines() if line.startswith('heartbeat_beats_total{direction="out"}'))
        return int(float(line.rpartition(" ")[2]))

    def test_one_slice_per_step(self) -> None:
        """A crowd takes several steps, of which only the last one has text."""
        self.crowd(7)
        steps = list(self.metrics.scrape()[1])
        self.assertEqual(steps[:-1], [b"", b"", b""])
        self.assertEqual(self.out(steps[-1].decode()), 7)

    def test_requests_that_overlap_share_the_walk(self) -> None:
        """Two that wait at once wait for the same walk; the next one walks anew."""
        crowd = self.crowd(8)
        first, second = self.metrics.scrape()[1], self.metrics.scrape()[1]
        self.assertEqual((next(first), next(second)), (b"", b""))
        crowd[0].answer()
        self.assertEqual([self.out(whole(first)), self.out(whole(second))], [8, 8])
        self.assertEqual(self.out(self.text()), 9)

    def test_one_that_gives_up(self) -> None:
        """A reader that goes away leaves the walk to those who wait, and nothing behind if nobody does."""
        self.crowd(8)
        first, second = self.metrics.scrape()[1], self.metrics.scrape()[1]
        next(first)
        next(second)
        first.close()
        self.assertIsNotNone(self.metrics._walk)
        self.assertEqual(self.out(whole(second)), 8)
        third = self.metrics.scrape()[1]
        next(third)
        third.close()
        self.assertIsNone(self.metrics._walk)

    def test_collected_while_somebody_walks(self) -> None:
        """Who collects at once finishes the walk of the others: they answer the same."""
        self.crowd(8)
        walking = self.metrics.scrape()[1]
        next(walking)
        self.assertEqual(self.out(generate_latest(self.metrics.registry).decode()), 8)
        self.assertEqual(self.out(whole(walking)), 8)

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.sampled_from(["ask", "new", "begin", "begin", "step", "step", "step", "collect", "die"])))
    def test_no_answer_counts_less_than_one_before(self, steps: list[str]) -> None:
        """However requests overlap, what is answered later never counts less."""
        self.setUp()
        crowd, waiting, latest = self.crowd(5), list[object](), 0
        for number, step in enumerate(steps):
            answer = b""
            if step == "ask" and crowd:
                crowd[number % len(crowd)].answer()
            elif step == "new":
                crowd += self.crowd(1)
            elif step == "die" and crowd:
                crowd.pop(number % len(crowd)).die()
            elif step == "begin":
                waiting.append(self.metrics.scrape()[1])
            elif step == "collect":
                answer = generate_latest(self.metrics.registry)
            elif step == "step" and waiting:
                one = waiting[number % len(waiting)]
                answer = next(one)
                if answer:
                    waiting.remove(one)
            if answer:
                seen, latest = latest, self.out(answer.decode())
                self.assertGreaterEqual(latest, seen)


class Small(Totals):
    """Totals that walk two peers at a time."""

    def walk(self, size: int = 2):
        return super().walk(size)


class MissingTests(MetricsCase):
    """prometheus_client is an extra."""

    def test_missing(self) -> None:
        """Where it is not installed, asking for metrics says what to install."""
        self.forget("heartbeat.watch.export.metrics", "heartbeat.watch.export.families")
        for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
            self.patch_module(name)
        error = self.assertRaises(MissingExtra, metrics_of, self.sources)
        self.assertEqual(error.extra, "prometheus")
        self.assertIn("pip install 'txheartbeat[prometheus]'", str(error))

    def test_something_else_is_missing(self) -> None:
        """Another package that cannot be imported is not blamed on the extra."""
        self.forget("heartbeat.watch.export.metrics", "heartbeat.watch.export.families")
        self.patch_module("OpenSSL")
        self.assertRaises(ModuleNotFoundError, metrics_of, self.sources)

    def test_installed(self) -> None:
        """Where it is, one call gives the metrics."""
        self.assertIn("heartbeat_peers", whole(metrics_of(self.sources).scrape()[1]))

    def forget(self, *names: str) -> None:
        """Import these anew next time, and put back what was there when the test is over."""
        for name in names:
            module = sys.modules.pop(name)
            self.addCleanup(sys.modules.__setitem__, name, module)

    def patch_module(self, name: str) -> None:
        """Make the import of a module fail."""
        module = sys.modules[name]
        self.addCleanup(sys.modules.__setitem__, name, module)
        sys.modules[name] = None


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class ExemplarTests(MetricsCase):
    """Which trace to look at: in OpenMetrics, on failures and on SYNC."""

    def setUp(self) -> None:
        super().setUp()
        self.sources.synced = SyncExamples(self.hands)
        self.listener = Listeners(self.listener, self.sources.synced)

    def exemplars(self) -> dict[tuple[str, ...], tuple[str, float]]:
        """(name, reason or bound) → trace id and value."""
        text = self.text("application/openmetrics-text; version=1.0.0")
        return {
            (sample.name, sample.labels.get("reason") or sample.labels["le"]): (
                sample.exemplar.labels["trace_id"],
                sample.exemplar.value,
            )
            for family in parse_openmetrics(text)
            for sample in family.samples
            if sample.exemplar is not None
        }

    def test_failures_and_syncs(self) -> None:
        """The newest failure of its kind, and the newest SYNC with a round trip in that bucket; no beat has any."""
        for id, trace in (("a", TRACE), ("b", TRACE.replace("0af7", "1bf7")), ("c", None)):
            one = Somebody(self.hands, id, self.listener)
            one.peer.traceparent = trace
            one.join().answer(0.1)
            self.sources.rtt.add(0.1)
            one.beats.liveness.note(Synced(self.hands.now, one.peer.report))
            one.tell()
            one.die()
        newest = "1bf7651916cd43dd8448eb211c80319c"
        self.assertEqual(
            self.exemplars(),
            {
                ("heartbeat_failures_total", "path_dead"): (newest, 1.0),
                ("heartbeat_rtt_seconds_bucket", "0.131072"): (newest, 0.1),
            },
        )
        self.assertNotIn(newest, self.text(), "the Prometheus text has no exemplars")

    def test_beats_have_none(self) -> None:
        """A peer that beats and says nothing new leaves no trace here."""
        one = Somebody(self.hands, "a", self.listener)
        one.peer.traceparent = TRACE
        one.join().answer(0.1)
        self.assertEqual(self.exemplars(), {})


@skipUnless(shutil.which("promtool"), "promtool is not installed: apt install prometheus")
class PromtoolTests(MetricsCase):
    """What Prometheus' own linter says."""

    def test_check_metrics(self) -> None:
        """Names, units and help texts are as it wants them."""
        self.join().answer()
        text = self.text()
        run = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""))
