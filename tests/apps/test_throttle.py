"""Tests of the limit on log lines."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.throttle import LINES, WINDOW, Throttle


class ThrottleTests(SynchronousTestCase):
    """Ten lines in ten seconds for each level and reason, then a sum."""

    def test_ten_lines_and_a_sum(self) -> None:
        """Ten lines pass; the rest of the window is one line with how many there were."""
        throttle = Throttle()
        admitted = [throttle.admit("info", "path_dead", 5.0 + n / 1000) for n in range(4822)]
        self.assertEqual(sum(admitted), LINES)
        self.assertEqual(admitted[:LINES], [True] * LINES)
        self.assertEqual(throttle.over(5.0 + WINDOW - 0.001), [])
        self.assertEqual(throttle.next_timer(), 5.0 + WINDOW)
        (told,) = throttle.over(5.0 + WINDOW)
        self.assertEqual((told.level, told.reason, told.lines), ("info", "path_dead", 4812))
        self.assertEqual(str(told), "… and 4,812 more path_dead in 10 s")

    def test_a_new_window(self) -> None:
        """After the sum lines pass again, and nothing is told twice."""
        throttle = Throttle()
        for _ in range(LINES + 1):
            throttle.admit("info", "path_dead", 0.0)
        self.assertEqual(len(throttle.over(WINDOW)), 1)
        self.assertEqual(throttle.over(WINDOW), [])
        self.assertIsNone(throttle.next_timer())
        self.assertTrue(throttle.admit("info", "path_dead", WINDOW))

    def test_few_lines_have_no_sum(self) -> None:
        """Where nothing was left out there is nothing to tell, and no timer is wanted."""
        throttle = Throttle()
        for _ in range(LINES):
            self.assertTrue(throttle.admit("info", "path_dead", 0.0))
        self.assertIsNone(throttle.next_timer())
        self.assertEqual(throttle.over(WINDOW), [])

    def test_each_level_and_reason_by_itself(self) -> None:
        """Many lines of one kind keep none of another kind away."""
        throttle = Throttle()
        for _ in range(100):
            throttle.admit("info", "path_dead", 0.0)
        self.assertTrue(throttle.admit("info", "peer_closed", 0.0))
        self.assertTrue(throttle.admit("warn", "path_dead", 0.0))
