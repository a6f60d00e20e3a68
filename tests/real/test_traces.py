"""Traces from real processes to a stand-in for a collector, over OTLP."""

from __future__ import annotations

import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import Any, ClassVar
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.real.collector import Collector, Sent
from tests.real.processes import Agent, Server, _Process, poll
from tests.real.rawpeer import connect

HAVE_OTLP = all(find_spec(name) for name in ("opentelemetry", "opentelemetry.sdk", "opentelemetry.proto"))
MISSING = "the extra otel is not installed: pip install 'txheartbeat[otel]'"


@skipUnless(HAVE_OTLP, MISSING)
class TraceTests(SynchronousTestCase):
    """A server, an agent and a collector."""

    def setUp(self) -> None:
        """The collector, and a server that sends to it because the environment says so."""
        self.collector = Collector()
        self.addCleanup(self.collector.close)
        self.variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url,
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        about = ("--service", "billing", "--region", "eu-1", "--cluster", "c1", "--node", "node-1")
        self.server = Server("--ping-interval", "0.3", *about, variables=self.variables)
        self.addCleanup(lambda: self.assertEqual(self.server.complaints(), []))
        self.addCleanup(self.server.kill)

    def sent(self, name: str, service: str, **attributes: str) -> Sent:
        """The first such span, once it came."""

        def look() -> Sent | None:
            for span in list(self.collector.spans):
                fits = attributes.items() <= span.attributes.items()
                if span.name == name and span.resource["service.name"] == service and fits:
                    return span
            return None

        return poll(look, 5.0, f"a span {name} of {service} with {attributes}")

    def test_a_failure_in_the_trace_of_the_agent(self) -> None:
        """The failure span has the trace id that the agent's HELLO sent and that the board shows."""
        options = ("--id", "traced", "--ping-interval", "0.3", "--trace-beats", "1", "--log-json")
        agent = Agent(self.server.port, *options, variables=self.variables)
        self.addCleanup(agent.kill)
        began = self.sent("heartbeat.handshake", "heartbeat-agent")
        self.assertEqual((began.parent_id, began.kind), ("", 3), "the connector begins the trace")
        went_on = self.sent("heartbeat.handshake", "billing")
        self.assertEqual((went_on.trace_id, went_on.parent_id, went_on.kind), (began.trace_id, began.span_id, 2))
        self.assertEqual(went_on.attributes["heartbeat.peer.id"], "traced")
        beat = self.sent("heartbeat.ping", "heartbeat-agent")
        self.assertFalse(beat.error)
        agent.find(rf'"trace_id": "{began.trace_id}"')

        stopped = agent.signal(signal.SIGSTOP)
        failure = self.server.failure("traced")
        self.assertEqual(failure["trace_id"], began.trace_id)
        span = self.sent("heartbeat.ping", "billing", **{"error.type": failure["failure_reason"]})
        self.assertEqual((span.trace_id, span.error), (began.trace_id, True))
        self.assertEqual(span.parent_id, went_on.span_id)
        self.assertLess(span.begins, stopped + 0.3, "it begins with the last sign of life")
        self.assertAlmostEqual(span.ends, failure["at"], places=2)
        expected = {
            "service.namespace": "c1",
            "service.instance.id": "node-1",
            "cloud.region": "eu-1",
            "deployment.environment.name": "test",
        }
        self.assertEqual({name: span.resource.get(name) for name in expected}, expected)
        poll(lambda: "heartbeat.health.check" in self.collector.metrics, 5.0, "the metrics, pushed")
        self.assertIn("heartbeat.failure", self.collector.metrics)

    def test_a_peer_of_another_kind(self) -> None:
        """Who sends a traceparent in its HELLO is answered with one of the same trace; the last span leaves in time."""
        trace = "0af7651916cd43dd8448eb211c80319c"
        peer = connect(self.server.port)
        self.addCleanup(peer.close)
        answer = peer.greet(id="raw", traceparent=f"00-{trace}-b7ad6b7169203331-01")
        self.assertEqual(answer["traceparent"][3:35], trace)
        peer.close()
        self.assertEqual(self.server.failure("raw")["trace_id"], trace)
        self.server.stop()
        span = self.sent("heartbeat.ping", "billing", **{"heartbeat.peer.id": "raw"})
        self.assertEqual((span.trace_id, span.parent_id), (trace, answer["traceparent"][36:52]))


class Sick(BaseHTTPRequestHandler):
    """A web server that is not well. It remembers the traces in which it was asked."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers["traceparent"])
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@skipUnless(HAVE_OTLP, MISSING)
class ProbeTests(SynchronousTestCase):
    """A prober, a target and a collector."""

    def test_a_request_that_failed(self) -> None:
        """The request's header, the prober's log, its board and the span that the collector got are of one trace."""
        target = ThreadingHTTPServer(("127.0.0.1", 0), Sick)
        target.daemon_threads = True
        threading.Thread(target=target.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(target.server_close)
        self.addCleanup(target.shutdown)
        collector = Collector()
        self.addCleanup(collector.close)
        url = f"http://127.0.0.1:{target.server_port}/health"
        options = ("--url", url, "--interval", "0.3", "--web", "tcp:0:interface=127.0.0.1", "--log-json")
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        prober = Probed("heartbeat-probe", *options, variables=variables)
        self.addCleanup(prober.kill)
        failure = prober.failure(url, 10.0)
        self.assertEqual(failure["failure_reason"], "http_5xx")
        trace = failure["trace_id"]
        asked = poll(lambda: next((one for one in Sick.asked if one[3:35] == trace), None), 5.0, "the request")
        span = poll(
            lambda: next((one for one in list(collector.spans) if one.trace_id == trace), None), 5.0, "its span"
        )
        self.assertEqual((span.name, span.span_id, span.kind), ("heartbeat.probe", asked[36:52], 3))
        self.assertTrue(span.error)
        expected = {"url.full": url, "error.type": "http_5xx", "http.response.status_code": 503}
        self.assertEqual({name: span.attributes.get(name) for name in expected}, expected)
        prober.find(r'"reason": "http_5xx".*"trace_id": "[0-9a-f]{32}"')
        self.assertEqual(prober.complaints(), [])


class Probed(Server):
    """A prober; it is asked as a server is."""

    def __init__(self, *arguments: str, **more: Any) -> None:
        _Process.__init__(self, *arguments, **more)
        try:
            self.web = int(self.find(r"listening web http://127\.0\.0\.1:(\d+)/")[1])
        except AssertionError:
            self.kill()
            raise


@skipUnless(HAVE_OTLP, MISSING)
class CollectorAwayTests(SynchronousTestCase):
    """No collector."""

    def test_nobody_waits_for_it(self) -> None:
        """A collector that is away is a line in the log; the server works, and ends in good time."""
        gone = Collector()
        gone.close()
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": gone.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        server = Server(variables=variables)
        self.addCleanup(server.kill)
        agent = Agent(server.port, "--id", "a", variables={"OTEL_SDK_DISABLED": "true", **variables})
        self.addCleanup(agent.kill)
        server.in_state("a", "alive", 10.0)
        server.signal(signal.SIGTERM)
        server.wait(9.0)
        self.assertEqual([line for line in server.lines if "Traceback" in line], [])
