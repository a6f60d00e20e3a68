"""heartbeat.probes.target: what becomes of one target, in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.counters import Counters
from heartbeat.liveness.events import Event, Spared
from heartbeat.liveness.peer import Peer
from heartbeat.liveness.states import State
from heartbeat.net.wheel import wheel_for
from heartbeat.probes.http import Outcome
from heartbeat.probes.reasons import Trouble
from heartbeat.probes.target import Target, new_traceparent
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.registry import Registry
from heartbeat.watch.tally import Totals

URL = "http://192.0.2.1:8080/health"
STEP = 0.02
WELL = Outcome(0.01, None, 200)
REFUSED = Outcome(0.01, Trouble("tcp_refused"))
BROKEN = Outcome(0.01, Trouble("http_5xx", "status 503"), 503)


class Pretend:
    """A target whose answers are given."""

    url = URL
    method = "GET"
    timeout = 1.0

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answer = WELL
        self.asked: list[tuple[float, str]] = []
        self.takes = 0.01
        self.at_once = 0

    async def ask(self, headers: Mapping[str, str]) -> Outcome:
        """After a while."""
        self.asked.append((self.clock.seconds(), headers["traceparent"]))
        self.at_once += 1
        waiting: Deferred[None] = Deferred()
        self.clock.callLater(self.takes, waiting.callback, None)
        await waiting
        self.at_once -= 1
        return self.answer._replace(seconds=self.takes)


class Told(HeartbeatListener):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.spared: list[str] = []

    def joined(self, peer: Peer) -> None:
        self.events.append("joined")

    def changed(self, peer: Peer, event: Event) -> None:
        self.events.append(type(event).__name__)
        if isinstance(event, Spared):
            self.spared.append(event.reason)


class TargetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = wheel_for(self.clock)
        self.wheel.clocks.draw = Random(7).random
        self.registry, self.failures = Registry(self.wheel.clocks), Failures(self.wheel.clocks, "node")
        self.told = Told()
        self.probe = Pretend(self.clock)
        self.rtt = Counters()
        self.target = self.made()

    def made(self, **more: Any) -> Target:
        """A target that is asked every second, and dead after three."""
        listener = Listeners(self.registry, self.failures, self.told)
        return Target(
            self.probe, self.wheel, self.clock, listener, interval=1.0, rtt_counts=self.rtt, node="node", **more
        )

    def run_for(self, seconds: float) -> None:
        """In small steps, as a loop that is not stalled."""
        for _ in range(round(seconds / STEP)):
            self.clock.advance(STEP)
            self.assertLessEqual(self.probe.at_once, 1, "one question at a time")

    def run_while(self, state: State, most: float) -> None:
        """As long as it is in this state, and no longer than that."""
        left = round(most / STEP)
        while self.state is state and left:
            self.run_for(STEP)
            left -= 1

    def start(self, answer: Outcome = WELL) -> None:
        """Start, and wait until the first answer was there."""
        self.probe.answer = answer
        self.target.start()
        self.run_for(1.1)
        self.addCleanup(self.nothing_left)

    def nothing_left(self) -> None:
        """Stopped, it leaves no timer behind, and asks no more."""
        self.target.stop()
        asked = len(self.probe.asked)
        self.run_for(5.0)
        self.assertEqual(len(self.probe.asked), asked)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @property
    def state(self) -> State | None:
        """As it is listed."""
        peer = self.registry.get(URL)
        return None if peer is None else peer.state

    def test_alive(self) -> None:
        """A right answer makes it a peer; each is a round trip, and asked about once per interval, not in step."""
        self.start()
        self.run_for(60.0)
        self.assertEqual(self.told.events, ["joined", "Alive"])
        self.assertEqual(self.state, State.ALIVE)
        times = [at for at, _ in self.probe.asked]
        gaps = [round(later - earlier, 2) for earlier, later in itertools.pairwise(times)]
        self.assertTrue(all(0.8 <= gap <= 1.25 for gap in gaps), gaps)
        self.assertGreater(len(set(gaps)), 3, "jitter")
        self.assertEqual(sum(self.rtt.counts), len(times))
        peer = self.registry.get(URL)
        assert peer is not None
        told = peer.as_json()
        self.assertEqual((told["address"], told["transport"], told["node"]), ("192.0.2.1:8080", "http", "node"))
        self.assertEqual(told["meta"], {"method": "GET", "status": "200"})
        self.assertEqual(told["detect_ms"], 3000)

    def test_who_wants_round_trips(self) -> None:
        """A listener that asks for each gets each; nobody else pays for them."""
        heard: list[float] = []

        class Wants(HeartbeatListener):
            def round_trip(self, peer: Peer, seconds: float) -> None:
                heard.append(seconds)

        self.target = Target(self.probe, self.wheel, self.clock, Wants(), interval=1.0)
        self.start()
        self.run_for(3.0)
        self.assertEqual(len(heard), self.target.tally.acks_in)
        self.assertGreaterEqual(len(heard), 3)

    def test_dead_and_alive_again(self) -> None:
        """Wrong answers make it suspect, then dead after the detection time, with their reason; a right one revives."""
        self.start()
        self.run_for(5.0)
        self.probe.answer = BROKEN
        self.run_while(State.ALIVE, 2.1)
        self.assertEqual(self.state, State.SUSPECT)
        self.run_while(State.SUSPECT, 1.1)
        self.assertEqual(self.state, State.DEAD)
        (failure,) = self.failures.since()
        self.assertEqual((failure.reason, failure.phase, failure.peer), ("http_5xx", "live", URL))
        self.assertEqual(failure.evidence["detail"], "status 503")
        self.assertLessEqual(failure.evidence["silent_s"], 3.2)
        self.assertEqual(
            failure.trace_id, next(one for at, one in self.probe.asked[::-1] if one[3:35] == failure.trace_id)[3:35]
        )
        asked = len(self.probe.asked)
        self.run_for(10.0)
        self.assertEqual(len(list(self.failures.since())), 1, "dead once")
        self.assertGreaterEqual(len(self.probe.asked), asked + 7, "the dead are asked, too")
        self.probe.answer = WELL
        self.run_for(2.0)
        self.assertEqual(self.state, State.ALIVE)
        self.assertEqual(self.told.events.count("joined"), 2)

    def test_faster_while_it_fails(self) -> None:
        """While answers are wrong the next question comes sooner, and never sooner than a second."""
        self.target = Target(self.probe, self.wheel, self.clock, self.told, interval=5.0)
        self.probe.answer = WELL
        self.target.start()
        self.addCleanup(self.nothing_left)
        self.run_for(20.0)
        self.probe.answer = BROKEN
        self.probe.asked.clear()
        self.run_for(9.0)
        times = [at for at, _ in self.probe.asked]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        self.assertTrue(all(0.8 <= gap <= 2.6 for gap in gaps), gaps)
        self.assertGreaterEqual(len(times), 3)

    def test_one_that_was_never_there(self) -> None:
        """A target that fails from the beginning is suspect at once and dead soon, so that a page shows it."""
        self.start(REFUSED)
        self.assertIn(self.state, (State.SUSPECT, State.DEAD))
        self.run_for(2.0)
        self.assertEqual(self.state, State.DEAD)
        (failure,) = self.failures.since()
        self.assertEqual((failure.reason, failure.phase), ("tcp_refused", "connect"))

    def test_one_that_was_always_silent(self) -> None:
        """A target that swallows every question is found dead, too: nobody's stall is to blame for it."""
        self.probe.takes = 1.0
        self.start(Outcome(1.0, Trouble("tcp_timeout")))
        self.run_for(8.0)
        self.assertEqual(self.state, State.DEAD)
        (failure,) = self.failures.since()
        self.assertEqual(failure.reason, "tcp_timeout")
        lost = self.target.tally.lost
        self.run_for(5.0)
        self.assertGreaterEqual(self.target.tally.lost, lost + 2, "and is counted while it is dead")

    def test_counted_whatever_becomes_of_it(self) -> None:
        """Each question counts once, as answered or lost: alive, dead, and alive again."""
        totals = Totals()
        totals.joined(self.target)  # type: ignore[arg-type]
        self.start()
        for answer in (WELL, BROKEN, WELL):
            self.probe.answer = answer
            self.run_for(12.0)
        self.run_for(0.5)
        sums = totals.sums()
        self.assertEqual(sums.pings_out - self.probe.at_once, sums.acks_in + sums.lost)
        self.assertEqual(sums.pings_out, len(self.probe.asked))
        self.assertGreater(sums.lost, 8)
        self.assertGreater(sums.acks_in, 16)
        self.assertEqual(sums.strays, 0)

    def test_our_own_stall_kills_nobody(self) -> None:
        """Ten seconds in which our loop did not run are no silence of the target, and a timeout then is no failure."""
        self.start()
        self.run_for(3.0)
        self.probe.takes = 0.5
        self.probe.answer = Outcome(1.0, Trouble("http_timeout"))
        while not self.probe.at_once:
            self.run_for(STEP)
        self.clock.advance(10.0)
        self.probe.answer = WELL
        self.probe.takes = 0.01
        self.run_for(5.0)
        self.assertEqual(self.state, State.ALIVE)
        self.assertEqual(self.target.tally.lost, 0)
        self.assertNotIn("Dead", self.told.events)
        self.assertEqual(self.told.spared, ["local_stall"])

    def test_a_verdict_while_it_is_asked(self) -> None:
        """An answer to a question of before the verdict makes it alive again, at once."""
        self.start()
        self.probe.takes = 3.0
        self.probe.answer = Outcome(3.0, Trouble("http_timeout"))
        while self.state is not State.DEAD:
            self.run_for(STEP)
        self.probe.answer, self.probe.takes = WELL, 0.01
        self.assertEqual(self.probe.at_once, 1, "one is under way")
        while self.probe.at_once:
            self.run_for(STEP)
        self.assertEqual(self.state, State.ALIVE)

    def test_each_question_is_a_trace(self) -> None:
        """Without a collector a request carries a traceparent all the same, another one each time, not sampled."""
        self.start()
        self.run_for(3.0)
        texts = {text for _, text in self.probe.asked}
        self.assertEqual(len(texts), len(self.probe.asked))
        for text in (*texts, new_traceparent()):
            self.assertRegex(text, r"\A00-[0-9a-f]{32}-[0-9a-f]{16}-00\Z")

    def test_spans(self) -> None:
        """Who makes spans gives the traceparent, and hears how each request ended."""
        ended: list[Any] = []

        class Spans:
            def begin(self, peer: Peer, url: str, method: str) -> tuple[Any, str]:
                return (url, method), "00-" + "a" * 32 + "-" + "b" * 16 + "-01"

            def end(self, *what: Any) -> None:
                ended.append((what[0], *what[2:]))

        self.target = self.made(spans=Spans())
        self.start(BROKEN)
        self.assertEqual(ended[0], ((URL, "GET"), "http_5xx", "status 503", 503))
        self.assertEqual(self.probe.asked[0][1][3:35], "a" * 32)

    def test_a_crowd(self) -> None:
        """When all of many targets are due at once we suspect ourselves first: each is asked once more."""
        listener = Listeners(self.registry, self.failures, self.told)
        probes = [Pretend(self.clock) for _ in range(12)]
        for number, probe in enumerate(probes):
            probe.url = f"http://192.0.2.{number}/"
        targets = [Target(probe, self.wheel, self.clock, listener, interval=1.0) for probe in probes]
        for target in targets:
            target.start()
            self.addCleanup(target.stop)
        self.run_for(3.0)
        heard = self.clock.seconds()
        for target in targets:
            target._judge.liveness.heard_at = heard
        for probe in probes:
            probe.answer = REFUSED
        self.run_for(6.0)
        self.assertIn("mass_timeout", self.told.spared)
        self.assertEqual({failure.reason for failure in self.failures.since()}, {"tcp_refused"})
        self.addCleanup(self.target.stop)
