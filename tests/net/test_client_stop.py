"""Stopping a client service, in whatever state it is: it never hangs, and nothing is left."""

from __future__ import annotations

from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol

from heartbeat import Event, HeartbeatListener, Peer, State
from heartbeat.net import Heartbeat
from heartbeat.testing import SilentDrop
from tests.net.cases import DETECT, SimulatedCase

#: Segments take a while, and a closing connection a turn or two.
SOON = 0.1
#: A BYE has a second to arrive.
LINGER = 1.0


class StopCase(SimulatedCase):
    """Each test ends with nothing left: no timer, no connection, no reference."""

    def assert_stops(self, stopping: Any, within: float) -> None:
        """In this time; and then nothing is scheduled on the client any more."""
        began = self.net.now
        self.net.result(stopping)
        self.assertLessEqual(self.net.now - began, within)
        self.net.run(SOON)
        self.assertEqual(self.client.reactor.getDelayedCalls(), [])
        self.assertEqual(list(self.client.reactor.open_sockets()), [])


class StateTests(StopCase):
    """``stopService`` in every state."""

    def test_never_started(self) -> None:
        """At once; who waited is told."""
        service = self.service()
        waiting = service.when_alive()
        self.assert_stops(service.stopService(), 0.0)
        del waiting
        self.failureResultOf(service.when_alive(), CancelledError)

    def test_while_tcp_connects(self) -> None:
        """At once, though the path is dead; who waited is told."""
        self.path.add(SilentDrop())
        service = self.service()
        service.startService()
        waiting = service.when_alive()
        self.net.run(1.0)
        self.assert_stops(service.stopService(), 0.0)
        self.failureResultOf(waiting, CancelledError)

    def test_before_the_name_is_known(self) -> None:
        """In the very turn in which it started."""
        self.listen()
        service = self.service()
        service.startService()
        self.assert_stops(service.stopService(), SOON)
        self.assertEqual(self.notes.lines, [])

    def test_with_other_servers(self) -> None:
        """It does not go to the next server instead."""
        other = self.net.host("other")
        self.listen(other)
        self.path.add(SilentDrop())
        service = self.service(self.server, other)
        service.startService()
        self.net.run(1.0)
        self.assert_stops(service.stopService(), 0.0)
        self.assertEqual(self.notes.lines, [])
        self.assertFalse(service.running)

    def test_before_hello_is_answered(self) -> None:
        """At once, on a server that is silent."""
        self.server.listen(7600, Factory.forProtocol(Protocol))
        service = self.service()
        service.startService()
        self.net.run(1.0)
        self.assert_stops(service.stopService(), SOON)

    def test_while_it_waits(self) -> None:
        """At once, between two attempts."""
        service = self.service()
        service.startService()
        waiting = service.when_alive()
        self.net.run(20.0)
        self.assert_stops(service.stopService(), SOON)
        self.failureResultOf(waiting, CancelledError)

    def test_connected(self) -> None:
        """With BYE 0: both ends call it left."""
        self.listen()
        service = self.connect()
        heartbeat = service.heartbeat
        self.net.run(1.0)
        self.assert_stops(service.stopService(), SOON)
        assert heartbeat is not None
        self.assertIs(heartbeat.state, State.LEFT)
        self.assertIsNone(service.heartbeat)
        self.assertEqual(self.notes.departures(), [("client", "leaving")])
        self.assertEqual(self.notes.deaths() + self.client_notes.deaths(), [])

    def test_on_a_dead_path(self) -> None:
        """In a second, although the BYE goes nowhere."""
        self.listen()
        service = self.connect()
        self.path.add(SilentDrop())
        self.assert_stops(service.stopService(), LINGER + SOON)

    def test_while_suspect(self) -> None:
        """So too when the path has been dead for a while."""
        self.listen()
        service = self.connect()
        heartbeat = service.heartbeat
        assert heartbeat is not None
        self.net.run(1.0)
        self.path.add(SilentDrop())
        self.net.run_until(lambda: heartbeat.state is State.SUSPECT, DETECT)
        self.assert_stops(service.stopService(), LINGER + SOON)

    def test_while_the_server_leaves(self) -> None:
        """A BYE of the server that has just come is no obstacle."""
        factory = self.listen()
        service = self.connect()
        factory.drain(5.0)
        self.net.run(0.0011)
        self.assert_stops(service.stopService(), LINGER + SOON)

    def test_right_after_a_loss(self) -> None:
        """Nor is a connection that has just been lost."""
        self.listen()
        service = self.connect()
        self.server.crash()
        self.net.run_until(lambda: service.heartbeat is None, 5.0)
        self.assert_stops(service.stopService(), SOON)

    def test_twice(self) -> None:
        """Each of two calls fires; so does one after the end."""
        self.listen()
        service = self.connect()
        one, two = service.stopService(), service.stopService()
        self.assert_stops(one, SOON)
        self.assert_stops(two, 0.0)
        self.assert_stops(service.stopService(), 0.0)


class WithinTests(StopCase):
    """``stopService`` from within."""

    def test_when_alive(self) -> None:
        """From the callback that says it is alive (ClientService itself would raise there)."""
        self.listen()
        service = self.service()
        stopped: Deferred[Any] = service.when_alive().addCallback(lambda _: service.stopService())
        service.startService()
        self.assert_stops(stopped, SOON)
        self.assertEqual(self.notes.departures(), [("client", "leaving")])

    def test_several_callbacks(self) -> None:
        """From one of several, when the others do something else with the handle."""
        self.listen()
        service = self.service()

        async def work() -> float:
            heartbeat = await service.when_alive()
            return await heartbeat.ping()

        async def stop() -> None:
            await service.when_alive()
            await service.stopService()

        worked, stopped = Deferred.fromCoroutine(work()), Deferred.fromCoroutine(stop())
        service.startService()
        self.assert_stops(stopped, SOON)
        worked.addErrback(lambda failure: failure.trap(Exception))
        self.net.result(worked)

    def test_listeners(self) -> None:
        """From any method of the listener."""
        for method in ("joined", "changed", "gone"):
            service = self.service()
            stopped: list[Any] = []

            class Ender(HeartbeatListener):
                def end(self, name: str, service: Any = service, method: str = method, to: Any = stopped) -> None:
                    if name == method and not to:
                        to.append(service.stopService())

                def joined(self, peer: Peer) -> None:
                    self.end("joined")

                def changed(self, peer: Peer, event: Event) -> None:
                    self.end("changed")

                def gone(self, peer: Peer, event: Event) -> None:
                    self.end("gone")

            service.connectors.listener = Ender()
            factory = self.listen()
            service.startService()
            self.net.run(1.0)
            if method == "gone":
                factory.drain(1.0)
                self.net.run(1.0)
            self.assertEqual(len(stopped), 1, method)
            self.assert_stops(stopped[0], LINGER + SOON)
            self.server.stop_listening()
            self.net.run(SOON)

    def test_events(self) -> None:
        """From a reader of its events, at the last one."""
        factory = self.listen()
        service = self.connect()
        heartbeat = service.heartbeat
        assert heartbeat is not None

        async def follow(heartbeat: Heartbeat) -> None:
            async for _ in heartbeat.events():
                pass
            await service.stopService()

        stopped = Deferred.fromCoroutine(follow(heartbeat))
        factory.drain(1.0)
        del heartbeat
        self.assert_stops(stopped, LINGER + SOON)


class AgainTests(StopCase):
    """After a stop."""

    def test_started_again(self) -> None:
        """It is connected again, with the same session."""
        self.listen()
        service = self.connect()
        assert service.heartbeat is not None
        session = service.heartbeat.peer.session
        self.net.result(service.stopService())
        service.startService()
        again = self.net.result(service.when_alive())
        self.assertEqual((again.peer.session, again.state), (session, State.ALIVE))

    def test_started_while_it_stops(self) -> None:
        """It ends running, connected, once."""
        factory = self.listen()
        service = self.connect()
        stopping = service.stopService()
        service.startService()
        self.net.result(stopping)
        self.net.run(2.0)
        self.assertIsNotNone(service.heartbeat)
        self.assertEqual(factory.connections, 1)

    def test_a_hundred_times(self) -> None:
        """Started and stopped at any moment of its life, nothing adds up."""
        factory = self.listen()
        service = self.service()
        for number in range(100):
            service.startService()
            self.net.run(0.0004 * (number % 25))
            self.assert_stops(service.stopService(), LINGER + SOON)
        self.net.run(SOON)
        self.assertEqual(factory.connections, 0)
        self.assertEqual(self.client_notes.deaths(), [])

    def test_in_an_application(self) -> None:
        """As a part of a service of services it waits for its end."""
        self.listen()
        service = self.service()
        everything = MultiService()
        service.setServiceParent(everything)
        everything.startService()
        self.net.result(service.when_alive())
        self.path.add(SilentDrop())
        self.assert_stops(everything.stopService(), LINGER + SOON)
