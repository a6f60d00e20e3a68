"""The load: many connections of one process on one epoll, closed loop or paced.

How a connection asks and what counts as an answer is its dialect's affair (:mod:`tests.benchmarks.dialects`); here is
only who is asked when. The loop does as little as Python can: one read, one comparison, one write.
"""

from __future__ import annotations

import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Self

__all__ = ["NOTHING", "Connection", "Load", "LoadError"]

#: What a read gives that brought no data of the server's: a session ticket of TLS, or half a record or frame.
NOTHING: Final = b"\0"
_PATIENCE: Final = 10.0  # seconds without any answer after which a run is given up
_READ: Final = 65_536
_TOGETHER: Final = 100  # connections opened between two looks at the others


class LoadError(RuntimeError):
    """The server closed, refused, or did not answer: what was measured is worth nothing."""


class Connection(ABC):
    """One connection of the load.

    :ivar expected: the bytes of the answer that it waits for; empty while it waits for none
    :ivar sent_at: when it last sent anything, monotonic seconds
    """

    __slots__ = ("expected", "recv", "send", "sent_at", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.recv = sock.recv
        self.send = sock.send
        self.expected = b""
        self.sent_at = 0.0

    def write(self, data: bytes) -> None:
        """Send all of it at once: so little always fits. Raises LoadError when it does not."""
        if self.send(data) != len(data):
            raise LoadError("the server does not read")
        self.sent_at = time.monotonic()

    def greet(self) -> None:  # noqa: B027  # most have nothing to say
        """Say what comes before the first question, on a socket that still blocks."""

    def greeted(self) -> None:  # noqa: B027  # and nothing to hear
        """Wait for the answer to that. Raises LoadError when it is a refusal."""

    @abstractmethod
    def ask(self) -> None:
        """Send the next question and say in ``expected`` what answers it."""

    def other(self, data: bytes) -> bool:
        """Take what is not just the expected answer; True if that was in it. Raises LoadError."""
        raise LoadError(f"expected {self.expected!r}, got {data!r}")


class Load:
    """Connections to one server."""

    def __init__(self, dialect: Callable[[socket.socket, int], Connection], port: int, count: int) -> None:
        """Open ``count`` connections to ``port``, greetings included.

        :param dialect: makes a connection out of a connected socket and its number
        :raises LoadError: a greeting was refused
        """
        self.connections: list[Connection] = []
        self._by_descriptor: dict[int, Connection] = {}
        self._epoll = select.epoll()
        self._ready = self._epoll.poll
        self.answers = 0
        try:
            for first in range(0, count, _TOGETHER):
                self._open(dialect, port, range(first, min(first + _TOGETHER, count)))
                self._take(0)  # those that are open answer what they are asked, or they would be given up
        except BaseException:
            self.close()
            raise

    def _open(self, dialect: Callable[[socket.socket, int], Connection], port: int, numbers: range) -> None:
        """Connect some; all of them have greeted before the first answer is awaited."""
        opened = []
        for number in numbers:
            sock = socket.create_connection(("127.0.0.1", port), _PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = dialect(sock, number)
            self.connections.append(connection)
            opened.append(connection)
            connection.greet()
        for connection in opened:
            connection.greeted()
            connection.sock.setblocking(False)
            self._by_descriptor[connection.sock.fileno()] = connection
            self._epoll.register(connection.sock, select.EPOLLIN)

    def exchange(self, questions: int) -> int:
        """Closed loop: each connection asks again as soon as it was answered, until so many were.

        :return: how many were answered, a few more than were wanted; one question of each connection is still open
        """
        connections, ready = self._by_descriptor, self._ready
        for connection in self.connections:
            if not connection.expected:
                connection.ask()
        done = 0
        while done < questions:
            events = ready(_PATIENCE)
            if not events:
                raise LoadError(f"no answer for {_PATIENCE:g} s")
            for descriptor, _ in events:
                connection = connections[descriptor]
                data = connection.recv(_READ)
                if data == connection.expected or (self._came(data) and connection.other(data)):
                    connection.ask()
                    done += 1
        self.answers += done
        return done

    def settle(self) -> None:
        """Wait until nothing is asked any more. Raises LoadError when an answer is missing."""
        until = time.monotonic() + _PATIENCE
        while any(connection.expected for connection in self.connections):
            if time.monotonic() > until:
                raise LoadError("questions were left unanswered")
            self.listen(0.05)

    def listen(self, seconds: float) -> None:
        """Ask nothing; take answers, and answer what the server asks."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._take(left)

    def pace(self, interval: float, seconds: float) -> None:
        """Each connection asks once per ``interval``, all of them spread evenly over it.

        One that still waits for its answer asks nothing new.
        """
        begun = time.monotonic()
        step = interval / len(self.connections)
        turn = 0
        while (passed := time.monotonic() - begun) < seconds:
            while turn * step <= passed:
                connection = self.connections[turn % len(self.connections)]
                if not connection.expected:
                    connection.ask()
                turn += 1
            self._take(max(0.001, turn * step - passed))

    def _take(self, timeout: float) -> None:
        for descriptor, _ in self._ready(timeout, len(self.connections)):  # without: at most 1023 at once
            connection = self._by_descriptor[descriptor]
            data = connection.recv(_READ)
            if self._came(data) and (data == connection.expected or connection.other(data)):
                connection.expected = b""
                self.answers += 1

    def _came(self, data: bytes) -> bool:
        if not data:
            raise LoadError("the server closed a connection")
        return data is not NOTHING

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close everything."""
        for connection in self.connections:
            connection.sock.close()
        self._epoll.close()
