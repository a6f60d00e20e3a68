"""heartbeat.watch.failures: who failed and why."""

from __future__ import annotations

import json
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.events import Explained, Refused
from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.recorder import Kind
from heartbeat.watch.failures import Failure, Failures
from tests.watch.crowd import EPOCH, Hands, Somebody


class FailuresCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.hands = Hands()
        self.failures = Failures(self.hands, node="here")

    def join(self, id: str = "a", **told: str) -> Somebody:
        """A peer whose end is recorded."""
        return Somebody(self.hands, id, self.failures, **told).join()

    def knock(self, id: str = "~x:1", cause: str = "hello_timeout", reason: str = "") -> None:
        """A connection that ends before its gate opened."""
        self.failures.refused(Somebody(self.hands, id).peer, Refused(self.hands.now, cause, reason))

    def newest(self) -> Failure:
        """The newest record."""
        return next(self.failures.since())


class RecordTests(FailuresCase):
    """What a record says."""

    def test_a_death(self) -> None:
        """A death is told in the shape of /api/failures, in the time of the clock on the wall."""
        one = self.join()
        one.peer.session = "s-1"
        one.answer(0.08)
        self.hands.now += 2.0
        one.die("peer_closed", Evidence(at=self.hands.now - 0.5, unread=0, detail="silent"))
        told = self.newest().as_json()
        p95 = told.pop("p95_latency_ms")
        self.assertTrue(60.0 < p95 < 140.0, p95)
        id = told.pop("id")
        self.assertEqual(int(id), round((EPOCH + self.hands.now) * 1_000_000))
        at = EPOCH + self.hands.now
        self.assertEqual(
            told,
            {
                "at": round(at, 3),
                "peer": "a",
                "address": "192.0.2.1:4711",
                "node": "here",
                "session": "s-1",
                "failure_reason": "peer_closed",
                "phase": "live",
                "trace_id": None,
                "services": [],
                "region": "",
                "evidence": {
                    "silent_s": 2.0,
                    "at": round(at - 0.5, 3),
                    "unread": 0,
                    "detail": "silent",
                    "layers": {"host": "alive", "loop": "dead", "work": "unknown"},
                },
                "events": [
                    {"at": at - 2.08, "event": "opened", "value": None},
                    {"at": at - 2.0, "event": "heard", "value": None},
                    {"at": at, "event": "dead", "value": 2.0},
                ],
            },
        )
        json.dumps(told)

    def test_where_and_what_it_was(self) -> None:
        """Its services are told, and its region: its own word for it, else that of this server."""
        self.failures.region = "here"
        self.join("a", services=("auth", "http"), meta={"region": "there"}).die()
        self.join("b", meta={"region": ""}).die()
        newest, older = self.failures.newest()
        self.assertEqual((older.as_json()["services"], older.as_json()["region"]), (["auth", "http"], "there"))
        self.assertEqual((newest.as_json()["services"], newest.as_json()["region"]), ([], "here"))

    def test_one_by_its_id(self) -> None:
        """A record is found by its id as long as it is remembered, be it of a peer or of a knock."""
        self.join("a").die()
        Somebody(self.hands, "b", self.failures).die("hello_timeout")
        for one in self.failures.newest():
            self.assertIs(self.failures.get(one.id), one)
        self.assertIsNone(self.failures.get(7))

    def test_its_last_events(self) -> None:
        """The flight recorder is read when the peer dies, and later events of its judge, or steps of the clock on the
        wall, do not change the record."""
        one = self.join()
        one.fall_silent()
        self.hands.now += 0.1
        one.speak()
        one.fall_silent()
        one.die()
        told = json.dumps(self.newest().as_json()["events"])
        names = [event["event"] for event in json.loads(told)]
        self.assertEqual(names, ["opened", "suspect", "confirm", "heard", "alive", "suspect", "confirm", "dead"])
        self.hands.now += 100.0
        one.beats.liveness.flight().record(self.hands.now, Kind.DEAF)
        self.assertEqual(json.dumps(self.newest().as_json()["events"]), told)

    def test_no_more_than_the_recorder_keeps(self) -> None:
        """However long it was in trouble, and however many questions wait for an answer."""
        one = self.join()
        for _ in range(100):
            one.fall_silent()
            one.speak()
        for _ in range(100):
            one.beats.asked(self.hands.now)
        one.die()
        told = self.newest().as_json()["events"]
        self.assertEqual((len(told), told[0]["event"], told[-1]["event"]), (64, "opened", "dead"))

    def test_a_better_name_says_other_things(self) -> None:
        """What the return of a peer proves about its death is what the record says of host, loop and work, too."""
        one = self.join()
        one.peer.session = "s-1"
        one.die("peer_reset")
        self.assertEqual(self.newest().evidence["layers"]["loop"], "dead")
        self.failures.changed(one.peer, Explained(self.hands.now, "middlebox_reset", "peer_reset", "returned", "s-1"))
        self.assertEqual(self.newest().reason, "middlebox_reset")
        self.assertEqual(self.newest().evidence["layers"], dict.fromkeys(("host", "loop", "work"), "unknown"))

    def test_the_events_of_a_refusal(self) -> None:
        """What never joined was connected, and refused."""
        one = Somebody(self.hands, "~x:1", self.failures)
        self.hands.now += 10.0
        one.die("hello_timeout")
        told = self.newest().as_json()["events"]
        self.assertEqual([event["event"] for event in told], ["connected", "heard", "refused"])

    def test_it_is_dated_when_it_happened(self) -> None:
        """The time is the event's own, not that of its record."""
        one = self.join()
        happened = self.hands.wall()
        one.beats.liveness.condemn("path_dead", self.hands.now)
        self.hands.now += 5.0
        one.tell()
        self.assertAlmostEqual(self.newest().at, happened)

    def test_a_peer_that_says_its_node(self) -> None:
        """The node of the peer's own connection goes before that of the board."""
        self.join(node="there").die()
        self.assertEqual(self.newest().node, "there")

    def test_no_round_trip(self) -> None:
        """Without a round trip there is no p95."""
        self.join().die()
        self.assertIsNone(self.newest().as_json()["p95_latency_ms"])

    def test_a_refusal(self) -> None:
        """A connection that ends before its gate is a failure of the handshake, with its reason for people."""
        self.knock(reason="no common version")
        told = self.newest().as_json()
        self.assertEqual((told["phase"], told["failure_reason"]), ("handshake", "hello_timeout"))
        self.assertEqual(told["evidence"], {"reason": "no common version"})
        self.knock(cause="peer_closed")
        self.assertEqual(self.newest().evidence, {})

    def test_a_connection_that_was_never_made(self) -> None:
        """What fails while connecting is of phase connect."""
        self.knock(cause="tcp_refused")
        self.assertEqual(self.newest().phase, "connect")

    def test_what_is_no_failure(self) -> None:
        """Who leaves is no failure, and neither is a goodbye before the gate."""
        self.join().leave()
        self.knock(cause="")
        self.assertEqual(len(self.failures), 0)
        self.assertEqual(self.failures.counts(), {})

    def test_only_names_of_the_closed_list(self) -> None:
        """A cause that nobody knows never becomes a label."""
        self.join().die("because")
        self.assertEqual(self.failures.counts(), {("unattributed", "live"): 1})
        self.assertEqual(self.newest().reason, "unattributed")


class ExplainedTests(FailuresCase):
    """A peer that is back says more about its last death."""

    def lost(self, session: str, cause: str = "path_dead") -> None:
        """A death in this session."""
        one = self.join()
        one.peer.session = session
        one.die(cause, Evidence(self.hands.now, detail="silent"))
        self.hands.now += 1.0

    def back(self, session: str, was: str = "path_dead", cause: str = "nat_expired") -> None:
        """It is back, and this is what follows for that session."""
        event = Explained(self.hands.now, cause, was, "returned", session)
        self.failures.changed(self.join().peer, event)

    def reasons(self) -> list[str]:
        """Of all records, the newest first."""
        return [one.reason for one in self.failures.since()]

    def test_the_record_is_exact(self) -> None:
        """It has the new reason, and says what it was called first; its place and its time are the same."""
        self.lost("s-1")
        before = self.newest()
        self.back("s-1")
        after = self.newest()
        self.assertEqual(
            (after.reason, after.evidence["was"], after.evidence["detail"]), ("nat_expired", "path_dead", "returned")
        )
        self.assertEqual((after.id, after.at, after.flight), (before.id, before.at, before.flight))
        self.assertEqual([one.reason for one in self.failures.since(reason="nat_expired")], ["nat_expired"])

    def test_it_was_counted(self) -> None:
        """A counter never goes back: the failure stays counted under its first name, and only there."""
        self.lost("s-1")
        self.back("s-1")
        self.assertEqual(self.failures.counts(), {("path_dead", "live"): 1})

    def test_the_newest_of_that_session(self) -> None:
        """Others are not touched: neither another session's nor an older one of the same."""
        for session in ("s-1", "s-1", "s-2"):
            self.lost(session)
        self.back("s-1")
        self.assertEqual(self.reasons(), ["path_dead", "nat_expired", "path_dead"])

    def test_another_peer(self) -> None:
        """... and not another peer's."""
        self.lost("s-1")
        event = Explained(self.hands.now, "nat_expired", "path_dead", "returned", "s-1")
        self.failures.changed(self.join("b").peer, event)
        self.assertEqual(self.reasons(), ["path_dead"])

    def test_a_record_that_says_something_else(self) -> None:
        """What is explained is the failure that it was called so, no other."""
        self.lost("s-1", "peer_closed")
        self.back("s-1")
        self.assertEqual(self.reasons(), ["peer_closed"])

    def test_forgotten(self) -> None:
        """A record that is gone is not made again."""
        self.failures.keep = 1
        self.lost("s-1")
        self.lost("s-2")
        self.back("s-1")
        self.assertEqual(self.reasons(), ["path_dead"])

    def test_only_names_of_the_closed_list(self) -> None:
        """Whatever an event says, no new label comes of it."""
        self.lost("s-1")
        self.back("s-1", cause="because")
        self.assertEqual(self.reasons(), ["unattributed"])


class BoardTests(FailuresCase):
    """What is remembered, and how it is read."""

    def test_newest_first(self) -> None:
        """Deaths and refusals are on one list, newest first, under ids that sort as text, too."""
        for number in range(6):
            if number % 2:
                self.knock(f"p{number}")
            else:
                self.join(f"p{number}").die()
            self.hands.now += 0.1
        told = [one.as_json() for one in self.failures.since()]
        self.assertEqual([one["peer"] for one in told], ["p5", "p4", "p3", "p2", "p1", "p0"])
        for newer, older in pairwise(told):
            self.assertGreater(newer["id"], older["id"])

    def test_ids_increase_whatever_the_clock_does(self) -> None:
        """Within one microsecond, and when the clock on the wall steps back, the next id is larger all the same."""
        self.join("a").die()
        self.join("b").die()
        self.hands.now -= 500.0
        self.join("c").die()
        first, second, third = (one.id for one in reversed(list(self.failures.since())))
        self.assertEqual((second, third), (first + 1, first + 2))

    def test_since(self) -> None:
        """Only what is newer than an id, and of that only so many of the newest."""
        for number in range(5):
            self.join(f"p{number}").die()
        known = [one.id for one in self.failures.since()]
        self.assertEqual([one.peer for one in self.failures.since(known[3])], ["p4", "p3", "p2"])
        self.assertEqual([one.peer for one in self.failures.since(known[3], 2)], ["p4", "p3"])
        self.assertEqual(list(self.failures.since(known[0])), [])

    def test_by_peer_and_reason(self) -> None:
        """Only those of one peer, or of one reason."""
        self.join("a").die("path_dead")
        self.join("b").die("peer_closed")
        self.join("a").die("peer_closed")
        self.assertEqual([one.reason for one in self.failures.since(peer="a")], ["peer_closed", "path_dead"])
        self.assertEqual([one.peer for one in self.failures.since(reason="peer_closed")], ["a", "b"])
        self.assertEqual(list(self.failures.since(peer="a", reason="peer_reset")), [])

    def test_a_slow_reader(self) -> None:
        """What is read is a snapshot: records that come or go meanwhile do not disturb it."""
        self.failures.keep = 2
        for id in ("a", "b"):
            self.join(id).die()
        reading = self.failures.since()
        self.assertEqual(next(reading).peer, "b")
        for id in ("c", "d"):
            self.join(id).die()
        self.assertEqual([one.peer for one in reading], ["a"])

    def test_bounded(self) -> None:
        """The oldest records go; the counts stay."""
        self.failures.keep = 3
        for number in range(10):
            self.join(f"p{number}").die()
        self.assertEqual([one.peer for one in self.failures.since()], ["p9", "p8", "p7"])
        self.assertEqual(self.failures.counts(), {("path_dead", "live"): 10})

    def test_knocking_does_not_push_the_deaths_off_the_board(self) -> None:
        """However many strangers are refused, half of the board is for peers that died."""
        self.failures.keep = 10
        for number in range(7):
            self.join(f"p{number}").die()
        for _ in range(100):
            self.knock()
        deaths = [one.peer for one in self.failures.since() if one.phase == "live"]
        self.assertEqual(deaths, ["p6", "p5", "p4", "p3", "p2"])
        self.assertEqual(len(self.failures), 10)

    def test_a_death_pushes_a_knock_off_a_crowded_board(self) -> None:
        """Refusals may fill a board that nobody else needs, and give way when somebody does."""
        self.failures.keep = 4
        for number in range(6):
            self.knock(f"k{number}")
        self.assertEqual([one.peer for one in self.failures.since()], ["k5", "k4", "k3", "k2"])
        for number in range(6):
            self.join(f"p{number}").die()
        self.assertEqual([one.peer for one in self.failures.since()], ["p5", "p4", "k5", "k4"])

    def test_nothing_kept(self) -> None:
        """A board of no records still counts."""
        self.failures.keep = 0
        self.join().die()
        self.knock()
        self.assertEqual(len(self.failures), 0)
        self.assertEqual(sum(self.failures.counts().values()), 2)
