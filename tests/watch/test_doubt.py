"""Deaths that may be our own fault."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.oversleep import OWN_STALL
from heartbeat.watch.doubt import LEAST, MOST
from heartbeat.watch.failures import Failures
from tests.watch.crowd import Hands, Somebody


class DoubtTests(SynchronousTestCase):
    """The record of a death after a stall of ours waits for the return of its peer."""

    def setUp(self) -> None:
        self.hands = Hands()
        self.failures = Failures(self.hands, node="here")
        self.followed: list[str] = []
        self.failures.follower = lambda one: self.followed.append(one.peer)

    def join(self, id: str, instance: str | None = "i-1") -> Somebody:
        """A peer, or its return."""
        one = Somebody(self.hands, id, self.failures)
        one.peer.instance = instance
        return one.join()

    def lose(self, id: str, lag: float = 1.0, detail: str = OWN_STALL, instance: str | None = "i-1") -> float:
        """It is there, and its connection ends right after a stall of ours. Returns when."""
        self.join(id, instance).die("peer_reset", Evidence(self.hands.now, detail=detail, lag=lag))
        return self.hands.now

    def recorded(self) -> list[str]:
        """The peers on the board, newest first."""
        return [one.peer for one in self.failures]

    def test_back(self) -> None:
        """The same process is back: nobody was dead, and nothing is counted, however often it had tried."""
        self.lose("a")
        self.lose("a")
        self.assertEqual((self.recorded(), self.failures.counts(), self.followed), ([], {}, []))
        self.hands.now += LEAST - 0.1
        self.join("a")
        self.hands.now += MOST
        self.assertEqual((self.recorded(), self.failures.counts(), self.followed), ([], {}, []))

    def test_not_back(self) -> None:
        """It is recorded once its time is over, as of when it happened."""
        at = self.lose("a")
        self.hands.now += LEAST - 0.1
        self.join("b")
        self.assertEqual(self.recorded(), [])
        self.hands.now += 0.1
        self.assertEqual(self.failures.counts(), {("peer_reset", "live"): 1})
        (one,) = self.failures
        self.assertEqual((one.peer, one.evidence["detail"]), ("a", OWN_STALL))
        self.assertEqual(one.at, self.hands.wall() - self.hands.now + at)
        self.assertEqual(len(self.failures), 1)

    def test_once(self) -> None:
        """Who came back and gave us up again while we did not listen has died once; unless it may be another."""
        for _ in range(3):
            self.lose("a")
        self.lose("b", instance=None)
        self.lose("b", instance=None)
        self.hands.now += LEAST
        self.assertEqual(sorted(self.recorded()), ["a", "b", "b"])

    def test_another_process(self) -> None:
        """Under the name another process is back, or one that does not say which: what was there before is gone."""
        for instance in ("i-2", None):
            self.lose(f"a-{instance}")
            self.join(f"a-{instance}", instance)
            self.assertEqual(self.recorded()[0], f"a-{instance}")

    def test_how_long(self) -> None:
        """As long as we were away: so long may be the next pause of who tried again and again. There is a limit."""
        for lag, held in ((0.0, LEAST), (10.0, 10.0), (1000.0, MOST)):
            self.lose(f"{lag}", lag)
            self.hands.now += held - 0.1
            self.assertNotIn(f"{lag}", self.recorded())
            self.hands.now += 0.2
            self.assertIn(f"{lag}", self.recorded())

    def test_all_others(self) -> None:
        """What is no fault of ours is recorded at once."""
        self.lose("a", detail="unprovoked")
        self.join("b").die("path_dead")
        self.assertEqual(self.recorded(), ["b", "a"])

    def test_in_time(self) -> None:
        """With a reactor nobody need look: it is recorded when its time is over, and of many each at its own."""
        clock = Clock()
        self.failures.doubt.later = clock.callLater

        def pass_by(seconds: float) -> None:
            self.hands.now += seconds
            clock.advance(seconds)

        self.lose("a", 10.0)
        pass_by(1.0)
        self.lose("b", 4.0)
        self.lose("c", 6.0)
        for seconds, recorded in ((3.9, ""), (0.2, "b"), (1.8, "b"), (0.2, "bc"), (2.8, "bc"), (0.2, "bca")):
            pass_by(seconds)
            self.assertEqual("".join(self.followed), recorded)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_settled(self) -> None:
        """At the end of a server all are recorded at once, and no call is left."""
        clock = Clock()
        self.failures.doubt.later = clock.callLater
        self.lose("a")
        self.lose("b")
        self.failures.doubt.settle()
        self.assertEqual(self.followed, ["a", "b"])
        self.assertEqual(clock.getDelayedCalls(), [])
        self.failures.doubt.settle()
        self.assertEqual(len(self.failures), 2)
