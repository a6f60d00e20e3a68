"""What a simulated process sees of its kernel: sockets, and a poll that says which of them are ready.

:class:`SimulatedSocket` has the methods of :class:`socket.socket` that Twisted's own TCP transports call, so that
these run on it unchanged. :class:`Poller` is a level-triggered ``epoll``: it answers in the order in which the
sockets became ready.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from heartbeat.testing.endpoints import SYN_SENT
from heartbeat.testing.listeners import Listener
from heartbeat.testing.tcp import Connection

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor

    from heartbeat.testing.hosts import Process
    from heartbeat.testing.segments import Address

__all__ = ["HUNG_UP", "READABLE", "WRITABLE", "Poller", "SimulatedSocket"]

READABLE: Final = 1
WRITABLE: Final = 2
HUNG_UP: Final = 4
#: Far above what a real process can open: a simulated descriptor that strays into a system call is refused there.
FIRST_DESCRIPTOR: Final = 1_000_000_000

_LINGER: Final = struct.Struct("ii")
#: The options that have an effect in the kernel, by what it calls them. Not every system has names for all.
_TUNES: Final = {(socket.SOL_SOCKET, socket.SO_KEEPALIVE): "keepalive"} | {
    (socket.IPPROTO_TCP, getattr(socket, constant)): name
    for constant, name in (
        ("TCP_KEEPIDLE", "idle"),
        ("TCP_KEEPINTVL", "interval"),
        ("TCP_KEEPCNT", "count"),
        ("TCP_USER_TIMEOUT", "user_timeout"),
    )
    if hasattr(socket, constant)
}


class Poller:
    """The descriptors of one process, and what it wants to know of them."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._sockets: dict[int, SimulatedSocket] = {}
        self._next = FIRST_DESCRIPTOR
        self._marked: dict[int, None] = {}
        self.reads: dict[int, IReadDescriptor] = {}
        self.writes: dict[int, IWriteDescriptor] = {}

    @property
    def open_sockets(self) -> tuple[SimulatedSocket, ...]:
        """Every socket that was not closed."""
        return tuple(self._sockets.values())

    def number(self, opened: SimulatedSocket) -> int:
        """A descriptor for a new socket.

        :raises OSError: ESRCH, the process was killed: what a test still does with its reactor has no effect
        """
        if not self._process.alive:
            raise OSError(errno.ESRCH, "this simulated process was killed; a restarted host has a new reactor")
        self._next += 1
        self._sockets[self._next] = opened
        return self._next

    def want_read(self, reader: IReadDescriptor) -> None:
        """Tell when it can be read."""
        if self._process.alive:
            self.reads[self._known(reader)] = reader
            self.mark(reader.fileno())

    def want_write(self, writer: IWriteDescriptor) -> None:
        """Tell when it can be written."""
        if self._process.alive:
            self.writes[self._known(writer)] = writer
            self.mark(writer.fileno())

    def mark(self, descriptor: int) -> None:
        """Something about this socket changed: look at it in the next poll."""
        if descriptor in self.reads or descriptor in self.writes:
            self._marked[descriptor] = None
            self._process.ready()

    def events(self, descriptor: int) -> int:
        """What is true of this socket now, of what was asked."""
        opened = self._sockets.get(descriptor)
        if opened is None or opened.end is None:
            return 0
        end, events = opened.end, 0
        if descriptor in self.reads:
            if end.readable:
                events = READABLE
        elif descriptor not in self.writes:
            return 0
        if descriptor in self.writes and end.writable:
            events |= WRITABLE
        return events | HUNG_UP if end.hung_up else events

    def pending(self) -> bool:
        """A poll would answer at once."""
        while self._marked:
            descriptor = next(iter(self._marked))
            if self.events(descriptor):
                return True
            del self._marked[descriptor]
        return False

    def poll(self) -> list[tuple[int, int]]:
        """Descriptors that are ready, and how. Those that stay ready are told again."""
        ready = [(descriptor, events) for descriptor in self._marked if (events := self.events(descriptor))]
        self._marked = dict.fromkeys(descriptor for descriptor, _ in ready)
        return ready

    def forget(self, descriptor: int) -> None:
        """This socket was closed."""
        for table in (self._sockets, self._marked, self.reads, self.writes):
            table.pop(descriptor, None)

    def clear(self) -> None:
        """The process is gone; its kernel closes the sockets by itself."""
        for table in (self._sockets, self._marked, self.reads, self.writes):
            table.clear()

    def _known(self, selectable: IReadDescriptor | IWriteDescriptor) -> int:
        descriptor = selectable.fileno()
        if descriptor not in self._sockets:
            raise ValueError(f"{selectable!r} is no descriptor of this simulated process")
        return descriptor


class SimulatedSocket:
    """A non-blocking stream socket of one process.

    :ivar end: what it stands for in the kernel, None before it connects or listens, and after it was closed
    """

    family = socket.AF_INET
    type = socket.SOCK_STREAM

    def __init__(self, process: Process, poller: Poller) -> None:
        self._process = process
        self._poller = poller
        self._descriptor = poller.number(self)
        self._bound: Address = ("", 0)
        self._options: dict[tuple[int, int], Any] = {}
        self.end: Connection | Listener | None = None

    def __repr__(self) -> str:
        peer = f" to {self.end.remote[0]}:{self.end.remote[1]}" if isinstance(self.end, Connection) else ""
        address, port = self.getsockname()
        return f"<SimulatedSocket {address}:{port}{peer}>"

    def fileno(self) -> int:
        """Its descriptor; no real one."""
        return self._descriptor

    def setblocking(self, flag: bool) -> None:
        """Ignored: it never blocks."""

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Remembered. SO_LINGER, keepalive and TCP_USER_TIMEOUT have an effect."""
        self._options[level, option] = value
        self._tune(level, option, value)

    def getsockopt(self, level: int, option: int) -> Any:
        """SO_ERROR hands out the error that waits; anything else gives what was set, or 0."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return self.end.take_error() if isinstance(self.end, Connection) else 0
        return self._options.get((level, option), 0)

    def bind(self, address: Address) -> None:
        """Remember where to listen. A connecting socket keeps the address of its host.

        :raises OSError: EADDRINUSE, EADDRNOTAVAIL
        """
        self._bound = self._process.host.check_address(*address)

    def listen(self, backlog: int) -> None:
        """Begin to listen.

        :raises OSError: EADDRINUSE, EADDRNOTAVAIL
        """
        self._take(self._process.host.open_listener(*self._bound, backlog))

    def accept(self) -> tuple[SimulatedSocket, Address]:
        """The next connection.

        :raises BlockingIOError: there is none
        """
        connection = self._listener.accept()
        if connection is None:
            raise BlockingIOError(errno.EWOULDBLOCK, "nobody waits")
        accepted = SimulatedSocket(self._process, self._poller)
        accepted._take(connection)
        return accepted, connection.remote

    def connect_ex(self, address: Address) -> int:
        """Begin to connect, or say how far it is: EINPROGRESS, EISCONN, or an errno."""
        if self.end is None:
            try:
                self._take(self._process.host.open_connection(*address))
            except OSError as error:
                return error.errno or errno.EINVAL
            return errno.EINPROGRESS
        if self.connection.state == SYN_SENT:
            return errno.EALREADY
        return self.connection.take_error() or errno.EISCONN

    def recv(self, size: int) -> bytes:
        """At most ``size`` bytes, ``b""`` at the end.

        :raises OSError: EWOULDBLOCK when there is nothing, or what happened to the connection
        """
        data = self.connection.receive(size)
        if data is None:
            raise BlockingIOError(errno.EWOULDBLOCK, "nothing to read")
        return data

    def send(self, data: bytes | memoryview) -> int:
        """How many bytes the kernel took.

        :raises OSError: EWOULDBLOCK when its buffer is full, or what happened to the connection
        """
        taken = self.connection.send(bytes(data))
        if data and not taken:
            raise BlockingIOError(errno.EWOULDBLOCK, "the send buffer is full")
        return taken

    def shutdown(self, how: int) -> None:
        """Half-close, or close both ways.

        :raises OSError: ENOTCONN
        """
        if how != socket.SHUT_RD:
            self.connection.shut_down()

    def close(self) -> None:
        """Let go of it. Unread data, or SO_LINGER with 0 seconds, makes it a RST."""
        self._poller.forget(self._descriptor)
        end, self.end = self.end, None
        if isinstance(end, Connection):
            linger = self._options.get((socket.SOL_SOCKET, socket.SO_LINGER))
            end.close(reset=linger is not None and _LINGER.unpack(linger) == (1, 0))
        elif end is not None:
            end.close()

    def getsockname(self) -> Address:
        """Own address and port."""
        if isinstance(self.end, Connection):
            return self.end.local
        address, port = self._bound if self.end is None else self.end.address
        return address or "0.0.0.0", port  # noqa: S104 - what the system says, nothing is bound

    def getpeername(self) -> Address:
        """The peer's address and port.

        :raises OSError: ENOTCONN
        """
        return self.connection.remote

    @property
    def connection(self) -> Connection:
        """What it stands for in the kernel.

        :raises OSError: ENOTCONN
        """
        if isinstance(self.end, Connection):
            return self.end
        raise OSError(errno.ENOTCONN, "not connected")

    @property
    def _listener(self) -> Listener:
        if isinstance(self.end, Listener):
            return self.end
        raise OSError(errno.EINVAL, "not listening")

    def _take(self, end: Connection | Listener) -> None:
        self.end = end
        end.watcher = self._changed
        for (level, option), value in self._options.items():
            self._tune(level, option, value)

    def _tune(self, level: int, option: int, value: Any) -> None:
        name = _TUNES.get((level, option))
        if name is not None and isinstance(self.end, Connection):
            self.end.tune(name, value)

    def _changed(self) -> None:
        self._poller.mark(self._descriptor)
