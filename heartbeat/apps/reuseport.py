"""``--reuse-port``: two processes listen on one port, so that a new one takes over while the old one drains."""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.tcp import makeBinding

from heartbeat.apps.kinds import Flag
from heartbeat.apps.options import Setting
from heartbeat.errors import ConfigError

__all__ = ["REUSE_PORT", "SharedPorts", "handed_on"]

REUSE_PORT: Final = Setting(
    name="reuse-port",
    kind=Flag(),
    default=False,
    doc="Share the TCP ports with another server of the same user that has this option, too: a new one takes over, "
    "and the old one listens no more as soon as it drains",
)
#: A socket that another process holds as well.
INHERITED: Final = "systemd:"


class SharedPorts:
    """A reactor whose TCP ports are bound with SO_REUSEPORT. Twisted has no endpoint string for that.

    Give it to ``serverFromString`` in the place of the reactor.

    :raises ConfigError: this platform has no such option
    """

    def __init__(self, reactor: Any) -> None:
        if not hasattr(socket, "SO_REUSEPORT"):
            raise ConfigError("--reuse-port", "this platform has no SO_REUSEPORT")
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """As the reactor's."""
        binding = makeBinding(interface, port, reuseAddress=True, reusePort=True)
        return self._reactor.listenTCP(binding, factory, backlog)


def handed_on(text: str, reuse_port: bool) -> bool:
    """Whether connections to an endpoint find another process, now or soon, when this one does not listen any more."""
    return text.startswith(INHERITED) or (reuse_port and not text.startswith("unix:"))
