"""heartbeat.watch.history: lines of round trips for those that are shown."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.watch.history import LINES, POINTS, STALE, STEP, History
from tests.watch.crowd import Hands, Somebody


class HistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.hands = Hands()
        self.history = History(self.hands)

    def look(self, one: Somebody) -> list[float]:
        """The line, in milliseconds."""
        return [round(point * 1000) for point in self.history.look(one.peer)]

    def test_a_point_for_each_look(self) -> None:
        """Each look adds the newest round trip, but not more often than a step; without any there is no line."""
        one = Somebody(self.hands, "a").join()
        self.assertEqual(self.look(one), [])
        self.assertEqual(len(self.history), 0)
        for number in range(1, 4):
            one.answer(number / 1000)
            self.look(one)
            self.assertEqual(self.look(one), list(range(1, number + 1)))
            self.hands.now += STEP

    def test_bounded(self) -> None:
        """A line has so many points, and there are so many lines: who was not looked at for longest has none."""
        one = Somebody(self.hands, "a").join()
        for number in range(POINTS + 5):
            one.answer((number + 1) / 1000)
            self.look(one)
            self.hands.now += STEP
        self.assertEqual(self.look(one)[-POINTS:], [*range(7, POINTS + 6), POINTS + 5])
        first = Somebody(self.hands, "first").join()
        first.answer(0.01)
        self.look(first)
        for number in range(LINES - 1):
            other = Somebody(self.hands, f"p{number}").join()
            other.answer(0.001)
            self.look(other)
            self.hands.now -= 0.001
            self.look(first)
        self.assertEqual(len(self.history), LINES)
        self.assertEqual(self.look(first)[0], 10)  # went on: it was looked at all the while
        self.assertEqual(len(self.look(one)), 1)  # begins anew

    def test_nobody_looked_for_a_while(self) -> None:
        """Points with a hole between them are no line."""
        one = Somebody(self.hands, "a").join()
        one.answer(0.001)
        self.look(one)
        one.answer(0.002)
        self.hands.now += STALE + 1
        self.assertEqual(self.look(one), [2])
