"""When the kernel probably has what was written: two turns of the reactor later, so that a poll lies between.

For transports that do not say when user space is empty. One list for all connections of a turn, never a call for
each: a ``callLater(0)`` from an I/O callback runs before the poll that sends, hence two in a row (``facts`` R1).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

__all__ = ["Turns"]

log = Logger()


class Turns:
    """Calls back after two turns.

    :param later: calls in the next turn: ``Tick.later``, or a ``callLater`` with no time
    """

    __slots__ = ("_calls", "_first", "_later", "_second")

    def __init__(self, later: Callable[[Callable[[], None]], None]) -> None:
        self._later = later
        self._first: list[Callable[[], None]] = []
        self._second: list[Callable[[], None]] = []
        self._calls = False

    def after_two(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when two turns have gone by. What it raises is logged."""
        self._first.append(callback)
        if not self._calls:
            self._calls = True
            self._later(self._turn)

    def _turn(self) -> None:
        due, self._second, self._first = self._second, self._first, []
        self._calls = bool(self._second)
        if self._calls:
            self._later(self._turn)
        for callback in due:
            try:
                callback()
            except Exception:  # noqa: BLE001  one connection's defect must not leave the others waiting for ever
                log.failure("a connection could not be told that the kernel has its bytes")
