"""The options of ``twist heartbeat-probe``, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from heartbeat.apps.commonoptions import COMMON, LABELS, WatcherSettings, web_setting
from heartbeat.apps.kinds import Many, OneOf, Seconds, Text, Whole, peer_id, shown
from heartbeat.apps.machine import host_name
from heartbeat.apps.options import Gathered, Setting, SettingOptions, When
from heartbeat.apps.traceoptions import trace_settings
from heartbeat.errors import ConfigError
from heartbeat.probes.http import MOST_BODY

__all__ = ["TABLE", "Options", "ProbeSettings", "probe_settings"]

#: The longest that is waited for a slow page; who needs more is not asked how it is.
LONGEST: Final = 600.0
MOST_REDIRECTS: Final = 20
MOST_MEMORY: Final = 16 * 1024 * 1024
MOST_RECORDS: Final = 1_000_000
#: What the id of a peer may be.
MOST_URL_BYTES: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings(WatcherSettings):
    """What the prober was told, checked; one field for each option."""

    url: tuple[str, ...]
    interval: float
    multiplier: int
    timeout: float | None
    method: str
    expect_status: int | None
    expect_body: str | None
    max_body: int
    max_redirects: int
    tls_ca: str | None

    @property
    def longest(self) -> float:
        """How long one question may take, seconds."""
        return min(5.0, self.interval) if self.timeout is None else self.timeout


def _url(name: str, text: str) -> str:
    """The check of a URL. Raises ConfigError."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  reading it checks it
    except ValueError as error:
        raise ConfigError(name, f"must be a URL, not {shown(text)} ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(name, f"must be http://HOST… or https://HOST…, not {shown(text)}")
    if "@" in parts.netloc:  # it is shown on pages and sent to collectors
        raise ConfigError(name, f"must have no user and no password in it: {parts.scheme}://…@{parts.hostname}")
    if parts.fragment or " " in text or len(text.encode()) > MOST_URL_BYTES:
        raise ConfigError(
            name, f"must be at most {MOST_URL_BYTES} bytes without blanks and without #, not {shown(text)}"
        )
    return text


TABLE: Final = (
    Setting(name="url", kind=Many(Text("URL", _url)), default=(), doc="What is asked, http or https"),
    Setting(name="interval", kind=Seconds(0.1, 3600), default=5.0, doc="Between two questions; faster while they fail"),
    Setting(
        name="multiplier",
        kind=Whole(2, 255),
        default=3,
        doc="Intervals without a right answer after which a target is dead",
    ),
    Setting(
        name="timeout",
        kind=Seconds(0.01, LONGEST),
        doc="For one question, from the name to the last byte; default: the interval, at most 5",
    ),
    Setting(name="method", kind=OneOf("GET|HEAD", ("GET", "HEAD")), default="GET", doc="How it is asked"),
    Setting(name="expect-status", kind=Whole(100, 599), doc="The status of a right answer; default: any 2xx"),
    Setting(name="expect-body", kind=Text("TEXT"), doc="A text that a right answer contains"),
    Setting(name="max-body", kind=Whole(0, MOST_MEMORY), default=MOST_BODY, doc="Bytes of an answer; more is wrong"),
    Setting(
        name="max-redirects",
        kind=Whole(0, MOST_REDIRECTS),
        default=0,
        doc="How many redirects are followed; 0: a redirect is the answer",
    ),
    Setting(name="tls-ca", kind=Text("FILE"), doc="Certificates (PEM) to trust instead of those of the platform"),
    web_setting(7681),
    Setting(
        name="keep-failures",
        kind=Whole(1, MOST_RECORDS),
        default=1000,
        when=When.AT_ONCE,
        doc="Failures that are listed",
    ),
    *LABELS,
    Setting(name="node", kind=Text("ID", peer_id), compute=host_name, doc="Who asks; default: the name of the host"),
    *trace_settings(beats=False, metrics=True),
    *COMMON,
)


class Options(SettingOptions[ProbeSettings]):
    """Options of ``twist heartbeat-probe``."""

    command = "heartbeat-probe"
    table: ClassVar[tuple[Setting, ...]] = TABLE

    def accept(self, gathered: Gathered) -> ProbeSettings:
        """The settings, if they fit together."""
        return probe_settings(gathered)


def probe_settings(gathered: Gathered) -> ProbeSettings:
    """The settings, if they fit together. Raises ConfigError that names the option or the key."""
    values: dict[str, Any] = dict(gathered.values)
    settings = ProbeSettings(**values)
    names = gathered.names
    if not settings.url:
        raise ConfigError("--url", "at least one is needed: http://HOST/PATH")
    twice = next((one for one in settings.url if settings.url.count(one) > 1), None)
    if twice is not None:
        raise ConfigError(names["url"], f"is there twice: {shown(twice)}")
    most = (settings.multiplier - 1) * settings.interval
    if settings.longest > most:
        raise ConfigError(names["timeout"], f"{settings.longest:g} s is over (multiplier - 1) × interval, {most:g} s")
    if settings.expect_body is not None and settings.method == "HEAD":
        raise ConfigError(names["expect_body"], "needs method GET: an answer to HEAD has no body")
    return settings
