"""The flight recorder, and when a judge begins to write one."""

from __future__ import annotations

import math
import sys
import tracemalloc
from array import array
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness import recorder as recorder_module
from heartbeat.liveness.attention import Attention
from heartbeat.liveness.beats import Beats
from heartbeat.liveness.causes import SPARE_REASONS
from heartbeat.liveness.events import Alive, Dead, Event, Left, Refused, RoundTrip, Spared, Stuck, Suspect, Synced
from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.liveness.recorder import KEPT, Flight, Kind, Recorder
from heartbeat.liveness.report import EMPTY_REPORT
from heartbeat.liveness.states import State

START = 1000.0


def size(recorder: Recorder) -> int:
    """Bytes of a recorder and its arrays."""
    held = (getattr(recorder, name) for name in Recorder.__slots__)
    return sys.getsizeof(recorder) + sum(sys.getsizeof(one) for one in held if isinstance(one, array))


class RecorderTests(SynchronousTestCase):
    """The ring itself."""

    @given(st.integers(0, 3 * KEPT))
    @settings(deadline=None)
    def test_the_newest_are_kept(self, number: int) -> None:
        """However many are recorded, the last ones are there, in order, with their times and values."""
        recorder = Recorder(START)
        for one in range(number):
            recorder.record(START + one, Kind(one % len(Kind)), one)
        expected = [(START + one, Kind(one % len(Kind)), float(one)) for one in range(number)][-KEPT:]
        self.assertEqual(list(recorder), expected)
        self.assertEqual(len(recorder), len(expected))

    def test_each_event(self) -> None:
        """Its kind, its time and its number."""
        recorder = Recorder(START)
        events: list[tuple[Event, Kind, float | None]] = [
            (Alive(1.0), Kind.ALIVE, None),
            (Suspect(2.0, 1.25), Kind.SUSPECT, 1.25),
            (Stuck(3.0), Kind.STUCK, None),
            (Synced(4.0, EMPTY_REPORT), Kind.SYNCED, None),
            (Left(5.0, "leaving"), Kind.LEFT, None),
            (Refused(6.0, "hello_timeout"), Kind.REFUSED, None),
            (Dead(7.0, "path_dead", 1.5), Kind.DEAD, 1.5),
            *((Spared(8.0, reason, 0.5), Kind[reason.upper()], 0.5) for reason in SPARE_REASONS),
        ]
        for event, _, _ in events:
            recorder.note(event)
        found = [(at, kind, None if math.isnan(value) else value) for at, kind, value in recorder]
        self.assertEqual(found, [(event.at, kind, value) for event, kind, value in events])

    def test_round_trips_are_none_of_them(self) -> None:
        """They would push all else out."""
        recorder = Recorder(START)
        recorder.note(RoundTrip(1.0, 5, 0.25))
        self.assertEqual(len(recorder), 0)

    def test_less_than_a_kilobyte(self) -> None:
        """A full one is arrays of 13 bytes per event, and one that is new is nearly nothing."""
        recorder = Recorder(START)
        self.assertLess(size(recorder), 400)
        for one in range(5 * KEPT):
            recorder.record(START + one, Kind.LOOKED, one)
        self.assertLess(size(recorder), 1400)
        bare = sum(sys.getsizeof(array(kind, bytes(width * KEPT))) for kind, width in (("d", 8), ("B", 1), ("f", 4)))
        self.assertLess(size(recorder) - bare, 250)

    def test_names(self) -> None:
        """The names in JSON are different for all kinds, and say which are spared."""
        names = {kind.shown for kind in Kind}
        self.assertEqual(len(names), len(Kind))
        self.assertEqual({name for name in names if ":" in name}, {f"spared:{reason}" for reason in SPARE_REASONS})


class CompletedTests(SynchronousTestCase):
    """What is added when it is read."""

    def test_in_the_order_of_time(self) -> None:
        """The beginning, the last sign of life, and the open questions stand where they belong."""
        recorder = Recorder(START)
        recorder.record(START + 3.0, Kind.SUSPECT, 1.0)
        recorder.record(START + 3.0, Kind.CONFIRM)
        whole = recorder.completed(START + 2.0, [(START + 2.5, 7), (START + 3.0, 8)])
        self.assertEqual(
            [(at - START, kind) for at, kind, _ in whole],
            [
                (0.0, Kind.OPENED),
                (2.0, Kind.HEARD),
                (2.5, Kind.ASKED),
                (3.0, Kind.SUSPECT),
                (3.0, Kind.CONFIRM),
                (3.0, Kind.ASKED),
            ],
        )
        self.assertEqual(len(recorder), 2)

    def test_bounded(self) -> None:
        """No more than a recorder keeps; the beginning stays, whatever goes round."""
        recorder = Recorder(START, Kind.CONNECTED)
        for one in range(KEPT):
            recorder.record(START + one, Kind.DEAF)
        whole = list(recorder.completed(START, [(START + 100.0 + one, one) for one in range(KEPT)]))
        self.assertEqual(len(whole), KEPT)
        self.assertEqual((whole[0][:2], whole[-1][2]), ((START, Kind.CONNECTED), KEPT - 1.0))

    def test_as_json(self) -> None:
        """In the time of the wall; a number that there is not is null."""
        recorder = Recorder(START)
        recorder.record(START + 1.0, Kind.LATE, 0.1)
        recorder.record(START + 1.0, Kind.DEAF)
        recorder.record(START + 1.0, Kind.LOCAL_STALL, math.inf)
        self.assertEqual(
            Flight(recorder, 5000.0).as_json(),
            [
                {"at": 6001.0, "event": "late", "value": 0.1},
                {"at": 6001.0, "event": "deaf", "value": None},
                {"at": 6001.0, "event": "spared:local_stall", "value": None},
            ],
        )


class JudgeTests(SynchronousTestCase):
    """What a judge writes down."""

    def setUp(self) -> None:
        """One that asks every half second, and finds a silent peer after one and a half."""
        self.now = START
        self.attention = Attention(START)
        self.beats = Beats(1.5, self.attention, START, interval=0.5, draw=lambda: 0.5, gated=True)
        self.judge = self.beats.liveness

    def pass_time(self, seconds: float) -> None:
        """Time in which we listened."""
        self.now += seconds
        self.attention.expect(self.now)

    def ask(self) -> int:
        """One question, with the kernel at once."""
        number = self.beats.number
        self.beats.asked(self.now)
        self.beats.handed_over(self.now)
        return number

    def kinds(self) -> list[Kind]:
        """What was recorded, in order."""
        return [] if self.judge.recorder is None else [kind for _, kind, _ in self.judge.recorder]

    def fall_silent(self) -> None:
        """Until half time."""
        self.pass_time(1.01)
        self.beats.handle_timer(self.now)
        self.assertIs(self.beats.state, State.SUSPECT)

    def test_a_peer_that_is_well_has_none(self) -> None:
        """Opening, beating, reports and a goodbye write nothing and allocate nothing."""
        self.beats.wants_round_trips = True
        self.beats.opened(self.now)
        for _ in range(100):
            number = self.ask()
            self.pass_time(0.02)
            self.beats.answered(number, self.now)
            self.beats.handle_timer(self.now)
            self.judge.note(Synced(self.now, EMPTY_REPORT))
            self.pass_time(0.48)
        self.judge.leave("leaving", self.now)
        self.assertIsNone(self.judge.recorder)

    def test_what_it_costs(self) -> None:
        """A thousand peers that are well cost no byte more for it; one that is not costs about a kilobyte at most."""
        folder = tracemalloc.Filter(True, recorder_module.__file__)
        well = [Beats(1.5, self.attention, START, interval=0.5, draw=lambda: 0.5) for _ in range(1000)]
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for beats in well:
            beats.asked(START)
            beats.handed_over(START)
            beats.answered(0, START + 0.01)
            beats.liveness.note(Synced(START, EMPTY_REPORT))
        used = tracemalloc.take_snapshot().filter_traces([folder]).statistics("filename")
        self.assertEqual(sum(one.size for one in used), 0)
        for beats in well[:10]:
            for _ in range(3 * KEPT):
                beats.liveness.grant(1.0, START)
        used = tracemalloc.take_snapshot().filter_traces([folder]).statistics("filename")
        self.assertGreater(sum(one.size for one in used), 10 * 13 * KEPT)
        self.assertLess(sum(one.size for one in used), 10 * 1500)

    def test_what_makes_one(self) -> None:
        """Everything else does."""
        trouble: dict[str, Callable[[], object]] = {
            "suspect": self.fall_silent,
            "stuck": lambda: self.judge.works(True, self.now),
            "deaf": lambda: self.beats.deaf(self.now),
            "stalled": lambda: self.beats.grant(1.0, self.now),
            "dead": lambda: self.judge.condemn("peer_stalled", self.now),
            "ended": lambda: self.beats.ended(Ending("eof"), self.now),
        }
        for name, happens in trouble.items():
            self.setUp()
            self.beats.opened(self.now)
            self.pass_time(0.5)
            happens()
            recorder = self.judge.recorder
            assert recorder is not None, name
            self.assertEqual((recorder.since, recorder.first), (START, Kind.OPENED), name)

    def test_a_silence(self) -> None:
        """Suspected, asked again, looked at, answered late, and then to the end."""
        self.beats.opened(self.now)
        first = self.ask()
        self.fall_silent()
        again = self.ask()
        self.beats.observe(Evidence(self.now, outq=8), self.now)
        self.pass_time(0.1)
        self.beats.answered(again, self.now)
        self.assertEqual(self.kinds(), [Kind.SUSPECT, Kind.CONFIRM, Kind.LOOKED, Kind.LATE, Kind.LOST, Kind.ALIVE])
        assert self.judge.recorder is not None
        values = {kind: value for _, kind, value in self.judge.recorder}
        self.assertAlmostEqual(values[Kind.LATE], 0.1, 5)
        self.assertEqual((values[Kind.LOOKED], values[Kind.LOST], first), (8.0, 1.0, 0))
        self.fall_silent()
        self.ask()
        self.beats.observe(Evidence(self.now), self.now)
        while self.beats.state is State.SUSPECT:
            self.pass_time(0.1)
            if self.beats.handle_timer(self.now):
                self.beats.observe(Evidence(self.now), self.now)
        self.assertEqual(self.kinds()[-2:], [Kind.LOOKED, Kind.DEAD])

    def test_a_stall_of_ours(self) -> None:
        """The gap stands in the record of whoever was silent in it, and so does that it was spared."""
        self.beats.opened(self.now)
        self.ask()
        self.attention.expect(self.now)
        self.now += 5.0
        self.attention.looked(self.now)
        self.beats.handle_timer(self.now)
        self.pass_time(1.0)
        self.beats.handle_timer(self.now)
        self.assertEqual(self.kinds(), [Kind.LOCAL_STALL, Kind.SUSPECT, Kind.OWN_STALL, Kind.CONFIRM])
        assert self.judge.recorder is not None
        stalls = [(at, value) for at, kind, value in self.judge.recorder if kind is Kind.OWN_STALL]
        self.assertEqual(stalls, [(START + 5.0, 5.0)])

    def test_a_refusal(self) -> None:
        """It begins with the transport."""
        self.pass_time(3.0)
        self.judge.condemn("hello_timeout", self.now)
        assert self.judge.recorder is not None
        self.assertEqual((self.judge.recorder.since, self.judge.recorder.first), (START, Kind.CONNECTED))
        self.assertEqual(self.kinds(), [Kind.REFUSED])

    def test_a_long_drain_is_one_entry(self) -> None:
        """A hundred looks at input that nobody has read yet do not push out what came before them."""
        self.beats.opened(self.now)
        self.ask()
        self.fall_silent()
        self.ask()
        self.beats.observe(Evidence(self.now), self.now)
        self.pass_time(1.5)
        looks = 0
        while self.beats.state is State.SUSPECT:
            looks += 1
            if self.beats.handle_timer(self.now):
                self.beats.observe(Evidence(self.now, unread=10), self.now)
            self.pass_time(0.02)
        self.assertGreater(looks, 4)
        self.assertEqual(
            self.kinds(), [Kind.SUSPECT, Kind.CONFIRM, Kind.LOOKED, Kind.UNREAD_INPUT, Kind.LOOKED, Kind.DEAD]
        )
