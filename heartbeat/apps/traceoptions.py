"""The options of all commands that are about OpenTelemetry."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from heartbeat.apps.kinds import Kind, OneOf, shown
from heartbeat.apps.options import Setting
from heartbeat.errors import ConfigError

__all__ = ["Ratio", "check_protocol", "trace_settings", "wanted"]

AUTO: Final = "auto"
OTLP: Final = "otlp"
NONE: Final = "none"
#: How OTLP is spoken: its exporter is the one of the extra ``otel``.
SPOKEN: Final = "http/protobuf"
_DECIMAL: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)


class Ratio(Kind):
    """A part of a whole, from 0 to 1."""

    metavar = "R"

    def from_text(self, name: str, text: str) -> float:
        """Decimal, without an exponent."""
        if not _DECIMAL.fullmatch(text):
            raise ConfigError(name, f"must be a number from 0 to 1, not {shown(text)}")
        return self._within(name, float(text), text)

    def from_toml(self, name: str, value: Any) -> float:
        """An integer or a float."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(name, f"must be a number from 0 to 1, not {shown(value)}")
        return self._within(name, value, value)

    def _within(self, name: str, value: float, written: Any) -> float:
        if not 0.0 <= value <= 1.0:  # not true of nan either
            raise ConfigError(name, f"must be from 0 to 1, not {shown(written)}")
        return float(value)


_TRACES: Final = Setting(
    name="traces",
    kind=OneOf("auto|otlp|none", (AUTO, OTLP, NONE)),
    default=AUTO,
    doc="Send spans of handshakes, failures and some beats to an OpenTelemetry collector (OTLP over HTTP); auto: where "
    "OTEL_EXPORTER_OTLP_ENDPOINT is set",
)
_BEATS: Final = Setting(
    name="trace-beats",
    kind=Ratio(),
    default=0.01,
    doc="Which part of the beats becomes a span, 0 to 1; any but 0 costs each beat of a traced process a little",
)
_METRICS: Final = Setting(
    name="push-metrics",
    kind=OneOf("auto|otlp|none", (AUTO, OTLP, NONE)),
    default=AUTO,
    doc="Send the metrics there, too; auto: where OTEL_METRICS_EXPORTER is otlp",
)


def trace_settings(*, beats: bool = True, metrics: bool = False) -> tuple[Setting, ...]:
    """The settings.

    :param beats: there are beats to trace
    :param metrics: there are metrics to push
    """
    return (_TRACES, *((_BEATS,) if beats else ()), *((_METRICS,) if metrics else ()))


def check_protocol(signal: str, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse to send in a way that the collector does not expect. Raises ConfigError that names the variable.

    :param signal: as in :func:`wanted`
    """
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        text = environ.get(name, "").strip()
        if text:
            if text != SPOKEN:
                raise ConfigError(name, f"only {SPOKEN} is spoken here, not {shown(text)}")
            return


def wanted(choice: str, signal: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a signal is to be sent.

    :param choice: the option: ``auto``, ``otlp``, ``none``
    :param signal: ``TRACES`` or ``METRICS``, as the variables of OpenTelemetry call it
    """
    if choice == NONE or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if choice == OTLP:
        return True
    exporter = environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
    if exporter:
        return OTLP in exporter.split(",")
    if environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"):
        return True
    return signal == "TRACES" and bool(environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
