"""What systemd is told: ready, reloading, stopping, still moving (``sd_notify(3)``, ``Type=notify-reload``)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["Systemd", "notify", "watchdog_interval"]

#: Seconds between two looks at whether the status has changed.
STATUS_EVERY: Final = 10.0


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """One datagram with these lines. False: nobody listens, or the socket is gone; that is nobody's trouble."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path or not hasattr(socket, "AF_UNIX"):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        Logger(namespace="heartbeat.systemd").debug("systemd was not told {lines}: {error}", lines=lines, error=error)
        return False
    return True


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """Half of the time after which systemd restarts a process that says nothing, seconds; None: it does not.

    ``WATCHDOG_PID`` says for which process that is meant (``sd_watchdog_enabled(3)``).
    """
    pid, text = environ.get("WATCHDOG_PID", ""), environ.get("WATCHDOG_USEC", "")
    if pid and pid != str(os.getpid()):
        return None
    return int(text) / 2e6 if text.isdecimal() and int(text) > 0 else None


class Systemd(Service):
    """Tells systemd what becomes of a service; does nothing where no systemd asks.

    The sign of life is a timer of the reactor: a loop that is stalled for good gives none, and is started again.

    :param status: one line about the service, for ``systemctl status``
    """

    def __init__(
        self, reactor: Any, status: Callable[[], str] = lambda: "", environ: Mapping[str, str] = os.environ
    ) -> None:
        self._reactor = reactor
        self._status = status
        self._environ = environ
        self._told = ""
        self._watchdog = watchdog_interval(environ)
        self._calls: list[LoopingCall] = []

    def startService(self) -> None:
        """Say that it is ready, as soon as the reactor runs: everything listens by then."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        if not self._environ.get("NOTIFY_SOCKET"):
            return
        self._reactor.callWhenRunning(self._ready)
        self._every(STATUS_EVERY, self._look)
        if self._watchdog is not None:
            self._every(self._watchdog, self._alive)

    def stopService(self) -> None:
        """No more signs of life."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        calls, self._calls = self._calls, []
        for call in calls:
            call.stop()

    def stopping(self) -> None:
        """It has begun to stop, which may take a while."""
        self._say("STOPPING=1", "STATUS=stopping")

    def reloading(self) -> None:
        """The configuration is about to be read again. Next: :meth:`reloaded`, whatever comes of it."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """It was."""
        self._say("READY=1")

    def _ready(self) -> None:
        if self.running:
            self._told = self._status()
            self._say("READY=1", f"STATUS={self._told}")

    def _alive(self) -> None:
        self._say("WATCHDOG=1")

    def _look(self) -> None:
        status = self._status()
        if status != self._told:
            self._told = status
            self._say(f"STATUS={status}")

    def _every(self, seconds: float, call: Callable[[], None]) -> None:
        looping = LoopingCall(call)
        looping.clock = self._reactor
        looping.start(seconds, now=False)
        self._calls.append(looping)

    def _say(self, *lines: str) -> None:
        notify(*lines, environ=self._environ)
