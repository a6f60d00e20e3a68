"""heartbeat.apps.traceoptions and telemetry: when something is sent, and what is said if it cannot be."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any
from unittest import mock, skipUnless

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.telemetry import Telemetry
from heartbeat.apps.traceoptions import Ratio, check_protocol, wanted
from heartbeat.errors import ConfigError, MissingExtra

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
HAVE_SDK = find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


class WantedTests(SynchronousTestCase):
    """Who decides: the option, then the variables that users of OpenTelemetry know."""

    def test_table(self) -> None:
        """Each case that there is."""
        for choice, signal, environ, expected in (
            ("auto", "TRACES", {}, False),
            ("otlp", "TRACES", {}, True),
            ("none", "TRACES", ENDPOINT, False),
            ("auto", "TRACES", ENDPOINT, True),
            ("auto", "TRACES", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
            ("auto", "TRACES", {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
            ("auto", "TRACES", {"OTEL_TRACES_EXPORTER": "console,otlp"}, True),
            ("auto", "TRACES", {**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
            ("otlp", "TRACES", {"OTEL_SDK_DISABLED": "TRUE"}, False),
            ("otlp", "TRACES", {"OTEL_SDK_DISABLED": "false"}, True),
            ("auto", "METRICS", ENDPOINT, False),
            ("auto", "METRICS", {"OTEL_METRICS_EXPORTER": "otlp"}, True),
            ("auto", "METRICS", {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, True),
            ("otlp", "METRICS", {}, True),
        ):
            self.assertIs(wanted(choice, signal, environ), expected, (choice, signal, environ))


class RatioTests(SynchronousTestCase):
    """``--trace-beats``."""

    def test_values(self) -> None:
        """From 0 to 1, both included."""
        ratio = Ratio()
        for text, value in (("0", 0.0), ("1", 1.0), (".5", 0.5), ("0.01", 0.01)):
            self.assertEqual(ratio.from_text("--trace-beats", text), value)
        self.assertEqual(ratio.from_toml("trace-beats", 1), 1.0)

    def test_what_is_none(self) -> None:
        """Named, and shown."""
        ratio = Ratio()
        for text in ("-0.1", "1.01", "nan", "1e-3", "half", "1_0", ""):
            with self.assertRaisesRegex(ConfigError, "--trace-beats: must be .* 0 to 1"):
                ratio.from_text("--trace-beats", text)
        for value in (True, "0.5", -1, float("nan")):
            with self.assertRaisesRegex(ConfigError, "trace-beats: must be .* 0 to 1"):
                ratio.from_toml("trace-beats", value)


class TelemetryTests(SynchronousTestCase):
    """The service."""

    def setUp(self) -> None:
        """Nothing of the environment counts."""
        said = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")}
        environment = mock.patch.dict(os.environ, said, clear=True)
        environment.start()
        self.addCleanup(environment.stop)

    def away(self, package: str) -> None:
        """As if this package were not installed."""
        ours = ("heartbeat.watch.export.otlp", "heartbeat.watch.export.push", "heartbeat.watch.export.tracing")
        gone: dict[str, Any] = {name: None for name in sys.modules if name.startswith(package)} | {package: None}
        modules = mock.patch.dict(sys.modules, gone)
        modules.start()
        self.addCleanup(modules.stop)
        for name in ours:
            sys.modules.pop(name, None)

    def test_nothing_is_wanted(self) -> None:
        """Then nothing is imported, made or stopped."""
        telemetry = Telemetry(Clock(), {}, traces="none")
        telemetry.startService()
        self.assertIsNone(telemetry.tracer())
        self.assertIsNone(telemetry.push)
        self.successResultOf(telemetry.stopService())
        self.successResultOf(telemetry.stopService())

    def test_a_missing_package(self) -> None:
        """Asked for by name it is one line that says what to install; by the environment, a line in the log."""
        self.away("opentelemetry.sdk")
        with self.assertRaisesRegex(MissingExtra, r"--traces: needs .*txheartbeat\[otel\]"):
            Telemetry(Clock(), {}, traces="otlp")
        os.environ.update(ENDPOINT)
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.assertIsNone(Telemetry(Clock(), {}, traces="auto").tracer())
        self.assertIn("txheartbeat[otel]", events[-1]["trouble"])

    def test_another_protocol(self) -> None:
        """A collector that is to be spoken to by gRPC is not sent HTTP; the more exact variable counts."""
        for environ, expected in (
            ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
            ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
        ):
            with self.assertRaisesRegex(ConfigError, f"{expected}: only http/protobuf"):
                check_protocol("TRACES", environ)
        either = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
        check_protocol("TRACES", either)
        check_protocol("TRACES", {})
        os.environ.update({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
        self.assertIsNone(Telemetry(Clock(), {}, traces="auto").tracer())
        with self.assertRaises(ConfigError):
            Telemetry(Clock(), {}, traces="otlp")

    @skipUnless(HAVE_SDK, "the extra otel is not installed")
    def test_a_tracer(self) -> None:
        """Where it is wanted there is one, and its spans know the process."""
        telemetry = Telemetry(Clock(), {"service.name": "x"}, traces="otlp")
        self.assertEqual(telemetry.tracer().resource.attributes["service.name"], "x")
        assert telemetry._spans is not None
        telemetry._spans.close()
