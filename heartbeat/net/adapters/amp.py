"""AMP: one command, which any AMP peer answers, if only with an error.

The peer needs nothing: ``UnhandledCommand`` is an answer like any other. Any whole box that comes in is a sign of life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.protocols import amp

from heartbeat.net.adapters.framing import FramingHeartbeat

if TYPE_CHECKING:
    from twisted.python.failure import Failure

__all__ = ["AMPHeartbeat", "Ping"]


class Ping(amp.Command):
    """The question. A peer that has never heard of it answers with ``UnhandledCommand``, which will do."""

    commandName = b"_heartbeat"


class AMPHeartbeat(FramingHeartbeat):
    """The heartbeat of an :class:`twisted.protocols.amp.AMP`.

    ::

        def connectionMade(self):
            super().connectionMade()
            self.heartbeat = AMPHeartbeat(self, HeartbeatConfig(interval=5)).start()

        def connectionLost(self, reason):
            super().connectionLost(self.heartbeat.stop(reason))
    """

    def ask(self, number: int) -> bool:
        """``Ping``; what comes back from the peer, an error too, is the answer."""
        self.protocol.callRemote(Ping).addCallbacks(
            lambda _: self.answered(number), lambda failure: self._failed(number, failure)
        )
        return True

    def _failed(self, number: int, failure: Failure) -> None:
        if failure.check(amp.RemoteAmpError, amp.UnhandledCommand, amp.UnknownRemoteError):
            self.answered(number)  # else the connection has ended, which is told elsewhere

    def attached(self) -> None:
        """Each box is heard, and the peer's own question is answered."""
        protocol = self.protocol
        received, locate = protocol.ampBoxReceived, protocol.locateResponder

        def box_received(box: Any) -> None:
            self.heard()
            received(box)

        def locate_responder(name: bytes) -> Any:
            return _answer if name == Ping.commandName else locate(name)

        protocol.ampBoxReceived = box_received
        protocol.locateResponder = locate_responder

    def detached(self) -> None:
        """As it was."""
        del self.protocol.ampBoxReceived, self.protocol.locateResponder


def _answer(box: Any) -> Deferred[amp.Box]:
    return succeed(amp.Box())
