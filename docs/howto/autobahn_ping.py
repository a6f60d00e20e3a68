"""An echo over Autobahn's WebSockets, whose auto-ping is replaced: in the class of the server, and from outside for
the client. Either alone will do: the other end needs nothing. Needs ``autobahn``."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from heartbeat import HeartbeatConfig
from heartbeat.net.adapters.autobahn import AutobahnHeartbeat

CONFIG = HeartbeatConfig(interval=0.5)


class Echo(WebSocketServerProtocol):
    def connectionMade(self) -> None:
        super().connectionMade()
        self.heartbeat = AutobahnHeartbeat(self, CONFIG).start()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        print("closed:", self.heartbeat.cause or reason or code)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(self.heartbeat.stop(reason))  # onClose is told why


def server() -> Any:
    factory = WebSocketServerFactory()
    factory.protocol = Echo
    factory.setProtocolOptions(autoPingInterval=0)  # off, as it is by default: anything else is a ConfigError
    return factory


async def connect(port: int) -> Any:
    """A client of a class that knows nothing of heartbeats; ``client.heartbeat`` is the handle."""
    factory = WebSocketClientFactory(f"ws://127.0.0.1:{port}")
    factory.protocol = WebSocketClientProtocol
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)
    client = await endpoint.connect(AutobahnHeartbeat.factory(factory, CONFIG))
    await client.is_open
    return client


async def main() -> None:
    port = reactor.listenTCP(0, server(), interface="127.0.0.1")
    client = await connect(port.getHost().port)
    print(f"round trip: {await client.heartbeat.ping() * 1000:.1f} ms")
    client.sendClose(1000)
    await client.is_closed
    await port.stopListening()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda _: Deferred.fromCoroutine(main()))
