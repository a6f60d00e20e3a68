"""The cells of the other ways in: a wrapped application, and each adapter, before peers that have never heard of us.

``python -m tests.real.stalls.ways WAY REACTOR plain|tls KIND [foreign|ours]``: as :mod:`tests.real.stalls.cell`, which
has the same of heartbeat-only connections.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.real.stalls.cell import STOPPED_AT, measure, started

if TYPE_CHECKING:
    from heartbeat import HeartbeatConfig
    from tests.real.stalls.watching import Watch

__all__ = ["WAYS", "lacking", "main"]

#: Bytes that a wrapped application writes now and then, for its peers to give back.
_CHATTER: Final = bytes(1000)
#: Seconds between two of them.
_PAUSE: Final = 0.4

#: Makes the factory that listens, and the one whose protocols have the handles.
_Make = Callable[["HeartbeatConfig", "Watch", Any], tuple[Any, Any]]


class Way(NamedTuple):
    """One way in.

    :ivar dialect: what its peers speak
    :ivar make: its factories
    :ivar needs: an optional package
    """

    dialect: str
    make: _Make
    needs: str = "twisted"


def _both(factory: Any) -> tuple[Any, Any]:
    return factory, factory


def wrapper(config: HeartbeatConfig, watch: Watch, reactor: Any) -> tuple[Any, Any]:
    """An application that talks to its peers all the time, to each at its own moments.

    (In lockstep the ten that are stopped would fall silent in one instant. So many deaths in one turn make our side
    doubt itself, ``mass_timeout``, and wait for one more question.)
    """
    from twisted.internet.protocol import Factory, Protocol
    from twisted.internet.task import LoopingCall

    from heartbeat.net import heartbeat_factory

    class Chatty(Protocol):
        def connectionMade(self) -> None:
            self.talking = LoopingCall(self.transport.write, _CHATTER)
            reactor.callLater(random.uniform(0.0, _PAUSE), self.talking.start, _PAUSE)

        def connectionLost(self, reason: Any = None) -> None:
            if self.talking.running:
                self.talking.stop()

    return _both(heartbeat_factory(Factory.forProtocol(Chatty), config, watch, reactor=reactor))


def amp(config: HeartbeatConfig, watch: Watch, reactor: Any) -> tuple[Any, Any]:
    """AMP."""
    from twisted.internet.protocol import Factory
    from twisted.protocols.amp import AMP

    from heartbeat.net.adapters.amp import AMPHeartbeat

    return _both(AMPHeartbeat.factory(Factory.forProtocol(AMP), config, listener=watch, reactor=reactor))


def line(config: HeartbeatConfig, watch: Watch, reactor: Any) -> tuple[Any, Any]:
    """Lines; the answer is an error."""
    from twisted.internet.protocol import Factory
    from twisted.protocols.basic import LineReceiver

    from heartbeat.net.adapters.line import LineHeartbeat

    class Chat(LineReceiver):
        def lineReceived(self, line: bytes) -> None:
            pass

    settings = {"listener": watch, "reactor": reactor}
    return _both(LineHeartbeat.factory(Factory.forProtocol(Chat), config, question=b"NOOP", **settings))


def strings(config: HeartbeatConfig, watch: Watch, reactor: Any) -> tuple[Any, Any]:
    """Netstrings."""
    from twisted.internet.protocol import Factory
    from twisted.protocols.basic import NetstringReceiver

    from heartbeat.net.adapters.strings import StringHeartbeat

    class Chat(NetstringReceiver):
        def stringReceived(self, string: bytes) -> None:
            pass

    settings = {"listener": watch, "reactor": reactor}
    return _both(StringHeartbeat.factory(Factory.forProtocol(Chat), config, question=b"ping", **settings))


def broker(config: HeartbeatConfig, watch: Watch, reactor: Any) -> tuple[Any, Any]:
    """Perspective Broker."""
    from twisted.spread import pb

    from heartbeat.net.adapters.pb import PBHeartbeat

    return _both(PBHeartbeat.factory(pb.PBServerFactory(pb.Root()), config, listener=watch, reactor=reactor))


def websocket(config: HeartbeatConfig, watch: Watch, reactor: Any) -> tuple[Any, Any]:
    """Twisted's WebSockets."""
    from twisted.web.resource import Resource
    from twisted.web.server import Site
    from twisted.web.websocket import WebSocketResource

    from heartbeat.net.adapters.websocket import WebSocketHeartbeat

    class Chat:
        transport: Any = None

        def negotiationStarted(self, transport: Any) -> None:
            self.transport = transport

        def negotiationFinished(self) -> None:
            pass

        def pongReceived(self, payload: bytes) -> None:
            pass

        textMessageReceived = bytesMessageReceived = connectionLost = pongReceived

    class Chats:
        def buildProtocol(self, request: Any) -> Chat:
            return Chat()

    inner = WebSocketHeartbeat.factory(Chats(), config, listener=watch, reactor=reactor)
    root = Resource()
    root.putChild(b"", WebSocketResource(inner))
    return Site(root), inner


def autobahn(config: HeartbeatConfig, watch: Watch, reactor: Any) -> tuple[Any, Any]:
    """Autobahn's WebSockets."""
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

    from heartbeat.net.adapters.autobahn import AutobahnHeartbeat

    inner = WebSocketServerFactory()
    inner.protocol = WebSocketServerProtocol
    return _both(AutobahnHeartbeat.factory(inner, config, listener=watch, reactor=reactor))


WAYS: Final[dict[str, Way]] = {
    "wrapper": Way("wrapped", wrapper),
    "amp": Way("amp", amp),
    "line": Way("line", line),
    "strings": Way("strings", strings),
    "pb": Way("pb", broker),
    "websocket": Way("websocket", websocket, "wsproto"),
    "autobahn": Way("websocket", autobahn, "autobahn"),
}


def lacking(way: str) -> str:
    """Why there can be no such way here; empty if there can."""
    needs = WAYS[way].needs
    return "" if find_spec(needs) else f"{needs} is not installed"


def watching(way: str, reactor: Any) -> Watch:
    """Our side."""
    from tests.real.stalls.watching import Watch, remembering

    class Watching(Watch):
        def accepting(self, config: HeartbeatConfig, reactor: Any) -> Any:
            listening, inner = WAYS[way].make(config, self, reactor)
            remembering(inner, self.protocols)
            return listening

        def handle(self, protocol: Any) -> Any:
            return protocol.heartbeat if way == "wrapper" else protocol.heartbeat.heartbeat

        def of(self, name: str) -> str:
            if way == "wrapper":
                return super().of(name)
            return f"~{STOPPED_AT if name == 'stopped' else '127.0.0.1'}:"

    return Watching(reactor)


def main(way: str, name: str, transport: str, kind: str, owner: str = "foreign") -> None:
    """The process."""
    reactor = started(name, owner)
    result = {"way": way, "reactor": name, "transport": transport, "stall": kind, "owner": owner}
    measured = measure(reactor, watching(way, reactor), transport, kind, WAYS[way].dialect)
    print(json.dumps(result | measured), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
