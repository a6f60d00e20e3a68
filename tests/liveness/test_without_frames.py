"""The judge without our frames: a Beats over netstrings, and a bare Liveness as an idle timeout.

Both on a pulse and the wheel of a ``task.Clock``, as the adapters will use them; nothing of ``wire`` or ``session``.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import NetstringReceiver
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.beats import Beats
from heartbeat.liveness.events import Alive, Dead, Event, RoundTrip, Suspect
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.states import State
from heartbeat.net.link import OpaqueLink, link_for
from heartbeat.net.pulse import Pulse
from heartbeat.net.wheel import wheel_for

INTERVAL = 0.5
D = 1.5
DELAY = 0.02


class Path(StringTransport):
    """One direction between two ends: what is written reaches the other end a little later, or never."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.other: Any = None
        self.cut = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        """Send."""
        if not self.cut:
            self.clock.callLater(DELAY, self.deliver, data)

    def deliver(self, data: bytes) -> None:
        """It arrives, if nobody has cut the cable meanwhile."""
        if not self.cut:
            self.other.dataReceived(data)

    def abortConnection(self) -> None:
        """End it."""
        self.aborted = True


class Echo(NetstringReceiver):
    """A peer in any language: answers ``?7`` with ``!7``, and sends words of its own."""

    deaf = False

    def stringReceived(self, string: bytes) -> None:
        """Answer."""
        if not self.deaf and string.startswith(b"?"):
            self.sendString(b"!" + string[1:])


class Watcher(NetstringReceiver):
    """Our end: one page that says how a question and an answer travel in netstrings."""

    def __init__(self, clock: Clock) -> None:
        self.wheel = wheel_for(clock)
        self.log: list[Event] = []
        self.beats = Beats(D, self.wheel.attention, clock.seconds(), interval=INTERVAL, draw=lambda: 0.5)
        self.decided = 0

    def connectionMade(self) -> None:
        """Begin to watch."""
        link = link_for(self.transport, self.wheel.turns, self)
        assert type(link) is OpaqueLink
        self.pulse = Pulse(self.wheel, self.beats, link, self.ask, self.decide)
        self.pulse.start()

    def ask(self, now: float) -> bool:
        """Put the question."""
        self.sendString(b"?%d" % self.beats.number)
        return True

    def decide(self) -> None:
        """The verdict: whoever owns the connection acts."""
        self.decided += 1
        transport: Any = self.transport
        transport.abortConnection()

    def stringReceived(self, string: bytes) -> None:
        """An answer, or any other word: a sign of life."""
        now = self.wheel.seconds()
        if string.startswith(b"!"):
            self.beats.answered(int(string[1:]), now)
        else:
            self.beats.heard(now)
        self.pulse.attend(now)
        self.log += self.beats.events()


class BeatsTests(SynchronousTestCase):
    """A Beats over netstrings."""

    def setUp(self) -> None:
        """Two connected ends."""
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.watcher, self.echo = Watcher(self.clock), Echo()
        self.there, self.back = Path(self.clock), Path(self.clock)
        self.there.other, self.back.other = self.echo, self.watcher
        self.echo.makeConnection(self.back)
        self.watcher.makeConnection(self.there)
        self.addCleanup(self.nothing_left)

    def nothing_left(self) -> None:
        """After the end there is no timer."""
        self.watcher.pulse.stop()
        self.clock.advance(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.watcher.wheel.watched, 0)

    def live(self, seconds: float) -> None:
        """Let the time go by in turns of 5 ms."""
        self.clock.pump([0.005] * round(seconds / 0.005))

    def test_a_peer_that_answers_lives(self) -> None:
        """A minute of beats, and nothing happens; the path is known."""
        self.live(60.0)
        self.assertIs(self.watcher.beats.state, State.ALIVE)
        self.assertEqual(self.watcher.log, [])
        tally = self.watcher.beats.tally
        self.assertGreater(tally.acks_in, 110)
        self.assertLessEqual(tally.pings_out - tally.acks_in, 1)
        self.assertAlmostEqual(self.watcher.beats.rtt.smoothed or 0.0, 2 * DELAY, places=2)

    def test_a_peer_that_falls_silent_is_found(self) -> None:
        """Suspect, asked once more, dead within D and a turn of the wheel; the owner acts once."""
        self.live(10.0)
        self.there.cut = self.back.cut = True
        self.live(0.9)
        self.assertEqual(self.watcher.decided, 0)
        self.live(D - 0.9 + 0.1)
        self.assertEqual((self.watcher.decided, self.there.aborted), (1, True))
        self.assertEqual((self.watcher.beats.state, self.watcher.beats.cause), (State.DEAD, "unattributed"))
        evidence = self.watcher.beats.evidence
        assert evidence is not None
        self.assertEqual((evidence.detail, evidence.handed_over), ("silent", "guess"))
        self.live(5.0)
        self.assertEqual(self.watcher.decided, 1)

    def test_any_word_is_a_sign_of_life(self) -> None:
        """A peer that does not answer, but talks, lives on until 10 × D."""
        self.echo.deaf = True
        for _ in range(14):
            self.live(1.0)
            self.echo.sendString(b"working")
        self.live(0.1)
        self.assertIn(self.watcher.beats.state, (State.ALIVE, State.SUSPECT))
        for _ in range(4):
            self.live(1.0)
            self.echo.sendString(b"working")
        self.assertEqual((self.watcher.beats.state, self.watcher.beats.cause), (State.DEAD, "peer_stalled"))

    def test_a_stall_of_ours_kills_nobody(self) -> None:
        """The reactor is stopped for 20 s while the answer lies there: spared."""
        self.live(10.3)
        self.clock.advance(20.0)
        self.live(5.0)
        self.assertIs(self.watcher.beats.state, State.ALIVE)
        self.assertEqual(self.watcher.decided, 0)
        self.assertEqual([type(event) for event in self.watcher.log if isinstance(event, Dead)], [])

    def test_suspect_and_back(self) -> None:
        """A delay of over half time shows, and harms nobody."""
        self.live(5.0)
        self.there.cut = True
        self.live(1.2)
        self.there.cut = False
        self.echo.sendString(b"back")
        self.live(1.0)
        kinds = [type(event) for event in self.watcher.log]
        self.assertEqual(kinds, [Suspect, Alive])

    def test_round_trips_for_who_wants_them(self) -> None:
        """A watched question tells its round trip."""
        number = self.watcher.beats.number
        self.watcher.beats.watch(number)
        self.live(1.0)
        (told,) = self.watcher.log
        assert isinstance(told, RoundTrip)
        self.assertEqual(told.number, number)
        self.assertAlmostEqual(told.seconds or 0.0, 2 * DELAY, places=2)


class Idle(NetstringReceiver):
    """A protocol with an idle timeout: nothing is asked, any input counts."""

    def __init__(self, clock: Clock) -> None:
        self.wheel = wheel_for(clock)
        self.judge = Liveness(30.0, self.wheel.attention, clock.seconds(), can_ask=False)
        self.ended = 0

    def connectionMade(self) -> None:
        """Begin to watch."""
        self.pulse = Pulse(
            self.wheel, self.judge, link_for(self.transport, self.wheel.turns, self), decided=self.decide
        )
        self.pulse.start()

    def decide(self) -> None:
        """Idle for too long."""
        self.ended += 1

    def dataReceived(self, data: bytes) -> None:
        """Any byte."""
        now = self.wheel.seconds()
        self.judge.heard(now)
        self.pulse.attend(now)


class IdleTests(SynchronousTestCase):
    """A bare Liveness as an idle timeout."""

    def setUp(self) -> None:
        """One connection."""
        self.clock = Clock()
        self.clock.advance(50.0)
        self.idle = Idle(self.clock)
        self.idle.makeConnection(StringTransport())

    def test_falls_after_the_time(self) -> None:
        """30 s without a byte, give or take a turn of the wheel, and once."""
        self.clock.pump([0.1] * 299)
        self.assertEqual(self.idle.ended, 0)
        self.clock.pump([0.1] * 4)
        self.assertEqual(self.idle.ended, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_any_byte_starts_it_anew(self) -> None:
        """As with ``TimeoutMixin.resetTimeout``, but without a call to the reactor for each."""
        for _ in range(20):
            self.clock.pump([0.5] * 50)
            self.idle.dataReceived(b"x")
            self.assertLessEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertEqual(self.idle.ended, 0)
        self.clock.pump([0.1] * 303)
        self.assertEqual(self.idle.ended, 1)

    def test_a_stall_is_not_the_peers(self) -> None:
        """Where ``TimeoutMixin`` would have cut it: we were stopped for an hour, and then its byte is read."""
        self.clock.pump([0.5] * 20)
        self.clock.advance(3600.0)
        self.assertEqual(self.idle.ended, 0)
        self.idle.dataReceived(b"x")
        self.clock.pump([0.5] * 50)
        self.assertEqual(self.idle.ended, 0)

    def test_stopped_it_leaves_nothing(self) -> None:
        """No timer and no count."""
        self.idle.pulse.stop()
        self.idle.pulse.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.idle.wheel.watched, 0)
        self.clock.advance(100.0)
        self.assertEqual(self.idle.ended, 0)
