"""Lines: a line of the application's choosing, which the peer answers with a line, if only with an error."""

from __future__ import annotations

from heartbeat.net.adapters.inorder import InOrder

__all__ = ["LineHeartbeat"]


class LineHeartbeat(InOrder):
    """The heartbeat of a :class:`twisted.protocols.basic.LineReceiver` or ``LineOnlyReceiver``.

    ::

        def connectionMade(self):
            self.heartbeat = LineHeartbeat(self, question=b"NOOP", answer=b"250").start()

        def connectionLost(self, reason):
            reason = self.heartbeat.stop(reason)

    Each line, and in raw mode all data, is a sign of life. In raw mode nothing is asked: who is silent then is
    suspect, and asked as soon as there are lines again.
    """

    def ask(self, number: int) -> bool:
        """The line; False in raw mode."""
        if not getattr(self.protocol, "line_mode", True):
            return False
        self.put(number)
        self.protocol.sendLine(self.question)
        return True

    def attached(self) -> None:
        """Each line is heard, and all raw data."""
        protocol = self.protocol
        line, raw = protocol.lineReceived, getattr(protocol, "rawDataReceived", None)

        def line_received(received: bytes) -> None:
            if not self.came(received):
                line(received)

        def raw_received(received: bytes) -> None:
            self.forget()
            self.heard()
            if raw is not None:
                raw(received)

        protocol.lineReceived = line_received
        protocol.rawDataReceived = raw_received

    def detached(self) -> None:
        """As it was."""
        del self.protocol.lineReceived, self.protocol.rawDataReceived
