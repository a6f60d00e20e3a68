"""The simulator as tests use it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.testing import Delay, Loss, SimulatedNetwork
from heartbeat.testing.network import DELAY


class Echo(Protocol):
    """Says what it hears."""

    def dataReceived(self, data: bytes) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(data)


class Pinger(Protocol):
    """Sends 8 bytes at an interval, and counts what comes back."""

    reactor: Any
    answers = 0

    def __init__(self, interval: float) -> None:
        self.interval = interval

    def connectionMade(self) -> None:
        """Begin."""
        assert self.transport is not None
        self.looping = LoopingCall(self.transport.write, b"12345678")
        self.looping.clock = self.reactor
        self.looping.start(self.interval)

    def dataReceived(self, data: bytes) -> None:
        """An answer."""
        self.answers += len(data) // 8


class TimeTests(SynchronousTestCase):
    """Time passes when told to."""

    def setUp(self) -> None:
        """A network with a host."""
        self.net = SimulatedNetwork(seed=5)
        self.reactor = self.net.host("host").reactor

    def test_run(self) -> None:
        """Exactly as long as asked, also when nothing happens."""
        self.net.run(12.5)
        self.net.run(0.0)
        self.assertEqual(self.net.now, 12.5)
        self.assertEqual(repr(self.net), "<SimulatedNetwork seed=5 now=12.500000>")

    def test_run_until(self) -> None:
        """Until the condition holds, and says how long that took; or an error with the seed."""
        seen: list[int] = []
        self.reactor.callLater(3.0, seen.append, 1)
        self.assertAlmostEqual(self.net.run_until(lambda: bool(seen)), 3.0, places=5)
        self.assertEqual(self.net.run_until(lambda: True), 0.0)
        error = self.assertRaises(AssertionError, self.net.run_until, lambda: False, 10.0)
        self.assertIn("seed=5", str(error))
        self.assertAlmostEqual(self.net.now, 13.0, places=5)

    def test_result(self) -> None:
        """A value, now or later, from a Deferred or a coroutine."""

        async def compute() -> int:
            return 1 + await deferLater(self.reactor, 5.0, lambda: 6)

        self.assertEqual(self.net.result(succeed(1)), 1)
        self.assertEqual(self.net.result(deferLater(self.reactor, 5.0, lambda: "late")), "late")
        self.assertEqual(self.net.result(compute()), 7)
        self.assertAlmostEqual(self.net.now, 10.0, places=5)

    def test_result_that_fails(self) -> None:
        """Its own exception, with a note of the seed."""
        error = self.assertRaises(ZeroDivisionError, self.net.result, fail(ZeroDivisionError()))
        self.assertIn("seed=5", error.__notes__[0])

    def test_result_that_never_comes(self) -> None:
        """An error after the limit, and the Deferred is cancelled."""
        never: Deferred[None] = Deferred()
        self.assertRaises(AssertionError, self.net.result, never, limit=3.0)
        self.assertEqual(self.net.now, 3.0)
        cancelled: list[object] = []
        never = Deferred()
        never.addErrback(lambda failure: cancelled.append(failure.check(CancelledError)))
        self.assertRaises(AssertionError, self.net.result, never, limit=3.0)
        self.assertEqual(cancelled, [CancelledError])

    def test_no_running_inside(self) -> None:
        """A callback that runs the network is a mistake, and says so."""
        self.reactor.callLater(1.0, self.net.run, 1.0)
        self.net.run(2.0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_later(self) -> None:
        """Something happens by itself, outside of any host."""
        path = self.net.between("host", self.net.host("other"))
        self.net.later(2.0, lambda: path.add(Loss(0.5)))
        self.net.later(4.0, path.clear)
        self.net.run(3.0)
        self.assertEqual(path.faults, (Loss(0.5),))
        self.net.run(1.0)
        self.assertEqual(path.faults, ())

    def test_hosts(self) -> None:
        """In the order in which they were made; a name is given once."""
        other = self.net.host("other")
        self.assertEqual([host.name for host in self.net.hosts], ["host", "other"])
        self.assertEqual(repr(other), "<Host other 10.0.0.2>")
        self.assertRaises(ValueError, self.net.host, "other")
        self.assertRaises(ValueError, self.net.between, "host", "nobody")


class RunTests(SynchronousTestCase):
    """Whole simulations."""

    def trace(self, seed: int) -> list[str]:
        """Every segment of a simulation full of chance."""
        net = SimulatedNetwork(seed=seed)
        server = net.host("server")
        lines: list[str] = []
        net.watch(lambda now, line: lines.append(f"{now:.9f} {line}"))
        server.listen(7600, Factory.forProtocol(Echo))
        for number in range(5):
            client = net.host(f"client{number}")
            net.between(client, server).add(Delay(0.01, jitter=0.05))
            net.between(client, server).add(Loss(0.1))
            pinger = Pinger(0.5 + net.random.random())
            pinger.reactor = client.reactor
            connectProtocol(HostnameEndpoint(client.reactor, "server", 7600), pinger)
            net.later(net.random.random() * 20.0, lambda client=client: client.stall(2.0))
        net.run(30.0)
        return lines

    def test_one_seed_is_one_run(self) -> None:
        """The same seed: the same segments at the same times, to the last bit. Another seed: others."""
        first = self.trace(1)
        self.assertGreater(len(first), 500)
        self.assertEqual(first, self.trace(1))
        self.assertNotEqual(first, self.trace(2))

    def test_an_hour_of_idle_connections(self) -> None:
        """100 connections that beat every 30 s for an hour take about a second: a few events a beat, no polls."""
        net = SimulatedNetwork(seed=1)
        server, client = net.host("server"), net.host("client")
        server.listen(7600, Factory.forProtocol(Echo), backlog=100)
        pingers = [Pinger(30.0) for _ in range(100)]
        for pinger in pingers:
            pinger.reactor = client.reactor
            connectProtocol(HostnameEndpoint(client.reactor, "server", 7600), pinger)
        net.run(3600.0)
        beats = sum(pinger.answers for pinger in pingers)
        self.assertEqual(beats, 100 * 120)
        self.assertLess(net.events, 8 * beats)

    def test_the_delay_of_the_network(self) -> None:
        """Half a millisecond each way, or what was asked for."""
        for net, delay in ((SimulatedNetwork(), DELAY), (SimulatedNetwork(delay=0.1), 0.1)):
            server, client = net.host("server"), net.host("client")
            server.listen(7600, Factory())
            net.result(connectProtocol(HostnameEndpoint(client.reactor, "server", 7600), Protocol()))
            self.assertAlmostEqual(net.now, 2 * delay, places=4)

    def test_restart(self) -> None:
        """A new process: a new reactor, what was connected is closed, what listened does not."""
        net = SimulatedNetwork(seed=1)
        server, client = net.host("server"), net.host("client")
        old = server.reactor
        server.listen(7600, Factory.forProtocol(Echo))
        net.result(connectProtocol(HostnameEndpoint(client.reactor, "server", 7600), Protocol()))
        ran: list[int] = []
        old.callLater(1.0, ran.append, 1)
        server.restart()
        net.run(5.0)
        self.assertIsNot(server.reactor, old)
        self.assertEqual(ran, [])
        self.assertEqual(client.reactor.open_sockets(), ())
        port = server.listen(0, Factory.forProtocol(Echo))
        number = port.getHost().port
        net.result(connectProtocol(HostnameEndpoint(client.reactor, "server", number), Protocol()))
