"""heartbeat.watch.news: what changed, numbered."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.events import Explained
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.news import KEPT, LINGER, News
from heartbeat.watch.registry import Registry
from tests.watch.crowd import EPOCH, Hands, Somebody


class NewsTests(SynchronousTestCase):
    """A register, a board, and what follows both."""

    def setUp(self) -> None:
        self.hands = Hands()
        self.registry, self.failures = Registry(self.hands), Failures(self.hands)
        self.news = News(self.registry, self.failures)
        self.listeners = Listeners(self.registry, self.failures)
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1

    def follow(self) -> None:
        """Somebody reads."""
        self.news.follow(self.wake)

    def join(self, id: str = "a", **told: Any) -> Somebody:
        """A peer that is listed."""
        return Somebody(self.hands, id, self.listeners, **told).join()

    def told(self, number: int = 0, most: int = 100) -> list[tuple[int, str, str]]:
        """What follows on a number: its own, whose it is, and the state or the reason."""
        found = []
        for item in self.news.after(number, most):
            told = item.as_json()
            failed = item.kind == "failure"
            found.append((item.number, told["peer" if failed else "id"], told["failure_reason" if failed else "state"]))
        return found

    def test_each_change_and_each_failure(self) -> None:
        """Joining, each change of state, the end, and the failure, numbered in their order; a beat is none of these."""
        self.follow()
        one = self.join()
        one.answer(0.1)
        one.fall_silent()
        one.speak()
        one.stick()
        one.die("path_dead")
        self.join("b").leave()
        states = [(1, "a", "alive"), (2, "a", "suspect"), (3, "a", "alive"), (4, "a", "stuck"), (5, "a", "dead")]
        rest = [(6, "a", "path_dead"), (7, "b", "alive"), (8, "b", "left")]
        self.assertEqual(self.told(), states + rest)
        self.assertEqual((self.news.newest, self.woken), (8, 8))
        self.assertEqual(self.told(6, 1), rest[1:2])
        self.assertEqual(self.told(8), [])

    def test_what_an_event_says(self) -> None:
        """It is the peer in its usual shape, with the state of the change even if that has changed again."""
        self.follow()
        one = self.join(services=("auth",))
        one.fall_silent()
        at = EPOCH + self.hands.now
        one.die("path_dead")
        suspect, dead, failure = (item.as_json() for item in self.news.after(1, 10))
        self.assertEqual((suspect["state"], suspect["since"], suspect["failure_reason"]), ("suspect", at, None))
        self.assertEqual((dead["state"], dead["failure_reason"]), ("dead", "path_dead"))
        self.assertEqual(set(dead) - {"failure_reason"}, set(one.peer.as_json()))
        self.assertEqual(failure, self.failures.newest()[0].as_json())

    def test_a_refusal_is_a_failure(self) -> None:
        """Who never joined has a failure and no state."""
        self.follow()
        Somebody(self.hands, "a", self.listeners).die("hello_timeout")
        self.assertEqual(self.told(), [(1, "a", "hello_timeout")])

    def test_a_failure_that_is_made_exact(self) -> None:
        """It is told once more, under the same id."""
        self.follow()
        one = self.join()
        one.peer.session = "s"
        one.die("path_dead")
        back = self.join()
        self.listeners.changed(back.peer, Explained(self.hands.now, "nat_expired", "path_dead", "returned", "s"))
        first, again = (one.as_json() for one in self.news.after(0, 10) if one.kind == "failure")
        self.assertEqual(first["id"], again["id"])
        self.assertEqual((first["failure_reason"], again["failure_reason"]), ("path_dead", "nat_expired"))

    def test_whose_name_another_has(self) -> None:
        """The end of a superseded connection says nothing about the peer, which is alive."""
        self.follow()
        old = self.join()
        self.join()
        old.leave()
        self.assertEqual(self.told(), [(1, "a", "alive"), (2, "a", "alive")])

    def test_nothing_is_kept_for_nobody(self) -> None:
        """Before the first reader there is no record; with the last gone it ends after a while, and another begins."""
        self.join("early")
        self.assertEqual(self.told(), [])
        self.follow()
        self.join("a")
        epoch = self.news.epoch
        self.news.leave()
        self.hands.now += LINGER - 1
        self.join("b")
        self.assertEqual([id for _, id, _ in self.told()], ["a", "b"])
        self.assertEqual(self.woken, 1)
        self.follow()  # is back in time
        self.assertEqual((self.news.epoch, self.news.newest), (epoch, 2))
        self.news.leave()
        self.hands.now += LINGER
        self.join("c")
        self.assertEqual(self.told(), [])
        self.follow()
        self.assertNotEqual(self.news.epoch, epoch)
        self.assertEqual(self.news.newest, 0)

    def test_two_records_never_have_one_name(self) -> None:
        """Even if the clock on the wall stands still or goes back."""
        epochs = set()
        for _ in range(3):
            self.follow()
            epochs.add(self.news.epoch)
            self.news.leave()
            self.hands.now += LINGER
            self.hands.wall = lambda: EPOCH  # type: ignore[method-assign]
        self.assertEqual(len(epochs), 3)

    def test_bounded(self) -> None:
        """The newest are kept, and it is known how many a reader has missed."""
        self.follow()
        one = self.join()
        for _ in range(3 * KEPT):
            one.stick()
            one.stick(False)
        kept = len(self.news.after(0, 10 * KEPT))
        self.assertTrue(KEPT <= kept < 2 * KEPT, kept)
        self.assertEqual(self.news.newest, 1 + 6 * KEPT)
        self.assertEqual(self.news.missed(0), self.news.newest - kept)
        self.assertEqual(self.news.missed(self.news.newest - kept), 0)
        self.assertEqual(self.news.after(0, 1)[0].number, self.news.newest - kept + 1)
