"""A stand-in for an OpenTelemetry collector: takes OTLP over HTTP on the loopback, and keeps what it was sent."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

__all__ = ["Collector", "Sent"]


class Sent(NamedTuple):
    """One span as it was sent, in plain values."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    begins: float
    ends: float
    error: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    """Listens from the beginning until :meth:`close`.

    :ivar url: for ``OTEL_EXPORTER_OTLP_ENDPOINT``
    :ivar spans: what came
    :ivar metrics: the names of the metrics that came
    """

    def __init__(self) -> None:
        self.spans: list[Sent] = []
        self.metrics: set[str] = set()
        collector = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                self.send_response(200 if collector.take(self.path, body) else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def take(self, path: str, body: bytes) -> bool:
        """One request; a body that is not OTLP raises, which is a 5xx for whoever sent it."""
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        if path == "/v1/traces":
            for one in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = _plain(one.resource.attributes)
                self.spans += [_sent(span, resource) for scope in one.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            for one in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics |= {metric.name for scope in one.scope_metrics for metric in scope.metrics}
        else:
            return False
        return True

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)


def _sent(span: Any, resource: dict[str, Any]) -> Sent:
    return Sent(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano / 1e9,
        span.end_time_unix_nano / 1e9,
        span.status.code == 2,
        _plain(span.attributes),
        resource,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
