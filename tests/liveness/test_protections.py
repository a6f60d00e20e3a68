"""Each protection of the judge is needed: without it living peers are killed where the real one kills none.

One world for all: a loop that is stalled ten times for 3 s, a host that sleeps through some of it, sockets that are
not read in time, and peers that say nothing unless they are asked. Some peers really die.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness import liveness
from heartbeat.liveness.attention import Attention
from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.need import ASK_AND_LOOK, LOOK, NOTHING, Need
from heartbeat.liveness.suspicion import DRAIN_LOOKS, Suspicion
from tests.liveness.loops import START, TURN, D, T
from tests.liveness.worlds import World

SEEDS = range(5)
SECONDS = 60.0
STALL = 3.0


class Absent(Attention):
    """The attentive clock switched off: every second counts, whether we listened or not."""

    def awake(self, since: float, now: float, cap: float) -> float:
        """All of it."""
        return now - since


class Hasty(Suspicion):
    """The drain switched off."""

    def undrained(self, evidence: Evidence) -> bool:
        """Whatever lies there."""
        return False


class Mute(Liveness):
    """The confirm question switched off: it believes that it asked."""

    def handle_timer(self, now: float) -> Need:
        """Asks nobody."""
        need = super().handle_timer(now)
        if need & Need.ASK:
            self.asked(now)
            self.handed_over(now)
            return LOOK if need is ASK_AND_LOOK else NOTHING
        return need


def stalled_world(seed: int, attention: Callable[[float], Attention], judge: Callable[..., Liveness]) -> World:
    """The scenario, run to its end."""
    chance = random.Random(seed)
    stalls = [(START + 5.0 + 5.0 * number + chance.random(), STALL) for number in range(10)]
    starved = [(at + STALL + 0.5, at + STALL + 2.4) for at, _ in stalls[::3]]
    world = World(seed, attention, stalls, starved, starving=8)
    for _ in range(8):
        world.watch(judge)  # the first ones: their sockets starve
    for _ in range(8):  # no more of a kind: from nine on the crowd rule protects them once more
        world.watch(judge, suspended=True)
    for _ in range(8):
        world.watch(judge, quiet=True)
    for _ in range(30):
        world.watch(judge)
    for _ in range(6):
        world.watch(judge, dies_at=START + chance.uniform(1.0, SECONDS - 10.0))
    world.run(SECONDS)
    return world


def killed(world: World) -> int:
    """How many living peers were killed."""
    return sum(remote.death is not None and remote.death.at < remote.dies_at for remote in world.remotes)


class ProtectionTests(SynchronousTestCase):
    """The real judge, and what each protection is for."""

    def test_the_real_one(self) -> None:
        """No living peer is killed, and every dead one is found within D, our own stalls, and the bounded waits."""
        for seed in SEEDS:
            world = stalled_world(seed, Attention, Liveness)
            self.assertEqual(killed(world), 0, f"seed {seed}")
            for remote in world.remotes:
                if remote.dies_at == float("inf"):
                    continue
                self.assertIsNotNone(remote.death, f"seed {seed}")
                assert remote.death is not None
                took = remote.death.at - remote.dies_at
                stalls = 1 + int(took // 5.0)  # at most one begins every 4 s
                self.assertLessEqual(took, D + T / 2 + stalls * (STALL + D / 8) + DRAIN_LOOKS * TURN, f"seed {seed}")

    def test_it_takes_no_longer_than_it_must(self) -> None:
        """Where nothing is stalled: from the fault, D and 0.1 s."""
        for seed in SEEDS:
            world = World(seed, Attention, [], [], 0)
            for number in range(20):
                world.watch(Liveness, dies_at=START + 2.0 + number * 0.7)
            world.run(25.0)
            for remote in world.remotes:
                assert remote.death is not None
                self.assertLessEqual(remote.death.at - remote.dies_at, D + 0.1)
                self.assertGreaterEqual(remote.death.at - remote.dies_at, D - 0.6)  # its last beat was before

    def test_without_the_attentive_clock(self) -> None:
        """A host that slept kills whoever did not answer at once when it woke."""
        for seed in SEEDS:
            self.assertGreater(killed(stalled_world(seed, Absent, Liveness)), 0, f"seed {seed}")

    def test_without_the_crowd_rule(self) -> None:
        """A dozen peers behind a path that is too slow for all of them at once are killed together."""

        class Trusting(Attention):
            @staticmethod
            def crowded(due: int, watched: int) -> bool:
                return False

        for attention, dead in ((Attention, False), (Trusting, True)):
            world = World(1, attention, [], [], 0)
            for _ in range(12):
                world.watch(Liveness, rtt=0.7, quiet=True)
            world.run(5.0)
            self.assertEqual(killed(world) > 0, dead)

    def test_without_the_drain(self) -> None:
        """A peer whose beats lie unread is killed for our own slowness."""
        self.patch(liveness, "Suspicion", Hasty)
        for seed in SEEDS:
            self.assertGreater(killed(stalled_world(seed, Attention, Liveness)), 0, f"seed {seed}")

    def test_without_the_confirm_question(self) -> None:
        """A peer that had nothing to say is condemned unheard."""
        for seed in SEEDS:
            world = stalled_world(seed, Attention, Mute)
            self.assertGreater(killed(world), 0, f"seed {seed}")
            self.assertTrue(all(remote.death is not None for remote in world.remotes if remote.quiet))
