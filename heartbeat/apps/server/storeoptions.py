"""The options of the server that are about its store, and about a fleet that shares one."""

from __future__ import annotations

from typing import Final

from heartbeat.apps.kinds import Seconds, Text
from heartbeat.apps.options import Setting, When
from heartbeat.watch.stores import StoreAddress, store_address

__all__ = ["store_settings"]

#: Peers are told to come back after 600 s at most (``wire.md`` §6): half of the time that they are spread over.
MOST_SPREAD: Final = 1200.0


def store_settings() -> tuple[Setting, ...]:
    """The settings."""
    return (
        Setting(
            name="store",
            kind=Text("URL", store_address),
            default=StoreAddress("memory"),
            doc="Where peers are kept: memory:, sqlite:PATH (over a restart), redis://[USER:PASSWORD@]HOST:PORT/DB or "
            "rediss://… (a register that several servers share)",
        ),
        Setting(
            name="drain-spread",
            kind=Seconds(0, MOST_SPREAD),
            default=0.0,
            when=When.AT_ONCE,
            doc="After SIGTERM, peers are told to come back within so many seconds, each at a time of its own; 0: they "
            "are not told when",
        ),
    )
