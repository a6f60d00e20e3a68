"""The agents of ``tests.real.fleet``, in a process of their own: ``python -m tests.real.crowd COUNT PORT...``.

``tell`` on standard input is answered by one line of JSON about all of them; ``end [names]`` lets some vanish.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import reactor, stdio
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from heartbeat import HeartbeatConfig
from heartbeat.net import HeartbeatClientService

INTERVAL = 0.5
MULTIPLIER = 3


class Agent:
    """One of them."""

    def __init__(self, number: int, ports: list[str]) -> None:
        first = number % len(ports)
        servers = [f"tcp:127.0.0.1:{port}" for port in (*ports[first:], *ports[:first])]
        config = HeartbeatConfig(
            id=f"agent-{number:03d}",
            interval=INTERVAL,
            multiplier=MULTIPLIER,
            services=("auth", f"s{number % 7}"),
            meta={"number": str(number)},
        )
        self.session = ""
        self.changes = 0
        self.service = HeartbeatClientService(servers, config)
        self.service.startService()

    def tell(self) -> list[str]:
        """Its session, the port that it is connected to, and how often the session was another one."""
        heartbeat = self.service.heartbeat
        if heartbeat is None:
            return [self.session, "", str(self.changes)]
        if self.session and heartbeat.peer.session != self.session:
            self.changes += 1
        self.session = heartbeat.peer.session
        return [self.session, heartbeat.peer.address.rpartition(":")[2], str(self.changes)]

    def vanish(self) -> None:
        """End it without a word."""
        if self.service.heartbeat is not None:
            self.service.heartbeat.abort()
        reactor.callLater(0, self.service.stopService)  # type: ignore[attr-defined]  # when the transport is gone


class Words(LineReceiver):
    """What is said to them."""

    delimiter = b"\n"

    def __init__(self, agents: dict[str, Agent]) -> None:
        self.agents = agents

    def lineReceived(self, line: bytes) -> None:
        """One word."""
        if line == b"tell":
            told: Any = {name: agent.tell() for name, agent in self.agents.items()}
            self.sendLine(json.dumps(told).encode())
            return
        for name in json.loads(line.partition(b" ")[2]):
            self.agents.pop(name).vanish()
        self.sendLine(b"done")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted has a default
        """Whoever started us is gone."""
        if reactor.running:  # type: ignore[attr-defined]
            reactor.stop()  # type: ignore[attr-defined]


def main() -> None:
    """Run them until standard input ends."""
    count, ports = int(sys.argv[1]), sys.argv[2:]
    agents = {f"agent-{number:03d}": Agent(number, ports) for number in range(count)}
    stdio.StandardIO(Words(agents))
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
