"""Lines: a client that is watched from outside, and a server that answers as SMTP does. Run it to see a round trip."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

from heartbeat import HeartbeatConfig
from heartbeat.net.adapters.line import LineHeartbeat


class Server(LineReceiver):
    """Knows nothing of heartbeats, but like most it answers each line, and one that it does not know with an error."""

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(b"250 hello" if line.startswith(b"HELO") else b"500 what?")


class Client(LineReceiver):
    """Knows nothing of heartbeats, and does not see what answers their questions."""

    def __init__(self) -> None:
        self.answers: DeferredQueue[bytes] = DeferredQueue()

    def lineReceived(self, line: bytes) -> None:
        self.answers.put(line)


clients = LineHeartbeat.factory(
    Factory.forProtocol(Client), HeartbeatConfig(interval=5), question=b"NOOP", answer=b"500"
)


async def main() -> None:
    port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
    client: Any = await HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(clients)
    client.sendLine(b"HELO example.net")
    print((await client.answers.get()).decode())
    print(f"round trip: {await client.heartbeat.ping() * 1000:.1f} ms")
    client.transport.loseConnection()
    await client.heartbeat.when_gone()
    await port.stopListening()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda _: Deferred.fromCoroutine(main()))
