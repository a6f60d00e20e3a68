"""How a command ends when it cannot do what it was asked: one line on standard error, no traceback."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from heartbeat.errors import ConfigError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore

__all__ = ["FAILED", "USAGE", "complain", "leave", "one_line", "stop_reactor", "why"]

#: EX_USAGE of ``sysexits.h``, which ``twist`` uses too: an option or a key of the config file is wrong.
USAGE: Final = 64
#: Anything else: a port in use, a file that cannot be read.
FAILED: Final = 1


def one_line(text: str) -> str:
    """``text`` on one line, whatever a user or a library put into it."""
    return " ".join(text.split())


def why(error: BaseException) -> str:
    """What went wrong, for people: the system's own words for an OSError, else the exception's."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return one_line(str(error)) or type(error).__name__


def complain(message: str) -> None:
    """One line on the standard error that the process was started with (``twist`` redirects ``sys.stderr``)."""
    stream = sys.__stderr__
    if stream is not None:
        stream.write(one_line(message) + "\n")
        stream.flush()


def leave(status: int, message: str) -> NoReturn:
    """End the process before its reactor runs. Raises SystemExit."""
    complain(message)
    raise SystemExit(status)


def stop_reactor(reactor: IReactorCore, message: str) -> None:
    """End a process whose reactor runs, in good order, with status 1.

    ``twist`` has no way to say with which status the process shall end once the reactor runs, so the last thing that
    the shutdown does is to end it.
    """
    complain(message)

    def end() -> None:
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
        os._exit(FAILED)

    reactor.addSystemEventTrigger("after", "shutdown", end)
    reactor.stop()


def status_of(error: BaseException) -> int:
    """64 where a setting is wrong, 1 where the world is."""
    return USAGE if isinstance(error, ConfigError) else FAILED
