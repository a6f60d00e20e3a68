"""A heartbeat from outside: for protocols whose class is not to be touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IProtocolFactory

__all__ = ["Attachable", "WatchedFactory", "watch_from_outside"]


class Attachable(Protocol):
    """What is attached: a heartbeat of an adapter."""

    def start(self) -> Any:
        """The connection is made."""

    def stop(self, reason: Failure) -> Failure:
        """It is gone; the reason for the application."""


class WatchedFactory(Factory):
    """Builds what another factory builds, each with a heartbeat.

    :param wrapped: the other factory
    :param attach: makes the heartbeat of one protocol
    """

    noisy = False

    def __init__(self, wrapped: IProtocolFactory, attach: Callable[[Any], Attachable]) -> None:
        self.wrapped = wrapped
        self._attach = attach

    def doStart(self) -> None:
        """The other one starts."""
        self.wrapped.doStart()

    def doStop(self) -> None:
        """The other one stops."""
        self.wrapped.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A protocol of the other factory, which finds its heartbeat as ``self.heartbeat``; None where that refuses."""
        protocol: Any = self.wrapped.buildProtocol(addr)  # type: ignore[arg-type]  # as Twisted itself calls it
        if protocol is not None:
            watch_from_outside(protocol, self._attach(protocol))
        return protocol


def watch_from_outside(protocol: Any, heartbeat: Attachable) -> None:
    """Start and stop ``heartbeat`` with the connection of ``protocol``, by two attributes of this one instance."""
    made, lost = protocol.connectionMade, protocol.connectionLost

    def connection_made() -> None:
        made()
        heartbeat.start()

    def connection_lost(reason: Failure = connectionDone) -> None:
        del protocol.connectionMade, protocol.connectionLost
        lost(heartbeat.stop(reason))

    protocol.connectionMade = connection_made
    protocol.connectionLost = connection_lost
    protocol.heartbeat = heartbeat
