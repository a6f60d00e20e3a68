"""Two hosts without Twisted: kernels, and a process on each that does nothing by itself."""

from __future__ import annotations

import random

from heartbeat.testing.hosts import Host, Process
from heartbeat.testing.listeners import Listener
from heartbeat.testing.network import Network, grained
from heartbeat.testing.tcp import Connection

PORT = 7600


class IdleLoop:
    """A loop that has nothing to do, and notes when it is asked."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.calls: list[str] = []
        self.due: list[float] = []
        self.busy = False
        self.ended = False

    def poll(self) -> None:
        """One poll."""
        self.calls.append("poll")
        self.busy = False

    def run_timers(self) -> None:
        """The timers that are due."""
        self.calls.append("timers")
        now = self.process.host.network.now
        self.due = [one for one in self.due if one > now]

    def sleep(self) -> float | None:
        """Until the first timer."""
        if self.busy:
            return 0.0
        return min(self.due) - self.process.host.network.now if self.due else None

    def end(self) -> None:
        """Killed."""
        self.ended = True


class Wire:
    """A server that listens and a client, on one path."""

    def __init__(self, seed: int = 1) -> None:
        self.network = Network(random.Random(seed).random)
        self.server, self.client = Host(self.network, "server"), Host(self.network, "client")
        self.server.boot(IdleLoop)
        self.client.boot(IdleLoop)
        self.path = self.network.between("server", "client")
        self.listener: Listener = self.server.open_listener("", PORT, 5)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        limit = grained(self.network.now + seconds)
        while self.network.timeline.step(limit):
            pass

    def connect(self) -> Connection:
        """Begin to connect."""
        return self.client.open_connection(self.server.address, PORT)

    def pair(self) -> tuple[Connection, Connection]:
        """A connection: the client's end, and the server's."""
        client = self.connect()
        self.run(0.1)
        server = self.listener.accept()
        assert server is not None
        return client, server
