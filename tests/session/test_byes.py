"""The BYE codes (``wire.md`` §6), as data and on the wire, said and heard."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.liveness.causes import FAILURE_REASONS
from heartbeat.liveness.events import Dead, Left, Refused
from heartbeat.liveness.evidence import Ending
from heartbeat.liveness.need import NOTHING
from heartbeat.liveness.states import State
from heartbeat.session.byes import BYE_CAUSES, BYE_DETAILS, MOST_AFTER_MS, UNKNOWN_CODE, after_ms, cause_of
from heartbeat.session.parting import Parting
from heartbeat.wire import frames as f
from tests.session.ends import START, End, SessionTestCase, decoded, hello, ping

#: code: what the receiver records behind its gate, as the table of wire.md has it
RECORDED = {
    0: "left", 1: "left", 2: "protocol_error", 3: "version_refused", 4: "terms_refused", 5: "identity_refused",
    6: "id_in_use", 7: "left", 8: "intercepted", 9: "ping_flood", 10: "server_full", 11: "peer_not_reading", 12: "left",
}  # fmt: skip
DETAILS = {0: "leaving", 1: "draining", 7: "superseded", 12: "age"}


class TableTests(SessionTestCase):
    """Codes and causes."""

    def test_every_code(self) -> None:
        """Is either no failure, with a detail, or a failure with a published cause; an unknown one is treated as 10."""
        self.assertEqual(BYE_DETAILS, DETAILS)
        self.assertEqual({**BYE_CAUSES, **dict.fromkeys(BYE_DETAILS, "left")}, RECORDED)
        self.assertLessEqual(set(BYE_CAUSES.values()), FAILURE_REASONS)
        for code in (13, 255, 65_535):
            self.assertEqual(cause_of(code), cause_of(UNKNOWN_CODE))
        for code in BYE_DETAILS:
            self.assertEqual(cause_of(code), "unattributed")


class AfterTests(SessionTestCase):
    """``after=<ms>`` at the start of a reason."""

    def test_table(self) -> None:
        """Decimal, at the start, at most ten minutes; all else is none."""
        for reason, wanted in (
            ("after=0", 0),
            ("after=1500", 1500),
            ("after=1500 the server drains", 1500),
            ("after=1500\tx", 1500),
            ("after=0001500", 1500),
            ("after=600000", 600_000),
            ("after=600001", MOST_AFTER_MS),
            ("after=99999999999999999999", MOST_AFTER_MS),
            ("after=" + "9" * 250, MOST_AFTER_MS),
            ("after=" + "0" * 250, 0),
            ("after=" + "0" * 249 + "7", 7),
            ("", None),
            ("after=", None),
            ("after= 5", None),
            ("after=-5", None),
            ("after=+5", None),
            ("after=1.5", None),
            ("after=1e3", None),
            ("after=5ms", None),
            ("after=0x10", None),
            ("after=1_000", None),
            ("after=٣", None),
            ("after=²", None),
            ("after =5", None),
            ("After=5", None),
            (" after=5", None),
            ("draining after=5", None),
        ):
            self.assertEqual(after_ms(reason), wanted, reason[:40])

    @settings(deadline=None)
    @given(st.one_of(st.text(max_size=60), st.text(max_size=60).map(lambda text: "after=" + text)))
    def test_any_text(self, reason: str) -> None:
        """A number of milliseconds in range, or None."""
        after = after_ms(reason)
        if after is not None:
            self.assertTrue(0 <= after <= MOST_AFTER_MS)
            self.assertTrue(reason.startswith("after="))


class HeardTests(SessionTestCase):
    """A BYE of the peer."""

    def test_behind_the_gate(self) -> None:
        """LEFT with its detail, or DEAD with its cause; nothing more is sent, and it closes at once."""
        for code, recorded in {**RECORDED, 13: "server_full", 4711: "server_full"}.items():
            for end in (self.acceptor(), self.connector(), self.bare()):
                end.log.clear()
                sent = len(end.sent)
                self.assertEqual(end.read(f.Bye(code, "why")), [])
                self.assertIs(end.session.parting, Parting.CLOSE)
                self.assertEqual(end.session.farewell, f.Bye(code, "why"))
                self.assertIsNone(end.session.said)
                (event,) = end.log
                if recorded == "left":
                    self.assertEqual(event, Left(end.now, DETAILS[code], "why"))
                    self.assertIs(end.session.beats.state, State.LEFT)
                else:
                    assert isinstance(event, Dead)
                    self.assertEqual((event.cause, end.session.beats.state), (recorded, State.DEAD))
                self.nothing_more(end)
                self.assertEqual(len(end.sent), sent)

    def nothing_more(self, end: End) -> None:
        """Whatever comes and however long one waits: not a byte, no timer, no event."""
        end.log.clear()
        self.assertFalse(end.session.receive_data(ping(9) + hello() + b"\xff" * 100, end.now))
        self.assertIsNone(end.session.next_timer())
        for after in (0.1, 1.0, 30.0):
            self.assertIs(end.session.handle_timer(end.now + after), NOTHING)
        end.session.bye(0, "me too", end.now)
        end.session.unblocked(end.now)
        self.assertIsNone(end.session.next_timer())
        end.session.ended(Ending("eof"), end.now)
        self.assertEqual(end.out(), b"")
        self.assertEqual(end.log, [])

    def test_what_was_read_before_it_is_answered(self) -> None:
        """In one segment with it: in order, none left out."""
        end = self.acceptor()
        replies = end.read(ping(1), ping(2), f.Bye(0, ""), ping(3))
        self.assertEqual([type(one).__name__ for one in replies], ["Ack", "Sync", "Ack"])
        end = End()
        self.assertEqual(
            [type(one).__name__ for one in end.read(hello(), ping(1), f.Bye(0, ""))], ["Hello", "Ack", "Sync"]
        )


class SaidTests(SessionTestCase):
    """Our own BYE."""

    def test_it_is_the_last_word(self) -> None:
        """Then we read on and discard for a second, and abort; no PING, no ACK and no second BYE meanwhile."""
        for code, recorded in RECORDED.items():
            end = self.acceptor(interval=0.2)
            end.read(ping(1))
            end.log.clear()
            end.session.bye(code, "so be it", end.now)
            self.assertEqual(decoded(end.out()), [f.Bye(code, "so be it")])
            self.assert_said(end, code)
            (event,) = end.log
            self.assertEqual(type(event), Left if recorded == "left" else Dead)
            said_at = end.now
            self.assertEqual(end.session.next_timer(), said_at + 1.0)
            for number in range(9):
                # The wheel may still wake it for the question that was due.
                end.to(end.now + 0.1)
                self.assertEqual(end.serve(), [])
                self.assertEqual(end.read(ping(number), hello(), f.Sync(1, 0, bytes(16), 0.5, 1)), [])
                end.session.bye(2, "again", end.now)
            self.assert_said(end, code)
            end.to(said_at + 1.0)
            self.assertEqual(end.serve(), [])
            self.assertIs(end.session.parting, Parting.ABORT)
            self.assertIsNone(end.session.next_timer())

    def test_of_a_connector_that_answers_no_more(self) -> None:
        """An agent that leaves while a question is due asks it no more."""
        end = self.connector()
        end.run(START + 0.2)
        end.session.bye(0, "", end.now)
        self.assertEqual([type(one) for one in decoded(end.out())], [f.Bye])
        self.assertEqual(end.run(START + 5.0), [])
        self.assertIs(end.session.parting, Parting.ABORT)

    def test_before_the_gate(self) -> None:
        """Refused: with the cause, or without one where the code is no failure."""
        for code, recorded in RECORDED.items():
            end = End()
            end.session.bye(code, "no", end.now)
            self.assertEqual(decoded(end.out()), [f.Bye(code, "no")])
            (refused,) = end.events(Refused)
            self.assertEqual(refused.cause, "" if recorded == "left" else recorded)

    def test_what_is_queued_goes_before_it(self) -> None:
        """Answers that are owed, then the BYE."""
        end = self.acceptor()
        end.session.receive_data(ping(1) + ping(2), end.now)
        end.session.bye(1, "after=100", end.now)
        self.assertEqual([type(one).__name__ for one in decoded(end.out())], ["Ack", "Sync", "Ack", "Bye"])

    def test_a_reason_for_people(self) -> None:
        """Control characters are taken out, and it is cut at 256 bytes."""
        end = self.acceptor()
        end.session.bye(2, "a\nb\x00" + "é" * 300, end.now)
        (said,) = decoded(end.out())
        assert isinstance(said, f.Bye)
        self.assertTrue(said.reason.startswith("abé"))
        self.assertLessEqual(len(said.reason.encode()), 256)

    def test_a_violation_says_which(self) -> None:
        """BYE 2 with the reason; what stood before it was answered, what stands behind it is not looked at."""
        end = self.acceptor()
        replies = end.read(ping(1), b"XXXXYYYY", ping(2))
        self.assertEqual([type(one).__name__ for one in replies], ["Ack", "Sync", "Bye"])
        self.assert_said(end, 2)
        (dead,) = end.events(Dead)
        self.assertEqual(dead.cause, "protocol_error")

    def test_the_transport_ends_meanwhile(self) -> None:
        """What was recorded stays."""
        end = self.acceptor()
        end.session.bye(0, "", end.now)
        end.out()
        end.session.ended(Ending("reset"), end.now)
        self.assertIs(end.session.beats.state, State.LEFT)
        self.assertIs(end.session.parting, Parting.ABORT)
        self.assertIsNone(end.session.next_timer())
        self.assertEqual(end.events(Dead), [])


class EndedTests(SessionTestCase):
    """EOF of either kind without BYE."""

    def test_is_a_failure_with_a_cause(self) -> None:
        """Never LEFT."""
        for how, cause in (("eof", "peer_closed"), ("reset", "peer_reset"), ("error", "unattributed")):
            end = self.acceptor()
            end.session.ended(Ending(how), end.now)  # type: ignore[arg-type]  # one of the literals
            (dead,) = end.events(Dead)
            self.assertEqual((dead.cause, end.session.beats.state), (cause, State.DEAD))
            self.assertIs(end.session.parting, Parting.ABORT)
            self.assertIsNone(end.session.next_timer())
            self.assertEqual(end.read(ping(1)), [])
