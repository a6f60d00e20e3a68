"""A link that only looks: through every layer, to the socket of the kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol

from heartbeat.liveness.evidence import Ending
from heartbeat.liveness.table import CLOSED
from heartbeat.net.link import PASSES_ON, Link, link_for
from heartbeat.net.shared_link import SharedLink

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from heartbeat.net.turns import Turns

__all__ = ["ObservedLink", "sits"]


class ObservedLink(SharedLink):
    """Never written to. So it may look through the wrappers of Twisted's, too, which a link that writes must not.

    :ivar user_timeout: TCP_USER_TIMEOUT of this connection, seconds; None: none was set
    """

    __slots__ = ("user_timeout",)

    def __init__(self, transport: Any, turns: Turns) -> None:
        super().__init__(transport, turns)
        self.seen = _through(transport, turns, self.seen)
        self.user_timeout: float | None = None

    def ending(self, reason: Failure, now: float) -> Ending:
        """As far as it is proved. What ends a probed connection before its time is over was a reset."""
        ending = super().ending(reason, now)
        tcp_info = None if ending.evidence is None else ending.evidence.tcp
        if ending.how != "error" or tcp_info is None or tcp_info.state != CLOSED or tcp_info.retransmits:
            return ending
        heard = [age for age in (tcp_info.last_ack_recv, tcp_info.last_data_recv) if age is not None]
        if tcp_info.probes and self.user_timeout is not None and heard and min(heard) < self.user_timeout:
            return replace(ending, how="reset")
        return ending


def _through(transport: Any, turns: Turns, seen: Link) -> Link:
    """The link of the socket below wrappers that are no TLS, or below TLS that sits on such ones."""
    raw: Any = transport.transport if isinstance(transport, TLSMemoryBIOProtocol) else transport
    if not isinstance(raw, ProtocolWrapper):
        return seen
    while isinstance(raw, ProtocolWrapper):
        raw = raw.transport
    return link_for(raw, turns, raw.protocol) if isinstance(raw, tcp.Connection) else seen


def sits(transport: Any, protocol: Any) -> bool:
    """Whether ``protocol`` still gets what comes over the transport: some protocols hand it on to others."""
    if isinstance(transport, tcp.Connection):
        reader = transport.protocol
    elif isinstance(transport, ProtocolWrapper):
        reader = transport.wrappedProtocol
    else:
        return True
    while isinstance(reader, ProtocolWrapper):  # TLS that began later
        reader = reader.wrappedProtocol
    return reader is protocol or isinstance(reader, PASSES_ON)
