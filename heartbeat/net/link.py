"""What a transport lets us do and see, chosen by its type and never by its attributes.

``ProtocolWrapper.__getattr__`` makes every wrapper look like a socket, TLS included; a direct write through one of
those would put a frame in clear on the wire. So :func:`link_for` knows the types that it may look through, and all
else is opaque: written to, and not seen into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet import endpoints, error, tcp
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import Interface

from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.net import kernel
from heartbeat.net.endings import told
from heartbeat.net.gone_link import GONE
from heartbeat.net.handover import tell_when_empty

if TYPE_CHECKING:
    import socket

    from twisted.python.failure import Failure

    from heartbeat.net.turns import Turns

# Client endpoints put this between a transport and our protocol, to learn when it is connected. It hands our protocol
# the transport itself, and writes nothing. Where Twisted has no such class, links of clients are opaque.
PASSES_ON: Final[tuple[type, ...]] = tuple(
    kind for kind in (getattr(endpoints, "_WrappingProtocol", None),) if kind is not None
)

__all__ = ["GONE", "ILinkSource", "Link", "OpaqueLink", "TcpLink", "link_for"]


class Link(Protocol):
    """The face that a pulse sees of a transport."""

    transport: Any
    exact: bool
    """Whether :meth:`drained` knows that the kernel has the bytes, or guesses it."""

    def write(self, data: bytes) -> bool:
        """Write, in order. True: the kernel has all of it. False: call :meth:`drained`."""

    def write_all(self, pieces: list[bytes | memoryview], size: int) -> bool:
        """Write these, ``size`` bytes in all, as one: as :meth:`write`, and what is large is copied only if it must."""

    def unsent(self) -> int | None:
        """Bytes that the kernel has and has not sent; None if it cannot say."""

    def drained(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when user space is empty."""

    def look(self, now: float) -> Evidence:
        """What can be observed now."""

    def arrived_at(self, now: float) -> float | None:
        """When the newest data reached the kernel, monotonic seconds; None if it cannot say."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""

    def close(self) -> None:
        """Close gracefully; whoever calls this bounds it with :meth:`abort`."""

    def abort(self) -> None:
        """End it now, whatever is unsent. Once: further calls do nothing."""

    def ending(self, reason: Failure, now: float) -> Ending:
        """How the transport ended, from what ``connectionLost`` was given."""


class ILinkSource(Interface):
    """A transport that brings its own link (the simulated ones do)."""

    def heartbeat_link() -> Link:
        """The link of this transport."""


class OpaqueLink:
    """Any transport: written to, not seen into. Two turns after a write the kernel probably has it."""

    __slots__ = ("_aborted", "_paused", "_turns", "exact", "transport")

    def __init__(self, transport: Any, turns: Turns) -> None:
        self.transport = transport
        self.exact = False
        self._turns = turns
        self._aborted = False
        self._paused = False

    def write(self, data: bytes) -> bool:
        """Write, in order."""
        self.transport.write(data)
        return False

    def write_all(self, pieces: list[bytes | memoryview], size: int) -> bool:
        """Write these as one."""
        return self.write(b"".join(pieces))

    def unsent(self) -> int | None:
        """It cannot say."""
        return None

    def drained(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` after two turns."""
        self._turns.after_two(callback)

    def look(self, now: float) -> Evidence:
        """Only whether we read."""
        return Evidence(now, reading=not self._paused)

    def arrived_at(self, now: float) -> float | None:
        """It cannot say."""
        return None

    def pause(self) -> None:
        """Stop reading, if this transport can."""
        self._paused = True
        pause = getattr(self.transport, "pauseProducing", None)
        if pause is not None:
            pause()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        resume = getattr(self.transport, "resumeProducing", None)
        if resume is not None:
            resume()

    def close(self) -> None:
        """Close gracefully."""
        self.transport.loseConnection()

    def abort(self) -> None:
        """End it now; a transport that cannot abort is closed."""
        if not self._aborted:  # a second abort of a TLS transport raises
            self._aborted = True
            getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    def ending(self, reason: Failure, now: float) -> Ending:
        """A clean end is proved; all else is not."""
        if self._aborted or reason.check(error.ConnectionAborted):
            return Ending("aborted")
        return Ending("eof" if reason.check(error.ConnectionDone) else "error")


class TcpLink(OpaqueLink):
    """A ``tcp.Connection`` (or UNIX socket) of which our protocol is the only writer: straight to the socket."""

    __slots__ = ("_ended", "_errno", "_queued", "socket")

    def __init__(self, transport: tcp.Connection, turns: Turns) -> None:
        super().__init__(transport, turns)
        self.exact = True
        self.socket: socket.socket = transport.socket
        self._queued = False  # user space holds something: what comes now must wait behind it
        self._ended: Evidence | None = None
        self._errno: int | None = None  # of our own last write that failed: the kernel says it once, so to us only
        transport.connectionLost = self._lost  # type: ignore[method-assign]  # on this one instance only; gone when it was called

    def write(self, data: bytes) -> bool:
        """``socket.send`` where nothing waits before it; what the kernel does not take goes to the transport."""
        transport = self.transport
        if not self._queued and transport.connected and not transport.TLS:
            try:
                sent = self.socket.send(data)
            except OSError as failed:  # full, or dead: the transport finds out by itself in its next doWrite
                sent = 0
                self._errno = failed.errno
            if sent == len(data):
                return True
            data = data[sent:]
        if not transport.TLS:
            self._queued = True
        transport.write(data)
        return False

    def write_all(self, pieces: list[bytes | memoryview], size: int) -> bool:
        """As :meth:`write`, from where the pieces lie."""
        transport = self.transport
        if self._queued or not transport.connected or transport.TLS:
            return self.write(b"".join(pieces))
        try:
            sent = self.socket.sendmsg(pieces)
        except OSError as failed:  # as in write
            sent = 0
            self._errno = failed.errno
        if sent == size:
            return True
        self._queued = True
        for number, piece in enumerate(pieces):
            if sent < len(piece):
                transport.write(b"".join([memoryview(piece)[sent:], *pieces[number + 1 :]]))
                break
            sent -= len(piece)
        return False

    def unsent(self) -> int | None:
        """As the kernel says."""
        return kernel.unsent(self.socket)

    def drained(self, callback: Callable[[], None]) -> None:
        """Exact: Twisted asks a pull producer for more when user space is empty."""
        if self.transport.TLS or not self.transport.connected:
            self._turns.after_two(callback)
            return
        self._queued = True
        tell_when_empty(self.transport, lambda: self._emptied(callback), self._turns)

    def _emptied(self, callback: Callable[[], None]) -> None:
        self._queued = False
        callback()

    def look(self, now: float) -> Evidence:
        """Everything that the kernel can say."""
        return kernel.look(self.socket, now, reading=not self._paused)

    def arrived_at(self, now: float) -> float | None:
        """From ``tcpi_last_data_recv``."""
        info = kernel.tcp_info(self.socket)
        return None if info is None or info.last_data_recv is None else now - info.last_data_recv

    def _lost(self, reason: Failure) -> None:
        """In the place of the transport's own ``connectionLost``: the descriptor is still open, and Twisted is about
        to drop the errno and close it (facts R6)."""
        del self.transport.connectionLost
        self._ended = kernel.look(self.socket, 0.0)
        self.transport.connectionLost(reason)

    def ending(self, reason: Failure, now: float) -> Ending:
        """FIN, RST or something else, as far as the kernel proves it."""
        return told(super().ending(reason, now).how, self._ended, self._errno, now)


def link_for(transport: Any, turns: Turns, protocol: Any) -> Link:
    """The link for a transport that ``protocol`` was connected to."""
    if ILinkSource.providedBy(transport) and not isinstance(transport, ProtocolWrapper):  # TLS copies interfaces
        link: Link = transport.heartbeat_link()
        return link
    if isinstance(transport, tcp.Connection) and not transport.TLS:
        reader = transport.protocol
        if reader is protocol or isinstance(reader, PASSES_ON):
            return TcpLink(transport, turns)
    if isinstance(transport, TLSMemoryBIOProtocol):
        from heartbeat.net.tls.link import TlsLink  # it is a link, and so imports this module

        return TlsLink(transport, turns, protocol)
    return OpaqueLink(transport, turns)
