"""Perspective Broker: a message to an object that no broker has, which any broker answers with an error, quietly.

The peer needs nothing: ``Invalid Object ID`` is an answer like any other. (``NoSuchMethod`` would be one too, but the
peer logs a traceback for it.) Any whole message that comes in is a sign of life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.spread import pb

from heartbeat.net.adapters.framing import FramingHeartbeat

if TYPE_CHECKING:
    from twisted.python.failure import Failure

__all__ = ["NAME", "PBHeartbeat"]

#: A name under which nobody publishes an object.
NAME = "_heartbeat"


class PBHeartbeat(FramingHeartbeat):
    """The heartbeat of a :class:`twisted.spread.pb.Broker`; best from outside, as factories of PB build their brokers.

    ::

        factory = PBHeartbeat.factory(pb.PBServerFactory(root), HeartbeatConfig(interval=5))

    While the two brokers agree on their dialect nothing is asked.
    """

    def ask(self, number: int) -> bool:
        """The message; what comes back from the peer is the answer. False: there is no dialect yet."""
        broker = self.protocol
        if broker.currentDialect is None or broker.disconnected:
            return False
        broker.remoteForName(NAME).callRemote("ping").addCallbacks(
            lambda _: self.answered(number), lambda failure: self._failed(number, failure)
        )
        return True

    def _failed(self, number: int, failure: Failure) -> None:
        if isinstance(failure, pb.CopiedFailure) or failure.check(pb.RemoteError):
            self.answered(number)  # else the connection has ended, which is told elsewhere

    def attached(self) -> None:
        """Each message is heard."""
        received = self.protocol.expressionReceived

        def expression_received(expression: Any) -> None:
            self.heard()
            received(expression)

        self.protocol.expressionReceived = expression_received

    def detached(self) -> None:
        """As it was."""
        del self.protocol.expressionReceived
