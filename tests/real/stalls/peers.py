"""The honest peers: one process, many sockets, each question answered after a while. Nothing of the product in it.

Run by path, so that it imports the standard library only: ``python -P peers.py --port N --count N ...``. Prints
``ready`` when all connections are greeted, and ``asked`` whenever all of them wait for their answer at once. At the
end of its standard input it prints, as JSON, how many connections are still open, and ends.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import os
import random
import selectors
import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["DIALECTS", "Connection", "main"]

_FIXED: Final = {b"HEAR": 8, b"HACK": 8, b"HSYN": 32, b"HSAK": 8, b"HSTL": 8}  # wire.md §1, what may come here
_BYE: Final = b"HBYE"
_LONGEST_READ: Final = 65_536


class Connection:
    """One socket, and the answers that it owes.

    :ivar open: the other end has not ended it
    :ivar owed: answers that are not sent yet
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.open = True
        self.owed = 0
        self.due = 0.0  # of the last answer that is owed: they leave in order
        self._unread = b""

    def greet(self, name: str, terms: dict[str, Any]) -> None:
        """Begin, on a blocking socket."""

    def greeted(self) -> None:
        """Read the answer to that."""

    def _more(self) -> None:
        data = self.sock.recv(_LONGEST_READ)
        if not data:
            raise SystemExit(f"not greeted: {self._unread!r}")
        self._unread += data

    def answers(self, data: bytes) -> Iterator[bytes]:
        """The answer to each question in what was read so far."""
        self._unread += data
        while length := self.length(self._unread):
            if len(self._unread) < length:
                return
            frame, self._unread = self._unread[:length], self._unread[length:]
            answer = self.answer(frame)
            if answer:
                yield answer

    def length(self, data: bytes) -> int:
        """How long the frame at the beginning is; 0 when that cannot be told yet."""
        raise NotImplementedError

    def answer(self, frame: bytes) -> bytes:
        """The answer to a frame, empty when there is none."""
        raise NotImplementedError


class Echo(Connection):
    """Eight bytes come, the same eight go."""

    def length(self, data: bytes) -> int:
        """Always eight."""
        return 8 if data else 0

    def answer(self, frame: bytes) -> bytes:
        """The same."""
        return frame


class Heartbeat(Connection):
    """``wire.md``: a connector that says HELLO and answers PING and SYNC. It never speaks unasked."""

    def greet(self, name: str, terms: dict[str, Any]) -> None:
        """HELLO."""
        members = {"v": 1, "id": name, "instance": os.urandom(8).hex(), "caps": ["stalled"], **terms}
        body = json.dumps(members).encode()
        self.sock.sendall(b"HELO" + struct.pack("!I", len(body)) + body)

    def greeted(self) -> None:
        """The acceptor's HELLO."""
        while len(self._unread) < 8 or len(self._unread) < 8 + int.from_bytes(self._unread[4:8], "big"):
            self._more()
        if self._unread[:4] != b"HELO":
            raise SystemExit(f"no HELLO: {self._unread!r}")
        self._unread = self._unread[8 + int.from_bytes(self._unread[4:8], "big") :]

    def length(self, data: bytes) -> int:
        """By the magic."""
        if len(data) < 8:
            return 0
        if data[:4] == _BYE:
            return 8 + int.from_bytes(data[6:8], "big")
        return _FIXED[data[:4]]

    def answer(self, frame: bytes) -> bytes:
        """ACK or SYNC-ACK."""
        if frame[:4] == b"HEAR":
            return b"HACK" + frame[4:8]
        if frame[:4] == b"HSYN":
            return b"HSAK" + frame[4:6] + b"\0\0"
        if frame[:4] == _BYE:
            print("bye", frame[8:].decode(), file=sys.stderr, flush=True)
        return b""


class WebSocket(Connection):
    """RFC 6455: a client that answers pings."""

    def greet(self, name: str, terms: dict[str, Any]) -> None:
        """Ask HTTP for the upgrade."""
        host, port = self.sock.getpeername()
        self.sock.sendall(
            f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def greeted(self) -> None:
        """It was granted."""
        while b"\r\n\r\n" not in self._unread:
            self._more()
        self._unread = self._unread.partition(b"\r\n\r\n")[2]

    def length(self, data: bytes) -> int:
        """Frames of a server are not masked, and pings are short."""
        return 2 + (data[1] & 0x7F) if len(data) >= 2 else 0

    def answer(self, frame: bytes) -> bytes:
        """A pong, masked with nothing."""
        if frame[0] != 0x89:
            return b""
        return b"\x8a" + bytes((0x80 | (len(frame) - 2),)) + b"\0\0\0\0" + frame[2:]


#: What the questions are, by name.
DIALECTS: Final[dict[str, type[Connection]]] = {"echo": Echo, "heartbeat": Heartbeat, "websocket": WebSocket}


class Crowd:
    """All connections of this process, and their answers in the order in which they are due."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._after = (options.least, options.most)
        self._draw = random.Random(options.seed)
        self._due: list[tuple[float, int, Connection, bytes]] = []
        self._number = itertools.count()
        self._readable = selectors.DefaultSelector()
        self._asked = 0  # connections that owe an answer
        self._count = options.count
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self.connections = [self._connect(number, options) for number in range(options.count)]
        for connection in self.connections:
            connection.greeted()
            connection.sock.setblocking(False)
            self._readable.register(connection.sock, selectors.EVENT_READ, connection)
        for connection in self.connections:
            self._take(connection)  # TLS may have read more than was asked for
        self._readable.register(sys.stdin, selectors.EVENT_READ, None)
        print("ready", flush=True)

    def _connect(self, number: int, options: argparse.Namespace) -> Connection:
        sock = socket.create_connection(("127.0.0.1", options.port), timeout=20.0)
        if options.tls:
            sock = self._context.wrap_socket(sock)
        connection = DIALECTS[options.dialect](sock)
        terms = {"want_ping_ms": options.interval, "mult": options.multiplier}
        connection.greet(f"{options.name}-{number}", terms)
        return connection

    def run(self) -> None:
        """Until standard input ends."""
        while True:
            wait = None if not self._due else max(0.0, self._due[0][0] - time.monotonic())
            for key, _ in self._readable.select(wait):
                if key.data is None:
                    return
                self._take(key.data)
            while self._due and self._due[0][0] <= time.monotonic():
                self._send(*heapq.heappop(self._due)[2:])

    def _take(self, connection: Connection) -> None:
        while connection.open:
            try:
                data = connection.sock.recv(_LONGEST_READ)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except OSError:
                data = b""
            if not data:
                self._end(connection)
                return
            for answer in connection.answers(data):
                self._owe(connection, answer)

    def _owe(self, connection: Connection, answer: bytes) -> None:
        connection.due = max(connection.due, time.monotonic() + self._draw.uniform(*self._after))
        heapq.heappush(self._due, (connection.due, next(self._number), connection, answer))
        connection.owed += 1
        if connection.owed == 1:
            self._asked += 1
            if self._asked == self._count:
                print("asked", flush=True)

    def _send(self, connection: Connection, answer: bytes) -> None:
        if connection.open:
            try:
                connection.sock.sendall(answer)
            except OSError:
                self._end(connection)
        connection.owed -= 1
        if not connection.owed:
            self._asked -= 1

    def _end(self, connection: Connection) -> None:
        connection.open = False
        self._readable.unregister(connection.sock)
        connection.sock.close()


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dialect", choices=sorted(DIALECTS), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--name", default="peer", help="ids are NAME-0, NAME-1 ...")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--least", type=float, default=0.2, help="seconds until an answer, at least")
    parser.add_argument("--most", type=float, default=0.2, help="seconds until an answer, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--interval", type=int, default=1000, help="want_ping_ms of the HELLO")
    parser.add_argument("--multiplier", type=int, default=2, help="mult of the HELLO")
    crowd = Crowd(parser.parse_args())
    crowd.run()
    print(json.dumps({"open": sum(one.open for one in crowd.connections)}), flush=True)


if __name__ == "__main__":
    main()
