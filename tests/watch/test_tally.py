"""heartbeat.watch.tally: the totals never go back."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.causes import SPARE_REASONS
from heartbeat.watch.tally import Sums, Totals
from tests.watch.crowd import Hands, Somebody

COUNTERS = ("pings_in", "pings_out", "acks_in", "acks_out", "late", "lost", "strays", "stalled_in", "on_time")


def numbers(sums: Sums) -> dict[str, int]:
    """The counters of some sums, the spared included."""
    return {name: getattr(sums, name) for name in COUNTERS} | sums.spared


class TotalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.hands = Hands()
        self.totals = Totals()

    def join(self, id: str = "a") -> Somebody:
        """A peer that is counted."""
        return Somebody(self.hands, id, self.totals).join()

    def test_nobody(self) -> None:
        """Without peers all is 0, each reason to be spared is there, and no mean is invented."""
        sums = self.totals.sums()
        self.assertEqual(set(numbers(sums).values()), {0})
        self.assertEqual(set(sums.spared), set(SPARE_REASONS))
        self.assertIsNone(sums.interval)
        self.assertIsNone(sums.loss)

    def test_the_living(self) -> None:
        """The numbers of the living are read when asked; nobody told us of a beat."""
        one, two = self.join("a"), self.join("b")
        one.answer()
        two.lose()
        two.beats.tally.pings_in += 7
        sums = self.totals.sums()
        self.assertEqual((sums.pings_out, sums.acks_in, sums.lost), (3, 2, 1))
        self.assertEqual((sums.pings_in, sums.acks_out), (7, 7))
        one.answer()
        self.assertEqual(self.totals.sums().acks_in, 3)

    def test_each_question_is_settled_once(self) -> None:
        """An answer after the confirm question is late and not on time as well."""
        one = self.join()
        one.answer()
        one.fall_silent()
        one.answer()
        one.lose()
        sums = self.totals.sums()
        self.assertEqual((sums.on_time, sums.late, sums.lost), (2, 1, 1))

    def test_means_over_the_living(self) -> None:
        """Interval and loss are means over the living: the dead do not pull them."""
        one, two, dead = self.join("a"), self.join("b"), self.join("c")
        one.lose()
        two.answer()
        dead.lose()
        dead.die()
        two.beats.pace(1.5, 0.0)
        sums = self.totals.sums()
        self.assertEqual(sums.living, 2)
        self.assertAlmostEqual(sums.interval or 0.0, 1.0)
        self.assertAlmostEqual(sums.loss or 0.0, 0.25)

    def test_the_numbers_of_the_dead_stay(self) -> None:
        """A peer that goes takes nothing with it, and only its numbers are kept."""
        one = self.join()
        one.answer()
        before = numbers(self.totals.sums())
        one.die()
        self.assertEqual(numbers(self.totals.sums()), before)
        ref = weakref.ref(one.peer)
        del one
        gc.collect()
        self.assertIsNone(ref())

    def test_gone_twice(self) -> None:
        """A peer is retired once; one that never joined is not counted."""
        one = self.join()
        one.answer()
        one.die()
        self.totals.gone(one.peer, object())
        stranger = Somebody(self.hands, "b")
        stranger.answer()
        self.totals.gone(stranger.peer, object())
        self.assertEqual(self.totals.sums().acks_in, 1)

    def test_spared(self) -> None:
        """Whoever a plain timer would have killed is counted by its reason."""
        one = self.join()
        one.spare("local_stall")
        one.spare("local_stall")
        one.spare("mass_timeout")
        spared = self.totals.sums().spared
        self.assertEqual((spared["local_stall"], spared["mass_timeout"], spared["suspended"]), (2, 1, 0))

    def test_sums_are_a_snapshot(self) -> None:
        """What was read does not change afterwards."""
        one = self.join()
        sums = self.totals.sums()
        one.spare()
        one.die()
        self.assertEqual(sums.living, 1)
        self.assertEqual(sums.spared["local_stall"], 0)

    def test_slices(self) -> None:
        """A walk takes one step per slice, and the last one gives the sums."""
        for number in range(11):
            self.join(f"p{number}").answer()
        steps = list(self.totals.walk(5))
        self.assertEqual([sums is None for sums in steps], [True, True, False])
        last = steps[-1]
        assert last is not None
        self.assertEqual((last.acks_in, last.living), (11, 11))

    def test_peers_go_while_we_count(self) -> None:
        """Who goes between two steps is counted once, visited or not."""
        crowd = [self.join(f"p{number}") for number in range(6)]
        for one in crowd:
            one.answer()
        walk = self.totals.walk(2)
        self.assertIsNone(next(walk))
        crowd[0].die()
        crowd[5].die()
        self.join("new").answer()
        sums = list(walk)[-1]
        assert sums is not None
        self.assertEqual(sums.acks_in, 6)
        self.assertEqual(self.totals.sums().acks_in, 7)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "answer", "lose", "fall_silent", "spare", "die", "leave", "look", "walk", "step"]),
        st.integers(0, 4),
    ),
    max_size=60,
)


class CounterTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(STEPS)
    def test_no_counter_ever_goes_back(self, steps: list[tuple[str, int]]) -> None:
        """Whatever peers do and however walks and looks take turns, each answer counts no less than the one before."""
        hands, totals = Hands(), Totals()
        crowd: dict[int, Somebody] = {}
        latest = numbers(totals.sums())
        walk = None
        for what, who in steps:
            if what == "join":
                if who not in crowd:
                    crowd[who] = Somebody(hands, str(who), totals).join()
            elif what == "look":
                if walk is None:  # looks and walks that overlap are the exporter's business
                    seen, latest = latest, numbers(totals.sums())
                    self.assertTrue(all(latest[name] >= seen[name] for name in seen))
            elif what in ("walk", "step"):
                walk = totals.walk(1 + who) if walk is None else walk
                sums = next(walk)
                if sums is not None:
                    walk = None
                    seen, latest = latest, numbers(sums)
                    self.assertTrue(all(latest[name] >= seen[name] for name in seen))
            elif who in crowd:
                if what != "fall_silent" or crowd[who].beats.liveness.suspicion is None:
                    getattr(crowd[who], what)()
                if what in ("die", "leave"):
                    del crowd[who]
