"""What a transport made of TLS lets us do and see.

Theory of operation. Twisted's TLS layer gathers small writes for a turn of the reactor, which costs a delayed call for
each, and writes to a transport that gathers once more. Where our protocol sits directly on the TLS layer we are its
only writer, so we always write past the gathering (facts R12). When user space is empty for the first time after that
we take over the TCP transport below: its ``write`` is ours then, on this one instance, and goes to the link of that
transport, so that nothing of TLS overtakes anything else of TLS, whoever wrote; ``write`` then knows as exactly as on
TCP whether the kernel has it all. A link that is never written to takes nothing over. What can be seen is what the link
below sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL
from twisted.internet import error, tcp
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.net.causes import name_tls, tls_text
from heartbeat.net.handover import tell_when_empty
from heartbeat.net.link import ILinkSource, Link, OpaqueLink, TcpLink
from heartbeat.net.tls.verification import verification_of

if TYPE_CHECKING:
    import socket

    from heartbeat.net.turns import Turns

__all__ = ["RECORD", "TlsLink"]

#: The most that one record of TLS carries (RFC 8446 §5.1). More is several, which are sent together.
RECORD: Final = 2**14
#: Bytes that a record has at most when it is encrypted, and what else OpenSSL may have to say (RFC 8446 §5.2).
ENCRYPTED: Final = 2 * RECORD


class TlsLink(OpaqueLink):
    """TLS made by an endpoint: written to through the TLS layer, seen into through the link of what is below it.

    :ivar socket: of the TCP transport below, None where that is something else
    """

    __slots__ = (
        "_below", "_cipher", "_gathered", "_lost_below", "_passing", "_raw", "_raw_reason", "_sent", "_write", "socket",
    )  # fmt: skip

    _lost_below: Callable[[Failure], None]
    _write: Callable[[bytes], None]

    def __init__(self, transport: TLSMemoryBIOProtocol, turns: Turns, protocol: Any) -> None:
        super().__init__(transport, turns)
        raw: Any = transport.transport
        self._raw = raw
        self._raw_reason: Failure | None = None
        self._gathered: list[bytes | memoryview] | None = None  # records that leave together
        self._sent = False  # the kernel has all of the last write
        self._passing = False  # the link below is at work: what it writes is for the transport
        self._below: Link | None = None
        self.socket: socket.socket | None = None
        self._cipher: SSL.Connection | None = None  # what encrypts, once the transport below is taken over
        if isinstance(raw, tcp.Connection) and not raw.TLS:
            self._below = raw.heartbeat_link() if ILinkSource.providedBy(raw) else TcpLink(raw, turns)
            self.socket = raw.socket
            self._lost_below = raw.connectionLost
            raw.connectionLost = self._lost  # type: ignore[method-assign]  # as of a TcpLink, which is told then
            self.exact = transport.wrappedProtocol is protocol

    def write(self, data: bytes) -> bool:
        """Encrypt and send at once, where we are the only writer. Before the handshake is done nothing is sent."""
        if not self.exact:
            self.transport.write(data)
            return False
        if len(data) > RECORD:
            return self._write_records(data[at : at + RECORD] for at in range(0, len(data), RECORD))
        self._sent = False
        self._encrypt(data)
        return self._sent

    def write_all(self, pieces: list[bytes | memoryview], size: int) -> bool:
        """As :meth:`write`, a record at a time: what fills one exactly is not cut again."""
        if not self.exact:
            return self.write(b"".join(pieces))
        return self._write_records(_records(pieces))

    def _write_records(self, records: Iterable[bytes]) -> bool:
        """Encrypt these and send them together."""
        self._sent = False
        gathered: list[bytes | memoryview] = []
        self._gathered = gathered
        try:
            for record in records:
                self._encrypt(record)
        finally:
            self._gathered = None
        if gathered:
            self._send_all(gathered)
        return self._sent

    def _encrypt(self, record: bytes) -> None:
        """As the TLS layer does it, and where that does not work, by the TLS layer."""
        cipher = self._cipher
        if cipher is None:
            TLSMemoryBIOProtocol.write(self.transport, record)
            return
        while record:
            try:
                taken = cipher.send(record)
            except SSL.Error:  # it has to read first, or has ended, or failed
                TLSMemoryBIOProtocol.write(self.transport, record)
                return
            self._send(cipher.bio_read(ENCRYPTED))
            record = record[taken:]  # all of it, unless smaller records were agreed on

    def _send(self, data: bytes) -> None:
        """In the place of the raw transport's ``write``: to the link below, which comes back with what is left over."""
        if self._gathered is not None:
            self._gathered.append(data)
        elif self._passing or self._below is None:
            self._write(data)
        else:
            self._send_all([data])

    def _send_all(self, pieces: list[bytes | memoryview]) -> None:
        below = self._below
        assert below is not None  # else nothing is taken over, and nothing comes here
        self._passing = True
        try:
            if len(pieces) == 1:
                self._sent = below.write(bytes(pieces[0]))
            else:
                self._sent = below.write_all(pieces, sum(map(len, pieces)))
        finally:
            self._passing = False

    def unsent(self) -> int | None:
        """As the link below says, of ciphertext."""
        return None if self._below is None else self._below.unsent()

    def drained(self, callback: Callable[[], None]) -> None:
        """The link below knows when user space is empty. Before, the TLS layer may gather small writes for a turn."""
        raw, below = self._raw, self._below
        if self._cipher is not None and below is not None:
            below.drained(callback)
        elif self.exact and raw.producer is None:
            tell_when_empty(raw, lambda: self._take_over(callback), self._turns)
        elif below is not None:
            self._turns.after_two(lambda: tell_when_empty(raw, callback, self._turns))
        else:
            self._turns.after_two(callback)

    def _take_over(self, callback: Callable[[], None]) -> None:
        """User space is empty: nothing can be overtaken by what we send from here on."""
        raw, cipher = self._raw, self.transport.getHandle()
        if self._cipher is None and cipher is not None and raw.connected and self._raw_reason is None:
            self._cipher = cipher
            self._write = raw.write
            raw.write = self._send  # on this one instance only, until it ends
        callback()

    def close(self) -> None:
        """TLS's own farewell, and FIN behind it: the peer's farewell need not be awaited (RFC 8446 §6.1)."""
        self.transport.loseConnection()
        if self.exact:
            self._raw.loseConnection()

    def look(self, now: float) -> Evidence:
        """What is seen of the socket below; ``unread`` counts ciphertext."""
        if self._below is None:
            return super().look(now)
        handle = self.transport.getHandle()
        pending = None if handle is None else handle.pending()
        return replace(self._below.look(now), reading=not self._paused, tls_pending=pending)

    def arrived_at(self, now: float) -> float | None:
        """As the link below says."""
        return None if self._below is None else self._below.arrived_at(now)

    def _lost(self, reason: Failure) -> None:
        """In the place of the raw transport's own ``connectionLost``: its descriptor is still open."""
        if self._cipher is not None:
            del self._raw.write
            self._cipher = None
        handle = self.transport.getHandle()
        if handle is not None and handle.get_shutdown() & SSL.RECEIVED_SHUTDOWN:
            # Who has said TLS's own farewell has closed: a RST after that only answers ours.
            self._raw_reason = Failure(error.ConnectionDone())
        else:
            self._raw_reason = reason
        self._lost_below(reason)

    def ending(self, reason: Failure, now: float) -> Ending:
        """As of the link below. The TLS layer calls an end of stream without its own farewell a lost connection."""
        ending = super().ending(reason, now)
        if ending.how == "error" and not reason.check(error.ConnectionLost):
            return self._failed(reason, now)  # the TLS layer itself found something wrong, and closed
        if self._below is None or ending.how == "aborted":
            return ending
        return self._below.ending(self._raw_reason if self._raw_reason is not None else reason, now)

    def _failed(self, reason: Failure, now: float) -> Ending:
        failed: Any = reason.value
        seen = Evidence(now)
        if self._below is not None and self._raw_reason is not None:
            seen = self._below.ending(self._raw_reason, now).evidence or seen
        found = verification_of(self.transport)
        if found is not None and found.trouble is not None and isinstance(failed, SSL.Error):
            cause, detail, text = found.trouble
            return Ending("error", replace(seen, error=text, detail=detail), (cause, detail))
        known = name_tls(failed)
        text = tls_text(failed)
        return Ending("error", replace(seen, error=text, detail=None if known is None else known[1]), known)


def _records(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The pieces together, in as many as fit into one record each."""
    record: list[bytes | memoryview] = []
    length = 0
    for piece in pieces:
        if length + len(piece) > RECORD:
            yield b"".join(record)
            record, length = [], 0
        record.append(piece)
        length += len(piece)
    yield b"".join(record)
