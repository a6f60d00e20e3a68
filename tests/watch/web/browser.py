"""Requests to a real site without a socket, and the turns of its reactor counted."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.registry import Registry
from heartbeat.watch.tally import Totals
from heartbeat.watch.web import make_site
from tests.watch.crowd import Hands, Somebody

__all__ = ["Answered", "Connection", "Turning", "WebCase"]


#: What a delay of 0 takes here, so that what is done in a turn is due in the next one and not in the same.
TURN = 0.001


class Turning(Clock):
    """A clock that tells the turns of a reactor apart."""

    def callLater(self, delay: float, *call: Any, **kw: Any) -> Any:
        return super().callLater(max(delay, TURN), *call, **kw)

    def turn(self) -> bool:
        """One turn. False if nothing was due in it."""
        due = any(call.getTime() <= self.seconds() + TURN for call in self.getDelayedCalls())
        self.advance(TURN)
        return due


class Answered:
    """One answer, taken apart.

    :ivar turns: of the reactor that it took
    """

    def __init__(self, raw: bytes, turns: int) -> None:
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.turns = turns
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.parts = chunks(body) if self.headers.get("transfer-encoding") == "chunked" else [body]
        self.body = b"".join(self.parts)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def chunks(body: bytes) -> list[bytes]:
    """The parts of a chunked body. Raises ValueError if its end is missing."""
    parts = []
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return parts
        parts.append(body[:length])
        body = body[length + 2 :]


class Connection:
    """One connection to the site."""

    def __init__(self, site: Any, clock: Turning) -> None:
        self.clock = clock
        address = IPv4Address("TCP", "192.0.2.9", 50_000)
        self.protocol = site.buildProtocol(address)
        self.transport = StringTransport(peerAddress=address)
        self.protocol.makeConnection(self.transport)

    def send(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> None:
        """Write a request."""
        headers = {"Host": "localhost", **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)

    @property
    def reader(self) -> Any:
        """What the transport tells that there is enough to send, or no more."""
        return self.transport.producer

    def answer(self) -> Answered:
        """The answer, after all the turns that it takes."""
        turns = 0
        while self.clock.turn():
            turns += 1
        raw = self.transport.value()
        self.transport.clear()
        return Answered(raw, turns)

    def lose(self) -> None:
        """The client is gone."""
        self.protocol.connectionLost(Failure(ConnectionLost()))


class WebCase(SynchronousTestCase):
    """A site with a registry and a board behind it. Every test ends with nothing left on the clock."""

    def setUp(self) -> None:
        self.hands = Hands()
        self.clock = Turning()
        self.reason: str | None = None
        self.trouble: str | None = None
        self.registry = Registry(self.hands)
        self.failures = Failures(self.hands)
        self.totals = Totals()
        self.listener = Listeners(self.registry, self.failures, self.totals)
        self.site = self.make_site()
        self.connection = Connection(self.site, self.clock)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(self.connection.lose)

    def make_site(self) -> Any:
        """The site under test."""
        return make_site(
            self.registry,
            self.failures,
            readiness=lambda: self.reason,
            degraded=lambda: self.trouble,
            reactor=self.clock,
        )

    def join(self, id: str = "a", **told: Any) -> Somebody:
        """A peer that is listed."""
        return Somebody(self.hands, id, self.listener, **told).join()

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answered:
        """Ask, and take the answer."""
        self.connection.send(path, method, body, **headers)
        return self.connection.answer()
