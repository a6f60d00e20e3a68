"""heartbeat.watch.export.push and otlp: what goes to a collector, from which thread, and how it ends."""

from __future__ import annotations

import logging
import os
import threading
from importlib.util import find_spec
from typing import Any
from unittest import mock, skipUnless

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from heartbeat.liveness.counters import Counters
from heartbeat.watch.export.sources import Labels, Sources
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.registry import Registry
from heartbeat.watch.tally import Totals
from tests.watch.crowd import Hands, Somebody

HAVE_SDK = find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None
MISSING = "the extra otel is not installed: pip install 'txheartbeat[otel]'"


def say(case: SynchronousTestCase, **variables: str) -> None:
    """Set variables of the environment for one test."""
    changed = mock.patch.dict(os.environ, variables)
    changed.start()
    case.addCleanup(changed.stop)


def collector() -> tuple[Any, list[Any]]:
    """An exporter of metrics, and the batches that it was given."""
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult

    batches: list[Any] = []

    class Exporter(MetricExporter):
        def export(self, metrics_data: Any, timeout_millis: float = 0, **kwargs: Any) -> Any:
            batches.append(metrics_data)
            return MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis: float = 0) -> bool:
            return True

        def shutdown(self, timeout_millis: float = 0, **kwargs: Any) -> None:
            batches.append("shut down")

    return Exporter(), batches


def points(batch: Any) -> dict[tuple[Any, ...], Any]:
    """(name, label values …) → value, or (count, sum) of a histogram."""
    found: dict[tuple[Any, ...], Any] = {}
    for resource in batch.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    value = point.value if hasattr(point, "value") else (point.count, point.sum)
                    found[(metric.name, *point.attributes.values())] = value
    return found


@skipUnless(HAVE_SDK, MISSING)
class PushTests(SynchronousTestCase):
    """The metrics."""

    def setUp(self) -> None:
        from opentelemetry.sdk.resources import Resource

        from heartbeat.watch.export.push import Push

        self.hands = Hands()
        self.sources = Sources(
            registry=Registry(self.hands),
            failures=Failures(self.hands),
            totals=Totals(),
            rtt=Counters(),
            lag=Counters(),
            connections=lambda: 3,
            labels=Labels("s", "r", "c"),
        )
        self.exporter, self.batches = collector()
        self.clock = Clock()
        self.waiting: list[Any] = []  # for another thread
        say(self, OTEL_METRIC_EXPORT_INTERVAL="10000")
        self.push = Push(
            Resource({"service.name": "s"}), self.sources, self.clock, exporter=self.exporter, apart=self.waiting.append
        )
        self.listener = Listeners(self.push, self.sources.registry, self.sources.failures, self.sources.totals)

    def test_the_same_numbers(self) -> None:
        """What /metrics counts is pushed, under the names of OpenTelemetry, with its labels."""
        one = Somebody(self.hands, "a", self.listener).join()
        one.answer(0.125)
        self.push.round_trip(one.peer, 0.125)
        Somebody(self.hands, "b", self.listener).join().die("path_dead")
        one.spare("local_stall")
        self.push.start()
        self.clock.advance(9.9)
        self.assertEqual(self.waiting, [])
        self.clock.advance(0.2)
        self.assertEqual(self.batches, [], "nothing is sent in the reactor thread")
        self.waiting.pop()()
        found = points(self.batches[0])
        expected = {
            ("heartbeat.health.check", "s", "r", "c", "ok"): 1,
            ("heartbeat.health.check", "s", "r", "c", "lost"): 0,
            ("heartbeat.failure", "path_dead", "live"): 1,
            ("heartbeat.beat", "out"): 1,
            ("heartbeat.spared", "local_stall"): 1,
            ("heartbeat.peers", "alive"): 1,
            ("heartbeat.peers", "dead"): 1,
            ("heartbeat.connections",): 3,
            ("heartbeat.interval",): 0.5,
            ("heartbeat.loss",): 0.0,
            ("heartbeat.rtt",): (1, 0.125),
        }
        self.assertEqual({name: found.get(name) for name in expected}, expected)
        self.push.stop()

    def test_a_slow_collector_is_given_one_batch(self) -> None:
        """What it has not taken yet does not pile up; when it is done it gets the next."""
        self.push.start()
        self.clock.advance(10)
        self.clock.advance(10)
        self.assertEqual(len(self.waiting), 1)
        self.waiting.pop()()
        self.clock.advance(10)
        self.assertEqual(len(self.waiting), 1)
        self.push.stop()

    def test_many_peers(self) -> None:
        """They are added up in slices, one per turn; told to stop in between, nothing is left of it."""
        walk = self.sources.totals.walk
        self.patch(self.sources.totals, "walk", lambda size=2: walk(size))
        for number in range(5):
            Somebody(self.hands, f"p{number}", self.listener).join().answer(0.1)
        self.push.start()
        self.push._collect()
        self.assertEqual(self.waiting, [], "the first of three slices")
        self.clock.pump([0, 0])
        self.waiting.pop()()
        self.assertEqual(points(self.batches[0])["heartbeat.health.check", "s", "r", "c", "ok"], 5)
        self.push._collect()
        self.push.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.push.close()
        self.assertEqual(points(self.batches[1])["heartbeat.health.check", "s", "r", "c", "ok"], 5)

    def test_the_end(self) -> None:
        """The last numbers are taken in the reactor thread and sent by close(); no timer stays behind."""
        self.push.start()
        self.push.stop()
        self.assertEqual((self.clock.getDelayedCalls(), self.batches), ([], []))
        self.push.close()
        self.assertIn(("heartbeat.connections",), points(self.batches[0]))
        self.assertEqual(self.batches[1:], ["shut down"])

    def test_an_interval_that_is_none(self) -> None:
        """What OTEL_METRIC_EXPORT_INTERVAL says that is no number is a minute."""
        say(self, OTEL_METRIC_EXPORT_INTERVAL="often")
        self.push.start()
        self.clock.advance(59.9)
        self.assertEqual(self.waiting, [])
        self.clock.advance(0.2)
        self.assertEqual(len(self.waiting), 1)
        self.push.stop()


@skipUnless(HAVE_SDK, MISSING)
class ResourceTests(SynchronousTestCase):
    """What a collector is told of the process."""

    def test_the_environment_goes_first(self) -> None:
        """Of what both say, OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME are right; what is empty is not said."""
        from heartbeat.watch.export.otlp import resource_of

        say(self, OTEL_SERVICE_NAME="mine", OTEL_RESOURCE_ATTRIBUTES="cloud.region=north,team=a")
        ours = {"service.name": "x", "cloud.region": "y", "service.namespace": "", "service.version": "1"}
        found = resource_of(ours).attributes
        wanted = {"service.name": "mine", "cloud.region": "north", "team": "a", "service.version": "1"}
        self.assertEqual({name: found.get(name) for name in wanted}, wanted)
        self.assertNotIn("service.namespace", found)


@skipUnless(HAVE_SDK, MISSING)
class EndTests(TestCase):
    """What blocks at the end."""

    timeout = 10

    async def test_off_the_reactor_thread(self) -> None:
        """It is done in another thread, and told in this one."""
        from heartbeat.watch.export.otlp import off_thread

        ran: list[threading.Thread] = []
        await off_thread(reactor, lambda: ran.append(threading.current_thread()))
        self.assertIsNot(ran[0], threading.main_thread())
        self.assertTrue(ran[0].daemon, "the process must not wait for it")

    async def test_bounded(self) -> None:
        """Whoever does not come to an end is left behind."""
        from heartbeat.watch.export.otlp import off_thread

        forever, ended = threading.Event(), Deferred[None]()

        def block() -> None:
            forever.wait(8)
            reactor.callFromThread(reactor.callLater, 0, ended.callback, None)  # type: ignore[attr-defined]

        await off_thread(reactor, block, 0.05)
        self.assertFalse(forever.is_set())
        forever.set()
        await ended

    async def test_what_it_raises_is_logged(self) -> None:
        """And nobody fails for it."""
        from heartbeat.watch.export.otlp import off_thread

        await off_thread(reactor, lambda: 1 / 0)  # type: ignore[arg-type]
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


@skipUnless(HAVE_SDK, MISSING)
class ComplaintTests(SynchronousTestCase):
    """A collector that is away."""

    def test_one_line_a_minute(self) -> None:
        """The SDK complains of each batch; the log has one line in a minute, and none on standard error."""
        from twisted.logger import globalLogPublisher

        from heartbeat.watch.export.otlp import Complaints

        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        clock = Clock()
        complaints = Complaints(clock.seconds)
        complaints.install()
        self.addCleanup(complaints.remove)
        logger = logging.getLogger("opentelemetry.exporter")
        for _ in range(5):
            logger.warning("connection\nrefused")
        clock.advance(61)
        logger.warning("again")
        logger.info("not at all")
        texts = [event["text"] for event in events if event.get("log_namespace") == "heartbeat.telemetry"]
        self.assertEqual(texts, ["connection refused", "again"])
