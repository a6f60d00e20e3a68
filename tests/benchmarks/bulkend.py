"""One end of the bulk benchmark, in a process of its own: ``python -P bulkend.py serve`` or ``… call``; or both in one
process, ``… alone``.

The serving end listens four times, bare and wrapped, plain and TLS, and says on which ports. The calling end takes one
order per line of its standard input, carries it out over a connection of its own, and answers with one line:

    {"port": 1234, "wrapped": true, "tls": false, "writes": "push", "sends": "call", "size": 50000000}
    {"seconds": 0.07, "cpu": 0.06, "rtts": [0.0003, …], "state": "alive"}

``sends``: the end that sends, or ``both``. ``writes``: how it does, see :data:`WRITERS`. The clock runs from the first
write to the last byte read by the application at the other end, and its word that it has; ``cpu`` is what this process
used meanwhile.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from twisted.internet import reactor as installed
from twisted.internet import ssl, stdio
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat import HeartbeatConfig, HeartbeatListener
from heartbeat.net import IHeartbeat, heartbeat_client, heartbeat_server

__all__ = ["CHUNK", "WRITERS"]

reactor: Any = installed
HOST: Final = "127.0.0.1"
#: Of the producers; and of the many small writes.
CHUNK: Final = bytes(os.urandom(64 * 1024))
SMALL: Final = CHUNK[:1024]
#: As fast as there is anything to see: a transfer takes a fraction of a second.
CONFIG: Final = HeartbeatConfig(interval=0.02, multiplier=50, min_interval=0.0, sync_interval=1.0)


class Trips(HeartbeatListener):
    """Keeps the round trips of all connections until they are asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def round_trip(self, peer: object, seconds: float) -> None:
        """One beat was answered."""
        self.seconds.append(seconds)

    def taken(self) -> list[float]:
        """Those since the last call."""
        taken, self.seconds = self.seconds, []
        return taken


@implementer(IPushProducer)
class Push:
    """Writes until it is told to pause."""

    chunk = CHUNK

    def __init__(self, transport: Any, size: int) -> None:
        self.transport = transport
        self.left = size
        self.paused = False

    def start(self) -> None:
        """Begin."""
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """Go on."""
        self.paused = False
        while self.left and not self.paused:
            chunk = self.chunk if self.left >= len(self.chunk) else self.chunk[: self.left]
            self.left -= len(chunk)
            self.transport.write(chunk)
        if not self.left:
            self.left = -1
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """Wait."""
        self.paused = True

    def stopProducing(self) -> None:
        """The connection is gone."""
        self.paused = True


class Small(Push):
    """... in small pieces."""

    chunk = SMALL


@implementer(IPullProducer)
class Pull(Push):
    """Writes one piece whenever it is asked."""

    def start(self) -> None:
        """Begin."""
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """One piece."""
        chunk = self.chunk if self.left >= len(self.chunk) else self.chunk[: self.left]
        self.left -= len(chunk)
        self.transport.write(chunk)
        if not self.left:
            self.transport.unregisterProducer()


class Whole(Push):
    """One write."""

    whole = b""

    def start(self) -> None:
        """All of it."""
        if len(Whole.whole) != self.left:
            Whole.whole = bytes(self.left)
        self.transport.write(Whole.whole)


#: How the sending end writes.
WRITERS: Final[dict[str, type[Push]]] = {"push": Push, "pull": Pull, "small": Small, "whole": Whole}


class End(Protocol):
    """Sends what it shall, and counts what it gets."""

    transport: Any
    expected = 0
    writer: type[Push] = Push
    size = 0

    def begin(self, order: dict[str, Any], me: str) -> None:
        """Send, if it is our turn."""
        self.size = order["size"] if order["sends"] in (me, "both") else 0
        self.writer = WRITERS[order["writes"]]
        if self.size:
            self.writer(self.transport, self.size).start()


class Serving(End):
    """Is told by the first line what it has to do."""

    head: bytes | None = b""

    def dataReceived(self, data: bytes) -> None:
        """The order, or what was sent."""
        if self.head is None:
            self.count(len(data))
            return
        head, line, rest = (self.head + data).partition(b"\n")
        self.head = head
        if line:
            self.head = None
            order = json.loads(head)
            self.expected = order["size"] if order["sends"] in ("call", "both") else 0
            self.begin(order, "serve")
            self.count(len(rest))

    def count(self, came: int) -> None:
        """Say when all is there."""
        if self.expected:
            self.expected -= came
            if not self.expected:
                self.transport.write(b".")


class Calling(End):
    """Has an order, and tells how it went."""

    def __init__(self, order: dict[str, Any], done: Callable[[dict[str, Any]], None]) -> None:
        self.order = order
        self.done = done
        self.began = self.ended = self.cpu = 0.0
        self.state = ""

    def connectionMade(self) -> None:
        """Tell the other end, and begin."""
        order = self.order
        self.expected = (order["size"] if order["sends"] != "call" else 0) + (order["sends"] != "serve")
        self.began, self.cpu = time.perf_counter(), time.process_time()
        self.transport.write(json.dumps(order).encode() + b"\n")
        self.begin(order, "call")

    def dataReceived(self, data: bytes) -> None:
        """Count."""
        self.expected -= len(data)
        if not self.expected:
            self.ended, self.cpu = time.perf_counter(), time.process_time() - self.cpu
            handle = IHeartbeat(self.transport, None)
            self.state = handle.state.value if handle is not None else ""
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        seconds = self.ended - self.began
        lost = "" if self.ended else str(reason.value)
        self.done({"seconds": seconds, "cpu": self.cpu, "state": self.state, "lost": lost})


def certificate() -> ssl.PrivateCertificate:
    """A self-signed one."""
    import trustme  # where TLS is measured, and nowhere else

    issued = trustme.CA().issue_cert("localhost")
    pem = issued.private_key_pem.bytes() + b"".join(one.bytes() for one in issued.cert_chain_pems)
    return ssl.PrivateCertificate.loadPEM(pem)


def serve() -> None:
    """Listen, and print the round trips of each connection that is gone."""
    trips = Trips()

    class Told(Serving):
        def connectionLost(self, reason: Failure = connectionDone) -> None:
            print("trips", json.dumps(trips.taken()), flush=True)

    listen(Told, trips)
    reactor.run()


def listen(protocol: type[Protocol], trips: Trips) -> None:
    """Four times."""
    factory = Factory.forProtocol(protocol)
    factory.noisy = False
    context = certificate().options()
    for name, tls, wrapped in (
        ("bare", False, False),
        ("bareTls", True, False),
        ("wrapped", False, True),
        ("wrappedTls", True, True),
    ):
        endpoint: Any = (
            SSL4ServerEndpoint(reactor, 0, context, interface=HOST)
            if tls
            else TCP4ServerEndpoint(reactor, 0, interface=HOST)
        )
        if wrapped:
            endpoint = heartbeat_server(endpoint, CONFIG, trips)
        endpoint.listen(factory).addCallback(
            lambda port, name=name: print(f"listening {name} {HOST}:{port.getHost().port}", flush=True)
        )


class Orders(LineOnlyReceiver):
    """Takes orders, one after the other."""

    delimiter = b"\n"

    def __init__(self, trips: Trips) -> None:
        self.trips = trips

    def lineReceived(self, line: bytes) -> None:
        """One order."""
        order = json.loads(line)
        endpoint: Any = TCP4ClientEndpoint(reactor, HOST, order["port"])
        if order["tls"]:
            endpoint = wrapClientTLS(ssl.CertificateOptions(), endpoint)
        if order["wrapped"]:
            endpoint = heartbeat_client(endpoint, CONFIG, self.trips)
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda address: Calling(order, self.answer)
        endpoint.connect(factory).addErrback(lambda failure: self.answer({"lost": str(failure.value)}))

    def answer(self, told: dict[str, Any]) -> None:
        """How it went."""
        print(json.dumps({**told, "rtts": self.trips.taken()}), flush=True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """No more orders."""
        if reactor.running:
            reactor.callFromThread(reactor.stop)


def alone() -> None:
    """Both ends in this process, until there are no more orders."""
    listen(Serving, Trips())
    call()


def call() -> None:
    """Carry out orders until there are no more."""
    stdio.StandardIO(Orders(Trips()))
    print("listening orders here:0", flush=True)
    reactor.run()


if __name__ == "__main__":
    {"serve": serve, "call": call, "alone": alone}[sys.argv[1]]()
