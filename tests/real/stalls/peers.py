"""The honest peers: one process, many sockets, each question answered after a while. Nothing of the product in it.

``python -m tests.real.stalls.peers --dialect NAME --port N --count N ...``. Prints ``ready`` when all connections are
greeted, and ``asked`` whenever all of them wait for their answer at once. At the end of its standard input it prints,
as JSON, how many connections are still open, and ends.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import selectors
import socket
import ssl
import sys
import time

from tests.real.stalls.dialects import DIALECTS, LONGEST_READ, Connection

__all__ = ["main"]


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
        sock = socket.create_connection(("127.0.0.1", options.port), timeout=20.0, source_address=(options.source, 0))
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
                data = connection.sock.recv(LONGEST_READ)
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
    parser.add_argument("--source", default="127.0.0.1", help="the address they come from")
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
