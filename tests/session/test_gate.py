"""The gate (``wire.md`` §4): who speaks first, what may stand there, and what counts as having come after."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.liveness.events import Alive, Refused
from heartbeat.liveness.evidence import Ending
from heartbeat.liveness.need import NOTHING
from heartbeat.liveness.states import State
from heartbeat.session.parting import Parting
from heartbeat.session.session import MOST_BEHIND
from heartbeat.wire import frames as f
from tests.session.ends import ALL_CAPS, NONCE, START, End, SessionTestCase, decoded, hello, ping

TAG = bytes(16)
#: One frame of each kind, but for those that may come first.
OTHERS: tuple[f.Frame, ...] = (
    f.Ack(1, 2),
    f.SignedAck(1, 2, TAG),
    f.Sync(1, 0, TAG, 0.5, 9),
    f.SyncAck(1, 0),
    f.State(b"{}"),
    f.Stalled(5),
    f.Data(b"x"),
    f.Data(b""),
    f.Window(9),
    f.Confirm(TAG, b""),
    f.Seal(1, TAG),
)


def body(frame: f.Frame) -> dict[str, Any]:
    """The members of a HELLO."""
    assert isinstance(frame, f.Hello)
    found: dict[str, Any] = json.loads(frame.body)
    return found


class AcceptorTests(SessionTestCase):
    """The end that was connected to."""

    def test_it_says_nothing_first(self) -> None:
        """Before the connector spoke there is nothing to send and nobody to judge."""
        end = End()
        end.session.start(end.now)
        self.assertEqual(end.run(START + 9.9), [])
        self.assertEqual(end.sent, b"")
        self.assertIs(end.session.beats.state, State.CONNECTING)

    def test_hello_waits_for_admission(self) -> None:
        """The applicant is looked at; then the answer is the first frame, and the peer is alive."""
        end = End()
        end.session.receive_data(hello(), end.now)
        self.assertEqual(end.session.data_to_send(), b"")
        applicant = end.session.applicant
        assert applicant is not None
        self.assertEqual(applicant.id, "peer-1")
        end.session.admit(end.now, "s-9", resumed=True, resume="token")
        self.assertIsNone(end.session.applicant)
        (answer,) = decoded(end.out())
        members = body(answer)
        self.assertEqual((members["session"], members["resumed"], members["resume"]), ("s-9", True, "token"))
        self.assertEqual((members["id"], members["v"], members["nonce"]), ("me", 1, NONCE))
        self.assertEqual((end.session.peer.id, end.session.peer.session), ("peer-1", "s-9"))
        self.assertEqual([type(event) for event in end.log], [Alive])

    def test_a_peer_without_a_name(self) -> None:
        """Is known by its address and has neither session nor token."""
        end = End()
        (answer,) = end.read(hello(id=None))
        self.assertFalse({"session", "resumed", "resume"} & set(body(answer)))
        self.assertEqual((end.session.peer.id, end.session.peer.session), ("~192.0.2.7:4000", ""))
        self.assertFalse(end.session.peer.bare)

    def test_admission_only_once_and_only_of_an_applicant(self) -> None:
        """Nobody there, a second time, after a BYE, on a connector: nothing happens."""
        end = End()
        end.session.admit(end.now, "s-1")
        self.assertEqual(end.out(), b"")
        end.read(hello())
        end.session.admit(end.now, "s-2")
        self.assertEqual(end.out(), b"")
        self.assertEqual(end.session.peer.session, "s-1")
        refused = End()
        refused.session.receive_data(hello(), refused.now)
        refused.session.bye(6, "this id is connected", refused.now)
        refused.session.admit(refused.now, "s-1")
        self.assertEqual([type(frame) for frame in decoded(refused.out())], [f.Bye])
        self.assertIsNone(refused.session.applicant)

    def test_any_other_first_frame(self) -> None:
        """Is a violation, refused at its header, of each kind; nobody was connected."""
        for frame in OTHERS:
            for data in (frame.encode(), frame.encode()[:8]):
                end = End(caps=ALL_CAPS)
                self.assertEqual([type(one) for one in end.read(data)], [f.Bye], frame)
                self.assert_said(end, 2)
                self.assertIs(end.session.beats.state, State.REFUSED)

    def test_something_else_altogether(self) -> None:
        """The reason is readable for whoever got the port wrong."""
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"SSH-2.0-x\r\n"):
            end = End()
            end.read(data)
            self.assert_said(end, 2, "this port speaks txheartbeat frames")

    def test_a_bye_first(self) -> None:
        """Is no violation and no failure where its code is none; nothing is sent back."""
        end = End()
        self.assertEqual(end.read(f.Bye(0, "wrong number")), [])
        self.assertIs(end.session.parting, Parting.CLOSE)
        (refused,) = end.events(Refused)
        self.assertEqual((refused.cause, refused.reason), ("", "wrong number"))

    def test_hello_twice(self) -> None:
        """Behind the gate it is a violation."""
        end = self.acceptor()
        end.read(hello())
        self.assert_said(end, 2, "HELLO")

    def test_hello_behind_a_ping(self) -> None:
        """A bare peer stays one."""
        end = self.bare()
        end.read(hello())
        self.assert_said(end, 2, "HELLO")

    def test_the_handshake_has_its_time(self) -> None:
        """Nothing, half a HELLO, or nobody who admits it: closed at the handshake timeout, and called that."""
        for data in (b"", hello()[:20], hello()):
            end = End(handshake_timeout=3.0)
            end.session.receive_data(data, end.now)
            self.assert_near((end.session.next_timer() or 0.0) - START, 3.0)
            end.run(START + 2.99)
            self.assert_stays(end)
            end.run(START + 3.01)
            self.assertIs(end.session.parting, Parting.CLOSE)
            (refused,) = end.events(Refused)
            self.assertEqual(refused.cause, "hello_timeout")
            self.assertIsNone(end.session.next_timer())
            self.assertIs(end.session.handle_timer(end.now + 10.0), NOTHING)
            self.assertIsNone(end.session.applicant)

    def test_no_time_behind_the_gate(self) -> None:
        """The handshake's deadline is gone with the gate."""
        end = self.acceptor(handshake_timeout=3.0)
        for number in range(20):
            end.run(end.now + 0.5)
            end.read(ping(number))
        self.assert_stays(end)

    def test_the_transport_ends_before(self) -> None:
        """Refused, not lost."""
        end = End()
        end.session.ended(Ending("eof"), end.now)
        (refused,) = end.events(Refused)
        self.assertEqual((refused.cause, end.session.beats.state), ("peer_closed", State.REFUSED))
        self.assertIs(end.session.parting, Parting.ABORT)


class BehindHelloTests(SessionTestCase):
    """What stands behind a connector's HELLO before it was answered counts as having come after the answer."""

    REST = ping(5, 6) + f.Sync(0, 0, TAG, 0.25, 60).encode() + ping(6, 7)

    def test_in_one_segment(self) -> None:
        """The answer comes first, then the replies in order."""
        end = End()
        end.session.receive_data(hello() + self.REST, end.now)
        self.assertEqual(end.session.data_to_send(), b"")
        self.assertEqual(end.session.tally.pings_in, 0)
        end.session.admit(end.now, "s-1")
        replies = decoded(end.out())
        self.assertEqual([type(one).__name__ for one in replies], ["Hello", "Ack", "Sync", "SyncAck", "Ack"])
        self.assertEqual((replies[1], replies[4]), (f.Ack(5, 6), f.Ack(6, 7)))

    def test_while_it_waits(self) -> None:
        """In pieces of any size, read while the applicant waits: the same."""
        whole = End()
        whole.session.receive_data(hello() + self.REST, whole.now)
        whole.session.admit(whole.now, "s-1")
        wanted = whole.out()
        for size in (1, 3, 8, 11):
            end = End()
            end.session.receive_data(hello(), end.now)
            for at in range(0, len(self.REST), size):
                end.session.receive_data(self.REST[at : at + size], end.now)
            end.session.admit(end.now, "s-1")
            self.assertEqual(end.out(), wanted)

    def test_what_may_not_stand_there(self) -> None:
        """Is found when it is taken: the answer goes out, and BYE 2 behind it."""
        end = End()
        end.session.receive_data(hello() + f.State(b"{}").encode(), end.now)
        self.assert_stays(end)
        end.session.admit(end.now, "s-1")
        self.assertEqual([type(one) for one in decoded(end.out())], [f.Hello, f.Bye])
        self.assert_said(end, 2, "STATE")

    def test_a_bye_behind_it(self) -> None:
        """The peer came and went."""
        end = End()
        end.take(hello() + ping(1) + f.Bye(0, "bye").encode())
        self.assertEqual([type(one).__name__ for one in decoded(end.sent)], ["Hello", "Ack", "Sync"])
        self.assertIs(end.session.beats.state, State.LEFT)
        self.assertIs(end.session.parting, Parting.CLOSE)

    def test_is_bounded(self) -> None:
        """Whoever does not wait, and sends as much as a read brings more than once, is sent away."""
        end = End()
        end.session.receive_data(hello() + b"HEAR\0\0\0\0" * (MOST_BEHIND // 8), end.now)
        self.assert_stays(end)
        end.session.receive_data(b"H", end.now)
        end.out()
        self.assert_said(end, 2, "HELLO")
        self.assertEqual(end.session.pending, MOST_BEHIND + 1)
        end.session.receive_data(b"x" * 100_000, end.now)
        self.assertEqual(end.session.pending, MOST_BEHIND + 1)

    @settings(deadline=None)
    @given(st.integers(0, 60))
    def test_refused_applicants_are_not_answered(self, cut: int) -> None:
        """Whatever stood behind the HELLO of one who was refused: BYE and nothing else."""
        end = End()
        end.session.receive_data(hello() + self.REST[:cut], end.now)
        end.session.bye(10, "full", end.now)
        end.session.receive_data(self.REST[cut:], end.now)
        self.assertEqual([type(one) for one in decoded(end.out())], [f.Bye])
        self.assertEqual(end.session.tally.pings_in, 0)


class ConnectorTests(SessionTestCase):
    """The end that opened the transport."""

    def test_it_speaks_first(self) -> None:
        """HELLO, and then it waits: no PING before the answer."""
        end = End(connector=True)
        self.assertEqual(end.out(), b"")
        end.session.start(end.now, resume="tok", last={"session": "s-0", "cause": "path_dead"})
        (said,) = decoded(end.out())
        self.assertEqual((body(said)["resume"], body(said)["last"]["session"]), ("tok", "s-0"))
        self.assertEqual(end.run(START + 9.0), [])

    def test_the_answer_opens_its_gate(self) -> None:
        """It knows its session and its token, and asks at once."""
        end = self.connector({"session": "s-7", "resumed": True, "resume": "next"})
        self.assertEqual((end.session.peer.id, end.session.peer.session, end.session.token), ("server", "s-7", "next"))
        self.assertEqual([type(event) for event in end.log], [Alive])
        self.assertEqual([type(frame) for frame in end.run(end.now)], [f.Ping])

    def test_the_exchange_is_a_round_trip(self) -> None:
        """From the HELLO to its answer: it is known how long an answer may take, until a real one is measured."""
        end = End(connector=True)
        end.session.start(end.now)
        end.out()
        end.to(START + 0.3)
        end.read(hello())
        self.assert_near(end.session.beats.rtt.smoothed or 0.0, 0.3)
        self.assertIsNone(end.session.beats.rtt.last)

    def test_a_late_read_is_none(self) -> None:
        """Where we were stalled meanwhile, nothing is learned."""
        end = End(connector=True)
        end.session.start(end.now)
        end.out()
        end.attention.expect(START + 0.1)
        end.now += 5.0
        end.read(hello())
        self.assertIsNone(end.session.beats.rtt.smoothed)

    def test_no_answer(self) -> None:
        """At the handshake timeout it is closed."""
        end = End(connector=True, handshake_timeout=2.0)
        end.session.start(end.now)
        end.run(START + 2.1)
        self.assertIs(end.session.parting, Parting.CLOSE)
        (refused,) = end.events(Refused)
        self.assertEqual(refused.cause, "hello_timeout")

    def test_anything_but_hello_or_bye(self) -> None:
        """Is a violation before the gate, a PING included."""
        for frame in (*OTHERS, f.Ping(1, 2)):
            end = End(connector=True, caps=ALL_CAPS)
            end.session.start(end.now)
            end.read(frame)
            self.assert_said(end, 2)

    def test_a_bye_in_the_place_of_the_answer(self) -> None:
        """Each code before the gate: refused, with its cause."""
        for code, cause in (
            (0, ""),
            (1, ""),
            (3, "version_refused"),
            (6, "id_in_use"),
            (10, "server_full"),
            (99, "server_full"),
        ):
            end = End(connector=True)
            end.session.start(end.now)
            self.assertEqual([frame for frame in end.read(f.Bye(code, "why")) if not isinstance(frame, f.Hello)], [])
            (refused,) = end.events(Refused)
            self.assertEqual((refused.cause, refused.reason), (cause, "why"))
            self.assertEqual(end.session.farewell, f.Bye(code, "why"))

    def test_a_second_answer(self) -> None:
        """Is a HELLO behind the gate."""
        end = self.connector()
        end.read(hello())
        self.assert_said(end, 2)

    def test_what_stands_behind_the_answer(self) -> None:
        """Is taken at once: its gate is open."""
        end = End(connector=True)
        end.session.start(end.now)
        end.out()
        self.assertEqual(end.read(hello() + ping(3, 4))[0], f.Ack(3, 4))

    def test_starting_twice(self) -> None:
        """Behind the gate nothing is said again."""
        end = self.connector()
        end.session.start(end.now)
        self.assertEqual(end.out(), b"")


class BareTests(SessionTestCase):
    """A connector whose first frame is PING."""

    def test_its_gate_is_open(self) -> None:
        """The PING is answered like any other; it is known by its address."""
        end = End()
        replies = end.read(ping(9, 10))
        self.assertEqual(replies[0], f.Ack(9, 10))
        self.assertEqual([type(one) for one in replies], [f.Ack, f.Sync])
        peer = end.session.peer
        self.assertEqual(
            (peer.bare, peer.id, peer.session, end.session.caps), (True, "~192.0.2.7:4000", "", frozenset())
        )
        self.assertIs(end.session.beats.state, State.ALIVE)

    def test_it_is_judged_and_asked_like_any_end(self) -> None:
        """We ping it, it answers, and when it falls silent it is dead within D."""
        end = self.bare()
        for _ in range(3):
            (asked,) = end.run(end.now + 0.6)
            end.read(f.Ack(asked.seq, asked.ts))  # type: ignore[union-attr]  # nothing but a PING is due
        self.assertEqual(end.session.tally.acks_in, 3)
        heard = end.now
        end.run(START + 30.0)
        self.assertIs(end.session.beats.state, State.DEAD)
        self.assert_near(end.session.liveness.since - heard, 1.5, within=0.01)

    def test_sync_both_ways(self) -> None:
        """Its SYNC is answered without a wish for STATE, ours asks for nothing that it does not know."""
        end = self.bare()
        self.assertEqual(end.read(f.Sync(3, f.CHANGED, TAG, 0.5, 70)), [f.SyncAck(3, 0)])
        self.assertEqual((end.session.peer.load, end.session.peer.uptime), (0.5, 70))
        (sync,) = [frame for frame in decoded(end.sent) if isinstance(frame, f.Sync)]
        self.assertEqual(end.read(f.SyncAck(sync.seq, f.WANT_STATE)), [])

    def test_nothing_else(self) -> None:
        """STATE, STALLED, DATA, WINDOW and the rest were not agreed."""
        for frame in OTHERS:
            end = self.bare()
            end.read(frame)
            if isinstance(frame, (f.Ack, f.Sync, f.SyncAck)):
                self.assert_stays(end)
            else:
                self.assert_said(end, 2)

    def test_no_stalled_for_it(self) -> None:
        """After a stall of ours it is only asked."""
        end = self.bare()
        end.stall(20.0)
        self.assertEqual([type(frame) for frame in end.run(end.now + 1.0) if not isinstance(frame, f.Ping)], [])

    def test_refused_where_told_to(self) -> None:
        """BYE 5, and its PING is not answered."""
        end = End(bare="refuse")
        self.assertEqual([type(one) for one in end.read(ping(1))], [f.Bye])
        self.assert_said(end, 5)
        self.assertEqual((end.session.liveness.cause, end.session.peer.bare), ("identity_refused", False))

    def test_an_application_needs_a_hello(self) -> None:
        """A wrapped connection is nothing without DATA: a bare peer hears BYE 5, a HELLO without it BYE 2."""
        end = End(caps=ALL_CAPS)
        end.read(ping(1))
        self.assert_said(end, 5)
        for connector in (False, True):
            end = End(connector=connector, caps=ALL_CAPS)
            end.session.start(end.now)
            end.read(hello(caps=["state", "stalled"]))
            self.assert_said(end, 2, "data")

    def test_terms_of_ours_that_do_not_fit(self) -> None:
        """A floor that makes D too long for ourselves: BYE 4 for every bare peer."""
        end = End(interval=1.0, multiplier=3, min_interval=20.0, max_detection=30.0)
        end.read(ping(1))
        self.assert_said(end, 4)
