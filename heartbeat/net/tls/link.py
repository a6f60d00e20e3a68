"""What a transport made of TLS lets us do and see.

Theory of operation. Twisted's TLS layer gathers small writes for a turn of the reactor, which costs a delayed call for
each, and writes to a transport that gathers once more. Where our protocol sits directly on the TLS layer we are its
only writer, so we always write past the gathering (facts R12), and what it has encrypted goes to the socket at once:
its ``transport.write`` is ours, on this one transport, so that nothing of TLS overtakes anything else of TLS, whoever
wrote. Then ``write`` knows as exactly as on TCP whether the kernel has it all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from OpenSSL import SSL
from twisted.internet import error, tcp
from twisted.protocols.tls import TLSMemoryBIOProtocol

from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.net import kernel
from heartbeat.net.causes import name_tls, tls_text
from heartbeat.net.endings import told
from heartbeat.net.link import OpaqueLink, tell_when_empty
from heartbeat.net.tls.verification import verification_of

if TYPE_CHECKING:
    import socket

    from twisted.python.failure import Failure

    from heartbeat.net.turns import Turns

__all__ = ["TlsLink"]

#: The most that one record of TLS carries (RFC 8446 §5.1). More is several, which are sent together.
RECORD: Final = 2**14


class TlsLink(OpaqueLink):
    """TLS made by an endpoint: written to through the TLS layer, seen into through the socket below it."""

    __slots__ = ("_ended", "_errno", "_gathered", "_how", "_queued", "_raw", "_sends", "_sole", "_write", "socket")

    _write: Callable[[bytes], None]

    def __init__(self, transport: TLSMemoryBIOProtocol, turns: Turns, protocol: Any) -> None:
        super().__init__(transport, turns)
        raw: Any = transport.transport
        self._raw = raw
        self.socket: socket.socket | None = None
        self._ended: Evidence | None = None
        self._errno: int | None = None
        self._how: Literal["eof", "error"] = "error"
        self._queued = False  # user space holds something: what comes now must wait behind it
        self._sends = 0
        self._gathered: list[bytes] | None = None
        self._sole = self.exact = False
        if isinstance(raw, tcp.Connection):
            self.socket = raw.socket
            raw.connectionLost = self._lost  # type: ignore[method-assign]  # as of a TcpLink
            if transport.wrappedProtocol is protocol and not raw.TLS:
                self._sole = self.exact = True
                self._write = raw.write
                raw.write = self._send  # type: ignore[method-assign]  # on this one instance only, until it ends

    def write(self, data: bytes) -> bool:
        """Encrypt and send at once, where we are the only writer."""
        if not self._sole:
            self.transport.write(data)
            return False
        if len(data) <= RECORD:
            sends = self._sends
            TLSMemoryBIOProtocol.write(self.transport, data)
            return self._sends != sends and not self._queued  # before the handshake is done nothing is sent
        self._gathered = []
        try:
            TLSMemoryBIOProtocol.write(self.transport, data)
        finally:
            gathered, self._gathered = self._gathered, None
        if gathered:
            self._send(b"".join(gathered))
        return bool(gathered) and not self._queued

    def _send(self, data: bytes) -> None:
        """In the place of the raw transport's ``write``: to the socket, where nothing waits before it."""
        if self._gathered is not None:
            self._gathered.append(data)
            return
        self._sends += 1
        if not self._queued and self._raw.connected and self.socket is not None:
            try:
                sent = self.socket.send(data)
            except OSError as failed:  # full, or dead: the transport finds out by itself in its next doWrite
                sent = 0
                self._errno = failed.errno
            if sent == len(data):
                return
            data = data[sent:]
            self._queued = True
        self._write(data)  # the transport's own

    def drained(self, callback: Callable[[], None]) -> None:
        """The raw transport knows when it is empty; before it, the TLS layer may gather small writes for a turn."""
        raw = self._raw
        if self._sole and raw.connected:
            self._queued = True
            tell_when_empty(raw, lambda: self._emptied(callback), self._turns)
        elif isinstance(raw, tcp.Connection):
            self._turns.after_two(lambda: tell_when_empty(raw, callback, self._turns))
        else:
            self._turns.after_two(callback)

    def _emptied(self, callback: Callable[[], None]) -> None:
        self._queued = False
        callback()

    def close(self) -> None:
        """TLS's own farewell, and FIN behind it: the peer's farewell need not be awaited (RFC 8446 §6.1)."""
        self.transport.loseConnection()
        if self._sole:
            self._raw.loseConnection()

    def look(self, now: float) -> Evidence:
        """What the kernel says of the socket below; ``unread`` counts ciphertext."""
        if self.socket is None:
            return super().look(now)
        handle = self.transport.getHandle()
        pending = None if handle is None else handle.pending()
        return replace(kernel.look(self.socket, now, reading=not self._paused), tls_pending=pending)

    def arrived_at(self, now: float) -> float | None:
        """From ``tcpi_last_data_recv`` of the socket below."""
        info = None if self.socket is None else kernel.tcp_info(self.socket)
        return None if info is None or info.last_data_recv is None else now - info.last_data_recv

    def _lost(self, reason: Failure) -> None:
        """In the place of the raw transport's own ``connectionLost``: its descriptor is still open."""
        raw = self._raw
        del raw.connectionLost
        if self._sole:
            del raw.write
            self._sole = False
        if self.socket is not None:
            self._ended = kernel.look(self.socket, 0.0)
        handle = self.transport.getHandle()
        # Who has said TLS's own farewell has closed: a RST after that only answers ours.
        farewell = handle is not None and handle.get_shutdown() & SSL.RECEIVED_SHUTDOWN
        self._how = "eof" if farewell or reason.check(error.ConnectionDone) else "error"
        raw.connectionLost(reason)

    def ending(self, reason: Failure, now: float) -> Ending:
        """As of a TcpLink. The TLS layer calls an end of stream without its own farewell a lost connection."""
        how = super().ending(reason, now).how
        if how == "error" and reason.check(error.ConnectionLost):
            how = self._how
        elif how == "error":  # the TLS layer itself found something wrong, and closed
            return self._failed(reason, now)
        return told(how, self._ended, self._errno, now)

    def _failed(self, reason: Failure, now: float) -> Ending:
        failed: Any = reason.value
        seen = Evidence(now) if self._ended is None else replace(self._ended, at=now)
        found = verification_of(self.transport)
        if found is not None and found.trouble is not None and isinstance(failed, SSL.Error):
            cause, detail, text = found.trouble
            return Ending("error", replace(seen, error=text, detail=detail), (cause, detail))
        known = name_tls(failed)
        text = tls_text(failed)
        return Ending("error", replace(seen, error=text, detail=None if known is None else known[1]), known)
