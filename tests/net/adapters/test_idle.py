"""What the attentive timeout does and Twisted's does not: stalls, clock steps, pauses, and no cost."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.net.quietpulse import IdlePulse
from heartbeat.net.wheel import wheel_for
from heartbeat.testing import SimulatedHost, SimulatedNetwork
from tests.net.adapters.cases import STEP, TURN, Chat, Reactor


class AttentiveTests(SynchronousTestCase):
    """On a reactor that somebody stalls and sets."""

    def setUp(self) -> None:
        """A reactor, and a protocol that was given its callLater, as Twisted's HTTP channel is."""
        self.reactor = Reactor()
        self.delayed = self.reactor.getDelayedCalls
        self.live = self.reactor.live
        self.chat = self.made()
        self.addCleanup(lambda: self.assertEqual(self.delayed(), []))
        self.addCleanup(self.chat.setTimeout, None)

    def made(self) -> Chat:
        """One more."""
        chat = Chat()
        chat.callLater = self.reactor.callLater  # type: ignore[method-assign]  # as Twisted's HTTPFactory does
        return chat

    def test_our_own_stall(self) -> None:
        """Stopped for an hour, at any moment: not fired. The peer's bytes are read next, and it lives on."""
        for before in (0.1, 1.4, 1.6, 2.7, 2.9, 2.99):
            chat = self.made()
            chat.makeConnection(StringTransport())
            self.live(before)
            self.reactor.stall(3600.0)
            self.assertEqual(chat.timed_out, 0, before)
            chat.dataReceived(b"was there all the time\r\n")
            self.live(2.8)
            self.assertEqual(chat.timed_out, 0, before)
            self.live(0.5)
            self.assertEqual(chat.timed_out, 1, before)

    def test_a_short_stall_at_the_end(self) -> None:
        """A stall of less than an eighth counts as silence, and yet a poll lies between it and the end."""
        chat = self.made()
        chat.makeConnection(StringTransport())
        self.live(2.8)
        self.reactor.callLater(0.29, chat.dataReceived, b"read in the poll after the timers\r\n")
        self.reactor.stall(0.3)
        self.assertEqual(chat.timed_out, 0)
        self.live(2.8)
        self.assertEqual(chat.timed_out, 0)
        chat.setTimeout(None)

    def test_the_wall_clock_steps(self) -> None:
        """An hour forward, or a day: not fired, and then at its time."""
        self.chat.makeConnection(StringTransport())
        self.live(1.0)
        self.reactor.clock.advance(3600.0)
        self.reactor.clock.advance(86_400.0)
        self.live(1.9)
        self.assertEqual(self.chat.timed_out, 0)
        self.live(0.2)
        self.assertEqual(self.chat.timed_out, 1)

    def test_paused_at_the_last_moment(self) -> None:
        """Paused at any moment up to the end, also in the two turns before it: not fired."""
        self.live(STEP)
        turns = 0
        while True:
            chat, transport = self.made(), StringTransport()
            chat.makeConnection(transport)
            self.live(2.96875)
            for _ in range(turns):
                self.reactor.stall(TURN)
            if chat.timed_out:
                break
            transport.pauseProducing()
            self.live(4.0)
            self.assertEqual(chat.timed_out, 0, turns)
            chat.setTimeout(None)
            turns += 1
        self.assertTrue(30 < turns < 100, turns)

    def test_a_sign_of_life_costs_the_reactor_nothing(self) -> None:
        """One timer for all connections, and none is touched by a sign of life."""
        chats = [self.made() for _ in range(50)]
        for chat in chats:
            chat.makeConnection(StringTransport())
        (call,) = self.delayed()
        at = call.getTime()
        for chat in chats:
            chat.dataReceived(b"hello\r\n")
        self.assertEqual([(each, each.getTime()) for each in self.delayed()], [(call, at)])
        self.assertEqual(wheel_for(self.reactor).watched, 50)
        for chat in chats:
            chat.connectionLost()
        self.assertEqual((self.delayed(), wheel_for(self.reactor).watched), ([], 0))

    def test_events_do_not_pile_up(self) -> None:
        """A peer that is heard just after half time, for ever, leaves no trace in memory."""
        self.chat.makeConnection(StringTransport())
        (pulse,) = self.pulses()
        for _ in range(50):
            self.live(1.7)
            self.chat.dataReceived(b"late\r\n")
        self.assertLessEqual(len(pulse.judge.news or ()), 4)
        self.assertEqual(self.chat.timed_out, 0)

    def pulses(self) -> list[Any]:
        """The pulses on the wheel of this reactor."""
        wheel = wheel_for(self.reactor)
        return [one for one in gc.get_objects() if isinstance(one, IdlePulse) and one.wheel is wheel]

    def test_the_reactor_changes(self) -> None:
        """A clock that is brought later is asked from the next beginning on; pauses are known to it, too."""
        transport = StringTransport()
        self.chat.makeConnection(transport)
        self.chat.setTimeout(None)
        clock = Clock()
        self.chat.callLater = clock.callLater  # type: ignore[method-assign]  # the seam
        self.chat.setTimeout(2.0)
        self.assertEqual((self.delayed(), len(clock.getDelayedCalls())), ([], 1))
        transport.pauseProducing()
        self.assertEqual((transport.producerState, clock.getDelayedCalls()), ("paused", []))
        transport.resumeProducing()
        clock.advance(2.0)
        self.assertEqual(self.chat.timed_out, 1)

    def test_behind_a_wrapper(self) -> None:
        """A wrapper forwards its pauses to what it wraps; they are seen."""
        factory = WrappingFactory(Factory.forProtocol(lambda: self.chat))
        raw = StringTransport()
        wrapper = ProtocolWrapper(factory, self.chat)
        wrapper.makeConnection(raw)
        there: Any = self.chat.transport
        there.pauseProducing()
        self.assertEqual(raw.producerState, "paused")
        self.live(9.0)
        self.assertEqual(self.chat.timed_out, 0)
        there.resumeProducing()
        self.live(3.5)
        self.assertEqual((self.chat.timed_out, raw.disconnected), (1, True))

    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.tuples(st.sampled_from(["quiet", "stall", "pause"]), st.integers(1, 99)), max_size=12))
    def test_only_silence_falls(self, steps: list[tuple[str, int]]) -> None:
        """Any mix of quiet times under the timeout, own stalls and pauses of any length, a sign of life after each:
        never fired. Then silence: fired at its time."""
        reactor = Reactor()
        chat, transport = Chat(), StringTransport()
        chat.callLater = reactor.callLater  # type: ignore[method-assign]  # the seam
        chat.period = 1.0
        chat.makeConnection(transport)
        for kind, n in steps:
            if kind == "stall":
                reactor.stall(n)
            elif kind == "pause":
                transport.pauseProducing()
                reactor.live(n / 30)
                transport.resumeProducing()
            else:
                reactor.live(n / 102)
            self.assertEqual(chat.timed_out, 0)
            chat.dataReceived(b"alive\r\n")
        reactor.live(0.98)
        self.assertEqual(chat.timed_out, 0)
        reactor.live(0.2)
        self.assertEqual(chat.timed_out, 1)
        self.assertEqual(reactor.getDelayedCalls(), [])


class Talker(Protocol):
    """A peer that says a word now and then."""


class NetworkTests(SynchronousTestCase):
    """On Twisted's TCP transports, on the simulated network."""

    def setUp(self) -> None:
        """A server with the mixin, and one connection to it."""
        self.net = SimulatedNetwork(seed=5)
        self.server, self.client = self.net.host("server"), self.net.host("client")
        self.chats: list[Chat] = []
        self.forgetful = False
        self.server.listen(7000, self.factory(self.made))
        self.talkers: list[Talker] = []
        self.client.reactor.connectTCP("server", 7000, self.client_factory())
        self.net.run(0.5)

    def factory(self, made: Callable[[], Protocol]) -> Factory:
        """A factory that calls ``made``."""
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: made()
        return factory

    def client_factory(self) -> Any:
        """A factory for one client."""
        factory = ClientFactory()
        factory.noisy = False

        def build(addr: object) -> Talker:
            self.talkers.append(Talker())
            return self.talkers[-1]

        factory.buildProtocol = build
        return factory

    def made(self) -> Chat:
        """A server's protocol, on its host's reactor."""

        class Forgetful(Chat):
            def connectionLost(self, reason: Failure = connectionDone) -> None:
                self.lost = reason

        chat = Forgetful() if self.forgetful else Chat()
        chat.callLater = self.server.reactor.callLater  # type: ignore[method-assign]  # the seam
        self.chats.append(chat)
        return chat

    def nothing_left(self) -> None:
        """No timer, no connection, and no protocol that something still refers to."""
        self.chats.clear()
        self.talkers.clear()
        self.net.assert_nothing_left()

    def say(self, host: SimulatedHost) -> None:
        """A word of the client."""
        transport: Any = self.talkers[0].transport
        transport.write(b"word\r\n")

    def test_silent(self) -> None:
        """Found at its time and aborted; the evidence is there, and the cause is not guessed."""
        chat = self.chats[0]
        self.net.run(3.0)
        self.assertEqual(chat.timed_out, 1)
        self.assertEqual(chat.timeout_cause, "unattributed")
        evidence = chat.timeout_evidence
        assert evidence is not None
        self.assertEqual((evidence.unread, evidence.detail), (0, "silent"))
        self.net.run(1.0)
        del chat
        self.nothing_left()

    def test_a_stall_with_the_bytes_in_the_kernel(self) -> None:
        """The peer spoke all the time and we were stopped: Twisted's kills here, this does not."""
        (chat,) = self.chats
        for second in range(1, 20):
            self.client.reactor.callLater(second, self.say, self.client)
        self.net.run(1.5)
        self.server.stall(8.0)
        self.net.run(15.0)
        self.assertEqual(chat.timed_out, 0)
        self.net.run(6.0)
        self.assertEqual(chat.timed_out, 1)

    def test_forgotten(self) -> None:
        """A protocol that is kept, and that never switched it off, is not timed out after its connection ended."""
        self.forgetful = True
        self.client.reactor.connectTCP("server", 7000, self.client_factory())
        self.net.run(0.2)
        chat = self.chats[1]
        there: Any = self.talkers[1].transport
        there.abortConnection()
        self.net.run(9.0)
        self.assertEqual((chat.timed_out, wheel_for(self.server.reactor).watched), (0, 0))
        del chat, there
        self.nothing_left()
