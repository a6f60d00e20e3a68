"""One seed, run: a server and its clients, a foreign judge and its peer, the faults of a plan, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from heartbeat import Dead, Event, HeartbeatConfig, HeartbeatListener, Left, Peer, Spared
from heartbeat.net import Heartbeat, HeartbeatClientService, HeartbeatFactory
from heartbeat.testing import Delay, SimulatedHost, SimulatedNetwork
from tests.scenarios.foreign import Judge, JudgeFactory, echo_factory
from tests.scenarios.injections import Injections
from tests.scenarios.plans import Plan, draw_plan
from tests.scenarios.verdicts import Verdicts

if TYPE_CHECKING:
    from twisted.internet.interfaces import IConnector

__all__ = ["Outcome", "World", "run_seed"]

PORT: Final = 7600
FOREIGN_PORT: Final = 7601
#: Virtual seconds between two looks whether everything is decided.
LOOK: Final = 0.5


class Notes(HeartbeatListener):
    """Writes down who came, who ended and who was spared.

    :ivar ends: when, in the time of the network, and who
    """

    def __init__(self, net: SimulatedNetwork) -> None:
        self.net = net
        self.joins: list[Peer] = []
        self.ends: list[tuple[float, Peer, Dead | Left]] = []
        self.spared: Counter[str] = Counter()

    def joined(self, peer: Peer) -> None:
        """A gate opened."""
        self.joins.append(peer)

    def changed(self, peer: Peer, event: Event) -> None:
        """Anything after that."""
        if isinstance(event, (Dead, Left)):
            self.ends.append((self.net.now, peer, event))
        elif isinstance(event, Spared):
            self.spared[event.reason] += 1


@dataclass
class Outcome:
    """What came of a seed.

    :ivar problems: what must not have happened, a line for each
    :ivar false_deaths: living peers that were declared dead in the chaos phase
    :ivar injected: how often each kind of fault and of end was
    :ivar found: of each end that was to be found: kind, cause, seconds that it took, seconds that it might have taken
    :ivar spared: why living peers were not killed
    """

    plan: Plan
    problems: list[str] = field(default_factory=list)
    false_deaths: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    found: list[tuple[str, str, float, float]] = field(default_factory=list)
    spared: Counter[str] = field(default_factory=Counter)


class World:
    """The hosts of a plan, connected.

    :ivar notes: of the server and of each client
    :ivar handles: of each client
    :ivar judge: the foreign one
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.net = SimulatedNetwork(plan.seed)
        self.hosts: dict[str, SimulatedHost] = {
            name: self.net.host(name, monotonic_timers=monotonic) for name, monotonic in plan.monotonic.items()
        }
        self.notes = {name: Notes(self.net) for name in ("server", *plan.clients)}
        self.services: list[HeartbeatClientService] = []
        self.handles: dict[str, Heartbeat] = {}
        self._connectors: list[IConnector] = []
        for one, other in [("server", client) for client in plan.clients] + [("watcher", "echo")]:
            self.net.between(one, other).add(Delay(*plan.flight))
        self._serve()
        for client in plan.clients:
            self._connect(client)
        self._watch()

    def path(self, end: str) -> Any:
        """Between the server and a client, or between the watcher and its peer."""
        return self.net.between(end, "echo" if end == "watcher" else "server")

    def heard_at(self, judge: str, peer: str) -> float:
        """The last sign of life, in the time of the network."""
        if judge == "watcher":
            heard = self.judge.beats.liveness.heard_at
        elif judge == "server":
            heard = next(one.heard_at or 0.0 for one in self.notes["server"].joins if one.id == peer)
        else:
            heard = self.handles[judge].peer.heard_at or 0.0
        return self.net.now - (self.hosts[judge].monotonic() - heard)

    def settled(self) -> bool:
        """Everybody is connected and alive."""
        return (
            self.judge.transport is not None
            and len(self.handles) == len(self.plan.clients)
            and len(self.notes["server"].joins) >= len(self.plan.clients)
            and (self.judge.verdict is not None or self.judge.beats.rtt.last is not None)
        )

    def stop(self) -> None:
        """Let everything end, so that nothing is left for the garbage collector to find."""
        for service in self.services:
            service.stopService()
        for host in self.hosts.values():
            host.crash()

    def _config(self, host: str, **more: Any) -> HeartbeatConfig:
        plan = self.plan
        return HeartbeatConfig(interval=plan.interval, multiplier=plan.multiplier_of(host), **more)

    def _serve(self) -> None:
        host = self.hosts["server"]
        factory = HeartbeatFactory(self._config("server"), self.notes["server"], reactor=host.reactor)
        host.listen(PORT, factory)

    def _connect(self, name: str) -> None:
        host = self.hosts[name]
        config = self._config(name, id=name)
        server = f"server:{PORT}"
        service = HeartbeatClientService([server], config, self.notes[name], reactor=host.reactor)
        service.startService()
        self.services.append(service)
        service.when_alive().addCallbacks(partial(self.handles.__setitem__, name), lambda _: None)

    def _watch(self) -> None:
        plan, host = self.plan, self.hosts["watcher"]
        self.hosts["echo"].listen(FOREIGN_PORT, echo_factory())
        self.judge = Judge(host.reactor, self.net, plan.interval, plan.detect)
        self._connectors.append(host.reactor.connectTCP("echo", FOREIGN_PORT, JudgeFactory(self.judge)))


def run_seed(seed: int) -> Outcome:
    """Draw, run, judge the judges."""
    plan = draw_plan(seed)
    outcome = Outcome(plan)
    world = World(plan)
    net = world.net
    try:
        net.run_until(world.settled)
        injections = Injections(world, outcome.injected)
        for injection in plan.injections:
            net.later(injection.at, partial(injections.inject, injection))
        net.run(plan.length)
        verdicts = Verdicts(world, outcome)
        verdicts.nobody_died()
        if not outcome.problems:
            injections.end()
            net.run(verdicts.least)
            while net.now < verdicts.began + verdicts.most and verdicts.waiting():
                net.run(LOOK)
            verdicts.everything_is_decided()
    except AssertionError as error:
        outcome.problems.append(f"{net.now:.3f} s: {error}")
    for notes in world.notes.values():
        outcome.spared += notes.spared
    world.stop()
    return outcome
