"""The glue of a connection: who is told what, and how connections end."""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.error import ConnectionLost

from heartbeat import State
from heartbeat.liveness.evidence import TcpInfo
from heartbeat.wire.frames import Ack, Bye, Hello, Ping, Stalled
from tests.net.cases import DETECT, INTERVAL, STEP, HandCase
from tests.net.hand import HandTransport, bye, hello, ping

#: wire.md §6: how long the sender of a BYE reads on.
LINGER = 1.0
#: The wheel's resolution, and a step of the loop.
LATE = 0.05


class BeatTests(HandCase):
    """The ordinary life of a connection."""

    def test_one_beat(self) -> None:
        """A PING is answered at once, with its own numbers, in the same read."""
        transport = self.connect(ping(7, 4660))
        self.assertEqual(transport.said()[0], Ack(7, 4660))
        transport.say(ping(8, 1) + ping(9, 2))
        self.assertEqual(transport.said(), [Ack(8, 1), Ack(9, 2)])

    def test_it_asks_by_itself(self) -> None:
        """An acceptor PINGs at its own interval, give or take 15 %, while it is answered."""
        transport = self.connect(hello("a"))
        transport.said()
        asked = []
        for _ in range(int(10 / STEP)):
            self.advance(STEP)
            asked += [self.clock.seconds() for frame in self.answer(transport) if isinstance(frame, Ping)]
        gaps = [after - before for before, after in pairwise(asked)]
        self.assertGreater(len(gaps), 15)
        for gap in gaps:
            self.assertTrue(INTERVAL * 0.85 - STEP <= gap <= INTERVAL * 1.15 + LATE, gap)

    def test_late_reads(self) -> None:
        """The kernel is asked when data arrived only if we were late to read it; the round trip is then the path's."""
        transport = self.connect(hello("a"))
        protocol = transport.protocol
        self.advance(2.0, transport)
        self.assertEqual(transport.asked, 0)
        protocol.heartbeat.ping().addErrback(lambda _: None)
        question = transport.said()[-1]
        asked_at = self.clock.seconds()
        transport.arrived = asked_at + 0.01
        self.clock.advance(0)  # nothing is due
        self.clock.rightNow += 3.0  # the loop stands still; the socket is read first when it goes on
        transport.say(b"HACK" + question.encode()[4:])
        self.assertEqual(transport.asked, 1)
        self.assertAlmostEqual(protocol.heartbeat.rtt.last, 0.01, 6)

    def test_the_kernels_round_trip(self) -> None:
        """A round trip that the kernel knows stands in until one of ours is known: no three seconds of patience."""
        transport = HandTransport(self.clock)
        transport.tcp = TcpInfo(1, 0, 0, 0, rtt=0.04)
        protocol = self.attach(transport, self.factory)
        transport.say(hello("a"))
        self.assertEqual(protocol.heartbeat.rtt.smoothed, 0.04)
        self.assertIsNone(protocol.heartbeat.rtt.last)
        self.advance(DETECT + LATE)
        self.assertEqual(self.notes.deaths(), [("a", "unattributed")])

    def test_stalled(self) -> None:
        """After a stall of ours the peer is told, once, before the next PING."""
        transport = self.connect(hello("a", mult=20, want_ping_ms=500))
        self.advance(1.0, transport)
        self.assertEqual([frame for frame in transport.history if isinstance(frame, Stalled)], [])
        self.clock.advance(2.0)
        self.advance(2.0, transport)
        (stalled,) = [frame for frame in transport.history if isinstance(frame, Stalled)]
        self.assertApproximates(stalled.ms, 2000, 1000 * INTERVAL * 1.15)
        following = transport.history[transport.history.index(stalled) + 1]
        self.assertIsInstance(following, Ping)


class VerdictTests(HandCase):
    """Peers that fall silent."""

    def silent(self) -> HandTransport:
        """A peer that was well and says nothing any more."""
        transport = self.connect(hello("a"))
        self.advance(3.0, transport)
        transport.say(ping())
        transport.said()
        self.notes.events.clear()
        self.notes.lines.clear()
        return transport

    def test_dead_is_told_once(self) -> None:
        """Suspect at half time, dead at D, gone: once each, in this order, and nothing after it."""
        transport = self.silent()
        began = self.clock.seconds()
        self.advance(10.0)
        self.assertEqual(self.notes.lines, [("Suspect", "a"), ("Dead", "a"), ("gone", "a")])
        (suspected, _, _), (died, _, _) = self.notes.events
        self.assertApproximates(suspected - began, (DETECT + INTERVAL) / 2, LATE + STEP)
        self.assertApproximates(died - began, DETECT, LATE + STEP)
        self.assertTrue(transport.gone)

    def test_a_verdict_aborts(self) -> None:
        """A graceful close would hang for ever on a dead path: the transport is aborted, and no BYE is written."""
        transport = self.silent()
        self.advance(DETECT + LATE + STEP)
        self.assertEqual(transport.done, ["abort"])
        self.assertNotIn(Bye, [type(frame) for frame in transport.said()])

    def test_a_question_goes_first(self) -> None:
        """Nobody is condemned unheard: at half time one more PING is put, and an answer to it is a sign of life."""
        transport = self.silent()
        self.advance((DETECT + INTERVAL) / 2 + LATE)
        self.assertIn(Ping, [type(frame) for frame in transport.said()])
        transport.say(ping())
        self.assertEqual([kind for kind, _ in self.notes.lines], ["Suspect", "Alive"])
        self.advance(1.0, transport)
        self.assertEqual(self.notes.deaths(), [])

    def test_unread_input(self) -> None:
        """While the kernel holds input that we did not read nobody is condemned, and that is counted as spared."""
        transport = self.silent()
        transport.unread = 8
        self.advance(DETECT + LATE)
        self.assertEqual(self.notes.deaths(), [])
        transport.say(ping())
        transport.unread = None
        kinds = [kind for kind, _ in self.notes.lines]
        self.assertEqual(kinds, ["Suspect", "Spared", "Alive"])

    def test_our_own_stall(self) -> None:
        """Seconds in which our loop did not run are no silence of the peer's."""
        transport = self.silent()
        self.clock.advance(30.0)
        self.assertEqual(self.notes.deaths(), [])
        transport.say(ping())
        self.advance(3.0, transport)
        self.assertEqual(self.notes.deaths(), [])
        self.assertIs(transport.protocol.heartbeat.state, State.ALIVE)


class PartingTests(HandCase):
    """BYE, in both directions (wire.md §6)."""

    def test_bye_is_flushed_first(self) -> None:
        """A violation: BYE is written, nothing is closed, and what still comes is read and discarded."""
        transport = self.connect(hello("a"))
        transport.said()
        transport.say(b"GET / HTTP/1.1\r\n")
        (said,) = transport.said()
        self.assertEqual(said, Bye(2, "this port speaks txheartbeat frames"))
        self.assertEqual(transport.done, [])
        self.assertTrue(transport.reading)
        transport.say(ping() * 100)
        self.assertEqual(transport.said(), [])
        self.assertEqual(self.notes.deaths(), [("a", "protocol_error")])

    def test_it_lingers_a_second(self) -> None:
        """A peer that does not close is aborted after a second, however much it goes on sending."""
        transport = self.connect(hello("a"))
        transport.say(b"rubbish!")
        for _ in range(9):
            self.advance(0.1)
            transport.say(ping())
        self.assertEqual(transport.done, [])
        self.advance(0.1 + LATE)
        self.assertEqual(transport.done, ["abort"])
        self.assertTrue(transport.gone)

    def test_a_peer_that_closes(self) -> None:
        """A peer that closes after our BYE ends the lingering; its end is the one that the BYE says."""
        transport = self.connect(hello("a"))
        transport.say(b"rubbish!")
        transport.lose()
        self.assertEqual(self.notes.deaths(), [("a", "protocol_error")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_receiver_closes_at_once(self) -> None:
        """Whoever reads a BYE answers what came before it, sends nothing more, and closes."""
        transport = self.connect(hello("a") + ping())
        transport.said()
        transport.say(ping(1) + bye(0, "done") + ping(2))
        self.assertEqual(transport.said(), [Ack(1, 0)])
        self.assertEqual(transport.done, ["close"])
        self.assertEqual(self.notes.departures(), [("a", "leaving")])
        self.advance(STEP)
        self.assertTrue(transport.gone)

    def test_everything_in_one_read(self) -> None:
        """HELLO, PING and BYE in one segment: the first two are answered before the connection closes."""
        transport = self.connect(hello("a") + ping(5) + bye(0))
        said = transport.said()
        self.assertEqual([type(frame) for frame in said[:2]], [Hello, Ack])
        self.assertNotIn(Bye, [type(frame) for frame in said])
        self.assertEqual(self.notes.lines[0], ("joined", "a"))
        self.assertEqual(self.notes.departures(), [("a", "leaving")])

    def test_a_close_is_bounded(self) -> None:
        """A transport that cannot get rid of its bytes is aborted a little later than a BYE lingers."""
        transport = self.connect(hello("a"))
        transport.takes = False
        transport.say(ping() + bye(0))
        self.assertEqual(transport.done, ["close"])
        self.advance(LINGER + 1.0)
        self.assertEqual(transport.done, ["close", "abort"])

    def test_byes_that_cross(self) -> None:
        """A BYE that comes after we said one changes nothing and is not answered; we linger on."""
        transport = self.connect(hello("a"))
        transport.said()
        transport.protocol.heartbeat.leave("first")
        transport.say(bye(5, "second"))
        self.assertEqual(transport.said(), [Bye(0, "first")])
        self.assertEqual(self.notes.deaths(), [])

    def test_a_bye_waits_its_turn(self) -> None:
        """While the link is busy a BYE waits behind what was said before, and leaves as soon as it can."""
        transport = self.connect(hello("a") + ping())
        transport.said()
        transport.takes = False
        transport.say(ping(1))
        transport.say(b"rubbish!")
        self.assertEqual(transport.said(), [])
        transport.takes = True
        transport.empty()
        self.assertEqual([type(frame) for frame in transport.said()], [Ack, Bye])


class EndTests(HandCase):
    """Connections that end without a BYE."""

    def test_the_last_events(self) -> None:
        """What happened is told after the transport is gone, too: an end without BYE is a death with its cause."""
        transport = self.connect(hello("a"))
        transport.lose()
        self.assertEqual(self.notes.deaths(), [("a", "peer_closed")])
        transport = self.connect(hello("b"))
        transport.lose(ConnectionLost)
        self.assertEqual(self.notes.deaths()[1:], [("b", "unattributed")])

    def test_nothing_after_the_end(self) -> None:
        """A handle that somebody kept does nothing to a connection that is gone."""
        transport = self.connect(hello("a"))
        heartbeat = transport.protocol.heartbeat
        transport.said()
        transport.lose()
        heartbeat.abort()
        heartbeat.leave()
        self.advance(3.0)
        self.assertEqual((transport.done, transport.said()), ([], []))
        self.assertEqual(len(self.notes.deaths()), 1)

    def test_refused_and_not_dead(self) -> None:
        """What ends before its gate is refused: neither joined nor gone."""
        transport = self.connect()
        transport.lose()
        self.assertEqual([kind for kind, _ in self.notes.lines], ["refused"])
