"""Memory of a thousand followers of ``/api/events`` that stop reading.

They ask, read the first answer, and then nothing. Peers join and are killed meanwhile, again and again: some megabytes
of events for each follower. The memory of the process is read before the first of them came, when all are there, and
while they are being given what they do not read; what the kernel holds for their connections is read from it, too.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.dialects import HeartbeatPeer
from tests.benchmarks.process import Server, cores, descriptors, pinned
from tests.benchmarks.table import bar, render

__all__ = ["SMALL", "Report", "Size", "measure"]

#: KiB for each follower that does not read, in the process: what :mod:`heartbeat.watch.web.stream` lets wait, and the
#: objects of its connection.
_BAR_KIB: Final = 48.0
_SPARE: Final = 300
_SMALL_WINDOW: Final = 4096


@dataclass(frozen=True)
class Size:
    """How much is done: followers; peers that join and are killed, and how many times."""

    followers: int = 1000
    peers: int = 100
    rounds: int = 30


SMALL: Final = Size(followers=50, peers=20, rounds=5)


@dataclass
class Report:
    """KiB, by follower.

    :ivar size: what was done
    :ivar idle: that follow, before anything happened
    :ivar unread: with all that was given to them, and not read: the most that was seen
    :ivar kernel: bytes in the kernel's send queues for each of them
    :ivar events: that there were for each
    """

    size: Size
    idle: float
    unread: float
    kernel: float
    events: int

    def __str__(self) -> str:
        rows = [
            ("follows, nothing happens", f"{self.idle:.1f}", ""),
            ("does not read", f"{self.unread:.1f}", f"{self.kernel:.1f}"),
        ]
        title = f"{self.size.followers} followers that stop reading, {self.events} events"
        head = ("each of them", "KiB in the process", "KiB in the kernel")
        return "\n".join([render(title, head, rows), bar("KiB per follower", self.unread, at_most=_BAR_KIB)])


def measure(size: Size | None = None) -> Report:
    """One server."""
    size = size or Size()
    core, other = cores()
    where = ("--listen", "tcp:0:interface=127.0.0.1", "--web", "tcp:0:interface=127.0.0.1", "--keep", "0")
    followers: list[socket.socket] = []
    with (
        pinned(other),
        descriptors(size.followers + size.peers + _SPARE),
        Server(
            ("-m", "twisted", "heartbeat-server", *where, "--log-level", "error"), ("heartbeat", "web"), core
        ) as server,
    ):
        try:
            _churn(server.ports["heartbeat"], size.peers)  # what the first use of everything costs is not theirs
            empty = server.memory()[1]
            followers += [_follow(server.ports["web"]) for _ in range(size.followers)]
            idle = server.memory()[1]
            unread = kernel = 0
            for _ in range(size.rounds):
                _churn(server.ports["heartbeat"], size.peers)
                unread = max(unread, server.memory()[1])
            kernel = _queued(server.ports["web"])
        finally:
            for one in followers:
                one.close()
    each = size.followers * 1024
    events = size.rounds * size.peers * 3
    return Report(size, (idle - empty) / each, (unread - empty) / each, kernel / each, events)


def _follow(port: int) -> socket.socket:
    """One that reads the head of its answer, and no more."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_WINDOW)
    sock.settimeout(30.0)
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    read = b""
    while b"retry:" not in read:
        data = sock.recv(4096)
        assert data, read
        read += data
    return sock


def _churn(port: int, count: int) -> None:
    """So many peers come, and are gone without a word: three events each."""
    peers = []
    for number in range(count):
        sock = socket.create_connection(("127.0.0.1", port), 30.0)
        peer = HeartbeatPeer(sock, number)
        peer.greet()
        peers.append(peer)
    for peer in peers:
        peer.greeted()
    for peer in peers:
        peer.sock.close()
    time.sleep(0.2)


def _queued(port: int) -> int:
    """Bytes that the kernel holds for the connections of a port and has not got rid of."""
    command = ["ss", "--tcp", "--numeric", "--no-header", "state", "established", f"( sport = :{port} )"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return 0
    return sum(int(line.split()[1]) for line in listed.splitlines())


if __name__ == "__main__":
    print(measure(SMALL if "--small" in sys.argv else Size()))
