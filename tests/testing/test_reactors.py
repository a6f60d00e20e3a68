"""The simulated reactor: Twisted's timers and triggers in virtual time."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, cooperate, deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from heartbeat.interfaces import IClocked
from heartbeat.testing import SimulatedNetwork


class ReactorCase(SynchronousTestCase):
    """A host with a reactor."""

    def setUp(self) -> None:
        """One host."""
        self.net = SimulatedNetwork(seed=3)
        self.addCleanup(self.net.assert_nothing_left)
        self.host = self.net.host("host")
        self.reactor = self.host.reactor
        self.seen: list[tuple[object, float]] = []

    def note(self, what: object = None) -> None:
        """Something happened."""
        self.seen.append((what, round(self.net.now, 4)))


class TimeTests(ReactorCase):
    """Timers."""

    def test_interfaces(self) -> None:
        """It is what services, endpoints and heartbeats ask of a reactor."""
        for interface in (
            IReactorCore,
            IReactorFDSet,
            IReactorFromThreads,
            IReactorPluggableNameResolver,
            IReactorTCP,
            IReactorTime,
            IClocked,
        ):
            self.assertTrue(verifyObject(interface, self.reactor), interface)

    def test_call_later(self) -> None:
        """Calls come at their times, with their arguments, and cancelled ones never."""
        self.reactor.callLater(2.0, self.note, "b")
        self.reactor.callLater(1.0, self.note, what="a")
        self.reactor.callLater(1.5, self.note, "never").cancel()
        moved = self.reactor.callLater(9.0, self.note, "moved")
        moved.reset(3.0)
        self.net.run(5.0)
        self.assertEqual(self.seen, [("a", 1.0), ("b", 2.0), ("moved", 3.0)])

    def test_calls_from_calls(self) -> None:
        """What is set in a callback counts from that moment; zero is the next turn."""
        self.reactor.callLater(1.0, lambda: self.reactor.callLater(1.0, self.note, "later"))
        self.reactor.callLater(1.0, lambda: self.reactor.callLater(0, self.note, "soon"))
        self.net.run(3.0)
        self.assertEqual(self.seen, [("soon", 1.0), ("later", 2.0)])

    def test_a_call_that_raises_is_logged(self) -> None:
        """The loop goes on."""
        self.reactor.callLater(1.0, lambda: 1 // 0)
        self.reactor.callLater(1.0, self.note, "next")
        self.net.run(2.0)
        self.assertEqual(self.seen, [("next", 1.0)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_twisted_helpers(self) -> None:
        """LoopingCall, deferLater and addTimeout take the reactor as their clock."""
        looping = LoopingCall(self.note, "tick")
        looping.clock = self.reactor
        looping.start(1.0)
        self.assertEqual(self.net.result(deferLater(self.reactor, 2.5, lambda: "done")), "done")
        looping.stop()
        self.assertEqual(self.seen, [("tick", 0.0), ("tick", 1.0), ("tick", 2.0)])
        never: Deferred[None] = Deferred()
        never.addTimeout(1.0, self.reactor)
        self.assertRaises(DeferredTimeoutError, self.net.result, never)

    def test_a_cooperative_task(self) -> None:
        """A loop that is never idle makes virtual time pass: a microsecond a turn."""
        task = cooperate(iter(range(10)))
        task.stop()
        left = [1000]

        def work() -> None:
            left[0] -= 1
            if left[0]:
                self.reactor.callLater(0, work)

        work()
        self.net.run(0.01)
        self.assertEqual(left, [0])

    def test_wall_clock_timers(self) -> None:
        """As in Twisted: a step forward fires a timer when the loop next wakes, a step backward freezes it."""
        self.reactor.callLater(30.0, self.note, "early")
        self.net.run(1.0)
        self.host.step_clock(3600.0)
        self.net.run(1.0)
        self.assertEqual(self.seen, [])
        self.reactor.callFromThread(self.note, "woken")
        self.net.run(1.0)
        self.assertEqual([what for what, _ in self.seen], ["woken", "early"])
        self.reactor.callLater(1.0, self.note, "frozen")
        self.host.step_clock(-3600.0)
        self.net.run(3600.0)
        self.assertEqual(len(self.seen), 2)
        self.net.run(2.0)
        self.assertEqual(len(self.seen), 3)

    def test_monotonic_timers(self) -> None:
        """As in an application that sets reactor.seconds = time.monotonic: no step is noticed."""
        host = self.net.host("monotonic", monotonic_timers=True)
        host.reactor.callLater(30.0, self.note)
        for step in (3600.0, -7200.0):
            host.step_clock(step)
            self.net.run(10.0)
        self.assertEqual(self.seen, [])
        self.net.run(10.0)
        self.assertEqual(self.seen, [(None, 30.0)])
        self.assertEqual(host.reactor.seconds(), host.reactor.monotonic())
        self.assertEqual(self.reactor.seconds(), self.reactor.wall())


class LifeTests(ReactorCase):
    """Startup, shutdown, threads."""

    def test_it_runs_already(self) -> None:
        """callWhenRunning calls at once; running it by hand is refused."""
        self.assertTrue(self.reactor.running)
        self.reactor.callWhenRunning(self.note, "running")
        self.assertEqual(self.seen, [("running", 0.0)])
        self.assertRaises(RuntimeError, self.reactor.mainLoop)

    def test_stop(self) -> None:
        """Shutdown triggers run, those before it may take their time; then the process is over, its ports closed."""
        waiting: Deferred[None] = Deferred()
        self.reactor.addSystemEventTrigger("before", "shutdown", lambda: waiting)
        self.reactor.addSystemEventTrigger("after", "shutdown", self.note, "after")
        self.host.listen(80, Factory())
        self.reactor.callLater(2.0, waiting.callback, None)
        self.reactor.callLater(99.0, self.note, "never")
        self.reactor.stop()
        self.net.run(1.0)
        self.assertEqual(self.seen, [])
        self.net.run(2.0)
        self.assertEqual(self.seen, [("after", 2.0)])
        self.assertIsNone(self.host.process)
        self.assertRaises(ReactorNotRunning, self.reactor.stop)

    def test_calls_from_threads(self) -> None:
        """They come in the next turn, in order, before the timers."""
        self.reactor.callLater(0, self.note, "timer")
        self.reactor.callFromThread(self.note, "first")
        self.reactor.callFromThread(self.note, "second")
        self.net.run(0.1)
        self.assertEqual([what for what, _ in self.seen], ["first", "second", "timer"])

    def test_no_threads(self) -> None:
        """What is meant for a thread runs in the loop: the same results, in the same order, every time."""
        pool = self.reactor.getThreadPool()
        pool.adjustPoolsize(0, 5)
        self.assertEqual(self.net.result(deferToThreadPool(self.reactor, pool, divmod, 7, 2)), (3, 1))
        self.assertRaises(ZeroDivisionError, self.net.result, deferToThreadPool(self.reactor, pool, divmod, 7, 0))
        self.reactor.callInThread(self.note, "called")
        self.net.run(0.1)
        self.assertEqual([what for what, _ in self.seen], ["called"])

    def test_chance_is_the_networks(self) -> None:
        """draw() gives numbers of the seed, from 0 to below 1."""
        drawn = [self.reactor.draw() for _ in range(100)]
        self.assertTrue(all(0.0 <= one < 1.0 for one in drawn))
        again = SimulatedNetwork(seed=3).host("host").reactor
        self.assertEqual([again.draw() for _ in range(100)], drawn)

    def test_foreign_descriptors_are_refused(self) -> None:
        """A real file has no place in a simulated poll."""

        class Real:
            def fileno(self) -> int:
                return 0

        self.assertRaises(ValueError, self.reactor.addReader, Real())
        self.assertEqual((self.reactor.getReaders(), self.reactor.getWriters()), ([], []))
