"""Perspective Broker: any broker answers, quietly, and each end may ask."""

from __future__ import annotations

from typing import Any

from twisted.spread import pb

from heartbeat.liveness.states import State
from heartbeat.net.adapters.pb import NAME, PBHeartbeat
from heartbeat.net.reasons import UnresponsiveConnection
from tests.net.adapters.framed import CONFIG, DETECT, LATE, AdapterCase


class Adder(pb.Root):
    """The application."""

    def remote_add(self, a: int, b: int) -> int:
        """Do it."""
        return a + b


class PBCase(AdapterCase):
    """Two brokers, and heartbeats from outside."""

    def brokers(self, *, both: bool) -> tuple[Any, Any]:
        """Connected; the acceptor has a heartbeat of its own, or is a peer that has never heard of us."""
        acceptor: Any = pb.PBServerFactory(Adder())
        if both:
            acceptor = PBHeartbeat.factory(acceptor, CONFIG, reactor=self.server.reactor)
        connector = PBHeartbeat.factory(pb.PBClientFactory(), CONFIG, reactor=self.client.reactor)
        mine, theirs = self.pair(acceptor, connector)
        self.why: list[type] = []
        mine.notifyOnDisconnect(lambda: self.why.append(type(None)))
        return mine, theirs

    def add(self, broker: Any) -> int:
        """The application's own call."""
        root = broker.remoteForName("root")
        return int(self.net.result(root.callRemote("add", 2, 3)))


class LifeTests(PBCase):
    """While both are well."""

    def test_a_peer_that_knows_nothing(self) -> None:
        """An error is an answer: round trips, nothing in the log of the peer, and the application goes on."""
        mine, _ = self.brokers(both=False)
        self.net.run(20.0)
        handle = mine.heartbeat.heartbeat
        self.assertIs(handle.state, State.ALIVE)
        self.assertGreater(handle.peer.tally.acks_in, 30)
        self.assertEqual(handle.peer.tally.lost, 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.add(mine), 5)

    def test_both_ends(self) -> None:
        """Each asks the other, beside the application's own calls."""
        mine, theirs = self.brokers(both=True)
        self.net.run(10.0)
        for one in (mine, theirs):
            self.assertIs(one.heartbeat.heartbeat.state, State.ALIVE)
            self.assertGreater(one.heartbeat.heartbeat.peer.tally.acks_in, 15)
        self.assertEqual(self.add(mine), 5)

    def test_an_object_of_that_name(self) -> None:
        """A peer that has published one, without such a method, answers ``NoSuchMethod``, which is an answer too."""
        mine, theirs = self.brokers(both=False)
        theirs.setNameForLocal(NAME, Adder())
        self.net.run(5.0)
        self.assertIs(mine.heartbeat.state, State.ALIVE)
        self.assertGreater(mine.heartbeat.peer.tally.acks_in, 5)
        self.assertEqual({error.type for error in self.flushLoggedErrors()}, {pb.NoSuchMethod})

    def test_any_message_is_life(self) -> None:
        """A call of the peer's is a sign of life."""
        mine, theirs = self.brokers(both=False)
        self.net.run(1.2)
        heard = mine.heartbeat.heartbeat.peer.heard_at
        theirs.remoteForName("nobody").callRemote("anything").addErrback(lambda failure: None)
        self.net.run(0.05)
        self.assertGreater(mine.heartbeat.heartbeat.peer.heard_at, heard)

    def test_our_own_stall(self) -> None:
        """It kills nobody."""
        mine, _ = self.brokers(both=False)
        self.net.run(3.0)
        self.client.stall(10.0)
        self.net.run(15.0)
        self.assertIs(mine.heartbeat.heartbeat.state, State.ALIVE)


class DeathTests(PBCase):
    """And when not."""

    def test_a_stopped_peer(self) -> None:
        """Found in time; a call that waits fails with our reason, as PB prescribes."""
        mine, _ = self.brokers(both=False)
        self.net.run(3.0)
        self.server.stall(60.0)
        reasons: list[Any] = []
        mine.remoteForName("root").callRemote("add", 1, 1).addErrback(lambda failure: reasons.append(failure.value))
        self.assertLess(self.net.run_until(lambda: bool(reasons), 10.0), DETECT + LATE)
        (lost,) = reasons.pop().args
        self.assertIs(lost.type, UnresponsiveConnection)
        self.net.run(60.0)

    def test_nothing_is_hooked_afterwards(self) -> None:
        """The broker is as it was."""
        mine, theirs = self.brokers(both=True)
        self.net.run(2.0)
        theirs.transport.loseConnection()
        self.net.run(1.0)
        for name in ("connectionMade", "connectionLost", "expressionReceived"):
            self.assertNotIn(name, vars(mine))
