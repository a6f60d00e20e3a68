"""What a factory asks of whoever traces its connections. The library traces nothing by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from heartbeat.liveness.peer import Peer

__all__ = ["Tracing"]


class Tracing(Protocol):
    """Made by :class:`heartbeat.watch.export.tracing.Traces`, or by anything like it."""

    def begin(self, peer: Peer) -> None:
        """A handshake is under way: before a connector says HELLO, and before an acceptor answers one.

        ``peer.traceparent`` is what the other end sent, if anything; what it is afterwards our own HELLO says. It may
        be called again for a peer that waits. What happens then, a listener is told.
        """
