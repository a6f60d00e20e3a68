"""The simulator as tests use it: a network, hosts with reactors, and time that only passes when told to.

::

    net = SimulatedNetwork(seed=7)
    server, client = net.host("server"), net.host("client")
    server.listen(7600, HeartbeatFactory(HeartbeatConfig(interval=0.5), reactor=server.reactor))
    service = HeartbeatClientService(["tcp:server:7600"], reactor=client.reactor)
    service.startService()
    heartbeat = net.result(service.when_alive())
    net.between(client, server).add(SilentDrop())
    net.run(1.6)

Nothing here is real: no socket, no thread, no sleep. Every run with one seed is the same run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from heartbeat.testing.checks import find_testcase, leftovers, show_seed
from heartbeat.testing.hosts import Host
from heartbeat.testing.network import DELAY, Network, grained
from heartbeat.testing.reactors import SimulatedReactor

if TYPE_CHECKING:
    import unittest
    from collections.abc import Iterable

    from twisted.internet.interfaces import IListeningPort, IProtocolFactory

    from heartbeat.testing.faults import Named
    from heartbeat.testing.hosts import Process
    from heartbeat.testing.network import Path

__all__ = ["SimulatedHost", "SimulatedNetwork"]

T = TypeVar("T")

#: Virtual seconds that a result, or a condition, is waited for where the caller does not say.
PATIENCE: Final = 60.0
#: Virtual seconds that closing may take before something counts as left over: a BYE has 1 s, a close 3 s.
SETTLE: Final = 5.0


class SimulatedHost(Host):
    """One machine of a simulated network. Make it with :meth:`SimulatedNetwork.host`.

    Faults: :meth:`stall`, :meth:`step_clock`, :meth:`crash`, :meth:`vanish`, or :meth:`add` with a value.

    :ivar reactor: the reactor of the process that runs on it now; another one after :meth:`restart`
    """

    def __init__(self, network: Network, name: str, *, monotonic_timers: bool = False) -> None:
        super().__init__(network, name)
        self._monotonic_timers = monotonic_timers
        self._ports: list[IListeningPort] = []
        self.boot(self._program)

    def listen(self, port: int, factory: IProtocolFactory, *, backlog: int = 50) -> IListeningPort:
        """Listen on all addresses of this host. ``net.assert_nothing_left`` closes what was opened here.

        :param port: 0 takes a free one; ``getHost()`` of the result tells which
        :raises twisted.internet.error.CannotListenError: it is in use
        """
        opened = self.reactor.listenTCP(port, factory, backlog)
        self._ports.append(opened)
        return opened

    def stop_listening(self) -> None:
        """Close what :meth:`listen` opened."""
        ports, self._ports = self._ports, []
        for port in ports:
            port.stopListening()

    def restart(self) -> None:
        """A new process, on a host that is there again: a new :attr:`reactor`, nothing listens, nothing is connected.

        What still runs is killed first, as :meth:`crash` does it. Listen again, and start services anew.
        """
        self._ports.clear()
        self.boot(self._program)

    def _program(self, process: Process) -> SimulatedReactor:
        self.reactor = SimulatedReactor(process, monotonic_timers=self._monotonic_timers)
        return self.reactor


class SimulatedNetwork:
    """Hosts, paths and virtual time.

    Made inside a test case of :mod:`unittest` or trial it shows its seed in the failures of that test.

    :param seed: of all chance in this network: delays with jitter, losses, the clocks of the hosts
    :param delay: seconds that a segment takes from one host to another, faults aside
    :ivar seed: the same
    """

    def __init__(self, seed: int = 0, *, delay: float = DELAY) -> None:
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311 - chance that can be repeated is the point
        self._network = Network(self.random.random, delay)
        self._hosts: list[SimulatedHost] = []
        self._running = False
        testcase = find_testcase()
        if testcase is not None:
            self.attach(testcase)

    def __repr__(self) -> str:
        return f"<SimulatedNetwork seed={self.seed} now={self.now:.6f}>"

    @property
    def now(self) -> float:
        """Virtual seconds since the network was made."""
        return self._network.now

    @property
    def events(self) -> int:
        """How many events there were so far: what a simulation costs."""
        return self._network.timeline.count

    @property
    def hosts(self) -> tuple[SimulatedHost, ...]:
        """All hosts, in the order in which they were made."""
        return tuple(self._hosts)

    def host(self, name: str, *, monotonic_timers: bool = False) -> SimulatedHost:
        """A new host, known to all by this name.

        :param monotonic_timers: its ``callLater`` runs on the monotonic clock, as in an application that sets
            ``reactor.seconds = time.monotonic``; otherwise on the wall clock, as Twisted's does
        :raises ValueError: there is one of that name
        """
        host = SimulatedHost(self._network, name, monotonic_timers=monotonic_timers)
        self._hosts.append(host)
        return host

    def between(self, one: Named | str, other: Named | str) -> Path:
        """The path between two hosts: ``add`` and ``remove`` faults there.

        :raises ValueError: there is no such host
        """
        return self._network.between(one, other)

    def watch(self, watcher: Callable[[float, str], None] | None) -> None:
        """Call ``watcher(now, line)`` for each segment that is sent: what it is, and whether it will arrive."""
        self._network.watcher = watcher

    def attach(self, testcase: unittest.TestCase) -> None:
        """Show the seed in the failed assertions of this test."""
        show_seed(testcase, f"simulated network, seed={self.seed}")

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something in so many virtual seconds, outside of all hosts: a fault that begins or ends by itself."""
        self._network.at(self.now + seconds, lambda: _ignore(call()))

    def run(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        limit = grained(self.now + seconds)
        with self._run():
            while self._network.timeline.step(limit):
                pass

    def run_until(self, predicate: Callable[[], bool], limit: float = PATIENCE) -> float:
        """Let time pass until ``predicate()``, which is asked after each event. Gives the seconds that it took.

        :raises AssertionError: it was still false after ``limit`` seconds
        """
        began = self.now
        end = grained(began + limit)
        with self._run():
            while not predicate():
                if not self._network.timeline.step(end) and not predicate():
                    raise AssertionError(f"not true within {limit:g} virtual seconds ({self!r})")
        return self.now - began

    def result(
        self,
        waited_for: Deferred[T] | Coroutine[Deferred[Any], Any, T] | Generator[Any, Any, T],
        limit: float = PATIENCE,
    ) -> T:
        """Let time pass until a Deferred (or a coroutine) has its result, and give that.

        :raises AssertionError: it has none after ``limit`` seconds; the Deferred is cancelled then
        :raises Exception: what it failed with
        """
        deferred = waited_for if isinstance(waited_for, Deferred) else Deferred.fromCoroutine(waited_for)
        results: list[T | Failure] = []
        deferred.addBoth(results.append)
        try:
            self.run_until(lambda: bool(results), limit)
        except AssertionError:
            deferred.cancel()
            raise
        outcome = results[0]
        if isinstance(outcome, Failure):
            if outcome.value is not None:
                outcome.value.add_note(repr(self))
            outcome.raiseException()
        return outcome

    def assert_nothing_left(self, *, held: Iterable[object] = (), settle: float = SETTLE) -> None:
        """Close the listeners that ``host.listen`` opened, let closing finish, and look for what is still there.

        That is, on every host whose process runs: a timer, an open socket, a transport or a protocol that somebody
        still refers to. Made for ``addCleanup``, before the services are started, so that it runs after they stopped.

        :param held: protocols or transports to which the test itself still refers
        :param settle: virtual seconds for closing
        :raises AssertionError: names what is left, and the seed
        """
        for host in self._hosts:
            host.stop_listening()
        self.run(settle)
        left = leftovers(((host.name, host.reactor) for host in self._hosts if host.process is not None), held)
        if left:
            raise AssertionError(f"left over ({self!r}):\n  " + "\n  ".join(left))

    def _run(self) -> _Running:
        return _Running(self)


class _Running:
    """While time passes: no second time."""

    def __init__(self, net: SimulatedNetwork) -> None:
        self._net = net

    def __enter__(self) -> None:
        if self._net._running:
            raise RuntimeError("virtual time passes already: a callback must not run the network")
        self._net._running = True

    def __exit__(self, *_: object) -> None:
        self._net._running = False


def _ignore(result: object) -> None:
    """What a scheduled call returns interests nobody."""
