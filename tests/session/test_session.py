"""One connection in time: questions and answers, STALLED, a peer that does not read, and the verdict."""

from __future__ import annotations

from heartbeat.liveness.counters import Counters
from heartbeat.liveness.events import Alive, Dead, RoundTrip, Suspect
from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.need import ASK, JUDGE, LOOK, NOTHING, Need
from heartbeat.liveness.states import State
from heartbeat.session.parting import Parting
from heartbeat.session.session import Session
from heartbeat.wire import frames as f
from tests.session.ends import NONCE, START, Clocks, End, SessionTestCase, decoded, hello, ping


def pings(frames: list[f.Frame]) -> list[f.Ping]:
    """The PINGs among them."""
    return [frame for frame in frames if isinstance(frame, f.Ping)]


class QuestionTests(SessionTestCase):
    """PING and ACK, our direction."""

    def ask(self, end: End) -> f.Ping:
        """Our next PING."""
        while True:
            at = end.session.next_timer()
            assert at is not None
            end.to(max(at, end.now))
            asked = pings(end.serve())
            if asked:
                return asked[0]

    def test_its_numbers(self) -> None:
        """``seq`` counts up; ``ts`` is our monotonic clock in milliseconds modulo 65536."""
        end = self.connector()
        first, second = self.ask(end), self.ask(end)
        self.assertEqual(second.seq, first.seq + 1)
        self.assertEqual(first.ts, int(START * 1000) % 65_536)
        self.assertEqual((second.ts - first.ts) % 65_536, 500)

    def test_the_connector_asks_first(self) -> None:
        """It asks at once, the acceptor after one interval of its own."""
        self.assertEqual(self.connector().session.next_timer(), START)
        self.assert_near((self.acceptor().session.next_timer() or 0.0) - START, 0.5)

    def test_a_round_trip(self) -> None:
        """An ACK that matches: counted, measured on our own clock, no stray."""
        end = self.connector()
        end.session.beats.watch(end.session.beats.number)
        asked = self.ask(end)
        end.to(end.now + 0.08)
        self.assertEqual([type(one) for one in end.read(f.Ack(*asked))], [f.Sync])
        tally = end.session.tally
        self.assertEqual((tally.pings_out, tally.acks_in, tally.strays), (1, 1, 0))
        self.assert_near(end.session.beats.rtt.last or 0.0, 0.08)
        self.assertEqual([round(event.seconds, 6) for event in end.events(RoundTrip)], [0.08])

    def test_one_that_does_not_match(self) -> None:
        """Another ``ts``, an answered one, one that was never asked: counted, ignored, and a sign of life."""
        end = self.connector()
        asked = self.ask(end)
        end.to(end.now + 0.1)
        wrong = [
            f.Ack(asked.seq, asked.ts ^ 1),
            f.Ack(asked.seq + 1, asked.ts),
            f.Ack((asked.seq - 1) & 0xFFFF, asked.ts),
        ]
        for count, ack in enumerate(wrong, 1):
            self.assertEqual(end.read(ack), [])
            self.assertEqual((end.session.tally.strays, end.session.tally.acks_in), (count, 0))
        self.assertEqual(end.session.liveness.heard_at, end.now)
        end.read(f.Ack(*asked))
        end.read(f.Ack(*asked))
        self.assertEqual((end.session.tally.strays, end.session.tally.acks_in), (4, 1))

    def test_it_settles_older_ones_as_lost(self) -> None:
        """Of three questions the last was answered."""
        end = self.connector()
        asked = [self.ask(end) for _ in range(3)]
        end.read(f.Ack(*asked[2]))
        self.assertEqual((end.session.tally.acks_in, end.session.tally.lost), (1, 2))

    def test_numbers_wrap(self) -> None:
        """Beyond 65535 they begin anew, and answers match across the turn."""
        end = self.connector()
        end.session.beats.first = end.session.beats.number = 65_500  # as if so many had been asked and answered
        seqs = []
        for number in range(100):
            asked = self.ask(end)
            seqs.append(asked.seq)
            if number % 2:
                end.read(f.Ack(*asked))
        self.assertEqual(seqs[34:38], [65_534, 65_535, 0, 1])
        self.assertEqual((end.session.tally.acks_in, end.session.tally.lost), (50, 50))
        self.assertEqual((end.session.tally.strays, end.session.beats.number), (0, 65_600))

    def test_at_most_1024_open(self) -> None:
        """Then it waits, as long as the peer is heard."""
        end = self.connector({"mult": 60, "want_ping_ms": 5000}, max_detection=3600.0)
        sent = 0
        for number in range(700):
            sent += len(pings(end.run(end.now + 1.0)))
            end.read(ping(number))
        self.assertEqual(sent, 1024)
        self.assert_stays(end)

    def test_arrival_of_a_late_read(self) -> None:
        """The kernel knows when it came: that is the round trip, on the quick way and on the other."""
        for cut in (8, 3):
            end = self.connector()
            asked = f.Ack(*self.ask(end)).encode()
            end.attention.expect(end.now)
            now = end.now + 4.0
            end.session.receive_data(asked[:cut], now, end.now + 0.05)
            end.session.receive_data(asked[cut:], now, end.now + 0.05)
            self.assert_near(end.session.beats.rtt.last or 0.0, 0.05)

    def test_process_wide_counters(self) -> None:
        """Each round trip is counted there, too."""
        counters = Counters()
        end = End()
        session = Session(
            end.config, end.attention, START, connector=True, nonce=NONCE, draw=lambda: 0.5, clocks=Clocks(),
            source=end.source, rtt_counts=counters,
        )  # fmt: skip
        session.start(START)
        session.receive_data(hello(), START)
        session.data_to_send()
        session.handle_timer(START)
        (asked,) = pings(decoded(session.data_to_send()))
        session.receive_data(f.Ack(*asked).encode(), START)
        self.assertEqual(sum(counters.counts), 1)


class AnswerTests(SessionTestCase):
    """PING and ACK, the peer's direction."""

    def test_each_at_once_in_order(self) -> None:
        """None left out and none merged, however many come in one read."""
        end = self.acceptor({"min_rx_ms": 0})
        sent = [f.Ping(seq * 7 & 0xFFFF, seq) for seq in range(1000)]
        replies = [frame for frame in end.read(*sent) if isinstance(frame, f.Ack)]
        self.assertEqual(replies, [f.Ack(*one) for one in sent])
        self.assertEqual((end.session.tally.pings_in, end.session.tally.acks_out), (1000, 1000))

    def test_the_same_number_twice(self) -> None:
        """Is answered twice."""
        end = self.acceptor()
        self.assertEqual(end.read(f.Ping(1, 2), f.Ping(1, 2))[-1], f.Ack(1, 2))

    def test_half_a_frame_is_no_sign_of_life(self) -> None:
        """Only complete, well-formed frames count."""
        end = self.acceptor()
        end.to(START + 0.4)
        end.read(ping(1))
        self.assertEqual(end.session.liveness.heard_at, START + 0.4)
        end.to(START + 0.8)
        for byte in ping(2)[:-1]:
            end.take(bytes([byte]))
        self.assertEqual(end.session.liveness.heard_at, START + 0.4)
        end.take(ping(2)[-1:])
        self.assertEqual(end.session.liveness.heard_at, START + 0.8)

    def test_what_the_shell_must_look_at(self) -> None:
        """An ordinary beat changes nothing that must be looked at; a suspicion that it ends does."""
        end = self.acceptor()
        end.take(ping(0))
        self.assertFalse(end.session.receive_data(ping(1), end.now))
        end.run(START + 1.2)
        self.assertIs(end.session.beats.state, State.SUSPECT)
        self.assertTrue(end.session.receive_data(ping(2), end.now))
        self.assertIs(end.session.beats.state, State.ALIVE)

    def test_with_a_detector_every_beat_is_learned_from(self) -> None:
        """Then there is no quick way, and the peer's own rhythm is what counts."""
        end = self.acceptor(detector="phi")
        for number in range(60):
            end.to(end.now + (1.1 if number % 2 else 0.3))
            end.read(ping(number), f.Stalled(0), *(f.Ack(*asked) for asked in pings(end.serve())))
        heard = end.now
        end.run(START + 200.0)
        self.assertGreater(end.session.liveness.since - heard, 1.8)


class VerdictTests(SessionTestCase):
    """The judge behind the frames."""

    def test_a_silent_peer(self) -> None:
        """Suspect with one PING more, dead at D; the shell aborts, no BYE is said."""
        end = self.acceptor({"want_ping_ms": 500, "mult": 3}, interval=2.0)
        end.read(ping(1))
        end.session.beats.rtt.sample(0.01)
        sent = end.run(START + 10.0)
        self.assertEqual(len(pings(sent)), 1)
        (suspect,) = end.events(Suspect)
        self.assert_near(suspect.at - START, 1.0)
        (dead,) = end.events(Dead)
        self.assert_near(dead.at - START, 1.5)
        self.assertIsNone(end.session.said)
        self.assertIsNone(end.session.next_timer())

    def test_before_any_round_trip(self) -> None:
        """3 s from the question on."""
        end = self.acceptor()
        end.run(START + 20.0)
        (dead,) = end.events(Dead)
        self.assert_near(dead.at - START, 0.5 + 3.0)  # our own PING of half a second later was the question

    def test_needs(self) -> None:
        """Questions are put inside; LOOK and JUDGE are the shell's."""
        end = self.acceptor(interval=60.0, multiplier=2, min_interval=0.1)
        needs: list[Need] = []
        while end.session.beats.state is not State.DEAD:
            at = end.session.next_timer()
            assert at is not None
            end.to(at)
            needs.append(end.session.handle_timer(end.now))
            end.out()
            if needs[-1] & LOOK:
                end.session.beats.observe(Evidence(end.now), end.now)
        self.assertEqual(needs[0], LOOK)
        self.assertEqual(needs[-1], JUDGE)
        self.assertEqual(set(needs[1:-1]), {NOTHING})
        self.assertNotIn(ASK, needs)

    def test_a_question_at_its_own_time(self) -> None:
        """Is put inside, too."""
        end = self.acceptor()
        end.to(START + 0.5)
        self.assertIs(end.session.handle_timer(end.now), NOTHING)
        self.assertEqual(len(pings(decoded(end.out()))), 1)

    def test_early_wakes_do_nothing(self) -> None:
        """The wheel comes when it comes."""
        end = self.acceptor()
        for tick in range(24):
            end.to(START + tick * 0.02)
            self.assertIs(end.session.handle_timer(end.now), NOTHING)
        self.assertEqual(end.out(), b"")

    def test_any_frame_refutes(self) -> None:
        """Each kind that may stand there is a sign of life."""
        for frame in (f.Ping(1, 1), f.Ack(99, 99), f.Sync(0, 0, bytes(16), 0.0, 0), f.SyncAck(5, 0), f.Stalled(0)):
            end = self.acceptor()
            end.run(START + 1.2)
            self.assertIs(end.session.beats.state, State.SUSPECT)
            end.read(frame)
            self.assertIs(end.session.beats.state, State.ALIVE, frame)
            self.assertIsInstance(end.log[-1], Alive)

    def test_heard_but_never_answering(self) -> None:
        """10 × D, then it is dead, and nothing more is sent."""
        end = self.acceptor()
        for number in range(40):
            end.run(end.now + 0.5)
            if end.session.beats.state is State.DEAD:
                break
            end.read(ping(number))
        (dead,) = end.events(Dead)
        self.assertEqual(dead.cause, "peer_stalled")
        self.assertNotIsInstance(decoded(end.sent)[-1], f.Bye)
        sent = len(end.sent)
        end.run(end.now + 10.0)
        self.assertEqual(len(end.sent), sent)


class StalledTests(SessionTestCase):
    """STALLED (``wire.md`` §6)."""

    def next_sent(self, end: End) -> list[f.Frame]:
        """What is sent with our next question."""
        while not (sent := end.run(end.session.next_timer() or 0.0)):
            pass
        return sent

    def test_after_a_stall_of_ours(self) -> None:
        """With the next PING, before it, once: how long we could not run."""
        end = self.acceptor()
        end.run(START + 0.6)
        end.stall(2.5)
        sent = self.next_sent(end)
        self.assertEqual([type(frame) for frame in sent], [f.Stalled, f.Ping])
        assert isinstance(sent[0], f.Stalled)
        self.assertEqual(sent[0].ms, 2500)
        end.read(ping(1))
        self.assertEqual([type(frame) for frame in self.next_sent(end)], [f.Ping])

    def test_of_several_the_longest(self) -> None:
        """Further ones would add nothing at the other end."""
        end = self.acceptor()
        for seconds in (0.3, 4.0, 1.0):
            end.stall(seconds)
            end.to(end.now + 0.01)
        sent = self.next_sent(end)
        self.assertEqual(sent[0], f.Stalled(4000))

    def test_only_more_than_half_an_interval(self) -> None:
        """Half of ours exactly is none; a little more is."""
        for seconds, told in ((0.24, False), (0.26, True)):
            end = self.acceptor()
            end.stall(seconds)
            self.assertEqual(any(isinstance(frame, f.Stalled) for frame in self.next_sent(end)), told, seconds)

    def test_each_stall_anew(self) -> None:
        """The next one is told, too."""
        end = self.acceptor()
        for _ in range(3):
            end.stall(2.0)
            self.assertEqual([type(frame) for frame in self.next_sent(end)], [f.Stalled, f.Ping])
            end.read(ping(1))
            self.assertEqual([type(frame) for frame in self.next_sent(end)], [f.Ping])
            end.read(ping(2))

    def test_only_what_happened_on_this_connection(self) -> None:
        """A stall from before it was made is no business of its peer."""
        attention = End().attention
        attention.expect(START)
        attention.looked(START + 5.0)
        end = self.acceptor(attention=attention, now=START + 5.0)
        self.assertEqual([type(frame) for frame in self.next_sent(end)], [f.Ping])

    def test_only_with_the_capability(self) -> None:
        """Else the peer does not know the frame."""
        end = self.acceptor({"caps": ["state"]})
        end.stall(3.0)
        self.assertEqual([type(frame) for frame in self.next_sent(end)], [f.Ping])

    def test_the_peers(self) -> None:
        """Makes us more patient by it, at most by D, and is counted."""
        for ms, longer in ((700, 0.7), (3_600_000, 1.5), (0, 0.0)):
            end = self.acceptor()
            end.read(ping(1), f.Stalled(ms), f.Stalled(1400))
            end.session.beats.rtt.sample(0.001)
            self.assertEqual(end.session.tally.stalled_in, 2)
            end.run(START + 30.0)
            (dead,) = end.events(Dead)
            self.assert_near(dead.at - START, 1.5 + longer)


class BlockedTests(SessionTestCase):
    """A peer that does not read (``wire.md`` §2, last paragraph of flood control)."""

    def test_for_d(self) -> None:
        """64 KiB unsent: we neither read nor ask nor judge; after D it is BYE 11, and abort."""
        end = self.acceptor()
        end.read(ping(1))
        end.session.blocked(end.now)
        self.assertEqual(end.run(START + 1.49), [])
        self.assertIs(end.session.beats.state, State.ALIVE)
        (said,) = end.run(START + 1.51)
        self.assertEqual((said.code, end.session.parting), (11, Parting.ABORT))  # type: ignore[union-attr]  # it is a BYE
        (dead,) = end.events(Dead)
        self.assertEqual(dead.cause, "peer_not_reading")
        self.assertIsNone(end.session.next_timer())

    def test_it_reads_again(self) -> None:
        """In time: it is asked at once, and has all its time again."""
        end = self.acceptor()
        end.read(ping(1))
        end.session.blocked(end.now)
        end.session.blocked(end.now)
        end.run(START + 1.4)
        end.session.unblocked(end.now)
        self.assert_stays(end)
        self.assertEqual(len(pings(end.run(end.now))), 1)
        end.run(START + 2.5)
        self.assert_stays(end)
        self.assertIn(end.session.beats.state, (State.ALIVE, State.SUSPECT))
        end.session.unblocked(end.now)
        self.assert_stays(end)

    def test_twice(self) -> None:
        """Each time has its own D."""
        end = self.acceptor()
        for number in range(5):
            end.session.blocked(end.now)
            end.to(end.now + 1.3)
            self.assertEqual(end.serve(), [])
            end.session.unblocked(end.now)
            end.read(ping(number))
        self.assert_stays(end)

    def test_before_the_gate(self) -> None:
        """The handshake's own deadline stands."""
        end = End(handshake_timeout=2.0)
        end.session.blocked(end.now)
        self.assertEqual(end.session.next_timer(), START + 2.0)
        end.session.unblocked(end.now)
        self.assertEqual(end.session.next_timer(), START + 2.0)

    def test_while_we_leave(self) -> None:
        """A BYE was said: its second is not made longer."""
        end = self.acceptor()
        end.session.bye(0, "", end.now)
        end.out()
        end.session.blocked(end.now)
        self.assertEqual(end.session.next_timer(), START + 1.0)
        end.session.unblocked(end.now)
        self.assertEqual(end.session.next_timer(), START + 1.0)
        end.run(START + 1.0)
        self.assertIs(end.session.parting, Parting.ABORT)
