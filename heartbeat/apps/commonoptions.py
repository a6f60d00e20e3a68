"""The options that every command has, and those of the commands that show what they found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from heartbeat.apps.endpoints import listening_endpoint
from heartbeat.apps.kinds import Flag, OneOf, Text
from heartbeat.apps.logs import LOG_LEVELS
from heartbeat.apps.options import CONFIG, Setting, When
from heartbeat.watch.export.sources import Labels

__all__ = ["COMMON", "LABELS", "CommonSettings", "WatcherSettings", "web_setting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSettings:
    """What every command was told, checked; one field for each option."""

    traces: str
    log_json: bool
    log_level: str | None
    config: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatcherSettings(CommonSettings):
    """What a command was told, besides, that shows what it found on a page and in metrics."""

    web: str
    keep_failures: int
    service: str
    region: str
    cluster: str
    node: str
    push_metrics: str

    @property
    def labels(self) -> Labels:
        """Of its metrics."""
        return Labels(self.service, self.region, self.cluster)

    def resource(self, command: str) -> dict[str, str]:
        """What a collector is told of this process, which is called as its command unless it has a name."""
        return {
            "service.name": self.service or command,
            "service.namespace": self.cluster,
            "service.instance.id": self.node,
            "cloud.region": self.region,
        }


#: Of every command. Traces are chosen one by one: see :func:`heartbeat.apps.traceoptions.trace_settings`.
COMMON: Final = (
    Setting(
        name="log-level",
        kind=OneOf("LEVEL", LOG_LEVELS),
        when=When.AT_ONCE,
        doc=f"The least level that is logged: {', '.join(LOG_LEVELS)}; default: that of twist",
    ),
    Setting(name="log-json", kind=Flag(), default=False, doc="Log one JSON object per line"),
    CONFIG,
)

#: Whose metrics they are.
LABELS: Final = tuple(
    Setting(name=name, kind=Text("NAME"), default="", when=When.AT_ONCE, doc="Metric label")
    for name in ("service", "region", "cluster")
)


def web_setting(port: int) -> Setting:
    """Where the page is.

    :param port: on loopback, by default
    """
    return Setting(
        name="web",
        kind=Text("ENDPOINT|none", _web),
        default=f"tcp:{port}:interface=127.0.0.1",
        doc="Where the page, /api, /metrics and the health checks are",
    )


def _web(name: str, text: str) -> str:
    return text if text == "none" else listening_endpoint(name, text)
