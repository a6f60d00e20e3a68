"""Progress of the work on a host, from a file that the worker writes: ``done`` or ``done queued``.

The loop of an agent answers even when the worker beside it hangs. A counter of work done, and whether more is waiting,
tells the two apart: work is queued and the counter does not move, so the peer is stuck.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from twisted.logger import Logger

from heartbeat.apps.configfile import read_text
from heartbeat.apps.exits import why
from heartbeat.errors import ConfigError

__all__ = ["Progress", "ProgressFile"]

#: Two counters fit many times; a file that is longer is not what was meant.
MAX_BYTES: Final = 4096
#: A little less than the default sync interval: a counter that two accounts in a row show unmoved does not move.
STUCK_AFTER: Final = 4.5

_COUNTERS: Final = re.compile(r"\s*(\d{1,18})(?:\s+(\d{1,18}))?(?:\s.*)?", re.ASCII | re.DOTALL)


class Progress(NamedTuple):
    """What the file said.

    :ivar done: units of work done so far
    :ivar stuck: work is queued, and ``done`` has not moved for :data:`STUCK_AFTER` seconds
    """

    done: int
    stuck: bool


class ProgressFile:
    """A file whose first word is a counter of work done, and whose second, if there is one, the work that waits.

    :param path: the file; it need not exist yet
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._log = Logger(namespace="heartbeat.agent")
        self._done = -1
        self._moved_at = 0.0
        self._trouble = ""

    def read(self, now: float) -> Progress | None:
        """The progress as of ``now`` (monotonic seconds). None, and one line in the log, while it makes no sense."""
        counters, trouble = _read(self.path)
        if trouble != self._trouble:  # say it once: the file is read again every few seconds
            self._trouble = trouble
            if trouble:
                self._log.warn("progress file {path}: {trouble}", path=self.path, trouble=trouble)
            else:
                self._log.info("progress file {path} can be read again", path=self.path)
        if counters is None:
            self._done = -1
            return None
        done, queued = counters
        if done != self._done or not queued:
            self._done = done
            self._moved_at = now
        return Progress(done, now - self._moved_at >= STUCK_AFTER)


def _read(path: str) -> tuple[tuple[int, int] | None, str]:
    """The two counters, or what is wrong."""
    try:
        found = _COUNTERS.fullmatch(read_text(path, MAX_BYTES))
    except OSError as error:
        return None, why(error)
    except ConfigError as error:
        return None, str(error)
    if found is None:
        return None, "does not begin with a counter"
    return (int(found[1]), int(found[2] or 0)), ""
