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
        self._moved_at: float | None = None  # when work last moved, None while none waits

    def progress(self, done: int, queued: int) -> None:
        """How much work was done so far, and how much is waiting.

        Work that waits and does not move for a sync interval is STUCK, however many connections ask.
        """
        moves = done != self._done or self._moved_at is None
        self._done = done
        if queued <= 0:
            self._moved_at = None
        elif moves:
            self._moved_at = self._seconds()

    def report(self) -> Report:
        """The account as it is now."""
        now = self._seconds()
        return Report(
            uptime=int(now - self._started),
            stuck=self._moved_at is not None and now - self._moved_at >= self._config.sync_interval,
            services=self._config.services,
            meta=self._config.meta,
            progress=self._done,
        )
