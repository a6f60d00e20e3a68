"""AMP: any peer answers, each end may ask, and the class need not be touched."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure

from heartbeat.liveness.states import State
from heartbeat.net.adapters.amp import AMPHeartbeat
from heartbeat.net.reasons import UnresponsiveConnection
from tests.net.adapters.framed import CONFIG, DETECT, LATE, AdapterCase


class Add(amp.Command):
    """A command of the application's."""

    arguments = ((b"a", amp.Integer()), (b"b", amp.Integer()))
    response = ((b"sum", amp.Integer()),)


class Worker(amp.AMP):
    """The application."""

    lost: type | None = None

    @Add.responder
    def add(self, a: int, b: int) -> dict[str, int]:
        """Do it."""
        return {"sum": a + b}

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember why."""
        super().connectionLost(reason)
        self.lost = reason.type  # the failure itself holds frames, which AMP made when it told all commands


class AMPCase(AdapterCase):
    """Two workers, and heartbeats from outside."""

    def workers(self, *, both: bool) -> tuple[Any, Any]:
        """Connected; the acceptor has a heartbeat of its own, or is a peer that has never heard of us."""

        def worker(host: Any) -> Factory:
            return AMPHeartbeat.factory(Factory.forProtocol(Worker), CONFIG, reactor=host.reactor)

        acceptor = worker(self.server) if both else Factory.forProtocol(Worker)
        return self.pair(acceptor, worker(self.client))

    def close(self, *protocols: Any) -> None:
        """AMP keeps the reason of its end, and with it the frames in which it told its commands: let go of it."""
        super().close(*protocols)
        self.held.clear()


class LifeTests(AMPCase):
    """While both are well."""

    def test_a_peer_that_knows_nothing(self) -> None:
        """``UnhandledCommand`` is an answer: round trips, and nothing in the log."""
        mine, theirs = self.workers(both=False)
        self.net.run(20.0)
        handle = mine.heartbeat.heartbeat
        self.assertIs(handle.state, State.ALIVE)
        self.assertGreater(handle.peer.tally.acks_in, 30)
        self.assertEqual(handle.peer.tally.lost, 0)
        self.assertEqual(self.net.result(mine.callRemote(Add, a=2, b=3)), {"sum": 5})
        self.assertEqual(self.net.result(theirs.callRemote(Add, a=2, b=4)), {"sum": 6})

    def test_both_ends(self) -> None:
        """Each asks the other, beside the application's own commands."""
        mine, theirs = self.workers(both=True)
        self.net.run(10.0)
        for one in (mine, theirs):
            self.assertIs(one.heartbeat.heartbeat.state, State.ALIVE)
            self.assertGreater(one.heartbeat.heartbeat.peer.tally.acks_in, 15)
        self.assertEqual(self.net.result(mine.callRemote(Add, a=2, b=3)), {"sum": 5})

    def test_any_box_is_life(self) -> None:
        """A command of the peer's is a sign of life."""
        mine, theirs = self.workers(both=False)
        self.net.run(1.0)
        heard = mine.heartbeat.heartbeat.peer.heard_at
        self.net.result(theirs.callRemote(Add, a=1, b=1))
        self.assertGreater(mine.heartbeat.heartbeat.peer.heard_at, heard)


class DeathTests(AMPCase):
    """And when not."""

    def test_a_stopped_peer(self) -> None:
        """Found in time, and the application's ``connectionLost`` has the cause."""
        mine, _ = self.workers(both=True)
        self.net.run(3.0)
        self.server.stall(60.0)
        self.assertLess(self.net.run_until(lambda: mine.lost is not None, 10.0), DETECT + LATE)
        self.assertIs(mine.lost, UnresponsiveConnection)
        self.net.run(60.0)

    def test_a_command_that_waits_then(self) -> None:
        """It fails with our reason, as AMP prescribes."""
        mine, _ = self.workers(both=False)
        self.net.run(1.0)
        self.server.stall(60.0)
        waiting = mine.callRemote(Add, a=1, b=1)
        self.net.run_until(lambda: mine.lost is not None, 10.0)
        self.failureResultOf(waiting, UnresponsiveConnection)
        self.net.run(60.0)

    def test_nothing_is_hooked_afterwards(self) -> None:
        """The protocol is as it was."""
        mine, theirs = self.workers(both=True)
        theirs.transport.loseConnection()
        self.net.run(1.0)
        for name in ("connectionMade", "connectionLost", "ampBoxReceived", "locateResponder"):
            self.assertNotIn(name, vars(mine))
