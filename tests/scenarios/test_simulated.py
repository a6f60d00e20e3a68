"""Servers and clients that live through what networks, hosts and clocks do to them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from heartbeat import Dead, Event, HeartbeatConfig, HeartbeatListener, Left, Peer, Spared, State
from heartbeat.net import Heartbeat, HeartbeatClientService, HeartbeatFactory
from heartbeat.testing import (
    ClockStep,
    Delay,
    Loss,
    NatExpiry,
    OneWay,
    Partition,
    SilentDrop,
    SimulatedHost,
    SimulatedNetwork,
    Stall,
)

INTERVAL = 0.5
#: With three intervals; and what is allowed on top of it (surface: the bound of a verdict).
DETECT = 1.5
ALLOWANCE = 0.1


class Notes(HeartbeatListener):
    """Writes down what it is told, and when."""

    def __init__(self, net: SimulatedNetwork) -> None:
        self.net = net
        self.joins: list[str] = []
        self.events: list[tuple[float, str, Event]] = []

    def joined(self, peer: Peer) -> None:
        """A gate opened."""
        self.joins.append(peer.id)

    def changed(self, peer: Peer, event: Event) -> None:
        """Anything after that."""
        self.events.append((self.net.now, peer.id, event))

    def deaths(self) -> list[tuple[float, str, str]]:
        """When, who, and of what."""
        return [(at, name, event.cause) for at, name, event in self.events if isinstance(event, Dead)]

    def spared(self) -> list[str]:
        """Why, each time that a plain timer would have killed."""
        return [event.reason for _, _, event in self.events if isinstance(event, Spared)]

    def left(self) -> list[str]:
        """Who said BYE."""
        return [name for _, name, event in self.events if isinstance(event, Left)]


class SimulatedCase(SynchronousTestCase):
    """A network, servers that listen, and clients."""

    #: Timers of the hosts run on the wall clock, as Twisted's do where nobody changed it.
    monotonic_timers = False

    def setUp(self) -> None:
        """An empty network, in which nothing is left at the end."""
        self.net = SimulatedNetwork(seed=7)
        self.addCleanup(self.net.assert_nothing_left)
        self.notes: dict[str, Notes] = {}

    def listen(self, host: SimulatedHost, **settings: Any) -> HeartbeatFactory:
        """A server."""
        notes = self.notes.setdefault(host.name, Notes(self.net))
        config = HeartbeatConfig(**{"interval": INTERVAL, **settings})
        factory = HeartbeatFactory(config, notes, reactor=host.reactor)
        host.listen(7600, factory)
        return factory

    def connect(self, host: SimulatedHost, *servers: str, **settings: Any) -> HeartbeatClientService:
        """A client service that runs, and is stopped at the end."""
        notes = self.notes.setdefault(host.name, Notes(self.net))
        config = HeartbeatConfig(**{"id": host.name, "interval": INTERVAL, **settings})
        service = HeartbeatClientService([f"{name}:7600" for name in servers], config, notes, reactor=host.reactor)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def pair(self, **settings: Any) -> Heartbeat:
        """One server, one client, and the client's handle."""
        self.server = self.net.host("server", monotonic_timers=self.monotonic_timers)
        self.client = self.net.host("client", monotonic_timers=self.monotonic_timers)
        self.path = self.net.between(self.server, self.client)
        self.listen(self.server)
        self.service = self.connect(self.client, "server", **settings)
        return self.net.result(self.service.when_alive())

    def assert_died(self, heartbeat: Heartbeat, cause: str, since: float, within: float) -> None:
        """It is dead, of this cause, and was found in time."""
        self.assertEqual((heartbeat.state, heartbeat.cause), (State.DEAD, cause))
        at = next(at for at, _, _ in self.notes["client"].deaths() if at >= since)
        self.assertLessEqual(at - since, within)


class StallTests(SimulatedCase):
    """A process that does not run is not heard; it must not believe that nobody speaks."""

    def test_our_own_stall_kills_nobody(self) -> None:
        """Three seconds in which our loop does not run are our fault, not the peer's."""
        heartbeat = self.pair(multiplier=20)  # the server is asked for patience with us
        self.client.stall(3.0)
        self.net.run(5.0)
        self.assertIs(heartbeat.state, State.ALIVE)
        self.assertEqual(self.notes["client"].spared(), ["local_stall"])
        self.assertEqual(self.notes["server"].deaths(), [])

    def test_a_stalled_server_kills_nobody(self) -> None:
        """Its clients keep it alive if they were asked to, and it keeps all of them."""
        server = self.net.host("server")
        self.listen(server, multiplier=20)
        services = [self.connect(self.net.host(f"client{number}"), "server") for number in range(20)]
        heartbeats = [self.net.result(service.when_alive()) for service in services]
        self.net.run(2.0)
        server.stall(4.0)
        self.net.run(10.0)
        self.assertEqual({heartbeat.state for heartbeat in heartbeats}, {State.ALIVE})
        self.assertEqual(self.notes["server"].deaths(), [])
        self.assertEqual(len(self.notes["server"].joins), 20)
        self.assertEqual(len(self.notes["server"].spared()), 20)

    def test_stalls_in_every_place(self) -> None:
        """In a timer, in an I/O callback, in a call from a thread, and as SIGSTOP: nobody dies (facts K2f)."""
        heartbeat = self.pair(multiplier=20)
        reactor = self.client.reactor
        self.net.run(1.0)
        reactor.callLater(0.3, self.client.stall, 3.0)
        self.net.run(5.0)
        reactor.callFromThread(self.client.stall, 3.0)
        self.net.run(5.0)
        heartbeat.ping().addCallback(lambda _: self.client.stall(3.0))
        self.net.run(5.0)
        self.client.add(Stall(3.0))
        self.net.run(5.0)
        heartbeat.ping()
        self.client.stall(3.0)
        self.net.run(5.0)
        self.assertIs(heartbeat.state, State.ALIVE)
        self.assertEqual(self.notes["client"].deaths() + self.notes["server"].deaths(), [])

    def test_a_peer_that_is_stalled_too_long_is_dead(self) -> None:
        """The peer's stall is the peer's fault: the server gives it up in time, and takes it back afterwards."""
        heartbeat = self.pair()
        self.net.run(2.0)
        began = self.net.now
        self.client.stall(4.0)
        self.net.run(3.9)
        ((died, name, _),) = self.notes["server"].deaths()
        self.assertEqual(name, "client")
        self.assertLessEqual(died - began, DETECT + ALLOWANCE)
        self.net.run(1.0)
        self.assertEqual((heartbeat.state, heartbeat.cause), (State.DEAD, "peer_reset"))
        self.assertIs(self.net.result(self.service.when_alive()).state, State.ALIVE)


class PathTests(SimulatedCase):
    """A path that fails."""

    def test_a_silent_drop_is_found(self) -> None:
        """A path that swallows packets is found in the agreed time, by both ends."""
        heartbeat = self.pair()
        self.net.run(3.3)
        began = self.net.now
        self.path.add(SilentDrop())
        self.net.run(DETECT + ALLOWANCE)
        self.assert_died(heartbeat, "path_dead", began, DETECT + ALLOWANCE)
        self.assertEqual(len(self.notes["server"].deaths()), 1)
        evidence = heartbeat.evidence
        assert evidence is not None and evidence.tcp is not None
        self.assertEqual(evidence.tcp.retransmits, evidence.tcp.backoff)
        self.assertGreaterEqual(evidence.tcp.retransmits, 1)
        self.assertGreater(evidence.tcp.unacked or 0, 0)

    def test_one_way_loss_is_found(self) -> None:
        """Whichever direction is silent, both ends find out."""
        heartbeat = self.pair()
        for deaf in ("client", "server"):
            self.net.run(2.0)
            fault = self.path.add(OneWay(towards=deaf))
            self.net.run(10.0)
            self.assertIs(heartbeat.state, State.DEAD)
            self.path.remove(fault)
            heartbeat = self.net.result(self.service.when_alive())

    def test_a_short_outage_kills_nobody(self) -> None:
        """TCP repeats what was lost; less than the detection time is not noticed."""
        heartbeat = self.pair()
        for _ in range(5):
            fault = self.path.add(Partition())
            self.net.run(0.5)
            self.path.remove(fault)
            self.net.run(3.0)
        self.assertIs(heartbeat.state, State.ALIVE)
        self.assertEqual(len(self.notes["server"].joins), 1)

    def test_it_comes_back(self) -> None:
        """When the path heals the client is there again without help."""
        self.pair()
        fault = self.path.add(SilentDrop())
        self.net.run(20.0)
        self.assertIsNone(self.service.heartbeat)
        self.path.remove(fault)
        heartbeat = self.net.result(self.service.when_alive())
        self.net.run(5.0)
        self.assertIs(heartbeat.state, State.ALIVE)
        self.assertEqual(self.notes["server"].joins, ["client", "client"])

    def test_an_expired_mapping(self) -> None:
        """A translating router that forgot us: dead in time, and the next connection works at once."""
        self.server, self.client = self.net.host("server"), self.net.host("client")
        self.path = self.net.between(self.server, self.client)
        self.listen(self.server, interval=10.0)
        service = self.connect(self.client, "server", interval=10.0)
        heartbeat = self.net.result(service.when_alive())
        self.path.add(NatExpiry(idle=5.0))
        began = self.net.now
        self.net.run(45.0)
        self.assert_died(heartbeat, "path_dead", began, 40.0 + ALLOWANCE)
        self.assertGreaterEqual(len(self.notes["server"].joins), 2)
        self.path.clear()

    def test_beats_keep_a_mapping(self) -> None:
        """Beats that are closer than the router's patience keep the connection."""
        heartbeat = self.pair()
        self.path.add(NatExpiry(idle=5.0))
        self.net.run(600.0)
        self.assertIs(heartbeat.state, State.ALIVE)

    def test_a_slow_path_is_no_dead_path(self) -> None:
        """A round trip of a second under an interval of half a second: slow, and alive (plain BFD kills it)."""
        self.server, self.client = self.net.host("server"), self.net.host("client")
        self.path = self.net.between(self.server, self.client)
        self.path.add(Delay(0.5, jitter=0.1))
        self.listen(self.server)
        heartbeat = self.net.result(self.connect(self.client, "server").when_alive())
        self.net.run(120.0)
        self.assertIs(heartbeat.state, State.ALIVE)
        self.assertTrue(1.0 < (heartbeat.rtt.smoothed or 0.0) < 1.3)


class EndTests(SimulatedCase):
    """Processes and hosts that end."""

    def test_a_killed_server(self) -> None:
        """Its kernel says so: dead at once, closed or reset; restarted, it is found again."""
        heartbeat = self.pair()
        self.net.run(2.0)
        began = self.net.now
        self.server.crash()
        self.net.run(ALLOWANCE)
        self.assert_died(heartbeat, "peer_closed", began, ALLOWANCE)
        self.net.run(10.0)
        self.server.restart()
        self.listen(self.server)
        self.assertIs(self.net.result(self.service.when_alive()).state, State.ALIVE)

    def test_a_server_that_vanishes(self) -> None:
        """Without a word: dead in time, and the client goes to the next server."""
        first, second = self.net.host("first"), self.net.host("second")
        client = self.net.host("client")
        self.listen(first)
        self.listen(second)
        service = self.connect(client, "first", "second", handshake_timeout=2.0)
        heartbeat = self.net.result(service.when_alive())
        self.assertEqual(self.notes["first"].joins, ["client"])
        self.net.run(2.0)
        began = self.net.now
        first.vanish()
        self.net.run(DETECT + ALLOWANCE)
        self.assert_died(heartbeat, "path_dead", began, DETECT + ALLOWANCE)
        self.net.result(service.when_alive())
        self.net.run(1.0)
        self.assertEqual(self.notes["second"].joins, ["client"])

    def test_a_client_that_vanishes(self) -> None:
        """The server notices without any help, and its account is that of a death."""
        self.pair()
        self.net.run(2.0)
        began = self.net.now
        self.client.vanish()
        self.net.run(DETECT + ALLOWANCE)
        ((died, name, cause),) = self.notes["server"].deaths()
        self.assertEqual((name, cause), ("client", "path_dead"))
        self.assertLessEqual(died - began, DETECT + ALLOWANCE)

    def test_a_client_that_leaves(self) -> None:
        """A stopped service says BYE: left, and no death anywhere."""
        heartbeat = self.pair()
        self.net.run(2.0)
        self.net.result(self.service.stopService())
        self.net.run(1.0)
        self.assertIs(heartbeat.state, State.LEFT)
        self.assertEqual(self.notes["server"].left(), ["client"])
        self.assertEqual(self.notes["server"].deaths(), [])

    def test_stopping_on_a_dead_path(self) -> None:
        """A service stops in bounded time although its BYE goes nowhere."""
        self.pair()
        self.path.add(SilentDrop())
        began = self.net.now
        self.net.result(self.service.stopService())
        self.assertLess(self.net.now - began, 3.1)
        self.net.run(5.0)


class ClockTests(SimulatedCase):
    """Wall clocks that are set while heartbeats run on them."""

    def test_a_step_kills_nobody(self) -> None:
        """An hour forward or backward, on either end or both, in any order."""
        heartbeat = self.pair()
        for step in (3600.0, -3600.0, -3600.0, 3600.0):
            for host in (self.client, self.server):
                host.add(ClockStep(step))
                self.net.run(7.0)
        self.assertIs(heartbeat.state, State.ALIVE)
        self.assertEqual(self.notes["client"].deaths() + self.notes["server"].deaths(), [])
        self.assertEqual(len(self.notes["server"].joins), 1)

    def test_a_death_after_a_step_forward(self) -> None:
        """What is really dead is still found in time."""
        heartbeat = self.pair()
        self.client.step_clock(3600.0)
        self.net.run(3.0)
        began = self.net.now
        self.path.add(SilentDrop())
        self.net.run(DETECT + ALLOWANCE)
        self.assert_died(heartbeat, "path_dead", began, DETECT + ALLOWANCE)


class MonotonicClockTests(ClockTests):
    """The same where the application set ``reactor.seconds = time.monotonic``, as our commands do."""

    monotonic_timers = True

    def test_a_death_after_a_step_backward(self) -> None:
        """No timer is frozen."""
        heartbeat = self.pair()
        self.client.step_clock(-3600.0)
        self.net.run(3.0)
        began = self.net.now
        self.path.add(SilentDrop())
        self.net.run(DETECT + ALLOWANCE)
        self.assert_died(heartbeat, "path_dead", began, DETECT + ALLOWANCE)


class LongTests(SimulatedCase):
    """Virtual hours."""

    def test_an_hour_of_idle_peers(self) -> None:
        """30 peers at 30 s for an hour: nobody dies, and the beats are counted."""
        server, client = self.net.host("server"), self.net.host("client")
        factory = self.listen(server, interval=30.0, sync_interval=300.0)
        names = [f"peer{number}" for number in range(30)]
        services = [self.connect(client, "server", id=name, interval=30.0, sync_interval=300.0) for name in names]
        heartbeats = [self.net.result(service.when_alive()) for service in services]
        self.net.run(3600.0)
        self.assertEqual({heartbeat.state for heartbeat in heartbeats}, {State.ALIVE})
        self.assertEqual(factory.connections, 30)
        self.assertGreater(min(heartbeat.peer.tally.acks_in for heartbeat in heartbeats), 100)

    def test_loss_slows_nothing_down(self) -> None:
        """With a tenth of the segments lost the peers live on at a patience that spans four retransmissions."""
        self.server, self.client = self.net.host("server"), self.net.host("client")
        self.path = self.net.between(self.server, self.client)
        self.listen(self.server, interval=1.0, multiplier=10)
        heartbeat = self.net.result(self.connect(self.client, "server", interval=1.0, multiplier=10).when_alive())
        self.path.add(Loss(0.1))
        self.net.run(600.0)
        self.assertIs(heartbeat.state, State.ALIVE)
