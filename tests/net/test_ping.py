"""``heartbeat.ping()``: one question, one answer, and nobody waits for ever."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError

from heartbeat import DeadlineExpired, State
from heartbeat.errors import NotConnected, PingLost
from heartbeat.net import UnresponsiveConnection
from heartbeat.wire.frames import Bye, Ping
from tests.net.cases import STEP, HandleCase


class PingTests(HandleCase):
    """``heartbeat.ping()``."""

    def test_a_round_trip(self) -> None:
        """It is put at once, and fires with the seconds from question to answer."""
        transport, heartbeat = self.open()
        waiting = heartbeat.ping()
        self.assertNoResult(waiting)
        self.advance(0.125)
        self.answer_last(transport)
        self.assertAlmostEqual(self.successResultOf(waiting), 0.125)
        self.assertAlmostEqual(heartbeat.rtt.last or 0.0, 0.125)

    def test_the_deadline_is_the_callers(self) -> None:
        """After its timeout the caller waits no more; nothing is closed, nobody judged, a late answer is no error."""
        transport, heartbeat = self.open()
        waiting = heartbeat.ping(timeout=0.5)
        self.advance(0.5 + STEP)
        self.failureResultOf(waiting, DeadlineExpired)
        self.assertEqual((heartbeat.state, transport.done), (State.ALIVE, []))
        self.answer_last(transport)
        self.assertIs(heartbeat.state, State.ALIVE)
        again = heartbeat.ping(timeout=0.5)
        self.answer_last(transport)
        self.successResultOf(again)
        self.advance(1.0)

    def test_cancelled(self) -> None:
        """A caller may cancel; the answer that comes then is a round trip like any other."""
        transport, heartbeat = self.open()
        waiting = heartbeat.ping()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.advance(0.25)
        self.answer_last(transport)
        self.assertAlmostEqual(heartbeat.rtt.last or 0.0, 0.25)

    def test_lost(self) -> None:
        """When a later question was answered and this one was not, it is lost, and the peer alive."""
        transport, heartbeat = self.open()
        first, second, third = (heartbeat.ping() for _ in range(3))
        self.answer_last(transport)
        self.failureResultOf(first, PingLost)
        self.failureResultOf(second, PingLost)
        self.successResultOf(third)
        self.assertEqual(heartbeat.peer.tally.lost, 2)

    def test_not_open(self) -> None:
        """Before the gate and after the end there is nobody to ask."""
        closed = self.connect()
        self.failureResultOf(closed.protocol.heartbeat.ping(), NotConnected)
        self.assertEqual(closed.said(), [])
        transport, heartbeat = self.open()
        heartbeat.leave()
        self.failureResultOf(heartbeat.ping(), NotConnected)
        transport.lose()
        self.failureResultOf(heartbeat.ping(), NotConnected)
        self.assertEqual([type(frame) for frame in transport.said()], [Bye])

    def test_the_end(self) -> None:
        """Who still waits when the connection ends gets the reason of the end."""
        transport, heartbeat = self.open()
        waiting = [heartbeat.ping() for _ in range(3)]
        transport.lose()
        for one in waiting:
            failure = self.failureResultOf(one, UnresponsiveConnection)
            self.assertEqual(failure.value.cause, "peer_closed")

    def test_not_too_many(self) -> None:
        """No more than 1024 may be unanswered (wire.md §1): the next one fails at once and is not put."""
        transport, heartbeat = self.open()
        waiting = [heartbeat.ping() for _ in range(1024)]
        self.failureResultOf(heartbeat.ping(), PingLost)
        self.assertEqual(sum(isinstance(frame, Ping) for frame in transport.said()), 1024)
        for one in waiting:
            one.cancel()
            self.failureResultOf(one, CancelledError)
        self.failureResultOf(heartbeat.ping(), PingLost)
        transport.lose()

    def test_one_cancels_the_others(self) -> None:
        """Callers that end each other's waiting, at the end of all, leave everybody with a result."""
        transport, heartbeat = self.open()
        gone = heartbeat.when_gone()
        waiting = [heartbeat.ping() for _ in range(5)]

        def give_up(failure: Any) -> None:
            for other in waiting:
                other.cancel()

        for one in waiting:
            one.addErrback(give_up)
        transport.lose()
        self.successResultOf(gone)
        for one in waiting:
            self.successResultOf(one)
