"""What an end remembers of a connection that failed, and what the return of the peer makes of it (wire.md §4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.causes import FAILURE_REASONS
from heartbeat.liveness.events import Explained
from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.session.greeting import parse_hello
from heartbeat.session.past import AT_ONCE, KEPT, Past, Pasts, explain, explained, remembered
from heartbeat.wire import frames as f
from tests.session.ends import End, SessionTestCase, ping

SILENT = Past("gw-7", "s-1", "path_dead", "silent", 100.0, 1.5, instance="one")
RETURNED = ("nat_expired", "returned")
RESTARTED = ("peer_restarted", "instance")
ONE_WAY = ("path_dead", "one_way")


def account(cause: str, session: str = "s-1", **members: int) -> dict[str, Any]:
    """The ``last`` of a peer."""
    return {"session": session, "cause": cause, **members}


class RestartTests(SynchronousTestCase):
    """Another process is back."""

    def test_another_instance(self) -> None:
        """A silence, an end of stream or a reset was a restart, however long it took."""
        for cause in ("path_dead", "peer_closed", "peer_reset", "middlebox_reset", "unattributed"):
            past = replace(SILENT, cause=cause)
            self.assertEqual(explain(past, "two", None, 0.1), RESTARTED)
            self.assertEqual(explain(past, "two", account("path_dead"), 1000.0), RESTARTED)

    def test_what_was_proved_stays(self) -> None:
        """What the kernel showed of our own host, of a stalled process or of one direction, no restart explains."""
        for cause in ("local_egress", "local_link", "peer_stalled", "peer_not_reading", "protocol_error"):
            self.assertIsNone(explain(replace(SILENT, cause=cause), "two", None, 0.1))
        self.assertIsNone(explain(replace(SILENT, detail="one_way"), "two", None, 0.1))

    def test_a_made_up_name(self) -> None:
        """Behind one address there may be many processes: another one is no restart."""
        self.assertIsNone(explain(replace(SILENT, peer="~192.0.2.1:7600"), "two", None, 0.1))

    def test_unknown(self) -> None:
        """Where one of the two did not say which process it is, nothing is proved."""
        self.assertIsNone(explain(SILENT, None, account("path_dead"), 0.1))
        self.assertIsNone(explain(replace(SILENT, instance=None), "one", account("path_dead"), 0.1))


class ReturnTests(SynchronousTestCase):
    """The same process is back."""

    def test_at_once(self) -> None:
        """The path works: it had only lost the state of the old connection."""
        self.assertEqual(explain(SILENT, "one", None, AT_ONCE), RETURNED)
        self.assertEqual(
            explain(replace(SILENT, cause="middlebox_reset", detail="provoked"), "one", None, 0.5), RETURNED
        )

    def test_given_up(self) -> None:
        """Who gave us up during a stall of ours comes back at once, and no path has lost anything; a restart is one."""
        past = replace(SILENT, cause="middlebox_reset", detail="own_stall")
        for claim in (None, account("path_dead"), account("peer_stalled")):
            self.assertIsNone(explain(past, "one", claim, 0.1))
            self.assertEqual(explain(past, "two", claim, 0.1), RESTARTED)

    def test_later(self) -> None:
        """After a while the path may have healed."""
        self.assertIsNone(explain(SILENT, "one", None, AT_ONCE + 0.01))
        self.assertEqual(explain(replace(SILENT, leeway=1.5), "one", None, AT_ONCE + 1.5), RETURNED)

    def test_the_account_of_the_other(self) -> None:
        """It may agree; if it says that its own host was at fault, or names another session, that decides."""
        for cause in ("path_dead", "middlebox_reset", "nat_expired"):
            self.assertEqual(explain(SILENT, "one", account(cause), 0.1), RETURNED)
        for cause in ("local_egress", "local_link", "peer_closed", "something new"):
            self.assertIsNone(explain(SILENT, "one", account(cause), 0.1))
        self.assertEqual(explain(SILENT, "one", account("local_link", session="s-2"), 0.1), RETURNED)

    def test_not_proved_here(self) -> None:
        """What we could not name at all the other end may know; a name that was proved is kept."""
        nameless = replace(SILENT, cause="unattributed")
        self.assertEqual(explain(nameless, "one", account("path_dead"), 0.1), RETURNED)
        self.assertIsNone(explain(nameless, "one", account("path_dead", session="s-2"), 0.1))
        self.assertIsNone(explain(nameless, "one", None, 0.1))
        for cause, detail in (("path_dead", "icmp"), ("peer_closed", "eof"), ("peer_reset", ""), ("local_link", "")):
            self.assertIsNone(explain(replace(SILENT, cause=cause, detail=detail), "one", account("path_dead"), 0.1))


class OneWayTests(SynchronousTestCase):
    """Both accounts together show that only one direction was broken."""

    def test_contradicting_names(self) -> None:
        """One kernel acknowledged what the other end sent, whose own packets never arrived."""
        self.assertEqual(explain(replace(SILENT, cause="peer_stalled"), "one", account("path_dead"), 60.0), ONE_WAY)
        self.assertEqual(explain(SILENT, "one", account("peer_stalled"), 60.0), ONE_WAY)
        self.assertIsNone(explain(SILENT, "one", account("peer_stalled", session=""), 60.0))

    def test_numbers(self) -> None:
        """One end answered PINGs and the other never read the answers, while the reverse is not so."""
        past = replace(SILENT, heard_seq=40_213, acked_seq=17, asked_seq=19)
        self.assertEqual(explain(past, "one", account("path_dead", acked_seq=40_211), 60.0), ONE_WAY)
        self.assertEqual(explain(past, "one", account("path_dead", acked_seq=40_213, heard_seq=19), 60.0), ONE_WAY)
        self.assertIsNone(explain(past, "one", account("path_dead", acked_seq=40_213, heard_seq=17), 60.0))
        self.assertIsNone(explain(past, "one", account("path_dead", acked_seq=40_211, heard_seq=19), 60.0))

    def test_numbers_wrap(self) -> None:
        """They are 16 bits wide, and no more than 1024 of them are open."""
        past = replace(SILENT, heard_seq=1)
        self.assertEqual(explain(past, "one", account("path_dead", acked_seq=65_535), 60.0), ONE_WAY)
        self.assertIsNone(explain(past, "one", account("path_dead", acked_seq=30_000), 60.0))


class AnyClaimTests(SynchronousTestCase):
    """Whatever a peer says."""

    @settings(deadline=None)
    @given(
        st.sampled_from(sorted(FAILURE_REASONS)),
        st.sampled_from(("silent", "icmp", "one_way", "")),
        st.none() | st.sampled_from(("one", "two")),
        st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "session": st.sampled_from(("s-1", "s-2", "")),
                "cause": st.sampled_from(sorted(FAILURE_REASONS)) | st.text(max_size=20),
                "heard_seq": st.integers(),
                "acked_seq": st.integers(),
                "heard_ms": st.integers(),
            },
        ),
        st.floats(0.0, 1e6),
    )
    def test_no_new_names(
        self, cause: str, detail: str, instance: str | None, last: dict[str, Any] | None, away: float
    ) -> None:
        """A claim can make a failure one of three names, and never a failure of our own host."""
        past = replace(SILENT, cause=cause, detail=detail, acked_seq=5, heard_seq=9)
        found = explain(past, instance, last, away)
        self.assertIn(found, (None, RETURNED, RESTARTED, ONE_WAY))
        if cause in ("local_egress", "local_link", "peer_not_reading"):
            self.assertIsNone(found)


class RememberedTests(SessionTestCase):
    """What is remembered of a session."""

    def end(self) -> End:
        """A connector whose gate is open, and which has asked nothing yet."""
        return self.connector({"id": "gw-7", "instance": "one", "session": "s-1", "resumed": False})

    def test_a_failure(self) -> None:
        """Its numbers, its times, and who the peer was."""
        end = self.end()
        end.read(ping(7))
        number = end.session.ping(end.now)
        end.session.beats.answered(number, end.now)
        end.session.ping(end.now)
        end.now += 1.5
        end.session.liveness.condemn("path_dead", end.now, Evidence(end.now, detail="silent"))
        past = remembered(end.session, 1.5)
        assert past is not None
        self.assertEqual((past.peer, past.session, past.instance), ("gw-7", "s-1", "one"))
        self.assertEqual((past.cause, past.detail, past.leeway), ("path_dead", "silent", 1.5))
        self.assertEqual((past.at, past.silent, past.idle), (end.now, 1.5, 0.0))
        self.assertEqual((past.acked_seq, past.asked_seq), (number, number + 1))
        last = {"session": "s-1", "cause": "path_dead", "heard_ms": 1500, "idle_ms": 0, "acked_seq": number}
        self.assertEqual(past.as_last(), last)

    def test_what_is_no_failure(self) -> None:
        """A connection that is open, was left or was refused has no past."""
        end = self.end()
        self.assertIsNone(remembered(end.session))
        end.session.ended(Ending("aborted"), end.now)
        self.assertIsNone(remembered(end.session))

    def test_without_a_question(self) -> None:
        """What never happened is not told."""
        end = self.end()
        end.session.ended(Ending("eof"), end.now)
        past = remembered(end.session)
        assert past is not None
        self.assertEqual(past.as_last(), {"session": "s-1", "cause": "peer_closed", "heard_ms": 0})
        self.assertNotIn("session", replace(past, session="").as_last())

    def test_it_is_a_member_of_hello(self) -> None:
        """What we say is what any end can read."""
        past = replace(SILENT, acked_seq=40_211, idle=30.0, heard_seq=17)
        end = End(connector=True)
        end.session.start(end.now, last=past.as_last())
        told = parse_hello(end.session.data_to_send()[f.HEADER_SIZE :]).last
        expected = {"session": "s-1", "cause": "path_dead", "heard_ms": 1500, "idle_ms": 30_000}
        self.assertEqual(told, {**expected, "heard_seq": 17, "acked_seq": 40_211})

    def test_the_event(self) -> None:
        """It says what the failure is called now, what it was called, and which session it is about."""
        end = self.end()
        event = explained(replace(SILENT, at=end.now - 1.0), end.session, None, end.now)
        self.assertEqual(event, Explained(end.now, "nat_expired", "path_dead", "returned", "s-1"))
        known = replace(SILENT, at=end.now, cause="path_dead", detail="one_way")
        self.assertIsNone(explained(known, end.session, account("peer_stalled"), end.now))
        self.assertIsNone(explained(replace(SILENT, at=end.now - 100.0), end.session, None, end.now))


class PastsTests(SynchronousTestCase):
    """The pasts of those who are away."""

    def test_once(self) -> None:
        """Each is recalled once, and the newest of a peer."""
        pasts = Pasts()
        pasts.remember(SILENT)
        newer = replace(SILENT, at=200.0)
        pasts.remember(newer)
        self.assertEqual(len(pasts), 1)
        self.assertIs(pasts.recall("gw-7", 201.0), newer)
        self.assertIsNone(pasts.recall("gw-7", 201.0))

    def test_bounded(self) -> None:
        """The oldest go first, and what is too old goes, too."""
        pasts = Pasts(most=3)
        for number in range(5):
            pasts.remember(replace(SILENT, peer=f"p{number}", at=float(number)))
        self.assertEqual([pasts.recall(f"p{number}", 5.0) is not None for number in range(5)], [False] * 2 + [True] * 3)
        pasts.remember(replace(SILENT, peer="old", at=0.0))
        self.assertIsNone(pasts.recall("old", KEPT + 1.0))
        pasts.remember(replace(SILENT, peer="older", at=0.0))
        pasts.remember(replace(SILENT, peer="new", at=KEPT + 1.0))
        self.assertEqual(len(pasts), 1)
