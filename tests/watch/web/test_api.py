"""heartbeat.watch.web.api: peers and failures as JSON."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from heartbeat.watch.web.answers import WHOLE
from tests.watch.web.browser import Answered, WebCase


def ids(answered: Answered) -> list[str]:
    """The ids of a list of peers."""
    return [peer["id"] for peer in answered.json]


class PeersTests(WebCase):
    """``/api/peers``."""

    def test_nobody(self) -> None:
        """It is a list, also of nobody."""
        answered = self.ask("/api/peers")
        self.assertEqual((answered.status, answered.json), (200, []))
        self.assertEqual(answered.headers["content-type"], "application/json; charset=utf-8")

    def test_the_shape_of_a_peer(self) -> None:
        """Each peer is what ``Peer.as_json`` says."""
        one = self.join("gateway-7", services=("auth",), load=0.25, uptime=60)
        one.answer(0.01)
        self.assertEqual(self.ask("/api/peers").json, [one.peer.as_json()])
        self.assertEqual(self.ask("/api/peers/").json, [one.peer.as_json()])

    def test_filters_and_pages(self) -> None:
        """``state``, ``reason``, ``q``, ``after`` and ``limit``, alone and together; an empty one is none."""
        for number in range(6):
            self.join(f"p{number}")
        self.join("x", services=("Billing",), meta={"region": "north"}).die("peer_closed")
        for query, found in {
            "state=alive&limit=2": ["p0", "p1"],
            "state=alive&limit=2&after=p1": ["p2", "p3"],
            "after=p4": ["p5", "x"],
            "state=dead": ["x"],
            "reason=peer_closed": ["x"],
            "reason=path_dead": [],
            "q=billing": ["x"],
            "q=P3&state=": ["p3"],
            "service=Billing": ["x"],
            "service=bill": [],
            "region=north": ["x"],
            "region=north&state=alive": [],
            "state=&reason=&q=&after=&limit=": ["p0", "p1", "p2", "p3", "p4", "p5", "x"],
            "somebody=elses": ["p0", "p1", "p2", "p3", "p4", "p5", "x"],
        }.items():
            self.assertEqual(ids(self.ask(f"/api/peers?{query}")), found, query)

    def test_five_thousand_in_slices(self) -> None:
        """No turn of the reactor makes more than 250 of them, so that beats are answered in between."""
        for number in range(5000):
            self.join(f"p{number:04}")
        answered = self.ask("/api/peers")
        self.assertEqual(ids(answered), [f"p{number:04}" for number in range(5000)])
        self.assertEqual(max(part.count(b'"svc_hash"') for part in answered.parts), 250)
        self.assertGreaterEqual(answered.turns, 20)

    def test_many_readers_share_the_turns(self) -> None:
        """Two lists asked for at once take turns: still one slice in a turn."""
        for number in range(1000):
            self.join(f"p{number:04}")
        self.connection.send("/api/peers")
        other = type(self.connection)(self.site, self.clock)
        self.addCleanup(other.lose)
        other.send("/api/peers")
        before = 0
        while self.clock.turn():
            after = sum(one.transport.value().count(b'"svc_hash"') for one in (self.connection, other))
            self.assertLessEqual(after - before, 250)
            before = after
        self.assertEqual(before, 2000)

    def test_peers_come_and_go_meanwhile(self) -> None:
        """The list is whole JSON, and who was there all the while is in it once."""
        for number in range(1000):
            self.join(f"p{number:04}")
        self.connection.send("/api/peers")
        self.clock.turn()
        self.join("p0000x")
        self.join("p0999x").die()
        answered = self.connection.answer()
        self.assertEqual(ids(answered), [f"p{number:04}" for number in range(1000)] + ["p0999x"])


class OnePeerTests(WebCase):
    """``/api/peers/ID``."""

    def test_any_id(self) -> None:
        """Slashes, percent signs, other scripts, question marks: an id is found by its percent-encoded name."""
        for id in ("a", "rack/7/host", "100%", "é/ü", "~192.0.2.1:99", "unix#1", "a b?c=d&e", "trailing/", "+", "名"):
            one = self.join(id)
            answered = self.ask("/api/peers/" + quote(id, safe=""))
            self.assertEqual((answered.status, answered.json), (200, one.peer.details()), id)

    def test_a_slash_that_is_not_encoded(self) -> None:
        """Not every client encodes it."""
        self.join("rack/7/host")
        self.assertEqual(self.ask("/api/peers/rack/7/host").json["id"], "rack/7/host")

    def test_a_long_one(self) -> None:
        """What is too long for one go has its length all the same, and is whole."""
        one = self.join("a", services=tuple(f"service-{number}" for number in range(1000)))
        answered = self.ask("/api/peers/a")
        self.assertEqual(answered.json, one.peer.details())
        self.assertEqual(answered.headers["content-length"], str(len(answered.body)))
        self.assertGreater(len(answered.body), WHOLE)

    def test_a_client_that_asks_and_does_not_read(self) -> None:
        """However often it asks in one go, no more is made than it reads."""
        self.join("a", services=tuple(f"service-{number}" for number in range(1000)))
        one = len(self.ask("/api/peers/a").body)
        for _ in range(50):
            self.connection.send("/api/peers/a")
        self.clock.turn()
        made = len(self.connection.transport.value())
        self.assertLess(made, 2 * one)
        self.connection.reader.pauseProducing()
        for _ in range(50):
            self.clock.turn()
        self.assertEqual(len(self.connection.transport.value()), made)
        self.connection.reader.resumeProducing()
        self.connection.answer()

    def test_unknown(self) -> None:
        """Who is not listed is 404, in JSON, also where the name is no UTF-8."""
        for path in ("/api/peers/b", "/api/peers/%FF%FE", "/api/peers/a/b"):
            answered = self.ask(path)
            self.assertEqual(answered.status, 404, path)
            self.assertIn("no peer", answered.json["error"])

    def test_the_dead_are_there(self) -> None:
        """A remembered peer is shown with its state."""
        self.join().die()
        self.assertEqual(self.ask("/api/peers/a").json["state"], "dead")


class FailuresTests(WebCase):
    """``/api/failures``."""

    def have_failed(self, number: int) -> list[Any]:
        """So many failures, and what the API says of them."""
        for one in range(number):
            self.join(f"p{one}").die("peer_closed" if one % 2 else "path_dead")
        return list(self.ask("/api/failures").json)

    def test_newest_first(self) -> None:
        """A list of failures in the documented shape, newest first."""
        told = self.have_failed(3)
        self.assertEqual([one["peer"] for one in told], ["p2", "p1", "p0"])
        self.assertEqual(told, [one.as_json() for one in self.failures.since()])
        self.assertLessEqual(
            {"id", "at", "peer", "node", "session", "failure_reason", "phase", "p95_latency_ms", "trace_id", "evidence"}
            | {"events"},
            set(told[0]),
        )

    def test_since_and_limit(self) -> None:
        """Only what is newer than an id, only so many of it, and by peer and reason."""
        told = self.have_failed(5)
        for query, found in {
            f"since={told[2]['id']}": ["p4", "p3"],
            f"since={told[4]['id']}&limit=1": ["p4"],
            f"since={told[0]['id']}": [],
            "limit=2": ["p4", "p3"],
            "peer=p1": ["p1"],
            "reason=peer_closed": ["p3", "p1"],
            f"before={told[2]['id']}": ["p1", "p0"],
            f"before={told[1]['id']}&since={told[3]['id']}": ["p2"],
            "q=P4": ["p4"],
            "service=auth": [],
            "region=north": [],
        }.items():
            self.assertEqual([one["peer"] for one in self.ask(f"/api/failures?{query}").json], found, query)

    def test_many(self) -> None:
        """A long board comes in slices, too: small ones, because each may tell a lot of events."""
        self.failures.keep = 600
        self.assertEqual(len(self.have_failed(595)), 595)
        answered = self.ask("/api/failures")
        self.assertEqual([part.count(b'"phase"') for part in answered.parts], [10] * 59 + [5, 0])

    def test_looking_for_a_few_among_many(self) -> None:
        """What does not fit is passed over in slices, too."""
        self.failures.keep = 3000
        self.join("first").die("peer_reset")
        for number in range(2500):
            self.join(f"p{number}").die()
        answered = self.ask("/api/failures?reason=peer_reset")
        self.assertEqual([one["peer"] for one in answered.json], ["first"])
        self.assertGreaterEqual(answered.turns, 3)

    def test_events(self) -> None:
        """The flight recorder of each, and no more of it than it keeps; one peer alone tells the same."""
        one = self.join("a")
        for _ in range(70):
            one.fall_silent()
            one.speak()
        one.die()
        (failure,) = self.ask("/api/failures").json
        self.assertEqual(len(failure["events"]), 64)
        self.assertEqual([set(event) for event in failure["events"]], [{"at", "event", "value"}] * 64)
        times = [event["at"] for event in failure["events"]]
        self.assertEqual(times, sorted(times))
        self.assertEqual(self.ask("/api/peers/a").json["events"], failure["events"])
        self.assertNotIn("events", self.ask("/api/peers").json[0])


class BadInputTests(WebCase):
    """A wrong value is one clear line that names it."""

    def test_each_parameter(self) -> None:
        """400 names the parameter, and the value where it can be shown."""
        self.join()
        for path, name, value in (
            ("/api/peers?state=asleep", "state", "'asleep'"),
            ("/api/peers?state=refused", "state", "'refused'"),
            ("/api/peers?state=alive&state=dead", "state", "more than once"),
            ("/api/peers?reason=because", "reason", "'because'"),
            ("/api/peers?limit=0", "limit", "'0'"),
            ("/api/peers?limit=-1", "limit", "'-1'"),
            ("/api/peers?limit=1e3", "limit", "'1e3'"),
            ("/api/peers?limit=%D9%A3", "limit", "'٣'"),
            ("/api/peers?limit=10000001", "limit", "'10000001'"),
            ("/api/peers?limit=" + "9" * 30, "limit", "'999"),
            ("/api/peers?q=%FF", "q", "UTF-8"),
            ("/api/peers?after=" + "x" * 256, "after", "255"),
            ("/api/failures?since=yesterday", "since", "'yesterday'"),
            ("/api/failures?since=-1", "since", "'-1'"),
            ("/api/failures?limit=many", "limit", "'many'"),
            ("/api/failures?before=x", "before", "'x'"),
            ("/api/failures?reason=none", "reason", "'none'"),
        ):
            answered = self.ask(path)
            self.assertEqual(answered.status, 400, path)
            self.assertEqual(list(answered.json), ["error"])
            self.assertTrue(answered.json["error"].startswith(f"{name}: "), answered.json)
            self.assertIn(value, answered.json["error"])
            self.assertNotIn("\n", answered.json["error"])

    def test_a_long_value_is_cut(self) -> None:
        """What comes back of a wrong value is short."""
        self.assertLess(len(self.ask("/api/peers?state=" + "x" * 250).body), 250)

    def test_paths_and_methods(self) -> None:
        """Under /api, 404 and 405 are JSON, and 405 says what is allowed."""
        for path in ("/api", "/api/", "/api/nothing", "/api/failures/1"):
            answered = self.ask(path)
            self.assertEqual((answered.status, list(answered.json)), (404, ["error"]), path)
        for method in ("POST", "DELETE", "OPTIONS", "BREW"):
            for path in ("/api/peers", "/api/nothing"):
                answered = self.ask(path, method)
                self.assertEqual((answered.status, list(answered.json)), (405, ["error"]), path)
                self.assertEqual(answered.headers["allow"], "GET, HEAD")
