"""Perspective Broker: a client that is watched from outside, as PB's factories build their brokers themselves, and a
server that has never heard of it. Run it to see a round trip."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.spread import pb

from heartbeat import HeartbeatConfig
from heartbeat.net.adapters.pb import PBHeartbeat


class Root(pb.Root):
    """Knows nothing of heartbeats: its broker answers the question with ``Invalid Object ID``, which will do."""

    def remote_double(self, number: int) -> int:
        return 2 * number


async def main() -> None:
    port = reactor.listenTCP(0, pb.PBServerFactory(Root()), interface="127.0.0.1")
    factory = pb.PBClientFactory()
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
    broker: Any = await endpoint.connect(PBHeartbeat.factory(factory, HeartbeatConfig(interval=5)))
    root = await factory.getRootObject()
    print("the double of 21:", await root.callRemote("double", 21))
    print(f"round trip: {await broker.heartbeat.ping() * 1000:.1f} ms")
    factory.disconnect()
    await broker.heartbeat.when_gone()
    await port.stopListening()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda _: Deferred.fromCoroutine(main()))
