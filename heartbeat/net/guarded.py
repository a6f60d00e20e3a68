"""An application's state source, so that what it raises or gets wrong harms no connection."""

from __future__ import annotations

import math
from typing import Any, Final

from twisted.logger import Logger
from zope.interface import implementer

from heartbeat.config import check_meta, check_services, check_whole
from heartbeat.errors import ConfigError
from heartbeat.interfaces import IStateSource
from heartbeat.liveness.report import EMPTY_REPORT, Report

__all__ = ["GuardedSource"]

log = Logger()
#: The whole numbers that JSON carries everywhere (RFC 7493 §2.2).
MOST_WHOLE: Final = 2**53 - 1


@implementer(IStateSource)
class GuardedSource:
    """Asks ``source``; while that fails, its last good account stands, and the failure is logged once.

    :param source: an IStateSource
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._last: Report = EMPTY_REPORT
        self._failing = False

    def report(self) -> Report:
        """The account as it is now, or the last good one."""
        try:
            report = checked(self._source.report())
        except Exception:  # noqa: BLE001  an application's source may raise anything
            if not self._failing:
                log.failure("the state source failed; what it last said is sent until it is well again")
            self._failing = True
            return self._last
        self._failing = False
        self._last = report
        return report


def checked(report: Any) -> Report:
    """``report`` as a peer takes it, services as a tuple without duplicates. Raises ConfigError."""
    if not isinstance(report, Report):
        raise ConfigError("report", f"must be a Report, not {report!r:.80}")
    _check_number("load", report.load)
    check_whole("uptime", report.uptime, 0, MOST_WHOLE)
    for name in ("progress", "cert_expires"):
        value = getattr(report, name)
        if value is not None:
            check_whole(name, value, -MOST_WHOLE, MOST_WHOLE)
    if report.lag_p99_ms is not None:
        _check_number("lag_p99_ms", report.lag_p99_ms)
    check_meta("meta", report.meta)
    services = check_services("services", report.services)
    return report if report.services == services else report._replace(services=services)


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(name, f"must be a number, not {value!r:.80}")
