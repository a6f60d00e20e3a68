"""A fleet in virtual time: servers that share a store, agents that move between them, and what dies in between."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from heartbeat import HeartbeatConfig, State, StoreUnavailable
from heartbeat.apps.server.keeping import Keeping
from heartbeat.liveness.report import Report
from heartbeat.net import HeartbeatClientService, HeartbeatFactory
from heartbeat.testing import SilentDrop, SimulatedHost, SimulatedNetwork
from heartbeat.watch.doubt import LEAST
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.registry import Registry
from heartbeat.watch.stores.exchange import LEASE
from heartbeat.watch.stores.memory import Memory, MemoryStore
from heartbeat.watch.stores.orphans import RETURN, RETURN_TO_NEWCOMER
from heartbeat.watch.stores.timed import CALL_TIMEOUT, Timed

INTERVAL = 0.5
DETECT = 1.5
#: Within this time a change is everywhere.
EVERYWHERE = 1.0
ALIKE = ("id", "node", "session", "state", "services", "meta", "address")


class Wire:
    """A store in memory, as one server reaches it: it may be cut, or it may not answer.

    :ivar state: ``up``, ``down`` (every call fails) or ``mute`` (no call is answered)
    :ivar fails: calls that fail in any case
    """

    shared = True
    backend = "memory"

    def __init__(self, memory: Memory) -> None:
        self.state = "up"
        self.fails: set[str] = set()
        self.store = MemoryStore(memory)
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            if name in ("open", "close") or (self.state == "up" and name not in self.fails):
                return getattr(self.store, name)(*arguments)
            return Deferred() if self.state == "mute" else fail(StoreUnavailable("cut"))

        return call


class Node:
    """One server of the fleet."""

    def __init__(self, host: SimulatedHost, memory: Memory) -> None:
        self.host = host
        self.name = host.name
        self.wire = Wire(memory)
        reactor = host.reactor
        self.factory = HeartbeatFactory(
            HeartbeatConfig(id=self.name, interval=INTERVAL), reactor=reactor, node=self.name
        )
        clocks = self.factory.wheel.clocks
        self.registry = Registry(clocks)
        self.failures = Failures(clocks, self.name)
        self.failures.doubt.later = host.reactor.callLater
        settings: Any = SimpleNamespace(store="memory", node=self.name, token_key=None)
        store = Timed(self.wire, reactor, clocks.seconds)
        self.keeping = Keeping(
            reactor, store, settings, factory=self.factory, registry=self.registry, failures=self.failures
        )
        self.ledger = self.keeping.ledger
        self.factory.listener = Listeners(self.keeping.own, self.keeping.holdings, self.registry, self.failures)
        self.keeping.start()
        host.listen(7600, self.factory)

    def view(self) -> list[dict[str, Any]]:
        """What it tells of all peers, without what moves."""
        return [{name: peer.as_json()[name] for name in ALIKE} for peer in self.registry.peers()]

    def states(self) -> dict[str, str]:
        """Of all peers."""
        return {one["id"]: one["state"] for one in self.view()}

    def deaths(self) -> list[tuple[str, str]]:
        """Who failed and why, newest first."""
        return [(one.peer, one.reason) for one in self.failures.since()]


class Says:
    """An agent's account of itself."""

    def __init__(self, name: str) -> None:
        self.name = name

    def report(self) -> Report:
        """The same every time."""
        return Report(0.25, 60, services=("auth", self.name), meta={"zone": "b"})


class FleetCase(SynchronousTestCase):
    """Three servers and a few agents. At the end nothing is left."""

    NODES = 3
    AGENTS = 6

    def setUp(self) -> None:
        """All of them connected and told of."""
        self.net = SimulatedNetwork(seed=5)
        self.memory = Memory(lambda: self.net.now)
        self.nodes = [Node(self.net.host(f"n{number}"), self.memory) for number in range(self.NODES)]
        self.net.run(0.1)
        self.agents: dict[str, HeartbeatClientService] = {}
        for number in range(self.AGENTS):
            self.agent(f"a{number}", number)
        self.addCleanup(self.end)
        self.settle()
        self.sessions = {name: self.session(name) for name in self.agents}

    def agent(self, name: str, first: int, interval: float = INTERVAL) -> HeartbeatClientService:
        """One that begins with that server."""
        order = [f"n{(first + one) % self.NODES}:7600" for one in range(self.NODES)]
        host = self.net.host(name)
        service = HeartbeatClientService(
            order, HeartbeatConfig(id=name, interval=interval, sync_interval=0.5), reactor=host.reactor,
            state=Says(name),
        )  # fmt: skip
        service.startService()
        self.agents[name] = service
        return service

    def end(self) -> None:
        """Everybody leaves; nothing remains."""
        for service in self.agents.values():
            service.stopService()
        self.net.run(1.5)
        for node in self.nodes:
            node.wire.state = "up"
        self.net.run(5.0)
        for node in self.nodes:
            node.host.stop_listening()
            node.failures.doubt.settle()
            self.net.result(node.keeping.stop())
        self.net.assert_nothing_left()

    def session(self, name: str) -> str:
        """As the agent knows it, ``""`` while it is not connected."""
        heartbeat = self.agents[name].heartbeat
        return "" if heartbeat is None else heartbeat.peer.session

    def settle(self) -> None:
        """Everybody has connected and said what there is to say."""
        self.net.run_until(lambda: all(self.session(name) for name in self.agents))
        self.net.run(1.5)
        self.assert_alike()

    def assert_alike(self, *nodes: Node) -> None:
        """All servers tell the same, of all agents."""
        nodes = nodes or tuple(self.nodes)
        for node in nodes[1:]:
            self.assertEqual(node.view(), nodes[0].view(), node.name)
        self.assertEqual(sorted(self.agents), sorted(nodes[0].states()))

    def assert_all_alive(self, *nodes: Node) -> None:
        """Nobody is dead, and nobody was."""
        for node in nodes or self.nodes:
            self.assertEqual(set(node.states().values()), {"alive"}, node.name)
            self.assertEqual(node.deaths(), [], node.name)

    def assert_sessions(self) -> None:
        """All are the same as in the beginning."""
        self.assertEqual({name: self.session(name) for name in self.sessions}, self.sessions)

    def crash(self, number: int) -> Node:
        """A server dies with its process."""
        node = self.nodes.pop(number)
        node.host.crash()
        return node


class ViewTests(FleetCase):
    """Every server tells the same."""

    def test_in_the_beginning(self) -> None:
        """Each agent is told of by all servers, with the one that holds it, its session and its STATE."""
        for name in self.agents:
            views = [node.registry.get(name) for node in self.nodes]
            holder = next(node for node in self.nodes if node.keeping.own.get(name))
            for peer in views:
                assert peer is not None
                self.assertEqual((peer.node, peer.session), (holder.name, self.sessions[name]))
                self.assertEqual((peer.services, dict(peer.meta)), (("auth", name), {"zone": "b"}))

    def test_numbers(self) -> None:
        """What moves is told anew all the while, and not marked as stale; metrics count each peer once."""
        self.net.run(5.0)
        counted = 0
        for node in self.nodes:
            counted += len(node.keeping.own)
            for peer in node.registry.peers():
                told = peer.as_json()
                self.assertLess(told["last_heard_ms"], 1500, (node.name, told))
                self.assertEqual(told.get("stale", False), False)
                self.assertEqual((told["load"], told["interval_ms"]), (0.25, 500))
        self.assertEqual(counted, len(self.agents))

    def test_a_change(self) -> None:
        """An agent that leaves, and one that comes, are everywhere within a second."""
        self.agents.pop("a0").stopService()
        self.agent("b0", 1)
        self.net.run_until(lambda: bool(self.session("b0")))
        self.net.run(EVERYWHERE)
        for node in self.nodes:
            states = node.states()
            self.assertEqual((states["a0"], states["b0"]), ("left", "alive"), node.name)

    def test_a_death(self) -> None:
        """It is everywhere with its failure, each told once by each server, with evidence and flight recorder."""
        self.agents.pop("a0")
        next(host for host in self.net.hosts if host.name == "a0").vanish()
        self.net.run(DETECT + 0.1 + EVERYWHERE + 1.0)
        told = [[one.as_json() for one in node.failures.since()] for node in self.nodes]
        for failures in told:
            self.assertEqual(len(failures), 1)
            self.assertEqual(failures[0], told[0][0])
            self.assertTrue(failures[0]["events"])
        self.assertEqual({node.states()["a0"] for node in self.nodes}, {"dead"})

    def test_nobody_is_called_for_a_beat(self) -> None:
        """Ten seconds of beats are calls by the clock: none more with ten times the agents."""
        self.net.run(1.0)
        before = [len(node.wire.calls) for node in self.nodes]
        self.net.run(10.0)
        calls = [len(node.wire.calls) - count for node, count in zip(self.nodes, before, strict=True)]
        beats = sum(peer.tally.pings_in for node in self.nodes for peer in node.keeping.own.peers())
        self.assertGreater(beats, 120)
        # a turn: renew, write, changes; and one more reading after each of the others' two turns in a period
        self.assertLess(max(calls), 20 * (3 + 2) + 10, calls)


class LossTests(FleetCase):
    """Servers that die."""

    def test_a_server_dies(self) -> None:
        """Its agents are elsewhere soon, in their sessions, and nobody was dead for a moment."""
        self.crash(0)
        self.net.run(5.0)
        self.assert_sessions()
        self.assert_alike()
        self.net.run(RETURN + DETECT + LEASE + 5.0)
        self.assert_all_alive()
        self.assertEqual([node.wire.calls.count("settle") for node in self.nodes], [0, 0], "nobody waits for them")

    def test_it_returns(self) -> None:
        """A server that is restarted knows everything again."""
        lost = self.crash(0)
        lost.host.restart()
        self.nodes.insert(0, Node(lost.host, self.memory))
        self.net.run(5.0)
        self.assert_sessions()
        self.assert_alike()
        self.net.run(RETURN_TO_NEWCOMER + 10.0)
        self.assert_all_alive()

    def test_dead_with_its_server(self) -> None:
        """An agent that dies together with its server is marked as stale, and reported dead once, by one of those that
        are left, when it had its time to come back."""
        victim = next(peer.id for peer in self.nodes[0].keeping.own.peers())
        host = next(host for host in self.net.hosts if host.name == victim)
        self.agents.pop(victim)
        self.sessions.pop(victim)
        host.crash()
        self.crash(0)
        self.net.run(LEASE + 2.0)
        for node in self.nodes:
            told: Any = node.registry.get(victim)
            self.assertEqual((told.as_json()["state"], told.as_json()["stale"]), ("alive", True))
        self.net.run(DETECT + RETURN - 3.0)
        self.assertEqual([node.deaths() for node in self.nodes], [[], []])
        self.net.run(4.0)
        self.assertEqual([node.deaths() for node in self.nodes], [[(victim, "unattributed")]] * 2)
        (one,) = self.nodes[0].failures.since()
        self.assertEqual((one.evidence["detail"], one.node, one.session), ("server_lost", "n0", told.session))
        counted = sum(node.failures.counts().get(("unattributed", "live"), 0) for node in self.nodes)
        self.assertEqual(counted, 1)
        self.assertEqual([node.states()[victim] for node in self.nodes], ["dead", "dead"])
        self.net.run(60.0)
        self.assertEqual(len(self.nodes[0].deaths()), 1)

    def test_nameless(self) -> None:
        """A peer without a name comes back under another one: the old one has left when its server is lost, and is
        no failure."""
        host = self.net.host("bare")
        service = HeartbeatClientService(
            [f"n{one}:7600" for one in range(3)], HeartbeatConfig(interval=INTERVAL), reactor=host.reactor
        )
        service.startService()
        self.net.run(2.0)
        (before,) = [id for id in self.nodes[1].states() if id.startswith("~")]
        self.assertEqual(self.nodes[1].states()[before], "alive")
        self.crash(0)
        self.net.run(LEASE + DETECT + RETURN + 5.0)
        states = {id: state for id, state in self.nodes[1].states().items() if id.startswith("~")}
        self.assertEqual((states.pop(before), list(states.values())), ("left", ["alive"]))
        self.assertEqual([node.deaths() for node in self.nodes], [[], []])
        service.stopService()
        self.net.run(2.0)

    def test_an_outage_in_between(self) -> None:
        """Time in which the store was away is no time in which anybody could have been seen."""
        victim = next(peer.id for peer in self.nodes[0].keeping.own.peers())
        host = next(host for host in self.net.hosts if host.name == victim)
        self.agents.pop(victim)
        host.crash()
        self.crash(0)
        self.net.run(LEASE + DETECT + RETURN - 2.0)
        for node in self.nodes:
            node.wire.state = "down"
        self.net.run(1.0)
        for node in self.nodes:
            node.wire.state = "up"
        self.net.run(RETURN)
        self.assertEqual([node.deaths() for node in self.nodes], [[], []])
        self.net.run(DETECT + 4.0)
        self.assertEqual([node.deaths() for node in self.nodes], [[(victim, "unattributed")]] * 2)

    def test_a_server_that_is_only_cut_off(self) -> None:
        """A server that cannot reach the store keeps its peers; what others concluded meanwhile is put right when it
        is back."""
        node = self.nodes[0]
        held = [peer.id for peer in node.keeping.own.peers()]
        node.wire.state = "down"
        self.net.run(LEASE + DETECT + RETURN + 5.0)
        self.assertEqual({node.states()[name] for name in held}, {"alive"})
        self.assertEqual({self.nodes[1].states()[name] for name in held}, {"dead"})
        node.wire.state = "up"
        self.net.run(4.0)
        self.assert_alike()
        self.assertEqual(set(self.nodes[1].states().values()), {"alive"})
        self.assert_sessions()

    def test_a_server_that_was_stopped(self) -> None:
        """A server that wakes up and finds that its peers have gone to others has seen nobody die; one that died
        meanwhile did."""
        node = self.nodes[0]
        held = [peer.id for peer in node.keeping.own.peers()]
        host = next(host for host in self.net.hosts if host.name == held[0])
        self.agents.pop(held[0])
        self.sessions.pop(held[0])
        for seconds in (2.0, 12.0):
            node.host.stall(seconds)
            self.net.run(0.2)
            if seconds > 10.0:
                host.crash()
            self.net.run(seconds + 8.0)
            self.assert_sessions()
            self.assertEqual({self.nodes[1].states()[name] for name in held[1:]}, {"alive"})
        self.assertEqual([one.peer for one in self.nodes[1].failures.since() if one.peer != held[0]], [])

    def test_dead_while_it_was_stopped(self) -> None:
        """A peer that died while its server was stopped is recorded, a little later."""
        node = self.nodes[0]
        held = [peer.id for peer in node.keeping.own.peers()]
        host = next(host for host in self.net.hosts if host.name == held[0])
        self.agents.pop(held[0])
        node.host.stall(2.5)
        self.net.run(0.2)
        host.crash()
        self.net.run(2.5 + LEAST + 2.0)
        self.assertEqual([peer for peer, _ in self.nodes[1].deaths()], [held[0]])

    def test_half_open(self) -> None:
        """An agent that moved on while its old server still holds the old connection is not dead when that one ends."""
        node = self.nodes[0]
        victim = next(peer.id for peer in node.keeping.own.peers())
        host = next(host for host in self.net.hosts if host.name == victim)
        self.net.between(host, node.host).add(SilentDrop())
        self.net.run(10.0)
        self.assert_sessions()
        for other in self.nodes:
            peer = other.registry.get(victim)
            assert peer is not None
            self.assertEqual((peer.state, peer.node != node.name), (State.ALIVE, True), other.name)


class DrainTests(FleetCase):
    """Servers that are restarted one after the other."""

    def test_rolling(self) -> None:
        """Each in turn says BYE 1, and ends; nobody is dead for it, and every session goes on."""
        for number in range(self.NODES):
            node = self.nodes[number]
            self.net.result(node.factory.drain(10.0, spread=2.0))
            node.host.stop_listening()
            self.net.result(node.keeping.stop())
            node.host.restart()
            self.nodes[number] = Node(node.host, self.memory)
            self.net.run(6.0)
            self.assert_sessions()
            self.assert_alike()
        self.assert_all_alive()

    def test_spread(self) -> None:
        """The agents of a server come back at times of their own, within the spread."""
        for number in range(20):
            self.agent(f"c{number:02d}", 0)
        self.settle()
        node = self.nodes[0]
        moved = [peer.id for peer in node.keeping.own.peers()]
        began = self.net.now
        self.net.result(node.factory.drain(10.0, spread=8.0))
        node.host.stop_listening()
        back: dict[str, float] = {}
        while len(back) < len(moved):
            self.net.run(0.1)
            for name in moved:
                if self.session(name):
                    back.setdefault(name, self.net.now - began)
            self.assertLess(self.net.now - began, 8.5)
        times = sorted(back.values())
        self.assertGreater(times[-1] - times[0], 3.0, times)
        self.assertGreaterEqual(times[0], 1.0)


class StoreTests(FleetCase):
    """A store that is away, or loses what it had."""

    def away(self, state: str) -> None:
        """For all of them."""
        for node in self.nodes:
            node.wire.state = state

    def test_away(self) -> None:
        """Whether it refuses or is silent: nobody dies, the view of others is marked, servers say what is wrong, and
        what happens meanwhile is written when it is back."""
        for state in ("down", "mute"):
            self.away(state)
            self.net.run(LEASE + CALL_TIMEOUT + 2.0)
            self.assert_all_alive()
            for node in self.nodes:
                line = node.ledger.degraded() or ""
                self.assertIn("the store is away for", line)
                self.assertIn("cut" if state == "down" else "no answer", line)
                marks = {(peer.node == node.name, peer.as_json().get("stale")) for peer in node.registry.peers()}
                self.assertEqual(marks, {(True, None), (False, True)})
            name = f"new-{state}"
            self.agent(name, 0)
            self.net.run_until(lambda name=name: bool(self.session(name)))  # type: ignore[misc]
            self.net.run(RETURN + 20.0)
            self.assertIsNone(self.nodes[1].registry.get(name))
            self.away("up")
            self.net.run(CALL_TIMEOUT + 4.0)
            self.assertEqual([node.ledger.degraded() for node in self.nodes], [None] * self.NODES)
            self.assert_alike()
            self.assert_all_alive()
            self.assert_sessions()

    def test_moved_while_it_was_away(self) -> None:
        """With the store away and a server dead, its agents go on in their sessions at others; when the store is back
        it is told so, whatever it knew."""
        self.away("down")
        self.crash(0)
        self.net.run(8.0)
        self.assert_sessions()
        self.assert_all_alive()
        self.away("up")
        self.net.run(4.0)
        self.assert_alike()
        self.net.run(RETURN + DETECT + LEASE + 5.0)
        self.assert_all_alive()

    def test_lost(self) -> None:
        """A store that comes back empty gets everything again: peers, those that are gone, failures, the key."""
        self.agents.pop("a0").stopService()
        self.net.run(1.0)
        victim = next(name for name in self.agents)
        self.agents.pop(victim)
        next(host for host in self.net.hosts if host.name == victim).vanish()
        self.net.run(DETECT + EVERYWHERE + 0.5)
        key = self.memory.key
        self.away("down")
        self.net.run(1.0)
        fresh = Memory(lambda: self.net.now)
        vars(self.memory).update({name: value for name, value in vars(fresh).items() if name != "nudges"})
        self.away("up")
        self.net.run(4.0)
        self.assertEqual(self.memory.key, key)
        newcomer = Node(self.net.host("n9"), self.memory)
        self.net.run(1.0)
        self.assertEqual(newcomer.view(), self.nodes[0].view())
        self.assertEqual(newcomer.deaths(), self.nodes[0].deaths())
        self.assertEqual((newcomer.states()["a0"], newcomer.states()[victim]), ("left", "dead"))
        self.nodes.append(newcomer)

    def test_set_back(self) -> None:
        """A store that comes back without its latest changes (a replica that was behind) gets them again, and is read
        from the beginning."""
        self.agent("b0", 0)
        old = {name: value for name, value in vars(self.memory).items() if name != "nudges"}
        old = {name: value.copy() if hasattr(value, "copy") else value for name, value in old.items()}
        self.settle()
        vars(self.memory).update(old)
        self.net.run(2.0)
        newcomer = Node(self.net.host("n9"), self.memory)
        self.nodes.append(newcomer)
        self.net.run(1.0)
        self.assert_alike()

    def test_lost_alone(self) -> None:
        """A server that is alone with an empty store writes what it remembers, those that are gone, too; and what a
        server told that is gone itself is told by those that heard it."""
        gone = {peer.id: self.agents.pop(peer.id) for peer in self.nodes[0].keeping.own.peers()}
        for service in gone.values():
            service.stopService()
        self.net.run(1.0)
        self.crash(0)
        self.crash(0)
        (node,) = self.nodes
        self.net.run(3.0)
        node.wire.state = "down"
        self.net.run(1.0)
        fresh = Memory(lambda: self.net.now)
        vars(self.memory).update({name: value for name, value in vars(fresh).items() if name != "nudges"})
        node.wire.state = "up"
        self.net.run(2.0)
        told = {id: record.state for id, (record, _) in self.memory.peers.items()}
        self.assertEqual({id for id, state in told.items() if state is State.LEFT}, set(gone))
        self.assertEqual({id for id, state in told.items() if state is State.ALIVE}, set(self.agents))
        self.agents.popitem()[1].stopService()
        self.net.run(1.0)
        node.wire.state = "down"
        self.net.run(1.0)
        vars(self.memory).update({name: value for name, value in vars(fresh).items() if name != "nudges"})
        self.memory.id, self.memory.peers = "another one", {}
        node.wire.state = "up"
        self.net.run(2.0)
        left = [record for record, _ in self.memory.peers.values() if record.state is State.LEFT]
        self.assertEqual(len(left), len(gone) + 1)

    def test_a_write_that_fails(self) -> None:
        """What could not be written waits, in whichever call the store failed."""
        node = self.nodes[0]
        name = next(peer.id for peer in node.keeping.own.peers())
        node.wire.fails = {"write"}
        self.agents.pop(name).stopService()
        self.net.run(5.0)
        self.assertEqual(self.nodes[1].states()[name], "alive")
        self.assertIn("changes wait", node.ledger.degraded() or "")
        node.wire.fails = set()
        self.net.run(3.0)
        self.assertEqual(self.nodes[1].states()[name], "left")

    def test_a_fault_of_ours(self) -> None:
        """What goes wrong in a turn is logged, and ends nothing."""
        node = self.nodes[0]
        node.wire.store.changes = lambda *_: 1 // 0  # type: ignore[method-assign]
        self.net.run(2.0)
        self.assertIn("a fault of this server", node.ledger.degraded() or "")
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))
        del node.wire.store.changes  # type: ignore[method-assign]
        self.net.run(3.0)
        self.assertIsNone(node.ledger.degraded())
        self.assert_alike()

    def test_never_there(self) -> None:
        """A server that starts while the store is away lets peers in at once; with a token after a short wait."""
        self.away("mute")
        self.net.run(4.0)
        late = Node(self.net.host("n9"), self.memory)
        late.wire.state = "mute"
        self.nodes.append(late)
        host = self.net.host("z")
        service = HeartbeatClientService(["n9:7600"], HeartbeatConfig(id="z", interval=INTERVAL), reactor=host.reactor)
        service.startService()
        self.agents["z"] = service
        self.net.run(1.0)
        self.assertTrue(self.session("z"))
        self.away("up")
        self.net.run(6.0)
        self.assertEqual(self.nodes[0].states()["z"], "alive")
        self.assert_alike()
