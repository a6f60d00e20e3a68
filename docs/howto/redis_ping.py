"""A heartbeat in a framing of your own: PING and its answer in the protocol of Redis. ``python redis_ping.py PORT``."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from heartbeat import HeartbeatConfig
from heartbeat.net.adapters.framing import FramingHeartbeat


class RedisHeartbeat(FramingHeartbeat):
    """PING and +PONG of the Redis protocol."""

    def ask(self, number: int) -> bool:
        if self.protocol.subscribed:  # this framing cannot carry a question now: we only listen
            return False
        self.protocol.sendCommand(b"PING").addBoth(lambda answer: self.answered(number))
        return True


class Redis(LineReceiver):
    """A client that exists: commands go out, their replies come in the same order (one line each, for this page)."""

    subscribed = False

    def __init__(self) -> None:
        self.waiting: deque[Deferred[bytes]] = deque()

    def sendCommand(self, *words: bytes) -> Deferred[bytes]:
        self.sendLine(b"*%d\r\n" % len(words) + b"\r\n".join(b"$%d\r\n%s" % (len(word), word) for word in words))
        self.waiting.append(Deferred())
        return self.waiting[-1]

    # What the heartbeat adds: three lines.

    def connectionMade(self) -> None:
        self.heartbeat = RedisHeartbeat(self, HeartbeatConfig(interval=5)).start()

    def lineReceived(self, line: bytes) -> None:
        self.heartbeat.heard()  # a whole reply was read
        waiting = self.waiting.popleft()
        if line.startswith(b"-"):
            waiting.errback(RuntimeError(line[1:].decode()))
        else:
            waiting.callback(line[1:])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        reason = self.heartbeat.stop(reason)
        while self.waiting:
            self.waiting.popleft().errback(reason)


async def main(port: int) -> None:
    client: Any = await HostnameEndpoint(reactor, "127.0.0.1", port).connect(Factory.forProtocol(Redis))
    print("SET:", (await client.sendCommand(b"SET", b"key", b"value")).decode())
    print(f"round trip: {await client.heartbeat.ping() * 1000:.1f} ms")
    client.transport.loseConnection()
    await client.heartbeat.when_gone()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda _: Deferred.fromCoroutine(main(int(sys.argv[1]))))
