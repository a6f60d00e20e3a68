"""heartbeat.watch.export.tracing: which spans there are, when they begin, and in which trace."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from heartbeat import HeartbeatConfig
from heartbeat.keys import SharedKey
from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.peer import Peer
from heartbeat.net import HeartbeatClientService, HeartbeatFactory
from heartbeat.testing import SilentDrop, SimulatedNetwork
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from tests.environment import CHECKOUT
from tests.watch.crowd import EPOCH, Hands, Somebody

HAVE_SDK = find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None
MISSING = "the extra otel is not installed: pip install 'txheartbeat[otel]'"
REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def span_kit(sampler: Any = None) -> tuple[Any, Callable[[], list[Any]]]:
    """A tracer, and what gives the spans that ended."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return provider.get_tracer("tests"), lambda: list(memory.get_finished_spans())


def trace_id(span: Any) -> str:
    """As the board shows it."""
    return f"{span.context.trace_id:032x}"


def seconds(ns: int | None) -> float:
    """Of the clock of the tests."""
    assert ns is not None
    return round(ns / 1e9 - EPOCH, 3)


@skipUnless(HAVE_SDK, MISSING)
class TraceCase(SynchronousTestCase):
    connector = False
    beats = 0.0

    def setUp(self) -> None:
        from heartbeat.watch.export.tracing import Traces

        self.hands = Hands()
        self.draws = [0.5]
        tracer, self.spans = span_kit(self.sampler())
        self.traces = Traces(tracer, self.hands, connector=self.connector, beats=self.beats, draw=lambda: self.draws[0])
        self.failures = Failures(self.hands)

    def sampler(self) -> Any:
        """None: all is recorded."""
        return None

    def somebody(self, id: str = "a") -> Somebody:
        """A peer of which the traces and the board hear."""
        return Somebody(self.hands, id, self.traces, self.failures)

    def only(self) -> Any:
        """The one span that ended."""
        (span,) = self.spans()
        return span


class HandshakeTests(TraceCase):
    """``heartbeat.handshake``."""

    def test_an_acceptor_continues_the_trace(self) -> None:
        """It is a child of what the peer's HELLO named, began with the connection, and our HELLO names it."""
        one = self.somebody()
        one.peer.traceparent = REMOTE
        self.hands.now += 0.25
        self.traces.begin(one.peer)
        ours = one.peer.traceparent
        self.traces.begin(one.peer)
        self.assertEqual(one.peer.traceparent, ours, "asked twice while it waits")
        self.hands.now += 0.25
        one.peer.session = "s-1"
        one.join()
        span = self.only()
        self.assertEqual((span.name, span.kind.name), ("heartbeat.handshake", "SERVER"))
        self.assertEqual(trace_id(span), REMOTE[3:35])
        self.assertEqual(f"{span.parent.span_id:016x}", REMOTE[36:52])
        self.assertEqual(ours, f"00-{trace_id(span)}-{span.context.span_id:016x}-{span.context.trace_flags:02x}")
        self.assertEqual((seconds(span.start_time), seconds(span.end_time)), (1000.0, 1000.5))
        for name, value in {
            "heartbeat.peer.id": "a",
            "heartbeat.session.id": "s-1",
            "network.protocol.name": "heartbeat",
            "network.peer.address": "192.0.2.1",
            "network.peer.port": 4711,
            "client.address": "192.0.2.1",
        }.items():
            self.assertEqual(span.attributes[name], value, name)
        self.assertNotIn("error.type", span.attributes)

    def test_without_a_trace(self) -> None:
        """Who named none, and who said no HELLO, gets a trace of its own, nobody else's."""
        from opentelemetry.context import attach, detach

        from heartbeat.watch.export.tracing import context_of

        token = attach(context_of(REMOTE))  # whatever the caller is in the middle of is another matter
        self.addCleanup(detach, token)
        one, other = self.somebody().join(), self.somebody("b").join()
        ids = [trace_id(span) for span in self.spans()]
        self.assertEqual(ids, [one.peer.trace_id, other.peer.trace_id])
        self.assertEqual(len({*ids, REMOTE[3:35]}), 3)

    def test_refused(self) -> None:
        """A refusal is an error with its reason; a BYE that is no failure is none."""
        one = self.somebody()
        self.traces.begin(one.peer)
        self.hands.now += 1.0
        one.die("terms_refused")
        span = self.only()
        self.assertEqual(span.attributes["error.type"], "terms_refused")
        self.assertEqual(span.attributes["heartbeat.phase"], "handshake")
        self.assertEqual(span.status.status_code.name, "ERROR")
        (failure,) = self.failures.since()
        self.assertEqual(failure.trace_id, trace_id(span))
        two = self.somebody("b")
        self.traces.begin(two.peer)
        two.leave()
        self.assertNotIn("error.type", self.spans()[1].attributes)

    def test_refused_before_a_word(self) -> None:
        """A connection that never said HELLO has its span, too, from its beginning on; a BYE is none."""
        one = self.somebody()
        self.hands.now += 10.0
        one.die("hello_timeout")
        span = self.only()
        self.assertEqual((seconds(span.start_time), seconds(span.end_time)), (1000.0, 1010.0))
        self.somebody("b").leave()
        self.assertEqual(len(self.spans()), 1)


class FailureTests(TraceCase):
    """Deaths."""

    def sampler(self) -> Any:
        """Nothing is recorded but what must be."""
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

        from heartbeat.watch.export.otlp import Kept

        return Kept(ALWAYS_OFF)

    def test_recorded_whatever_is_sampled(self) -> None:
        """A death is a span although its trace is not sampled; the board shows the trace that HELLO named."""
        one = self.somebody()
        one.peer.traceparent = REMOTE[:-2] + "00"
        self.traces.begin(one.peer)
        one.join()
        self.assertEqual(self.spans(), [])
        self.hands.now += 2.0
        one.die("path_dead", Evidence(self.hands.now, detail="silent"))
        span = self.only()
        self.assertEqual((span.name, span.attributes["error.type"]), ("heartbeat.ping", "path_dead"))
        self.assertEqual(span.attributes["heartbeat.detail"], "silent")
        self.assertEqual(span.attributes["heartbeat.phase"], "live")
        self.assertEqual((seconds(span.start_time), seconds(span.end_time)), (1000.0, 1002.0))
        (failure,) = self.failures.since()
        self.assertEqual((failure.trace_id, trace_id(span)), (REMOTE[3:35], REMOTE[3:35]))
        self.assertEqual(failure.as_json()["trace_id"], REMOTE[3:35])

    def test_refused_although_not_sampled(self) -> None:
        """So is a refusal."""
        one = self.somebody()
        one.peer.traceparent = REMOTE[:-2] + "00"
        self.traces.begin(one.peer)
        one.die("id_in_use")
        span = self.only()
        self.assertEqual((span.name, trace_id(span)), ("heartbeat.handshake", REMOTE[3:35]))

    def test_who_left_did_not_fail(self) -> None:
        """BYE 0 is no span of a failure."""
        self.somebody().join().leave()
        self.assertEqual(self.spans(), [])

    def test_without_traces_the_board_shows_what_the_peer_sent(self) -> None:
        """A server that does not trace shows the trace of an agent that does."""
        one = Somebody(self.hands, "a", self.failures)
        one.peer.traceparent = REMOTE
        one.join().die()
        (failure,) = self.failures.since()
        self.assertEqual(failure.trace_id, REMOTE[3:35])


class BeatTests(TraceCase):
    """``heartbeat.ping`` of beats that were answered."""

    beats = 0.25
    connector = True

    def test_a_sample(self) -> None:
        """Each beat has the same chance; its span is as long as its round trip, and linked to its connection."""
        one = self.somebody().join()
        handshake = self.only()
        self.draws[0] = 1.0 - 0.75**2.5  # two are passed over, the third is taken
        self.traces._skip = 3
        for _ in range(9):
            self.hands.now += 0.125
            self.traces.round_trip(one.peer, 0.125)
        spans = self.spans()[1:]
        self.assertEqual([seconds(span.end_time) for span in spans], [1000.375, 1000.75, 1001.125])
        for span in spans:
            self.assertEqual((span.name, span.kind.name), ("heartbeat.ping", "CLIENT"))
            self.assertEqual(round((span.end_time - span.start_time) / 1000), 125_000)
            self.assertIsNone(span.parent)
            self.assertEqual(span.links[0].context.span_id, handshake.context.span_id)

    def test_the_smallest_part(self) -> None:
        """However small the part is, it is a number of beats."""
        from heartbeat.watch.export.tracing import Traces

        traces = Traces(span_kit()[0], self.hands, connector=True, beats=1e-18, draw=lambda: 0.5)
        self.assertGreater(traces._skip, 10**17)

    def test_nobody_asks_for_beats(self) -> None:
        """Without a ratio there is no such method, so that no beat makes an event."""
        from heartbeat.watch.export.tracing import Traces

        quiet = Traces(span_kit()[0], self.hands, connector=True)
        self.assertFalse(hasattr(Listeners(quiet), "round_trip"))
        self.assertTrue(hasattr(Listeners(self.traces), "round_trip"))


@skipUnless(HAVE_SDK, MISSING)
class ContextTests(SynchronousTestCase):
    """traceparent and back."""

    def test_round(self) -> None:
        """All flags are kept, those that nobody knows, too."""
        from heartbeat.watch.export.tracing import span_context, traceparent_of

        for flags in ("00", "01", "03", "ff"):
            self.assertEqual(traceparent_of(span_context(REMOTE[:-2] + flags)), REMOTE[:-2] + flags)
        self.assertIsNone(traceparent_of(span_context(None)))

    def test_without_a_provider(self) -> None:
        """With the API alone nothing is recorded, and what the peer sent stays."""
        from opentelemetry.trace import NoOpTracer

        from heartbeat.watch.export.tracing import Traces

        hands = Hands()
        traces = Traces(NoOpTracer(), hands, connector=False, beats=1.0)
        one = Somebody(hands, "a", traces)
        one.peer.traceparent = REMOTE
        traces.begin(one.peer)
        one.join()
        traces.round_trip(one.peer, 0.1)
        self.assertEqual(one.peer.traceparent, REMOTE)
        one.die()
        self.assertEqual(one.peer.traceparent, REMOTE)


@skipUnless(HAVE_SDK, MISSING)
class BothEndsTests(SynchronousTestCase):
    """Two ends on the simulated network."""

    def test_one_trace(self) -> None:
        """Connector and acceptor are in one trace, and so is the failure that either of them finds."""
        self.trace()

    def test_with_a_key(self) -> None:
        """So are they where the HELLOs are proved first."""
        self.trace(keys=(SharedKey(bytes(range(32))),))

    def trace(self, **more: Any) -> None:
        """Two ends with these settings, and what they trace."""
        from heartbeat.watch.export.tracing import Traces

        net = SimulatedNetwork(seed=1)
        server, client = net.host("server"), net.host("client")
        boards, spans = [], []
        factory = HeartbeatFactory(HeartbeatConfig(interval=0.5, **more), reactor=server.reactor)
        service = HeartbeatClientService(
            ["tcp:server:7600"], HeartbeatConfig(id="a", interval=0.5, **more), reactor=client.reactor
        )
        for each in (factory, service.connectors):
            tracer, ended = span_kit()
            each.tracing = traces = Traces(tracer, each.wheel.clocks, connector=each.connector)
            board = Failures(each.wheel.clocks)
            each.listener = Listeners(traces, board)
            boards.append(board)
            spans.append(ended)
        server.listen(7600, factory)
        service.startService()
        peer: Peer = net.result(service.when_alive()).peer
        net.run(1.0)
        net.between(client, server).add(SilentDrop())
        net.run(3.0)
        ids = {trace_id(span) for ended in spans for span in ended() if span.name != "heartbeat.handshake"}
        self.assertEqual(ids, {peer.trace_id})
        self.assertEqual([len(ended()) for ended in spans], [2, 2])
        self.assertEqual([failure.trace_id for board in boards for failure in board.since()], [peer.trace_id] * 2)
        roots = [span for ended in spans for span in ended() if span.parent is None]
        self.assertEqual([(span.name, span.kind.name) for span in roots], [("heartbeat.handshake", "CLIENT")])
        service.stopService()
        net.run(3.0)


@skipUnless(HAVE_SDK, MISSING)
class ExampleTests(SynchronousTestCase):
    """What the how-to shows."""

    def test_it_runs(self) -> None:
        """The example is a factory that traces, and asks for beats."""
        example = runpy.run_path(str(CHECKOUT / "docs/howto/traced_server.py"))
        factory = example["factory"]
        self.assertIs(factory.tracing, factory.listener)
        self.assertTrue(hasattr(factory.listener, "round_trip"))
