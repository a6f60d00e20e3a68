"""One live connection for each id: who waits, who is asked, and who comes in (wire.md §4)."""

from __future__ import annotations

from typing import Any

from heartbeat import Spared, State
from heartbeat.wire.frames import Ack, Bye, Hello, Ping
from tests.net.cases import HandCase
from tests.net.hand import HandTransport, bye, hello, ping

#: The wheel's resolution, and a step of the loop.
LATE = 0.05
#: wire.md §4: T/2 or the RTT term, 2 s at most; here no round trip is known yet.
LONGEST = 2.0
#: The older connection is looked at this often.
GLANCE = 0.05
IN_USE = (6, "this id is connected")


def kinds(transport: HandTransport) -> list[Any]:
    """What was said: types, and the codes of BYEs."""
    return [frame.code if isinstance(frame, Bye) else type(frame) for frame in transport.said()]


class RollCase(HandCase):
    """An acceptor that pings rarely, so that only contests are seen."""

    def setUp(self) -> None:
        """A patient factory, and somebody who is connected."""
        super().setUp()
        self.factory = self.make_factory(interval=30.0)
        self.older = self.join("a")

    def join(self, name: str, **members: Any) -> HandTransport:
        """A peer that is let in at once, and had time to say what it is."""
        transport = self.connect(hello(name, want_ping_ms=30_000, **members) + ping())
        self.assertEqual(kinds(transport)[:2], [Hello, Ack])
        self.advance(LATE)
        return transport

    def knock(self, name: str = "a") -> HandTransport:
        """A newcomer."""
        return self.connect(hello(name, want_ping_ms=30_000))


class AliveTests(RollCase):
    """The older connection shows a sign of life."""

    def test_one_question(self) -> None:
        """However many newcomers there are, the older connection gets one PING, and nobody hears anything yet."""
        newcomers = [self.knock() for _ in range(20)]
        self.advance(GLANCE)
        newcomers += [self.knock() for _ in range(20)]
        self.assertEqual(kinds(self.older), [Ping])
        self.assertEqual([kinds(one) for one in newcomers], [[]] * 40)

    def test_its_answer(self) -> None:
        """When it has answered all newcomers hear BYE 6, soon; it does not notice."""
        newcomers = [self.knock() for _ in range(3)]
        self.advance(0.3)
        self.answer(self.older)
        self.advance(GLANCE + LATE)
        for one in newcomers:
            self.assertEqual([(f.code, f.reason) for f in one.said() if isinstance(f, Bye)], [IN_USE])
            self.assertIs(one.protocol.heartbeat.state, State.REFUSED)
        self.assertIs(self.older.protocol.heartbeat.state, State.ALIVE)
        self.assertEqual(self.older.done, [])
        self.assertEqual([event.cause for event in self.notes.refusals], ["id_in_use"] * 3)

    def test_any_sign_of_life(self) -> None:
        """It need not be the answer: any frame will do, as long as it came after the question."""
        newcomer = self.knock()
        self.advance(GLANCE)
        self.older.say(ping())
        self.advance(GLANCE + LATE)
        self.assertEqual(kinds(newcomer), [6])

    def test_a_part_of_a_frame(self) -> None:
        """Bytes of an unfinished frame are no sign of life."""
        newcomer = self.knock()
        self.advance(GLANCE)
        self.older.say(ping()[:5])
        self.advance(LONGEST + LATE)
        self.assertEqual(kinds(newcomer), [Hello])

    def test_the_next_contest(self) -> None:
        """A later newcomer is another contest, with a question of its own."""
        for _ in range(3):
            newcomer = self.knock()
            self.assertEqual(self.answer(self.older)[-1:][0].encode()[:4], b"HEAR")
            self.advance(GLANCE + LATE)
            self.assertEqual(kinds(newcomer), [])  # the answer came in the same instant as the question
            self.older.say(ping())
            self.advance(GLANCE + LATE)
            self.assertEqual(kinds(newcomer), [6])
            self.older.said()

    def test_other_ids(self) -> None:
        """Nobody else is asked, or waits."""
        other = self.join("b")
        self.knock("a")
        self.assertEqual(kinds(other), [])
        self.join("c")

    def test_the_floor_is_kept(self) -> None:
        """Newcomers without end do not make us ask faster than the older peer allows: it would end us as a flood."""
        older = self.join("slow", min_rx_ms=500)
        questions = 0
        for _ in range(int(10 / LATE)):
            self.knock("slow")
            self.advance(LATE)
            questions += sum(isinstance(frame, Ping) for frame in older.said())
            older.say(ping())
        self.assertGreater(questions, 10)
        self.assertLessEqual(questions, 10 / 0.5 + 2)


class SilentTests(RollCase):
    """The older connection shows none."""

    def test_the_first_comes_in(self) -> None:
        """When the wait is over the older one is dead, the first newcomer is in, and the others hear BYE 6."""
        first, second, third = (self.knock() for _ in range(3))
        self.advance(LONGEST - LATE)
        self.assertEqual([kinds(one) for one in (first, second, third)], [[], [], []])
        self.assertEqual(self.notes.deaths(), [])
        self.advance(2 * LATE + GLANCE)
        self.assertEqual([kinds(one)[0] for one in (first, second, third)], [Hello, 6, 6])
        self.assertEqual(self.notes.deaths(), [("a", "unattributed")])
        self.assertEqual(self.older.done, ["abort"])
        self.assertIs(first.protocol.heartbeat.state, State.ALIVE)

    def test_the_new_one_is_the_live_one(self) -> None:
        """The end of the older one does not take the newcomer off the roll: the next one has to wait for it."""
        first = self.knock()
        self.advance(LONGEST + LATE + GLANCE)
        self.assertTrue(self.older.gone)
        first.said()
        second = self.knock()
        self.assertEqual((kinds(first), kinds(second)), ([Ping], []))
        first.say(ping())
        self.advance(GLANCE + LATE)
        self.assertEqual(kinds(second), [])
        first.say(ping())
        self.advance(GLANCE + LATE)
        self.assertEqual(kinds(second), [6])

    def test_order_of_the_account(self) -> None:
        """The death of the older one is told before the arrival of the newcomer."""
        self.notes.lines.clear()
        self.knock()
        self.advance(LONGEST + LATE + GLANCE)
        self.assertEqual([line for line, _ in self.notes.lines], ["Dead", "gone", "joined", "Alive"])

    def test_a_known_round_trip(self) -> None:
        """Where the round trip is known the wait is T/2, or what a round trip may take: not two seconds for all."""
        factory = self.make_factory(interval=0.5)
        older = self.connect(hello("x"), factory=factory)
        self.advance(3.0, older)
        older.say(ping())
        older.said()
        newcomer = self.connect(hello("x"), factory=factory)
        self.advance(0.5 - LATE)
        self.assertEqual(kinds(newcomer), [])
        self.advance(2 * LATE + GLANCE)
        self.assertEqual(kinds(newcomer)[0], Hello)
        for one in (older, newcomer):
            one.lose()

    def test_our_own_stall(self) -> None:
        """Seconds in which we did not listen are no silence: the older one has its full wait."""
        newcomer = self.knock()
        self.clock.advance(6.0)
        self.assertEqual(kinds(newcomer), [])
        self.older.say(ping())
        self.advance(GLANCE + LATE)
        self.assertEqual(kinds(newcomer), [6])
        self.assertEqual(self.notes.deaths(), [])
        self.assertEqual([name for name, _ in self.notes.of(Spared)], [])

    def test_many_stalls(self) -> None:
        """A loop that stalls again and again comes to an end, too."""
        newcomer = self.knock()
        for _ in range(12):
            self.clock.advance(1.0)
        self.assertEqual(kinds(newcomer)[0], Hello)


class LeavingTests(RollCase):
    """Somebody goes away while newcomers wait."""

    def test_the_older_one_ends(self) -> None:
        """A FIN of the older one lets the first newcomer in at once."""
        first, second = self.knock(), self.knock()
        self.older.lose()
        self.assertEqual([kinds(one)[0] for one in (first, second)], [Hello, 6])
        self.assertEqual(self.notes.deaths(), [("a", "peer_closed")])

    def test_the_older_one_says_bye(self) -> None:
        """So does a BYE, as soon as its connection is gone: and it has left, not died."""
        newcomer = self.knock()
        self.older.say(bye())
        self.advance(GLANCE + LATE)
        self.assertEqual(kinds(newcomer)[:1], [Hello])
        self.assertEqual(self.notes.deaths(), [])
        self.assertEqual(self.notes.departures(), [("a", "leaving")])

    def test_newcomers_give_up(self) -> None:
        """Who gives up is not waited for: the next one in line is the first."""
        first, second, third = (self.knock() for _ in range(3))
        first.lose()
        third.lose()
        self.advance(LONGEST + LATE + GLANCE)
        self.assertEqual(kinds(second)[:1], [Hello])
        self.assertEqual((first.said(), third.said()), ([], []))

    def test_all_give_up(self) -> None:
        """When nobody waits any more the older one is left in peace, however silent it is."""
        newcomers = [self.knock() for _ in range(3)]
        for one in newcomers:
            one.lose()
        self.advance(LONGEST + 1.0)
        self.assertEqual(self.notes.deaths(), [])
        self.assertEqual(self.older.done, [])

    def test_their_handshake_has_a_deadline(self) -> None:
        """Waiting does not prolong the handshake: who is over it is closed, the contest goes on for the others."""
        self.factory.config = self.make_factory(interval=30.0, handshake_timeout=1.0).config
        first = self.knock()
        self.factory.config = self.make_factory(interval=30.0).config
        second = self.knock()
        self.advance(1.0 + LATE)
        self.assertTrue(first.gone)
        self.assertEqual([event.cause for event in self.notes.refusals], ["hello_timeout"])
        self.advance(1.0 + LATE + GLANCE)
        self.assertEqual(kinds(second)[:1], [Hello])

    def test_a_draining_server(self) -> None:
        """A drain ends a contest: both hear BYE 1, and nobody is asked or let in after it."""
        newcomer = self.knock()
        self.older.said()
        drained = self.factory.drain(10.0)
        self.assertEqual((kinds(self.older), kinds(newcomer)), ([1], [1]))
        self.advance(LONGEST + LATE + GLANCE)
        self.successResultOf(drained)
        self.assertEqual((kinds(self.older), kinds(newcomer)), ([], []))

    def test_after_a_bye(self) -> None:
        """A connection that was told BYE is no rival: nothing is sent behind a BYE, and the newcomer need not wait."""
        self.older.say(b"rubbish!")
        self.assertEqual(kinds(self.older), [2])
        newcomer = self.knock()
        self.assertEqual((kinds(self.older), kinds(newcomer)), ([], [Hello]))
        self.advance(LONGEST)
        self.assertIs(newcomer.protocol.heartbeat.state, State.ALIVE)


class WaitingTests(RollCase):
    """What a newcomer may do while it waits."""

    def test_it_talks_on(self) -> None:
        """Frames behind its HELLO count as having come after the answer: they are answered then, in order."""
        newcomer = self.knock()
        newcomer.say(ping(1) + ping(2))
        self.advance(GLANCE)
        newcomer.say(ping(3))
        self.assertEqual(newcomer.said(), [])
        self.older.lose()
        said = newcomer.said()
        self.assertEqual([frame for frame in said if isinstance(frame, Ack)], [Ack(1, 0), Ack(2, 0), Ack(3, 0)])
        self.assertIsInstance(said[0], Hello)

    def test_it_talks_too_much(self) -> None:
        """What is kept for it is bounded: 64 KiB, then BYE 2."""
        newcomer = self.knock()
        for _ in range(8192):
            newcomer.say(ping())
        self.assertEqual(newcomer.said(), [])
        newcomer.say(ping())
        self.assertEqual(kinds(newcomer), [2])
        self.advance(LONGEST + 1.0)
        self.assertEqual(self.notes.deaths(), [])

    def test_no_id_no_rival(self) -> None:
        """Peers without an id, and bare ones, are never in each other's way."""
        transports = [self.connect(first) for first in (hello(), hello(), ping(), ping())]
        self.assertEqual([kinds(one)[0] for one in transports], [Hello, Hello, Ack, Ack])
        self.assertEqual(kinds(self.older), [])
