"""AMP: a worker with a heartbeat in its class, and a server that has never heard of one. Run it to see a round trip."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.amp import AMP, Command, Integer
from twisted.python.failure import Failure

from heartbeat import HeartbeatConfig
from heartbeat.net.adapters.amp import AMPHeartbeat


class Double(Command):
    arguments = ((b"number", Integer()),)
    response = ((b"number", Integer()),)


class Server(AMP):
    """Knows nothing of heartbeats: it answers the question with ``UnhandledCommand``, which will do."""

    @Double.responder
    def double(self, number: int) -> dict[str, int]:
        return {"number": 2 * number}


class Worker(AMP):
    def connectionMade(self) -> None:
        super().connectionMade()
        self.heartbeat = AMPHeartbeat(self, HeartbeatConfig(interval=5)).start()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(self.heartbeat.stop(reason))  # stop() returns the reason with our cause in it


async def main() -> None:
    port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
    worker: Any = await endpoint.connect(Factory.forProtocol(Worker))
    print("the double of 21:", (await worker.callRemote(Double, number=21))["number"])
    print(f"round trip: {await worker.heartbeat.ping() * 1000:.1f} ms")
    worker.transport.loseConnection()
    await worker.heartbeat.when_gone()
    await port.stopListening()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda _: Deferred.fromCoroutine(main()))
