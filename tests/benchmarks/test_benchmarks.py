"""The benchmarks work: figures come out, and the counters agree. No time is a pass mark here."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarks import beat, board, bulk, comparisons, followers, memory, secure, wheel
from tests.benchmarks.minute import beat_for_a_minute
from tests.benchmarks.scrape import counter
from tests.benchmarks.table import Figures, bar, ratio, render

LINUX = sys.platform.startswith("linux")


class BeatBenchmark(SynchronousTestCase):
    """CPU per beat."""

    if not LINUX:
        skip = "reads /proc and uses epoll: Linux only"

    def test_every_server_gets_a_figure(self) -> None:
        """Ours in both directions and each comparison that is installed have a cost, in a table; the counters agree,
        or the measurement itself fails.
        """
        report = beat.measure(beat.SMALL)
        for name in (beat.OURS, beat.ASKING, *comparisons.SERVERS):
            figures = report.cost[name]
            if figures.skipped:
                self.assertEqual(figures.skipped, comparisons.missing(name))
            else:
                self.assertEqual(len(figures.values), beat.SMALL.rounds)
                self.assertGreater(figures.median, 0.0)
            self.assertIn(name, str(report))
        self.assertIn(f"last_heard_ms agrees for {beat.SMALL.connections} peers", report.agreed)


class SecureBenchmark(SynchronousTestCase):
    """CPU per beat over TLS, signed, and sealed."""

    if not LINUX:
        skip = "reads /proc and uses epoll: Linux only"

    def test_every_server_gets_a_figure(self) -> None:
        """Ours in each way and each comparison that is installed have a cost, in a table; the counters agree, and the
        proofs of all answers are true, or the measurement itself fails.
        """
        report = secure.measure(secure.SMALL)
        for name in (*secure.OURS, *comparisons.SECURE):
            figures = report.cost[name]
            if figures.skipped:
                self.assertEqual(figures.skipped, comparisons.missing(name))
            else:
                self.assertGreater(figures.median, 0.0)
            self.assertIn(name, str(report))
        self.assertIn(f"last_heard_ms agrees for {secure.SMALL.connections} peers", report.agreed)


class BulkBenchmark(SynchronousTestCase):
    """Throughput of wrapped connections."""

    if not LINUX:
        skip = "reads /proc and pins processes: Linux only"

    #: By processor time of both ends in one process: 0.64 to 0.77 beside other work, and 0.34 to 0.37 while every chunk
    #: was copied four times and every batch cost two turns. This is between the two.
    LEAST = 0.45
    #: The best of so many measurements counts: a neighbour on the same cores makes any of them worse, and none better.
    ATTEMPTS = 3

    def test_wrapped_beside_bare(self) -> None:
        """Every way to send has figures, its peers are alive throughout, and costs no multiple of bare.

        The bar of 0.8 is for the throughput of two processes on cores that do nothing else, and no pass mark here: a
        megabyte of credit is on its way at most, where the bare connection lets the kernel have six, and hides in them
        that a process waits for its core.
        """
        costs: dict[bulk.Case, float] = {}
        for _ in range(self.ATTEMPTS):
            report = bulk.measure(bulk.SMALL)
            for case in bulk.SMALL.cases:
                self.assertIn(str(case), str(report))
                self.assertGreater(report.best(case), 0.0)
                self.assertGreater(len(report.rtts[case]), 0)
                costs[case] = max(costs.get(case, 0.0), report.cost(case))
            if min(costs.values()) >= self.LEAST:
                break
        self.assertGreaterEqual(min(costs.values()), self.LEAST, f"\n{report}")


class MemoryBenchmark(SynchronousTestCase):
    """Memory per idle connection."""

    if not LINUX:
        skip = "reads /proc and uses epoll: Linux only"

    def test_every_server_gets_a_figure(self) -> None:
        """Ours and each comparison that is installed have grown by their connections; the counters agree."""
        report = memory.measure(memory.SMALL)
        for name in (memory.OURS, *comparisons.SERVERS):
            figures = report.resident[name]
            if figures.skipped:
                self.assertEqual(figures.skipped, comparisons.missing(name))
            else:
                self.assertGreater(report.private[name].median, 0.0)
            self.assertIn(name, str(report))
        self.assertTrue(any(note.startswith("counters agree") for note in report.notes), report.notes)


class BoardBenchmark(SynchronousTestCase):
    """The pages under load."""

    if not LINUX:
        skip = "reads /proc and uses epoll: Linux only"

    def test_every_page_gets_a_figure(self) -> None:
        """Each page was answered several times and told of new beats, and the beats' round trips were measured."""
        report = board.measure(board.SMALL)
        self.assertEqual(set(report.answers), set(board.PATHS))
        self.assertGreater(min(map(len, report.answers.values())), 1)
        for path, ages in report.ages.items():
            self.assertTrue(any(age is not None for age in ages), path)
        self.assertGreater(len(report.quiet), board.SMALL.connections)
        self.assertGreater(len(report.asked), board.SMALL.connections)
        self.assertIn("longest answer", str(report))


class FollowersBenchmark(SynchronousTestCase):
    """Followers that stop reading."""

    if not LINUX:
        skip = "reads /proc and uses epoll: Linux only"

    def test_they_have_a_figure(self) -> None:
        """Memory was seen to grow by them, and by less than what they did not read."""
        report = followers.measure(followers.SMALL)
        self.assertGreater(report.idle, 0.0)
        self.assertGreaterEqual(report.unread, report.idle)
        self.assertLess(report.unread, report.events)  # each event has about a KiB
        self.assertIn("50 followers", str(report))


class WheelBenchmark(SynchronousTestCase):
    """Scheduling a beat."""

    def test_both_have_a_figure(self) -> None:
        """The wheel and ``callLater`` have a cost, and the minute was one of beats that were all answered."""
        report = wheel.measure(wheel.SMALL)
        for peers in wheel.SMALL.peers:
            self.assertGreater(report.wheel[peers].median, 0.0)
            self.assertGreater(report.timers[peers].median, 0.0)
            self.assertIn(f"{peers} peers", str(report))
        assert report.minute is not None
        self.assertGreater(report.minute.beats, 60 * report.minute.connections)

    def test_a_minute_of_beats_leaves_nothing(self) -> None:
        """Answered beats run no collector, and every block that a beat allocates is free when it is answered."""
        minute = beat_for_a_minute(20)
        self.assertTrue(minute.clean, minute)


class TableTests(SynchronousTestCase):
    """What the figures become."""

    def test_ratio_is_taken_round_by_round(self) -> None:
        """A round that was disturbed as a whole leaves the ratio as it is."""
        self.assertEqual(ratio(Figures("a", [2.0, 20.0, 2.0]), Figures("b", [4.0, 40.0, 4.0])), 0.5)

    def test_bar_says_whether_it_is_kept(self) -> None:
        """Both kinds of bar are named with the figure that they are held against."""
        self.assertEqual(bar("x", 0.7, at_most=0.75), "x: 0.70, bar at most 0.75: kept")
        self.assertEqual(bar("x", 0.8, at_most=0.75), "x: 0.80, bar at most 0.75: MISSED")
        self.assertEqual(bar("x", 12.0, at_least=10), "x: 12.00, bar at least 10: kept")
        self.assertEqual(bar("x", 9.0, at_least=10), "x: 9.00, bar at least 10: MISSED")

    def test_columns_line_up(self) -> None:
        """The first column is set to the left, figures to the right; a short row is allowed."""
        expected = "T\nname  value\n----  -----\na         1\nbcd      22\nskip"
        self.assertEqual(render("T", ("name", "value"), [("a", "1"), ("bcd", "22"), ("skip",)]), expected)
        self.assertRaisesRegex(ValueError, "3 cells under 2 headings", render, "T", ("a", "b"), [("1", "2", "3")])


class CounterTests(SynchronousTestCase):
    """Reading /metrics."""

    TEXT = (
        '# HELP a_total x\na_total{direction="in",node="n"} 3.0\n'
        'a_total{direction="out",node="n"} 4.0\na_total_created 9\n'
    )

    def test_samples_with_the_labels_are_added(self) -> None:
        """Only the samples of that very name, and of these those with the wanted labels."""
        self.assertEqual(counter(self.TEXT, "a_total"), 7.0)
        self.assertEqual(counter(self.TEXT, "a_total", direction="in"), 3.0)

    def test_a_missing_metric_is_an_error(self) -> None:
        """A counter that is not there must not pass for zero."""
        self.assertRaises(LookupError, counter, self.TEXT, "b_total")
