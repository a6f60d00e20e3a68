"""The ground of the tests of protocols under a heartbeat on real sockets: listening, connecting, a few protocols."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final

from twisted.internet import defer, reactor
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from heartbeat import HeartbeatConfig, State
from heartbeat.net import IHeartbeat

__all__ = ["CONFIG", "FAST", "Echo", "Lines", "Through", "WrappedCase", "asynchronous", "sleep"]

#: A detection time of 0.3 s: whatever blocks for long is found out.
FAST: Final = "beatInterval=0.1:beatMinInterval=0"
CONFIG: Final = HeartbeatConfig(interval=0.1, min_interval=0.0)


def asynchronous(test: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], defer.Deferred[None]]:
    """A test that is a coroutine."""

    @functools.wraps(test)
    def run(self: Any) -> defer.Deferred[None]:
        return defer.Deferred.fromCoroutine(test(self))

    return run


def sleep(seconds: float) -> defer.Deferred[None]:
    """Fires later."""
    return deferLater(reactor, seconds)


class Echo(LineReceiver):
    """Says each line again."""

    def lineReceived(self, line: bytes) -> None:
        """Again."""
        self.sendLine(line)


class Lines(LineReceiver):
    """Collects lines."""

    def __init__(self) -> None:
        self.waiting: defer.DeferredQueue[bytes] = defer.DeferredQueue()
        self.ended: defer.Deferred[Failure] = defer.Deferred()

    def lineReceived(self, line: bytes) -> None:
        """Keep it."""
        self.waiting.put(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep it."""
        self.ended.callback(reason.value)


class WrappedCase(TestCase):
    """Listens and connects from strings; everything is closed after the test."""

    timeout = 60

    async def listen(self, string: str, factory: IProtocolFactory) -> Any:
        """Where it listens."""
        port = await serverFromString(reactor, string).listen(factory)
        self.addCleanup(port.stopListening)
        return port.getHost()

    async def connect(self, string: str, factory: IProtocolFactory) -> Any:
        """The protocol; its connection is ended after the test."""
        protocol: Any = await clientFromString(reactor, string).connect(factory)
        self.close(protocol)
        return protocol

    def close(self, protocol: Any) -> None:
        """End it after the test, and wait for that."""
        handle = IHeartbeat(protocol.transport)
        self.addCleanup(handle.when_gone)
        self.addCleanup(protocol.transport.abortConnection)

    async def echoed(self, lines: Any) -> None:
        """A few lines go there and come back, and beats flow beside them."""
        for number in range(100):
            lines.sendLine(b"line %d" % number)
        for number in range(100):
            self.assertEqual(await lines.waiting.get(), b"line %d" % number)
        self.assertLess(await IHeartbeat(lines.transport).ping(5.0), 5.0)
        self.assertIs(IHeartbeat(lines.transport).state, State.ALIVE)


@implementer(IAgentEndpointFactory)
class Through:
    """Connects an Agent through one endpoint string."""

    def __init__(self, string: str) -> None:
        self._string = string

    def endpointForURI(self, uri: object) -> IStreamClientEndpoint:
        """The endpoint."""
        return clientFromString(reactor, self._string)
