"""The account that an end gives of itself when nobody brought another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from heartbeat.interfaces import IStateSource
from heartbeat.liveness.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.config import HeartbeatConfig

__all__ = ["ConfigSource"]


@implementer(IStateSource)
class ConfigSource:
    """Services and meta of the configuration, the uptime since this object was made, and progress if it is told.

    :param seconds: the monotonic clock
    """

    def __init__(self, config: HeartbeatConfig, seconds: Callable[[], float]) -> None:
        self._config = config
        self._seconds = seconds
        self._started = seconds()
        self._done: int | None = None
        self._queued = 0
        self._reported: int | None = None

    def progress(self, done: int, queued: int) -> None:
        """How much work was done so far, and how much is waiting. Work that waits and does not move is STUCK."""
        self._done = done
        self._queued = queued

    def report(self) -> Report:
        """The account as it is now."""
        stuck = self._queued > 0 and self._done is not None and self._done == self._reported
        self._reported = self._done
        return Report(
            uptime=int(self._seconds() - self._started),
            stuck=stuck,
            services=self._config.services,
            meta=self._config.meta,
            progress=self._done,
        )
