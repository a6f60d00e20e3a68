"""heartbeat.watch.web.events and .stream: what changes, as server-sent events."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from heartbeat.watch import news
from heartbeat.watch.web import stream
from heartbeat.watch.web.stream import CHUNK, KEEP_ALIVE, PATIENCE, TOGETHER
from tests.watch.web.browser import Connection, WebCase


class Told:
    """One event, taken apart."""

    def __init__(self, text: str) -> None:
        fields = [line.partition(": ")[::2] for line in text.split("\n")]
        self.fields = dict(fields)
        self.kind = self.fields.get("event", "")
        self.id = self.fields.get("id", "")
        self.data = json.loads(self.fields["data"]) if "data" in self.fields else None

    @property
    def what(self) -> tuple[str, str, str]:
        """Kind, whose, and the state or the reason."""
        failed = self.kind == "failure"
        return self.kind, self.data["peer" if failed else "id"], self.data["failure_reason" if failed else "state"]


class Reader(Connection):
    """A connection that follows."""

    def follow(self, **headers: str) -> Reader:
        """Ask for the events."""
        self.send("/api/events", **headers)
        return self

    def events(self) -> list[Told]:
        """All that came until now, after all turns that it takes."""
        while self.clock.turn():
            pass
        raw = self.transport.value().decode()
        self.head, _, body = raw.partition("\r\n\r\n")
        text, rest = "", body
        while rest:
            size, _, rest = rest.partition("\r\n")
            length = int(size, 16)
            text, rest = text + rest.encode()[:length].decode(), rest.encode()[length + 2 :].decode()
        assert not text or text.endswith("\n\n"), text
        return [Told(one) for one in text.split("\n\n")[:-1]]

    def what(self) -> list[tuple[str, str, str]]:
        """The same, without what is no event."""
        return [one.what for one in self.events() if one.kind in ("peer", "failure")]


class EventCase(WebCase):
    def setUp(self) -> None:
        super().setUp()
        self.reader = self.another()

    def another(self) -> Reader:
        """One more connection."""
        reader = Reader(self.site, self.clock)
        self.addCleanup(reader.lose)
        return reader


class EventsTests(EventCase):
    """``/api/events``."""

    def test_the_head(self) -> None:
        """It is a stream that nobody on the way keeps back, and says when to come back and where it is."""
        (opening,) = self.reader.follow().events()
        self.assertIn("HTTP/1.1 200", self.reader.head)
        for line in ("Content-Type: text/event-stream", "Cache-Control: no-store", "X-Accel-Buffering: no"):
            self.assertIn(line, self.reader.head)
        self.assertEqual(opening.fields["retry"], "2000")
        self.assertRegex(opening.id, r"^[0-9a-f]+-0$")
        self.assertIsNone(opening.data)  # so a browser dispatches nothing, and remembers the id

    def test_changes_and_failures(self) -> None:
        """Each change of state is a ``peer``, each failure a ``failure``, with ids that go up by one."""
        self.reader.follow()
        one = self.join("gateway-7", services=("auth",))
        one.fall_silent()
        one.die("path_dead")
        events = self.reader.events()[1:]
        self.assertEqual(
            [told.what for told in events],
            [
                ("peer", "gateway-7", "alive"),
                ("peer", "gateway-7", "suspect"),
                ("peer", "gateway-7", "dead"),
                ("failure", "gateway-7", "path_dead"),
            ],
        )
        self.assertEqual([told.id.partition("-")[2] for told in events], ["1", "2", "3", "4"])
        self.assertEqual(events[-1].data, self.failures.newest()[0].as_json())
        self.assertLessEqual(set(one.peer.as_json()), set(events[0].data))

    def test_names_with_anything_in_them(self) -> None:
        """A line break in a name begins no field of its own."""
        self.reader.follow()
        self.join("a\ndata: {}\n\nevent: failure")
        self.assertEqual(self.reader.what(), [("peer", "a\ndata: {}\n\nevent: failure", "alive")])

    def test_coming_back(self) -> None:
        """``Last-Event-ID`` of a while ago: what was missed comes first, each once, then what is new."""
        self.reader.follow()
        self.join("a")
        self.join("b")
        seen = self.reader.events()
        self.reader.lose()
        self.join("c")
        again = self.another().follow(**{"Last-Event-ID": seen[1].id})
        self.assertEqual([id for _, id, _ in again.what()], ["b", "c"])
        self.join("d")
        self.assertEqual([id for _, id, _ in again.what()], ["b", "c", "d"])
        self.assertEqual(self.another().follow(**{"Last-Event-ID": again.events()[-1].id}).what(), [])

    def test_an_id_of_elsewhere(self) -> None:
        """Of another server, of the future, or no id at all: that is a gap of unknown length, and then what comes."""
        self.reader.follow()
        epoch = self.reader.events()[0].id.partition("-")[0]
        for id in ("abc-1", f"{epoch}-99", f"{epoch}--1", f"{epoch}-x", "nonsense", "9" * 500, f"{epoch}-{'1' * 40}"):
            other = self.another().follow(**{"Last-Event-ID": id})
            (gap,) = other.events()
            self.assertEqual((gap.kind, gap.data, gap.id), ("gap", {"missed": None}, f"{epoch}-0"), id)

    def test_away_for_too_long(self) -> None:
        """What is not kept any more is told as a gap with its number."""
        self.patch(news, "KEPT", 10)
        self.reader.follow()
        first = self.reader.events()[0].id
        for number in range(25):
            self.join(f"p{number}")
        gap, *rest = self.another().follow(**{"Last-Event-ID": first}).events()[1:]
        self.assertEqual(gap.kind, "gap")
        self.assertEqual(gap.data["missed"] + len(rest), 25)
        self.assertEqual(rest[0].data["id"], f"p{gap.data['missed']}")

    def test_head_and_paths(self) -> None:
        """HEAD follows nothing; below it is nothing; it is read only."""
        answered = self.ask("/api/events", "HEAD")
        self.assertEqual((answered.status, answered.body), (200, b""))
        self.assertEqual(self.ask("/api/events/1").status, 404)
        self.assertEqual(self.ask("/api/events", "POST").status, 405)
        self.join()
        self.assertFalse(self.clock.turn(), "nobody follows, and something is made")

    def test_one_too_many(self) -> None:
        """There is room for so many; one more is told to come back, and may when another has gone."""
        self.patch(stream, "MOST", 2)
        self.reader.follow()
        second = self.another().follow()
        answered = self.ask_now("/api/events")
        self.assertEqual((answered.status, answered.headers["retry-after"]), (503, "10"))
        self.assertIn("error", answered.json)
        second.lose()
        self.join("a")
        self.assertEqual(len(self.another().follow().events()), 1)

    def ask_now(self, path: str) -> Any:
        """An answer that takes no turn."""
        self.connection.send(path)
        return self.connection.answer()

    def test_the_server_stops(self) -> None:
        """The stream is ended in good order, and nothing is left."""
        self.site.doStart()
        self.reader.follow()
        self.join("a")
        self.site.doStop()
        self.assertTrue(self.reader.transport.value().endswith(b"0\r\n\r\n"))
        while self.clock.turn():
            pass
        self.assertEqual([call for call in self.clock.getDelayedCalls() if "_look_round" in str(call)], [])


class SlowReaderTests(EventCase):
    """Followers that do not read."""

    def test_it_is_given_no_more(self) -> None:
        """What it does not read is not written, however much happens; when it reads it goes on where it was."""
        self.reader.follow()
        self.join("a")
        self.reader.events()
        self.reader.reader.pauseProducing()
        before = len(self.reader.transport.value())
        for number in range(50):
            self.join(f"p{number:02}")
        self.clock.turn()
        self.assertEqual(len(self.reader.transport.value()), before)
        self.reader.reader.resumeProducing()
        self.assertEqual([id for _, id, _ in self.reader.what()], ["a", *(f"p{number:02}" for number in range(50))])

    def test_it_is_told_what_it_missed(self) -> None:
        """A reader that wakes up too late gets a gap with the number, and the rest."""
        self.patch(news, "KEPT", 10)
        self.reader.follow().events()
        self.reader.reader.pauseProducing()
        for number in range(100):
            self.join(f"p{number:02}")
        self.reader.reader.resumeProducing()
        gap, *rest = self.reader.events()[1:]
        self.assertEqual((gap.kind, gap.data["missed"] + len(rest)), ("gap", 100))
        self.assertEqual(rest[-1].data["id"], "p99")

    def test_it_is_cut_off(self) -> None:
        """After half a minute without a read its connection is cut; who reads again in time is not."""
        self.reader.follow().events()
        patient = self.another().follow()
        for one in (self.reader, patient):
            one.reader.pauseProducing()
        self.pass_by(PATIENCE - 1)
        patient.reader.resumeProducing()
        patient.reader.pauseProducing()
        self.pass_by(KEEP_ALIVE + 1)
        self.assertTrue(self.reader.transport.disconnected)
        self.assertFalse(patient.transport.disconnected)

    def pass_by(self, seconds: float) -> None:
        """Time, second by second."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            for _ in range(5):
                self.clock.turn()

    def test_keep_alive(self) -> None:
        """There is a comment every fifteen seconds, so that no box forgets the connection."""
        self.reader.follow().events()
        before = len(self.reader.transport.value())
        self.pass_by(4 * KEEP_ALIVE)
        self.assertEqual(self.reader.transport.value()[before:].count(b":\n\n"), 4)

    def test_one_does_not_hold_up_the_others(self) -> None:
        """While one does not read, another gets everything."""
        self.reader.follow().events()
        self.reader.reader.pauseProducing()
        other = self.another().follow()
        self.join("a")
        self.assertEqual(other.what(), [("peer", "a", "alive")])


class ManyTests(EventCase):
    """Many followers and much news: no turn of the reactor does too much."""

    def test_written_in_turns(self) -> None:
        """Of many followers only some are written to in one turn, and the event is made once for all of them."""
        readers = [self.another().follow() for _ in range(3 * TOGETHER)]
        while self.clock.turn():
            pass
        with mock.patch.object(stream, "dumps", wraps=stream.dumps) as dumped:
            self.join("a")
            sizes = [len(one.transport.value()) for one in readers]
            while self.clock.turn():
                after = [len(one.transport.value()) for one in readers]
                written = sum(new > old for new, old in zip(after, sizes, strict=True))
                self.assertLessEqual(written, TOGETHER)
                sizes = after
        self.assertEqual(dumped.call_count, 1)
        self.assertEqual([one.what() for one in readers], [[("peer", "a", "alive")]] * len(readers))

    def test_made_in_turns(self) -> None:
        """A thousand deaths at once are made a few at a time."""
        self.reader.follow().events()
        crowd = [self.join(f"p{number:03}") for number in range(200)]
        self.reader.events()
        for one in crowd:
            one.die()
        turns = most = 0
        with mock.patch.object(stream, "dumps", wraps=stream.dumps) as dumped:
            made = 0
            while self.clock.turn():
                turns += 1
                most = max(most, dumped.call_count - made)
                made = dumped.call_count
        self.assertEqual(made, 400)
        self.assertLessEqual(most, CHUNK)
        self.assertGreaterEqual(turns, 40)
