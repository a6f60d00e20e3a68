"""The examples of the pages do what the pages say, in memory and on the simulated network."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat import HeartbeatConfig, State
from heartbeat.errors import PingLost
from heartbeat.net import Deadline, HeartbeatClientService, HeartbeatFactory
from heartbeat.testing import SilentDrop, SimulatedNetwork
from tests.environment import CHECKOUT


def example(name: str) -> ModuleType:
    """A file of docs/howto, loaded."""
    spec = importlib.util.spec_from_file_location(name, CHECKOUT / f"docs/howto/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class DeadlinesTests(SynchronousTestCase):
    """docs/howto/deadlines.md."""

    def setUp(self) -> None:
        """The example on a transport in memory; what it prints is kept."""
        self.clock = Clock()
        self.printed: list[str] = []
        module: Any = example("deadlines")
        module.print = lambda what: self.printed.append(str(what))
        self.lookup = module.Lookup()
        self.transport = StringTransport()
        self.lookup.makeConnection(self.transport)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def ask(self) -> Deferred[bytes | None]:
        """Ask within five seconds."""
        return Deferred.fromCoroutine(self.lookup.ask(b"key", Deadline(5.0, self.clock)))

    def test_an_answer(self) -> None:
        """A record comes in pieces."""
        asked = self.ask()
        for piece in (b"\0\0", b"\0\3ab", b"c"):
            self.lookup.dataReceived(piece)
        self.assertEqual((self.transport.value(), self.successResultOf(asked)), (b"key\n", b"abc"))

    def test_no_length(self) -> None:
        """The first step has one second."""
        asked = self.ask()
        self.clock.advance(1.0)
        self.assertIsNone(self.successResultOf(asked))
        (line,) = self.printed
        self.assertTrue(line.startswith("a read of 4 bytes: no result within 1 s; "), line)
        self.assertIn("deadlines.py:", line)

    def test_no_record(self) -> None:
        """The second step has what is left of five."""
        asked = self.ask()
        self.clock.advance(0.5)
        self.lookup.dataReceived(b"\0\0\0\3a")
        self.clock.advance(4.4)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.assertIsNone(self.successResultOf(asked))
        self.assertIn("no result within 5 s", self.printed[0])

    def test_the_end(self) -> None:
        """The end of the stream is told apart."""
        asked = self.ask()
        self.lookup.dataReceived(b"\0\0\0\3a")
        self.lookup.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.successResultOf(asked))
        self.assertTrue(self.printed[0].startswith("1 of 3 bytes, then ConnectionDone("), self.printed[0])


class TimeoutMixinTests(SynchronousTestCase):
    """docs/howto/timeout-mixin.md."""

    def test_with_a_clock_of_ones_own(self) -> None:
        """As tests have always done it: one delayed call, moved by a line, and in the end an abort."""
        clock, transport = Clock(), StringTransport()
        chat = example("timeout_mixin").Chat()
        chat.callLater = clock.callLater
        chat.makeConnection(transport)
        clock.advance(20.0)
        chat.dataReceived(b"hello\r\n")
        clock.advance(29.0)
        self.assertFalse(transport.disconnected)
        clock.advance(1.0)
        self.assertTrue(transport.disconnected)
        chat.connectionLost()
        self.assertEqual(clock.getDelayedCalls(), [])


class AdaptersTests(SynchronousTestCase):
    """docs/howto/adapters.md and own-framing.md, in memory; tests.real.test_examples runs them on sockets."""

    def test_in_the_class(self) -> None:
        """A worker has a heartbeat for as long as it is connected, and gives a reason back."""
        worker = example("amp_worker").Worker()
        worker.makeConnection(StringTransport())
        self.assertIs(worker.heartbeat.heartbeat.state, State.ALIVE)
        worker.connectionLost(Failure(ConnectionDone()))
        self.assertIs(worker.heartbeat.heartbeat.state, State.LEFT)

    def test_from_outside(self) -> None:
        """A client that knows nothing of it is watched, and does not see the answers."""
        client = example("line_client").clients.buildProtocol(None)
        client.makeConnection(StringTransport())
        pinged = client.heartbeat.heartbeat.ping()
        client.dataReceived(b"250 hello\r\n500 what?\r\n")
        self.assertGreaterEqual(self.successResultOf(pinged), 0.0)
        self.assertEqual(client.answers.pending, [b"250 hello"])
        client.connectionLost(Failure(ConnectionDone()))
        self.assertIs(client.heartbeat.heartbeat.state, State.LEFT)

    def test_a_framing_of_ones_own(self) -> None:
        """It asks where that is possible, and any answer counts."""
        client = example("redis_ping").Redis()
        client.makeConnection(StringTransport())
        handle = client.heartbeat.heartbeat
        pinged = handle.ping()
        self.assertEqual(client.transport.value(), b"*1\r\n$4\r\nPING\r\n")
        client.dataReceived(b"-LOADING Redis is loading the dataset in memory\r\n")
        self.assertGreaterEqual(self.successResultOf(pinged), 0.0)
        client.subscribed = True
        self.assertIsInstance(self.failureResultOf(handle.ping()).value, PingLost)
        client.connectionLost(Failure(ConnectionDone()))
        self.assertIs(handle.state, State.LEFT)


class FollowTests(SynchronousTestCase):
    """docs/howto/follow.py, which the README shows."""

    def test_a_suspect_and_its_death(self) -> None:
        """A path that swallows all: the reader prints the suspicion, then the cause, and ends by itself."""
        net = SimulatedNetwork(seed=3)
        self.addCleanup(net.assert_nothing_left)
        server, client = net.host("server"), net.host("client")
        config = HeartbeatConfig(id="a", interval=0.5)
        server.listen(7600, HeartbeatFactory(config, reactor=server.reactor))
        service = HeartbeatClientService(["tcp:server:7600"], config, reactor=client.reactor)
        service.startService()
        self.addCleanup(service.stopService)
        module: Any = example("follow")
        printed: list[tuple[Any, ...]] = []
        module.print = lambda *what: printed.append(what)
        done = Deferred.fromCoroutine(module.follow(net.result(service.when_alive())))
        net.between(client, server).add(SilentDrop())
        net.run(1.8)
        self.successResultOf(done)
        self.assertRegex(printed[0][0], r"^nothing for 1\.\d s, asking again$")
        self.assertEqual((len(printed), printed[1][0]), (2, "path_dead"))
