"""Netstrings: both ends ask, and the heartbeats answer in the place of their applications. Run it to see two round
trips.

The same for ``Int8StringReceiver``, ``Int16StringReceiver`` and ``Int32StringReceiver``."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import NetstringReceiver
from twisted.python.failure import Failure

from heartbeat import HeartbeatConfig
from heartbeat.net.adapters.strings import StringHeartbeat

CONFIG = HeartbeatConfig(interval=5)


class Chat(NetstringReceiver):
    """Neither question nor answer reaches the application.

    With a peer that has no heartbeat: ask something that it answers, if only with an error, say with ``answer`` by
    what that is known, and leave ``reply`` out."""

    def connectionMade(self) -> None:
        self.heartbeat = StringHeartbeat(self, CONFIG, question=b"ping", answer=b"pong", reply=b"pong").start()

    def stringReceived(self, string: bytes) -> None:
        print("said:", string.decode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.heartbeat.stop(reason)


class Chats(Factory):
    def __init__(self) -> None:
        self.built: list[Chat] = []

    def buildProtocol(self, addr: object) -> Chat:
        self.built.append(Chat())
        return self.built[-1]


async def main() -> None:
    chats = Chats()
    port = reactor.listenTCP(0, chats, interface="127.0.0.1")
    client: Any = await HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(chats)
    client.sendString(b"hello")
    for one in chats.built:
        print(f"round trip: {await one.heartbeat.ping() * 1000:.1f} ms")
    client.transport.loseConnection()
    for one in chats.built:
        await one.heartbeat.when_gone()
    await port.stopListening()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda _: Deferred.fromCoroutine(main()))
