"""Signals of the operating system, heard in the reactor thread, where they exist."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorFromThreads

__all__ = ["HANGUP", "STOP", "Signals"]

#: "Read your configuration again."
HANGUP = ("SIGHUP",)
#: "Stop": from an operator, a supervisor, or a keyboard.
STOP = ("SIGTERM", "SIGINT", "SIGBREAK")


class Signals:
    """Calls ``call()`` in the reactor thread when one of some signals comes, from :meth:`listen` to :meth:`close`.

    Names that this platform does not have are left out. Outside of the main thread nothing is installed: Python
    allows it there only.

    :param names: of the signals, as the :mod:`signal` module spells them
    """

    def __init__(self, reactor: IReactorFromThreads, names: tuple[str, ...], call: Callable[[], object]) -> None:
        self._reactor = reactor
        self._numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        self._call = call
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Install the handler. Whoever was told before is told again after :meth:`close`, and not in between."""
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
                self._before[number] = signal.signal(number, self._came)

    def close(self) -> None:
        """Put back what was there. May be called at any time, and twice."""
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _came(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._call)
