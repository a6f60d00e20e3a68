"""The drop-in for TimeoutMixin: what Twisted's does, by either kind of clock."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import ConfigError
from tests.net.adapters.cases import Chat, Reactor


class Same:
    """What both kinds of timer do as Twisted's does. ``live`` lets time go by."""

    live: Callable[[float], None]
    chat: Chat
    assertEqual: Any
    assertRaises: Any
    assertIsNone: Any
    assertIn: Any
    delayed: Callable[[], Any]

    def test_falls_after_the_time(self) -> None:
        """Silent for so long it times out, once, and nothing is left."""
        self.chat.makeConnection(StringTransport())
        self.live(2.9)
        self.assertEqual(self.chat.timed_out, 0)
        self.live(0.2)
        self.assertEqual(self.chat.timed_out, 1)
        self.live(10.0)
        self.assertEqual((self.chat.timed_out, self.chat.timeOut), (1, 3.0))
        self.assertEqual(self.delayed(), [])

    def test_a_sign_of_life_puts_it_off(self) -> None:
        """Each begins the time anew."""
        self.chat.makeConnection(StringTransport())
        for _ in range(5):
            self.live(2.5)
            self.chat.dataReceived(b"hello\r\n")
        self.live(2.9)
        self.assertEqual(self.chat.timed_out, 0)
        self.live(0.2)
        self.assertEqual(self.chat.timed_out, 1)

    def test_set_anew(self) -> None:
        """Another period counts from now; the one before is returned, which is also the attribute."""
        self.chat.makeConnection(StringTransport())
        self.live(2.0)
        self.assertEqual(self.chat.setTimeout(5.0), 3.0)
        self.assertEqual(self.chat.timeOut, 5.0)
        self.live(4.9)
        self.assertEqual(self.chat.timed_out, 0)
        self.live(0.2)
        self.assertEqual(self.chat.timed_out, 1)

    def test_shorter(self) -> None:
        """Also a shorter one."""
        self.chat.makeConnection(StringTransport())
        self.assertEqual(self.chat.setTimeout(1), 3.0)
        self.live(1.1)
        self.assertEqual(self.chat.timed_out, 1)

    def test_what_it_was(self) -> None:
        """What is returned is the attribute as it was, switched on or off."""
        self.chat.timeOut = 5
        self.assertEqual(self.chat.setTimeout(10), 5)
        self.assertEqual(self.chat.setTimeout(None), 10)
        self.assertIsNone(self.chat.setTimeout(1))
        self.assertEqual(self.chat.timeOut, 1)
        self.chat.setTimeout(None)

    def test_the_attribute_is_what_counts(self) -> None:
        """Who changes ``timeOut`` itself has the new period from the next sign of life on."""
        self.chat.makeConnection(StringTransport())
        self.chat.timeOut = 1.0
        self.chat.resetTimeout()
        self.live(1.1)
        self.assertEqual(self.chat.timed_out, 1)

    def test_switched_off(self) -> None:
        """Nothing falls and nothing is left; twice is once, and a sign of life does not switch it on."""
        self.chat.makeConnection(StringTransport())
        self.chat.setTimeout(None)
        self.chat.setTimeout(None)
        self.chat.resetTimeout()
        self.assertEqual(self.delayed(), [])
        self.live(9.0)
        self.assertEqual((self.chat.timed_out, self.chat.timeOut), (0, None))

    def test_after_it_fell(self) -> None:
        """A sign of life does nothing any more; a new timeout begins anew, with or without the end of the first."""
        self.chat.makeConnection(StringTransport())
        self.live(3.1)
        self.chat.resetTimeout()
        self.assertEqual(self.delayed(), [])
        self.chat.setTimeout(1.0)
        self.live(1.1)
        self.assertEqual(self.chat.timed_out, 2)

    def test_before_there_is_a_connection(self) -> None:
        """It counts, and with nothing to close it closes nothing."""
        self.chat.setTimeout(1.0)
        self.live(1.1)
        self.assertEqual(self.chat.timed_out, 1)

    def test_no_time(self) -> None:
        """Zero falls as soon as it can."""
        self.chat.makeConnection(StringTransport())
        self.chat.setTimeout(0)
        self.live(0.1)
        self.assertEqual(self.chat.timed_out, 1)

    def test_wrong_times(self) -> None:
        """Negative, endless, or no number: an error that names it, and what was set goes on."""
        self.chat.makeConnection(StringTransport())
        wrong: tuple[Any, ...] = (-1, math.nan, math.inf, "3")
        for period in wrong:
            self.assertIn(repr(period), str(self.assertRaises(ConfigError, self.chat.setTimeout, period)))
        self.live(3.1)
        self.assertEqual(self.chat.timed_out, 1)

    def test_it_aborts(self) -> None:
        """Not a graceful close, which hangs on a dead path; and where a transport cannot abort, it is closed."""
        transport = StringTransportWithDisconnection()
        transport.protocol = self.chat
        self.chat.makeConnection(transport)
        self.live(3.1)
        self.assertEqual((transport.disconnected, transport.connected), (True, False))
        self.assertEqual(self.chat.timeout_cause, "unattributed")

    def test_a_transport_that_cannot_abort(self) -> None:
        """It is closed, once, however often that is asked."""
        closed: list[int] = []

        class Closing:
            def loseConnection(self) -> None:
                closed.append(1)

        transport: Any = Closing()
        self.chat.makeConnection(transport)
        self.live(3.1)
        self.chat.timeoutConnection()
        self.assertEqual(closed, [1])

    def test_silence_while_we_do_not_read(self) -> None:
        """The application paused reading, for longer than the timeout: nothing falls. It reads again: there is time."""
        transport = StringTransport()
        self.chat.makeConnection(transport)
        self.live(1.0)
        self.chat.pauseProducing()
        self.assertEqual(transport.producerState, "paused")
        self.live(20.0)
        self.assertEqual(self.chat.timed_out, 0)
        self.chat.resumeProducing()
        self.assertEqual(transport.producerState, "producing")
        self.live(1.5)
        self.assertEqual(self.chat.timed_out, 0)
        self.live(1.6)
        self.assertEqual(self.chat.timed_out, 1)

    def test_set_while_we_do_not_read(self) -> None:
        """Switched off, paused, and set again: it begins when we read."""
        transport = StringTransport()
        self.chat.makeConnection(transport)
        self.chat.setTimeout(None)
        transport.pauseProducing()
        self.chat.setTimeout(2.0)
        self.live(9.0)
        self.assertEqual(self.chat.timed_out, 0)
        transport.resumeProducing()
        self.live(1.9)
        self.assertEqual(self.chat.timed_out, 0)
        self.live(0.6)
        self.assertEqual(self.chat.timed_out, 1)

    def test_switched_off_while_we_do_not_read(self) -> None:
        """Reading again does not switch it on."""
        transport = StringTransport()
        self.chat.makeConnection(transport)
        transport.pauseProducing()
        self.chat.setTimeout(None)
        transport.resumeProducing()
        self.assertEqual(self.delayed(), [])
        self.live(9.0)
        self.assertEqual(self.chat.timed_out, 0)

    def test_keeps_nobody_alive(self) -> None:
        """A protocol that never switched it off goes when its connection goes; Twisted's own would keep it."""
        chat, transport = self.made(), StringTransport()
        chat.makeConnection(transport)
        gone = weakref.ref(chat), weakref.ref(transport)
        del chat, transport
        gc.collect()
        self.assertEqual([each() for each in gone], [None, None])
        self.live(9.0)
        self.assertEqual(self.delayed(), [])

    made: Callable[[], Chat]


class PlainTests(Same, SynchronousTestCase):
    """On a clock that the application brought: at exactly the times of Twisted's."""

    def setUp(self) -> None:
        """A clock and a protocol that uses it."""
        self.clock = Clock()
        self.delayed = self.clock.getDelayedCalls
        self.chat = self.made()
        self.addCleanup(self.chat.setTimeout, None)

    def made(self) -> Chat:
        """As tests have always done it."""
        chat = Chat()
        chat.callLater = self.clock.callLater  # type: ignore[method-assign]  # the documented seam of Twisted's mixin
        return chat

    def live(self, seconds: float) -> None:
        """In two steps: a test's clock may leap."""
        self.clock.pump([seconds / 2, seconds / 2])

    def test_one_call_at_the_time(self) -> None:
        """What existing tests look at: one delayed call, for the very moment, moved by each sign of life."""
        self.chat.makeConnection(StringTransport())
        (call,) = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime(), 3.0)
        self.clock.advance(1.0)
        self.chat.resetTimeout()
        self.assertEqual([each.getTime() for each in self.clock.getDelayedCalls()], [4.0])
        self.clock.advance(3.0)
        self.assertEqual(self.chat.timed_out, 1)

    def test_a_leap_is_time(self) -> None:
        """A test that leaps over the time means it."""
        self.chat.makeConnection(StringTransport())
        self.clock.advance(1000.0)
        self.assertEqual(self.chat.timed_out, 1)

    def test_cancelled_by_others(self) -> None:
        """A call that somebody else cancelled (a reactor that ends) is no error when it is switched off."""
        self.chat.makeConnection(StringTransport())
        self.clock.getDelayedCalls()[0].cancel()
        self.chat.setTimeout(None)
        self.assertIsNone(self.chat.timeOut)


class MethodTests(PlainTests):
    """The same where a subclass overrides ``callLater``."""

    def made(self) -> Chat:
        """As Twisted's documentation does it."""
        clock = self.clock

        class Testable(Chat):
            def callLater(self, period: float, func: Callable[[], object]) -> Any:
                return clock.callLater(period, func)

        return Testable()


class AttentiveTests(Same, SynchronousTestCase):
    """On a reactor."""

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
