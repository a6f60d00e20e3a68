"""The seeds are worth something: without any one of the judge's protections some of them fail."""

from __future__ import annotations

from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.scenarios.mutations import MUTATIONS
from tests.scenarios.world import run_seed

#: Seeds that need each protection, as was found by trying the first 200. A change of the product may shift what a seed
#: draws, so that a few of them come to need it no more; half of them must.
BITTEN: Final = {
    "no drain": (2, 4, 9, 12, 13, 15, 92, 148),
    "no attentive clock": (20, 45, 50, 53, 64, 67, 91, 136),
    "no confirm ping": (22, 43, 49, 63, 72, 73, 74, 86),
}


class BiteTests(SynchronousTestCase):
    """Living peers die as soon as one protection is switched off."""

    def bites(self, name: str) -> None:
        """False deaths in half of the seeds at least, and none with the protection."""
        seeds = BITTEN[name]
        for seed in seeds:
            self.assertEqual(run_seed(seed).problems, [], f"seed {seed} fails by itself")
        with MUTATIONS[name]():
            bitten = [seed for seed in seeds if run_seed(seed).false_deaths]
        self.assertGreaterEqual(2 * len(bitten), len(seeds), f"{name}: only {bitten} of {seeds} fail")

    def test_the_drain(self) -> None:
        """Answers that lie unread at the deadline, after a stall just before it, are read before a verdict."""
        self.bites("no drain")

    def test_the_attentive_clock(self) -> None:
        """A peer that comes back a little later than we do was not silent while we were stopped."""
        self.bites("no attentive clock")

    def test_the_confirm_ping(self) -> None:
        """On a path whose round trip is longer than D, who was asked is waited for."""
        self.bites("no confirm ping")
