"""``python -m tests.scenarios [--seeds FROM-TO] [--histogram]``: run seeds, say which fail and why, and count."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from statistics import median

from tests.scenarios.mutations import MUTATIONS
from tests.scenarios.plans import CHAOS_KINDS, END_KINDS, OVER, injected
from tests.scenarios.world import Outcome, run_seed


def main() -> int:
    """The exit code is 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios", description=__doc__)
    parser.add_argument("--seeds", default="0-999", metavar="FROM-TO", help="one seed, or the first and the last")
    parser.add_argument("--histogram", action="store_true", help="count faults, verdicts and spared peers")
    parser.add_argument("--without", choices=tuple(MUTATIONS), help="switch off a protection: seeds must fail")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    began = time.process_time()
    outcomes = [_run(seed, options.without) for seed in seeds]
    seconds = time.process_time() - began
    if options.histogram:
        _histogram(outcomes)
    failed = [outcome.plan.seed for outcome in outcomes if outcome.problems]
    deaths = sum(outcome.false_deaths for outcome in outcomes)
    print(f"{len(seeds)} seeds, {len(failed)} failed, {deaths} false deaths, {seconds:.1f} s of CPU")
    return 1 if failed else 0


def _run(seed: int, without: str | None) -> Outcome:
    if without is None:
        outcome = run_seed(seed)
    else:
        with MUTATIONS[without]():
            outcome = run_seed(seed)
    if outcome.problems:
        plan = outcome.plan
        print(f"seed {seed}: I {plan.interval} s, D {plan.detect} s, {plan.profile} paths, patient {plan.patient}s")
        for line in outcome.problems:
            print(f"    {line}")
    return outcome


def _histogram(outcomes: list[Outcome]) -> None:
    done: Counter[str] = Counter()
    spared: Counter[str] = Counter()
    times: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
    for outcome in outcomes:
        planned = injected(outcome.plan)
        done += outcome.injected + Counter({kind: planned[kind] for kind in (OVER, "long_path")})
        spared += outcome.spared
        for how, cause, took, bound in outcome.found:
            times[how].append((cause, took, bound))
    print("faults injected in the chaos phase")
    for kind in (*CHAOS_KINDS, OVER):
        print(f"    {kind:14} {done[kind]:6}")
    print("ends, and how they were found: seconds from the last sign of life, at least / median / at most")
    for kind in END_KINDS:
        found = times[kind]
        if not found:
            continue
        seconds = [took for _, took, _ in found]
        most = max(took / bound for _, took, bound in found)
        causes = ", ".join(f"{cause} {count}" for cause, count in Counter(cause for cause, _, _ in found).most_common())
        times_found = " / ".join(f"{one:6.3f}" for one in (min(seconds), median(seconds), max(seconds)))
        print(
            f"    {kind:14} {done[kind]:5} injected, {len(found):4} verdicts, {times_found} s,"
            f" at most {most:.0%} of the bound: {causes}"
        )
    print("living peers that a plain timer would have killed:", ", ".join(f"{k} {v}" for k, v in spared.most_common()))


if __name__ == "__main__":
    sys.exit(main())
