"""Beats beside bulk on loopback: an application that is offered much, one that has paused, one that reads slowly.

These are short forms of what ``python -m tests.real.pressure --long`` does.
"""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.net.datadriver import AHEAD
from heartbeat.net.supply import MOST_WAITING
from tests.real.pressure import CHUNK, CREDIT, SHORT, Outcome, run

#: Milliseconds.
LONGEST_P99 = 50.0
#: The 99th percentile of a few hundred beats is the third longest: one moment in which the machine was at work for
#: somebody else is in it. Such a moment does not come three times; beats that wait for DATA wait every time.
ATTEMPTS = 3
#: Python objects that are no buffer: one read and the pieces of it that are being delivered, one write, the sampling.
BESIDE = 256 * 1024


class PressureTests(SynchronousTestCase):
    """Two processes, one wrapped connection."""

    if not sys.platform.startswith("linux"):
        skip = "what the kernel has not sent is known on Linux only"

    def run_until_quiet(self, name: str) -> Outcome:
        """One that no neighbour has disturbed. Nobody is dead in any."""
        for _ in range(ATTEMPTS):
            outcome = run(SHORT[name])
            self.assertEqual(outcome.dead, [])
            if outcome.percentile(0.99) < LONGEST_P99:
                break
        return outcome

    def check(self, name: str) -> Outcome:
        """What holds for each of them."""
        outcome = self.run_until_quiet(name)
        self.assertLess(outcome.percentile(0.99), LONGEST_P99, outcome)
        self.assertGreater(len(outcome.rtts), 20 * outcome.seconds, outcome)
        self.assertLessEqual(outcome.ahead, AHEAD, outcome)
        self.assertLessEqual(outcome.sender, CREDIT + 64 * 1024, outcome)
        self.assertLessEqual(outcome.sender, MOST_WAITING + len(CHUNK) + AHEAD, outcome)  # and that is all it needs
        self.assertLessEqual(outcome.receiver, CREDIT, outcome)
        self.assertLessEqual(outcome.grown[0], MOST_WAITING + AHEAD + BESIDE, outcome)
        self.assertLessEqual(outcome.grown[1], CREDIT + BESIDE, outcome)
        return outcome

    def test_as_fast_as_it_is_offered(self) -> None:
        """400 MB at 200 MB/s, as fast as the machine can: beats go ahead of it."""
        self.check("offered")

    def test_a_paused_reader(self) -> None:
        """50 MB to an application that has paused: no more than the credit is held, and then all of it arrives."""
        outcome = self.check("paused")
        self.assertGreater(outcome.receiver, CREDIT // 2, outcome)
        self.assertGreater(outcome.seconds, SHORT["paused"].pause)

    def test_a_slow_reader(self) -> None:
        """To one that takes 2 MB/s."""
        outcome = self.check("slow")
        self.assertGreater(outcome.receiver, CREDIT // 2, outcome)
        self.assertGreater(outcome.seconds, 0.8 * SHORT["slow"].size / SHORT["slow"].reads)
