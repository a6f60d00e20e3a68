"""A heartbeat in a framing of one's own: netstrings that ask and answer."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import NetstringReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import NotConnected, PingLost
from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.events import Alive, Dead, Event, Left, Spared, Suspect
from heartbeat.liveness.states import State
from heartbeat.net.adapters.framing import FramingHeartbeat
from heartbeat.net.reasons import UnresponsiveConnection
from tests.net.adapters.framed import CONFIG, DETECT, LATE, AdapterCase


class NetstringQuestions(FramingHeartbeat):
    """Asks ``?7`` and is answered ``!7``."""

    able = True

    def ask(self, number: int) -> bool:
        """Write it, if that is possible now."""
        if self.able:
            self.protocol.sendString(b"?%d" % number)
        return self.able


class Asking(NetstringReceiver):
    """The end with the heartbeat."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.lost: Failure | None = None
        self.got: list[bytes] = []

    def connectionMade(self) -> None:
        """Begin."""
        self.heartbeat = NetstringQuestions(self, CONFIG, **self.settings).start()

    def stringReceived(self, string: bytes) -> None:
        """An answer, or something else."""
        if string.startswith(b"!"):
            self.heartbeat.answered(int(string[1:]))
        else:
            self.heartbeat.heard()
            self.got.append(string)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end."""
        self.lost = self.heartbeat.stop(reason)


class Answering(NetstringReceiver):
    """A peer that has never heard of us: it answers questions."""

    def stringReceived(self, string: bytes) -> None:
        """Answer."""
        if string.startswith(b"?"):
            self.sendString(b"!" + string[1:])


class Board(HeartbeatListener):
    """Remembers."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def joined(self, peer: Any) -> None:
        """A peer."""
        self.said.append("joined")

    def changed(self, peer: Any, event: Event) -> None:
        """An event."""
        self.said.append(type(event))

    def gone(self, peer: Any, event: Event) -> None:
        """The end."""
        self.said.append("gone")


class FramingCase(AdapterCase):
    """A connection of the two."""

    def setUp(self) -> None:
        super().setUp()
        self.board = Board()
        settings = {"reactor": self.client.reactor, "listener": self.board}
        asking, answering = Factory(), Factory.forProtocol(Answering)
        asking.buildProtocol = lambda addr: Asking(**settings)  # type: ignore[method-assign,assignment]  # of this one
        self.mine, self.theirs = self.pair(answering, asking)
        self.handle = self.mine.heartbeat.heartbeat

    def died(self, most: float = 10.0) -> float:
        """Seconds from now until the connection was given up."""
        return self.net.run_until(lambda: self.mine.lost is not None, most)


class LifeTests(FramingCase):
    """While both are well."""

    def test_alive(self) -> None:
        """Questions are answered, round trips are kept, and nobody is suspected."""
        self.net.run(30.0)
        self.assertIs(self.handle.state, State.ALIVE)
        self.assertLess(self.handle.rtt.smoothed, 0.05)
        self.assertGreater(self.handle.peer.tally.acks_in, 50)
        self.assertEqual(self.board.said, ["joined", Alive])
        self.assertTrue(self.handle.peer.bare)

    def test_ping(self) -> None:
        """The handle is the usual one: a ping is a question like any other."""
        self.assertGreater(self.net.result(self.handle.ping()), 0.0)
        alive = self.net.result(self.handle.when_alive())
        self.assertIs(alive, self.handle)
        self.assertIs(self.mine.heartbeat.heartbeat, self.handle)

    def test_an_answer_within_the_question(self) -> None:
        """A framing that answers by itself, before the question is out of our hands: the round trip counts."""
        self.mine.heartbeat.ask = self.mine.heartbeat.answered
        self.net.run(5.0)
        self.assertGreater(self.handle.peer.tally.acks_in, 5)
        self.assertEqual(self.handle.peer.tally.strays, 0)
        self.assertGreaterEqual(self.net.result(self.handle.ping()), 0.0)

    def test_our_own_stall(self) -> None:
        """Our loop stands still for two detection times: nobody dies, and it is counted."""
        for _ in range(5):
            self.net.run(1.3)
            self.client.stall(2 * DETECT)
            self.net.run(2 * DETECT)
        self.net.run(3.0)
        self.assertIs(self.handle.state, State.ALIVE)
        self.assertIn(Spared, self.board.said)

    def test_the_application_pauses(self) -> None:
        """While it reads nothing, silence says nothing; when it reads again, all goes on."""
        self.mine.transport.pauseProducing()
        self.net.run(10 * DETECT)
        self.assertIsNone(self.mine.lost)
        self.mine.transport.resumeProducing()
        self.net.run(5.0)
        self.assertIs(self.handle.state, State.ALIVE)

    def test_what_the_framing_cannot_carry_now(self) -> None:
        """A silent peer that cannot be asked is not condemned; it is asked as soon as that is possible."""
        self.mine.heartbeat.able = False
        self.net.run(10 * DETECT)
        self.assertIs(self.handle.state, State.SUSPECT)
        self.assertIsInstance(self.failureResultOf(self.handle.ping()).value, PingLost)
        self.mine.heartbeat.able = True
        self.net.run(1.0)
        self.assertIs(self.handle.state, State.ALIVE)

    def test_other_traffic_is_life(self) -> None:
        """A peer that answers nothing but talks is alive, until it has left questions unanswered for too long."""
        self.theirs.stringReceived = lambda string: None
        for _ in range(20):
            self.theirs.sendString(b"news")
            self.net.run(0.5)
        self.assertIn(self.handle.state, (State.ALIVE, State.SUSPECT))
        self.assertEqual(len(self.mine.got), 20)


class DeathTests(FramingCase):
    """And when one is not."""

    def test_stopped(self) -> None:
        """The peer's process stands still: found in time, with the cause, and the reason is ours and Twisted's."""
        self.net.run(5.0)
        self.server.stall(60.0)
        self.assertLess(self.died(), DETECT + LATE)
        assert self.mine.lost is not None
        error = self.mine.lost.value
        self.assertIsInstance(error, UnresponsiveConnection)
        self.assertIsInstance(error, ConnectionLost)
        self.assertEqual(error.evidence.handed_over, "guess")
        self.assertEqual([one for one in self.board.said if one != Spared], ["joined", Alive, Suspect, Dead, "gone"])
        self.net.run(60.0)

    def test_stopped_while_we_are_paused(self) -> None:
        """Behind the pause it has its time, and no more."""
        self.net.run(3.0)
        self.mine.transport.pauseProducing()
        self.net.run(3.0)
        self.server.stall(60.0)
        self.net.run(10.0)
        self.mine.transport.resumeProducing()
        self.assertLess(self.died(), DETECT + 2 * LATE)
        self.net.run(60.0)

    def test_an_end_without_a_reason(self) -> None:
        """Autobahn's endpoints give None: a failure that proves nothing, and Twisted's own class for it."""
        self.net.run(2.0)
        reason = self.mine.heartbeat.stop(None)
        self.assertIsInstance(reason.value, ConnectionLost)
        self.assertEqual((self.handle.state, self.handle.cause), (State.DEAD, "unattributed"))

    def test_a_clean_end(self) -> None:
        """To close is how one leaves: no failure, and the reason stays what it was."""
        self.net.run(2.0)
        self.theirs.transport.loseConnection()
        self.died()
        assert self.mine.lost is not None
        self.assertIs(self.mine.lost.type, ConnectionDone)
        self.assertEqual(self.board.said, ["joined", Alive, Left, "gone"])

    def test_reset(self) -> None:
        """A reset is a failure of the peer."""
        self.net.run(2.0)
        self.theirs.transport.abortConnection()
        self.died()
        assert self.mine.lost is not None
        self.assertIsInstance(self.mine.lost.value, UnresponsiveConnection)
        self.assertIs(self.handle.state, State.DEAD)

    def test_we_abort(self) -> None:
        """Our own abort is no death."""
        self.handle.abort()
        self.died()
        self.assertEqual(self.board.said, ["joined", Alive, Left, "gone"])
        self.assertIsInstance(self.failureResultOf(self.handle.ping()).value, NotConnected)

    def test_we_leave(self) -> None:
        """It is a close; the handle says when it is over."""
        gone = self.handle.leave()
        self.net.run(1.0)
        self.assertIsNone(self.successResultOf(gone))


class StartTests(SynchronousTestCase):
    """Before and after."""

    def test_without_a_transport(self) -> None:
        """Nothing can be watched yet, and it says so."""
        heartbeat = NetstringQuestions(Asking(), CONFIG)
        self.assertRaises(NotConnected, heartbeat.start)
        self.assertRaises(NotConnected, lambda: heartbeat.heartbeat)

    def test_stopped_before_it_started(self) -> None:
        """The reason is what it was; what is heard is nobody's."""
        heartbeat = NetstringQuestions(Asking(), CONFIG)
        reason = Failure(ConnectionDone())
        heartbeat.heard()
        self.assertFalse(heartbeat.answered(0))
        self.assertIs(heartbeat.stop(reason), reason)

    def test_the_base_asks_nothing(self) -> None:
        """A subclass says how."""
        self.assertRaises(NotImplementedError, FramingHeartbeat(Asking(), CONFIG).ask, 0)
