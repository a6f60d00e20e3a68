"""The user's protocol as it is called: built once, told the end once, and what it raises harms only its connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionAborted, NoProtocol
from twisted.internet.interfaces import IHandshakeListener, IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from heartbeat.errors import HeartbeatError

if TYPE_CHECKING:
    from heartbeat.net.wrapped_transport import WrappedTransport

__all__ = ["AbortedConnection", "Guest"]

log = Logger()


class AbortedConnection(HeartbeatError, ConnectionAborted):
    """This end gave the connection up: ``abortConnection``, an application that raised, a close that took too long."""

    def __str__(self) -> str:
        return f"the connection was aborted by this end: {self.args[0]}"


class Guest:
    """One user's protocol.

    :param build: the user's ``buildProtocol``
    :param opened: called once, with the protocol when it was connected, or with why it never will be; None: nobody asks
    :param failed: called when the protocol raised

    :ivar protocol: the user's; None before it was built and after it was told the end
    """

    __slots__ = ("_build", "_failed", "_opened", "protocol")

    def __init__(
        self,
        build: Callable[[Any], IProtocol | None],
        opened: Callable[[IProtocol | Failure], None] | None,
        failed: Callable[[AbortedConnection], None],
    ) -> None:
        self._build = build
        self._opened = opened
        self._failed = failed
        self.protocol: Any = None

    def build(self, address: Any) -> bool:
        """Let the user's factory make its protocol. False: it wants none, or failed; who waits for it was told."""
        try:
            self.protocol = self._build(address)
        except Exception as error:  # noqa: BLE001  a user's factory may raise anything
            if self._opened is None:
                log.failure("a wrapped factory failed in buildProtocol()")
            self.answer(Failure(error))
        else:
            if self.protocol is None:
                self.answer(Failure(NoProtocol()))
        return self.protocol is not None

    def connect(self, transport: WrappedTransport, secure: bool) -> None:
        """Connect it; over TLS that has shaken hands already."""
        self.call(self.protocol.makeConnection, transport)
        if secure and IHandshakeListener.providedBy(self.protocol):
            self.call(self.protocol.handshakeCompleted)

    def answer(self, outcome: IProtocol | Failure) -> None:
        """Tell whoever waits for it."""
        tell, self._opened = self._opened, None
        if tell is not None:
            tell(outcome)

    def end(self, reason: Failure) -> None:
        """Its connection is gone."""
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            self.call(protocol.connectionLost, reason)

    def forget(self) -> None:
        """It was never connected, and never will be."""
        self.protocol = None

    def call(self, method: Callable[..., object], *arguments: object) -> None:
        """Call the application. What it raises is logged and ends its connection, and nobody else's."""
        try:
            method(*arguments)
        except Exception as error:  # noqa: BLE001  an application may raise anything
            log.failure("a wrapped protocol failed in {name}()", name=getattr(method, "__name__", "?"))
            failed = AbortedConnection("the application failed")
            failed.__cause__ = error
            self._failed(failed)
