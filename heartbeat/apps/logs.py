"""Logs: one JSON object per line, and a level that a reload may change.

``twist`` writes the log itself, to ``--log-file`` in ``--log-format``, and begins only after the services have started:
what was logged before is replayed to its observer. So we do not add an observer of our own (it would see those events
twice) but give ``twist`` ours to use instead. Where its output is no terminal its format is that of RFC 7464, which
neither people nor line-wise tools can read; we stay with text unless somebody has asked for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import IO, Any, Final

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogPublisher,
    textFileLogObserver,
)
from zope.interface import implementer

__all__ = ["FIELDS", "LOG_LEVELS", "LogLevels", "json_line", "json_observer", "take_over"]

#: What an event may carry besides its message, in this order. A closed list: whoever reads the log can rely on it.
FIELDS: Final = (
    "peer",
    "reason",
    "phase",
    "session",
    "address",
    "node",
    "detail",
    "silent",
    "seconds",
    "count",
    "trace_id",
    "span_id",
)

#: The levels of twisted.logger, from the least.
LOG_LEVELS: Final = tuple(level.name for level in LogLevel.iterconstants())

#: Where Twisted's ClientService tells of each retry, and its HTTP client of each connection, at info. Ten thousand
#: agents that come back are no news, and neither is a probe every five seconds.
RETRIES: Final = (
    "heartbeat.net.client.HeartbeatClientService",
    "heartbeat.apps.agent.Client",
    "twisted.web.client._HTTP11ClientFactory",
)

#: What ``--log-format`` of ``twist`` may be shortened to. Its options do not tell a default from a choice.
FORMAT_OPTION: Final = "--log-fo"

_SEEN: Final = "heartbeat_seen"


def json_line(event: LogEvent) -> str:
    """``event`` as one line of JSON: ts, level, logger, msg, those of :data:`FIELDS` that it has, and exc."""
    level = event.get("log_level", LogLevel.info)
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    line: dict[str, Any] = {
        "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level.name,
        "logger": event.get("log_namespace") or event.get("log_system") or "-",
        "msg": formatEvent(event),
    }
    for name in FIELDS:
        if event.get(name) is not None:
            line[name] = event[name]
    failure = event.get("log_failure")
    if failure is not None:
        line["exc"] = {
            "type": failure.type.__qualname__ if isinstance(failure.type, type) else str(failure.type),
            "msg": failure.getErrorMessage(),
            "tb": failure.getTraceback(),
        }
    return json.dumps(line, default=repr) + "\n"


def json_observer(out: IO[Any]) -> FileLogObserver:
    """An observer that writes :func:`json_line` to ``out``."""
    return FileLogObserver(out, json_line)


class LogLevels:
    """The least level that is logged. It may be changed while the process runs.

    :ivar default: of ``twist --log-level``, a constant of :class:`twisted.logger.LogLevel`
    """

    def __init__(self, default: Any) -> None:
        self.default = default
        self._predicate = LogLevelFilterPredicate(defaultLogLevel=default)
        self.use(None)

    def use(self, name: str | None) -> None:
        """Log from this level on; None: from the one that ``twist`` was given."""
        level = self.default if name is None else LogLevel.levelWithName(name)
        self._predicate.setLogLevelForNamespace("", level)
        quieter = LogLevel.warn if level is LogLevel.info else level
        for namespace in RETRIES:
            self._predicate.setLogLevelForNamespace(namespace, quieter)

    def filtered(self, observer: ILogObserver) -> ILogObserver:
        """``observer``, without what is below the level."""
        return FilteringLogObserver(observer, [self._predicate])


def take_over(parent: MutableMapping[str, Any] | None, *, as_json: bool, level: str | None) -> LogLevels:
    """Make ``twist`` log as we were told. Call it in ``makeService``, before the log begins.

    :param parent: the options of ``twist``. Anything else (``twistd``, a test) has no log that could be taken over:
        JSON lines then go to standard output besides what else is logged
    :returns: the level, for a reload
    """
    twist = parent is not None and "fileLogObserverFactory" in parent
    levels = LogLevels(parent["logLevel"] if parent is not None and twist else LogLevel.info)
    levels.use(level)
    if parent is not None and twist:
        factory: Callable[[IO[Any]], ILogObserver] = parent["fileLogObserverFactory"]
        if as_json:
            factory = json_observer
        elif not any(word.startswith(FORMAT_OPTION) for word in sys.argv):
            factory = textFileLogObserver
        parent["fileLogObserverFactory"] = lambda out: levels.filtered(factory(out))
        parent["logLevel"] = LogLevel.debug  # twist lets everything pass, and ours decides
    elif as_json and sys.__stdout__ is not None:
        globalLogPublisher.addObserver(_Once(levels.filtered(json_observer(sys.__stdout__))))
    return levels


@implementer(ILogObserver)
class _Once:
    """An observer that is not told of the replay of what it has seen live."""

    def __init__(self, observer: ILogObserver) -> None:
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        if not event.get(_SEEN):
            event[_SEEN] = True
            self._observer(event)
