"""The examples of the pages do what the pages say, in memory and on the simulated network."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from heartbeat import HeartbeatConfig, State
from heartbeat.errors import PingLost
from heartbeat.net import Deadline, HeartbeatClientService, HeartbeatFactory
from heartbeat.net.kernel import ENABLED
from heartbeat.testing import SilentDrop, SimulatedNetwork
from tests.environment import CHECKOUT
from tests.net.wrapped import NotesFactory


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


class WatchingTests(SynchronousTestCase):
    """docs/howto/observe.md, shadow.md and rolling-upgrade.md, on the simulated network."""

    def setUp(self) -> None:
        """Two hosts."""
        self.net = SimulatedNetwork(seed=3)
        self.server, self.client = self.net.host("server"), self.net.host("client")

    def connect(self, endpoint: Any) -> Any:
        """A client's application."""
        mine = self.net.result(endpoint.connect(NotesFactory()))
        self.addCleanup(mine.transport.abortConnection)
        return mine

    def test_observe(self) -> None:
        """In code and as a string: the dead are found, and the one with a listener tells."""
        if not ENABLED:
            raise SkipTest("needs the kernel")
        module: Any = example("observe")
        printed: list[str] = []
        module.print = printed.append
        for make in (module.in_code, module.in_a_string):
            served = NotesFactory()
            port = self.net.result(make(self.server.reactor).listen(served))
            self.connect(TCP4ClientEndpoint(self.client.reactor, "server", 5432))
            self.net.run(1.0)
            drop = self.net.between(self.client, self.server).add(SilentDrop())
            self.net.run(30.2)
            self.assertEqual(served.built[0].lost.value.cause, "path_dead")
            self.net.between(self.client, self.server).remove(drop)
            self.net.result(port.stopListening())
        (line,) = printed
        self.assertTrue(line.startswith("10.0.0.2:") and "path_dead, last heard 30 s ago" in line, line)

    def test_shadow(self) -> None:
        """Two of the clients are quiet and live, the path of another one dies: one report tells it all."""
        if not ENABLED:
            raise SkipTest("needs the kernel")
        module: Any = example("shadow")
        module.Chat.callLater = staticmethod(self.server.reactor.callLater)
        shadow = module.shadowed(self.server.reactor)
        other = self.net.host("other")
        self.connect(TCP4ClientEndpoint(self.client.reactor, "server", 8007))
        self.connect(TCP4ClientEndpoint(other.reactor, "server", 8007))
        self.net.run(5.0)
        self.net.between(other, self.server).add(SilentDrop())
        self.net.run(60.0)
        told = "2 kills, 1 of them of living peers; 1 dead ones found earlier, by 3"
        self.assertEqual(module.told(shadow)[: len(told)], told)

    def test_rolling_upgrade(self) -> None:
        """Old and new clients on one port."""
        module: Any = example("rolling_upgrade")
        served = NotesFactory()
        self.net.result(module.server(self.server.reactor).listen(served))
        for make in (module.old_client, module.new_client):
            self.connect(make(self.client.reactor)).transport.write(b"hello")
            self.net.run(0.5)
        self.assertEqual([bytes(one.received) for one in served.built], [b"hello", b"hello"])


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
