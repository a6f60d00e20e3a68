"""A thousand seeds of random trouble: nobody dies who lives, and whoever ends is found in time, with the right cause.

``python -m tests.scenarios`` runs any of them by itself. Without coverage all are run; under it, which makes each
more than twice as slow, a tenth. ``HEARTBEAT_SEEDS`` says how many of each hundred.
"""

from __future__ import annotations

import os
import sys
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.testing import SimulatedNetwork
from tests.scenarios.plans import CHAOS_KINDS, END_KINDS, OVER, Plan, draw_plan, injected
from tests.scenarios.world import Outcome, run_seed

SEEDS = 1000
BATCH = 100
#: Of each kind of fault, so often at least in all the seeds.
EACH_KIND = 100
UNDER_COVERAGE = 10


def share() -> int:
    """How many seeds of each hundred are run here."""
    wanted = os.environ.get("HEARTBEAT_SEEDS")
    if wanted is not None:
        return min(BATCH, max(1, int(wanted)))
    coverage = sys.modules.get("coverage")
    return UNDER_COVERAGE if coverage is not None and coverage.Coverage.current() is not None else BATCH


class SeedTests(SynchronousTestCase):
    """0 false deaths in the chaos phase; after it the dead are found within the bound, and the living live on."""

    def run_batch(self, first: int) -> None:
        """Some or all of a hundred seeds, and what must be true of each."""
        seeds = range(first, first + share())
        for seed in seeds:
            outcome = run_seed(seed)
            repeat = f"python -m tests.scenarios --seeds {seed}"
            self.assertEqual(outcome.problems, [], f"\nseed {seed}; once more: {repeat}")
            self.assert_all_injected(outcome, seed)
        print(f"{len(seeds)} of the {BATCH} seeds from {first} on were run")

    def assert_all_injected(self, outcome: Outcome, seed: int) -> None:
        """What was planned was done; a late stall comes to nothing where the peer had been silent before."""
        planned = injected(outcome.plan)
        for kind in ("late_stall", "long_path", OVER):
            del planned[kind], outcome.injected[kind]
        self.assertEqual(+outcome.injected, planned, f"seed {seed}")

    def test_seeds_from_0(self) -> None:
        """Nobody dies who lives, whoever ends is found."""
        self.run_batch(0)

    def test_seeds_from_100(self) -> None:
        """Nobody dies who lives, whoever ends is found."""
        self.run_batch(100)

    def test_seeds_from_200(self) -> None:
        """Nobody dies who lives, whoever ends is found."""
        self.run_batch(200)

    def test_seeds_from_300(self) -> None:
        """Nobody dies who lives, whoever ends is found."""
        self.run_batch(300)

    def test_seeds_from_400(self) -> None:
        """Nobody dies who lives, whoever ends is found."""
        self.run_batch(400)

    def test_seeds_from_500(self) -> None:
        """Nobody dies who lives, whoever ends is found."""
        self.run_batch(500)

    def test_seeds_from_600(self) -> None:
        """Nobody dies who lives, whoever ends is found."""
        self.run_batch(600)

    def test_seeds_from_700(self) -> None:
        """Nobody dies who lives, whoever ends is found."""
        self.run_batch(700)

    def test_seeds_from_800(self) -> None:
        """Nobody dies who lives, whoever ends is found."""
        self.run_batch(800)

    def test_seeds_from_900(self) -> None:
        """Nobody dies who lives, whoever ends is found."""
        self.run_batch(900)


class PlanTests(SynchronousTestCase):
    """What the seeds inject is known before they run."""

    def test_each_kind_is_frequent(self) -> None:
        """Over all seeds each kind of fault, and each kind of end, is injected at least a hundred times."""
        counts: Counter[str] = Counter()
        for seed in range(SEEDS):
            counts += injected(draw_plan(seed))
        self.assertEqual(set(counts), {*CHAOS_KINDS, *END_KINDS, OVER})
        rare = {kind: count for kind, count in counts.items() if count < EACH_KIND}
        self.assertEqual(rare, {})

    def test_own_stalls_stay_below_what_others_give(self) -> None:
        """Whoever is judged is never stopped for as long as its judges wait, whatever else the plan does."""
        for seed in range(SEEDS):
            plan = draw_plan(seed)
            for one in plan.injections:
                if one.kind.startswith("stall_") and one.where != "watcher":
                    self.assertLess(one.seconds, plan.detect_of(one.where) - 2 * plan.interval, f"seed {seed}")

    def test_outages_heal_in_time(self) -> None:
        """A path that is cut comes back, and TCP sends what was lost, before D."""
        for seed in range(SEEDS):
            plan = draw_plan(seed)
            for one in plan.injections:
                if one.kind in ("one_way", "silent_drop", "partition", "nat_expired"):
                    self.assertLess(self.back_after(plan, one.seconds), plan.detect, f"seed {seed}: {one}")

    def back_after(self, plan: Plan, outage: float) -> float:
        """The longest silence around an outage, from RFC 6298 alone: RTO, then twice that, and so on."""
        rto = 2 * plan.one_way + 0.2
        tries = 0.0
        while tries < outage:
            tries, rto = tries + rto, 2 * rto
        return 1.15 * plan.interval + tries + 3 * plan.one_way


class RepeatTests(SynchronousTestCase):
    """A seed that fails can be looked at."""

    def test_one_seed_is_one_run(self) -> None:
        """The same seed: the same segments at the same times, heartbeats, verdicts, reconnects and all."""
        traces: list[list[str]] = []
        real = SimulatedNetwork.__init__

        def watched(net: SimulatedNetwork, seed: int = 0) -> None:
            real(net, seed)
            lines: list[str] = []
            traces.append(lines)
            net.watch(lambda now, line: lines.append(f"{now:.9f} {line}"))

        self.patch(SimulatedNetwork, "__init__", watched)
        for seed in (5, 5, 6):
            run_seed(seed)
        self.assertGreater(len(traces[0]), 200)
        self.assertEqual(traces[0], traces[1])
        self.assertNotEqual(traces[0], traces[2])
