"""Our side of a cell: an acceptor, its peers, and what it said about each of them."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from heartbeat import HeartbeatConfig, HeartbeatListener, Peer
from heartbeat.liveness.events import Dead, Event, Spared
from heartbeat.liveness.states import FINAL
from heartbeat.net import HeartbeatFactory
from heartbeat.net.heartbeat import Heartbeat
from tests.real.stalls.children import Peers

__all__ = ["INTERVAL", "Lag", "Watch", "contact", "control", "listen", "remembering"]

#: Seconds between two questions. The peers' HELLO has the same, and a multiplier that gives the detection time.
INTERVAL: Final = 1.0
#: Seconds within which a sleep that is over is noticed where the machine has nothing better to do.
_ORDINARY: Final = 0.02


class Watch(HeartbeatListener):
    """One acceptor, with all that its listener heard.

    :ivar dead: when each peer was found dead (monotonic), by its id
    :ivar causes: of these, counted
    :ivar spared: how often a plain timer would have killed, and we did not
    :ivar left: ids of connections that ended in any other way
    """

    def __init__(self, reactor: Any, multiplier: int = 2) -> None:
        self.protocols: list[Any] = []
        self.peers: dict[str, Peer] = {}
        self.dead: dict[str, float] = {}
        self.causes: Counter[str] = Counter()
        self.spared = 0
        self.left: list[str] = []
        config = HeartbeatConfig(interval=INTERVAL, multiplier=multiplier)
        self.factory = self.accepting(config, reactor)

    def accepting(self, config: HeartbeatConfig, reactor: Any) -> Any:
        """The factory that listens; what has the handles is remembered."""
        return remembering(HeartbeatFactory(config, self, reactor=reactor), self.protocols)

    def handle(self, protocol: Any) -> Heartbeat:
        """The handle of one of its protocols."""
        heartbeat: Heartbeat = protocol.heartbeat
        return heartbeat

    def of(self, name: str) -> str:
        """How the ids of the peers of that name begin."""
        return f"{name}-"

    def joined(self, peer: Peer) -> None:
        """Remember it."""
        self.peers[peer.id] = peer

    def changed(self, peer: Peer, event: Event) -> None:
        """Count the spared."""
        self.spared += isinstance(event, Spared)

    def gone(self, peer: Peer, event: Event) -> None:
        """Remember when."""
        if isinstance(event, Dead):
            self.dead[peer.id] = event.at
            self.causes[event.cause] += 1
        else:
            self.left.append(peer.id)

    def open(self) -> list[Heartbeat]:
        """The handles of all that are not ended."""
        connected = [one for one in self.protocols if one.transport is not None]
        return [handle for handle in map(self.handle, connected) if handle.state not in FINAL]

    def ask_all(self) -> None:
        """Put one question to each peer."""
        for heartbeat in self.open():
            heartbeat.ping().addErrback(lambda _: None)

    def living(self, name: str) -> int:
        """How many peers of that name are still watched."""
        return sum(one.startswith(self.of(name)) and peer.state not in FINAL for one, peer in self.peers.items())

    def judge_stopped(self, peers: Peers, name: str, count: int, bound: float) -> dict[str, Any]:
        """Stop these peers and see when each is found. In the control thread, which only sleeps meanwhile."""
        lag = Lag()
        fault = time.monotonic()
        peers.stop()
        begins = self.of(name)
        while sum(one.startswith(begins) for one in self.dead) < count and time.monotonic() < fault + bound + 1.5:
            lag.sleep(0.01)
        took = sorted(at - fault for one, at in self.dead.items() if one.startswith(begins))
        return {
            "found": len(took),
            "late": sum(seconds > bound + lag.seconds for seconds in took),
            "slowest": round(took[-1], 3) if took else None,
            "lag": round(lag.seconds, 3),
            "causes": dict(self.causes),
        }


def remembering(factory: Any, protocols: list[Any]) -> Any:
    """The same factory; what it builds is appended to ``protocols``."""
    build = factory.buildProtocol

    def built(of: Any) -> Any:
        protocols.append(build(of))
        return protocols[-1]

    factory.buildProtocol = built
    return factory


class Lag:
    """By how much this machine lets a thread of this process sleep too long: what no reactor could be in time for.

    :ivar seconds: beyond what is ordinary, in all
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        """Sleep, and see for how long."""
        begun = time.monotonic()
        time.sleep(seconds)
        self.seconds += max(0.0, time.monotonic() - begun - seconds - _ORDINARY)


def contact() -> Any:
    """What a server needs for TLS, with a certificate made now."""
    import trustme
    from twisted.internet import ssl

    issued = trustme.CA().issue_cert("localhost")
    pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
    return ssl.PrivateCertificate.loadPEM(pem).options()


def listen(reactor: Any, factory: Any, *, tls: bool) -> int:
    """Listen on a free port of the loopback, and return its number. For the reactor's thread."""
    if tls:
        port = reactor.listenSSL(0, factory, contact(), interface="127.0.0.1", backlog=500)
    else:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=500)
    return int(port.getHost().port)


def control(reactor: Any, script: Callable[[], None]) -> None:
    """Run the reactor, and the script in a thread beside it: no stall, and no step of its clock, delays the script.

    What the script raises ends the process with its traceback.
    """
    failed: list[BaseException] = []

    def run() -> None:
        try:
            script()
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            reactor.callFromThread(reactor.stop)

    thread = threading.Thread(target=run, daemon=True)
    reactor.callWhenRunning(thread.start)
    reactor.run()
    thread.join(5.0)
    if failed:
        sys.exit(1)
