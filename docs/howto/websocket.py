"""A chat over Twisted's own WebSockets, with a heartbeat at both ends: in the class of the server, and from outside
for the client. Either alone will do: the other end needs nothing. Needs ``Twisted[websocket]``."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from twisted.web.websocket import WebSocketClientEndpoint, WebSocketResource, WebSocketTransport

from heartbeat import HeartbeatConfig
from heartbeat.net import Deadline, UnresponsiveConnection
from heartbeat.net.adapters.websocket import WebSocketHeartbeat

CONFIG = HeartbeatConfig(interval=0.5)


class Plain:
    """Echoes. Knows nothing of heartbeats."""

    transport: WebSocketTransport

    def __init__(self) -> None:
        self.opened: Deferred[None] = Deferred()
        self.closed: Deferred[None] = Deferred()

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        self.transport = transport

    def negotiationFinished(self) -> None:
        self.opened.callback(None)

    def pongReceived(self, payload: bytes) -> None:
        """Answers to PINGs of ours, not to those of the heartbeat."""

    def textMessageReceived(self, message: str) -> None:
        print(message)

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        self.transport.sendBytesMessage(bytes(data))

    def connectionLost(self, reason: Failure) -> None:
        cause = reason.value.cause if isinstance(reason.value, UnresponsiveConnection) else None
        print("lost:", cause or reason.getErrorMessage())
        self.closed.callback(None)


class Watched(Plain):
    """The same, with a heartbeat in the class."""

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        super().negotiationStarted(transport)
        self.heartbeat = WebSocketHeartbeat(self, CONFIG).start()

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(self.heartbeat.stop(reason))  # gives the reason back, with our cause in it


class Servers:
    def __init__(self) -> None:
        self.built: list[Watched] = []

    def buildProtocol(self, request: Request) -> Watched:
        self.built.append(Watched())
        return self.built[-1]


class Clients:
    def buildProtocol(self, url: str) -> Plain:
        return Plain()


def site(servers: Servers) -> Site:
    root = Resource()
    root.putChild(b"chat", WebSocketResource(servers))
    return Site(root)


async def connect(url: str) -> Any:
    """A client, open within ten seconds; ``client.heartbeat`` is the handle."""
    endpoint = WebSocketClientEndpoint.new(reactor, url)
    opened = Deferred.fromCoroutine(endpoint.connect(WebSocketHeartbeat.factory(Clients(), CONFIG)))
    client = await Deadline(10.0).watch(opened, "the WebSocket")
    await client.opened  # which is a moment later; no PING goes out before
    return client


async def main() -> None:
    servers = Servers()
    port = reactor.listenTCP(0, site(servers), interface="127.0.0.1")
    client = await connect(f"ws://127.0.0.1:{port.getHost().port}/chat")
    print(f"round trip: {await client.heartbeat.ping() * 1000:.1f} ms")
    client.transport.loseConnection()
    await client.closed
    await servers.built[0].closed
    await port.stopListening()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda _: Deferred.fromCoroutine(main()))
