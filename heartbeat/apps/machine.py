"""What the defaults of some options depend on: the machine that the command runs on."""

from __future__ import annotations

import socket
import sys
import time
from typing import Any, Final

if sys.platform != "win32":
    import resource

__all__ = ["connection_limit", "host_name", "steady"]

#: Descriptors that are not connections: listeners, logs, the web, the reactor's own.
RESERVED_DESCRIPTORS: Final = 64
#: The least that is left where the limit is tiny.
LEAST_CONNECTIONS: Final = 16


def host_name() -> str:
    """The name of this host: how a server and an agent are called who were given no other name."""
    return socket.gethostname()


def connection_limit() -> int | None:
    """As many connections as the descriptor limit allows, less 64; None where there is no limit."""
    if sys.platform == "win32":
        return None
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(LEAST_CONNECTIONS, soft - RESERVED_DESCRIPTORS)


def steady(reactor: Any) -> None:
    """Make the timers of ``reactor`` run on the monotonic clock. Call it before anything is scheduled.

    Twisted's own is the wall clock: one that is set back would freeze every timer until it has caught up, and one that
    is set forward would fire them all.
    """
    reactor.seconds = time.monotonic
