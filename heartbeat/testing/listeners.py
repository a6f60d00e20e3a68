"""A simulated listening socket, as the kernel of its host keeps it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.testing.hosts import Host
    from heartbeat.testing.segments import Address
    from heartbeat.testing.tcp import Connection

__all__ = ["Listener"]


class Listener:
    """A listening socket: connections wait here until the process accepts them.

    :ivar address: where it listens; ``("", port)`` for all addresses of its host
    :ivar backlog: how many may wait; a SYN beyond is dropped, as Linux does
    """

    def __init__(self, host: Host, address: Address, backlog: int) -> None:
        self.host = host
        self.address = address
        self.backlog = max(1, backlog)
        self.waiting: list[Connection] = []
        self.open = True
        self.watcher: Callable[[], None] | None = None

    @property
    def readable(self) -> bool:
        """Somebody waits to be accepted."""
        return bool(self.waiting)

    @property
    def writable(self) -> bool:
        """Never: a listener is not written to."""
        return False

    @property
    def hung_up(self) -> bool:
        """Never while it is open."""
        return False

    def offer(self, connection: Connection) -> None:
        """A handshake is done: the process may accept it. Closed meanwhile: it is reset."""
        if not self.open:
            connection.close(reset=True)
            return
        self.waiting.append(connection)
        if self.watcher is not None:
            self.watcher()

    def accept(self) -> Connection | None:
        """The oldest connection that waits, None if none does."""
        return self.waiting.pop(0) if self.waiting else None

    def close(self) -> None:
        """Stop listening. Connections that were never accepted are reset."""
        self.open = False
        self.watcher = None
        self.host.forget_listener(self)
        for connection in self.waiting:
            connection.close(reset=True)
        self.waiting.clear()
