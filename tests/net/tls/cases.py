"""Authorities and certificates for tests, and two ends of TLS in memory that say what became of them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

import trustme
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat import HeartbeatConfig
from heartbeat.net import HeartbeatFactory, wheel_for
from heartbeat.net.gate import Connectors
from heartbeat.net.tls.certificates import Certificates
from heartbeat.net.tls.endpoints import ServerCheck
from heartbeat.net.tls.material import Pem
from tests.net.cases import INTERVAL, Notes

LONG_AGO = datetime(2019, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
IN_FUTURE = datetime(2800, 1, 1, tzinfo=UTC), datetime(2900, 1, 1, tzinfo=UTC)


@cache
def authority(name: str = "ours") -> trustme.CA:
    """An authority, always the same under a name."""
    return trustme.CA(organization_name=name)


def pem(
    *names: str, by: str = "ours", trusts: str | None = "ours", valid: tuple[datetime, datetime] | None = None
) -> Pem:
    """A new certificate for these names, its key, and whom its owner trusts. Without names: only that."""
    roots = None if trusts is None else authority(trusts).cert_pem.bytes()
    if not names:
        return Pem(authorities=roots)
    before, after = valid or (None, None)
    issued = authority(by).issue_cert(*names, not_before=before, not_after=after)
    chain = b"".join(one.bytes() for one in issued.cert_chain_pems)
    return Pem(chain, issued.private_key_pem.bytes(), roots)


class Unchecked:
    """Gives what it was given, without the checks of Material: for ends that are wrong on purpose."""

    def __init__(self, given: Pem) -> None:
        self.material = given.read()
        object.__setattr__(self.material, "check", lambda wall: None)

    def __call__(self) -> Any:
        return self.material


class Wire(StringTransport):
    """One end of a connection in memory: what was written waits in it until the test carries it over."""

    def __init__(self, port: int) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", port))
        self.aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is gathered here."""

    def abortConnection(self) -> None:
        """What is unsent is lost."""
        self.clear()
        self.aborted = self.disconnecting = True


class Ends:
    """A server and a client over TLS, each with a wire."""

    def __init__(self, server: Any, client: Any, port: int = 50_000) -> None:
        self.protocols = {True: server, False: client}
        self.wires = {True: Wire(port), False: Wire(port + 1)}
        self.open = {True: False, False: False}

    def start(self) -> None:
        """TCP is up: both ends hear of it."""
        for server in (True, False):
            self.open[server] = True
            self.protocols[server].makeConnection(self.wires[server])

    def carry(self, server: bool, most: int | None = None) -> bool:
        """Bring what this end has written to the other, at most so many bytes. False: there was nothing."""
        wire = self.wires[server]
        data = wire.value()
        if data:
            wire.clear()
            part = data if most is None else data[:most]
            wire.write(data[len(part) :])
            if self.open[not server]:
                self.protocols[not server].dataReceived(part)
        elif wire.disconnecting and self.open[server]:
            self.close(server, ConnectionLost() if wire.aborted else ConnectionDone())
        else:
            return False
        return True

    def close(self, server: bool, why: Exception) -> None:
        """This end has closed; the other hears of it when all that was on its way is there."""
        for end, reason in ((server, ConnectionDone()), (not server, why)):
            if self.open[end]:
                self.open[end] = False
                self.protocols[end].connectionLost(Failure(reason))
                self.wires[end].disconnecting = False

    def settle(self, clock: Clock) -> None:
        """Carry everything, with the turns of the reactor that it takes."""
        busy = True
        while busy:
            clock.advance(0)
            busy = any([self.carry(True), self.carry(False)])


class TlsCase(SynchronousTestCase):
    """Two ends on a clock, which is that of this year: certificates are looked at by it. At the end nothing is left."""

    def setUp(self) -> None:
        """The clock, and who is told on either end."""
        self.clock = Clock()
        self.clock.rightNow = float(int(time.time()))
        self.wheel = wheel_for(self.clock)
        self.notes = Notes(self.clock.seconds)  # of the server
        self.client_notes = Notes(self.clock.seconds)
        self.ends: list[Ends] = []
        self.addCleanup(self.assert_nothing_left)

    def config(self, **settings: Any) -> HeartbeatConfig:
        """Of either end."""
        return HeartbeatConfig(**{"interval": INTERVAL, "min_interval": 0.0, "adaptive": False, **settings})

    def certificates(self, provider: Any, **settings: Any) -> Certificates:
        """Loaded."""
        given = (lambda: provider) if isinstance(provider, Pem) else provider
        certificates = Certificates(given, reactor=self.clock, **settings)
        self.successResultOf(certificates.ready())
        return certificates

    def server(self, creator: Any, **settings: Any) -> tuple[HeartbeatFactory, TLSMemoryBIOFactory]:
        """A server's factory, and TLS around it."""
        factory = HeartbeatFactory(self.config(**settings), self.notes, reactor=self.clock)
        return factory, TLSMemoryBIOFactory(creator, False, factory, self.clock)

    def client(self, check: Any, pins: Any = None, **settings: Any) -> tuple[Connectors, TLSMemoryBIOFactory]:
        """A client's factory, and TLS around it."""
        factory = Connectors(self.config(**{"id": "a", **settings}), self.client_notes, reactor=self.clock, pins=pins)
        return factory, TLSMemoryBIOFactory(check, True, factory, self.clock)

    def meet(self, server: Any, client: Any) -> Ends:
        """Two TLS factories shake hands, as far as they get."""
        ends = Ends(server.buildProtocol(None), client.buildProtocol(None), 50_000 + 2 * len(self.ends))
        self.ends.append(ends)
        ends.start()
        ends.settle(self.clock)
        return ends

    def check(self, name: str = "localhost", own: Pem | None = None, pins: Any = None) -> ServerCheck:
        """A client's check of a server of that name."""
        return ServerCheck(self.certificates(pem() if own is None else own), name, pins)

    def run_for(self, seconds: float, step: float = 0.05) -> None:
        """Time passes, and everything is carried."""
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(step)
            for ends in self.ends:
                ends.settle(self.clock)

    def assert_nothing_left(self) -> None:
        """All connections end; then there is no timer and nobody watched."""
        for ends in self.ends:
            ends.close(True, ConnectionDone())
        self.assertEqual(self.wheel.watched, 0)
        self.clock.pump([0, 0, 0])
        self.assertEqual(self.clock.getDelayedCalls(), [])
