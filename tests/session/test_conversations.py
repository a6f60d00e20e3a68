"""Two sessions that talk to each other over a path with delay and jitter, for long, and until it is cut."""

from __future__ import annotations

import heapq
import random
from typing import Any

from heartbeat.liveness.events import Dead, Spared
from heartbeat.liveness.report import Report
from heartbeat.liveness.states import State
from heartbeat.session.parting import Parting
from heartbeat.wire import frames as f
from tests.session.ends import START, End, SessionTestCase, Source, decoded


class Path:
    """Two ends and the bytes between them: in order, late, in pieces or several at once, as TCP has them.

    Each end is a process of its own: while one is stalled the other goes on, and what comes lies in the kernel.
    """

    def __init__(self, seed: int, one: End, other: End, delay: float, jitter: float) -> None:
        self.chance = random.Random(seed)
        self.ends = (one, other)
        self.delay, self.jitter = delay, jitter
        self.now = START
        self.cut = False
        self.knows = False  # whether the kernels know when data arrived
        self.kernel: tuple[list[bytes], list[bytes]] = ([], [])
        self.arrived = [START, START]
        self.stalled_until = [START, START]
        self._coming: list[tuple[float, int, int, bytes]] = []
        self._last = [START, START]
        self._count = 0
        one.session.start(one.now)
        self.send(0)

    def send(self, index: int, data: bytes = b"") -> None:
        """What this end has to send goes on its way, perhaps cut in two."""
        data += self.ends[index].out()
        if not data or self.cut:
            return
        at = self.chance.randrange(len(data) + 1)
        for part in (data[:at], data[at:]):
            if part:
                # In order: nothing overtakes what was sent before.
                arrives = max(self._last[index], self.now + self.delay + self.jitter * self.chance.random())
                self._last[index] = arrives
                self._count += 1
                heapq.heappush(self._coming, (arrives, self._count, 1 - index, part))

    def run(self, seconds: float, stall: float = 0.0, stalls: tuple[int, ...] = (0, 1)) -> None:
        """Go on for so long. ``stall``: the chance that a turn of one of the ends ``stalls`` takes 0.6 to 3 s."""
        end_at = self.now + seconds
        while True:
            at, index = self._next()
            if at > end_at:
                break
            self.now = max(self.now, at)
            self._arrive()
            self._turn(index)
            if stall and index in stalls and self.chance.random() < stall:
                self.stalled_until[index] = self.now + self.chance.uniform(0.6, 3.0)
        self.now = end_at

    def _next(self) -> tuple[float, int]:
        """When which end next wakes, for its timer or for what came, but not while it is stalled."""
        times = []
        for index, end in enumerate(self.ends):
            due = end.session.next_timer()
            comes = [at for at, _, to, _ in self._coming if to == index]
            wakes = min([self.now] if self.kernel[index] else comes or [float("inf")])
            times.append((max(min(wakes, due if due is not None else float("inf")), self.stalled_until[index]), index))
        return min(times)

    def _arrive(self) -> None:
        while self._coming and self._coming[0][0] <= self.now:
            at, _, to, part = heapq.heappop(self._coming)
            if not self.cut:
                self.kernel[to].append(part)
                self.arrived[to] = at

    def _turn(self, index: int) -> None:
        """One turn of an end's loop: the timers, then what lies in its kernel."""
        end = self.ends[index]
        session = end.session
        due = session.next_timer()
        if due is not None and due <= self.now:
            end.attention.expect(max(due, end.now))
            end.now = self.now
            end.attention.looked(self.now)
            self.send(index, b"".join(frame.encode() for frame in end.serve()))
        end.now = self.now
        due = session.next_timer()
        end.attention.expect(self.now + 0.02 if due is None else max(due, self.now))
        parts, self.kernel[index][:] = b"".join(self.kernel[index]), []
        if parts:
            late = self.now > end.attention.fresh_until
            session.receive_data(parts, self.now, self.arrived[index] if late and self.knows else None)
            end.admit()
            self.send(index)


def two_ends(**settings: Any) -> tuple[End, End]:
    """A connector and an acceptor that draw their own jitter."""
    one = End(connector=True, draw=random.Random(1).random, source=Source(services=("a",), load=0.25), **settings)
    other = End(
        nonce="97" * 16, draw=random.Random(2).random, source=Source(services=("b", "c")), **{**settings, "id": "b"}
    )
    return one, other


class ConversationCase(SessionTestCase):
    """What conversations have in common."""

    def both_well(self, path: Path) -> None:
        """Neither has said a word of complaint."""
        for end in path.ends:
            self.assert_stays(end)
            self.assertIsNone(end.session.farewell)
            self.assertIn(end.session.beats.state, (State.ALIVE, State.SUSPECT))
            self.assertEqual(end.events(Dead), [])


class ConversationTests(ConversationCase):
    """What two honest ends do to each other: nothing."""

    def test_a_good_path(self) -> None:
        """Ten minutes on a LAN: every question answered, nobody ever suspect, both know each other."""
        path = Path(1, *two_ends(), delay=0.001, jitter=0.001)
        path.run(600.0)
        self.both_well(path)
        for end in path.ends:
            tally = end.session.tally
            self.assertGreater(tally.acks_in, 1100)
            self.assertEqual((tally.lost, tally.strays, tally.late), (0, 0, 0))
            self.assertLess(end.session.beats.rtt.smoothed or 1.0, 0.01)
            self.assertEqual(end.events(Spared), [])
        self.assertEqual(path.ends[0].session.peer.services, ("b", "c"))
        self.assertEqual(path.ends[1].session.peer.services, ("a",))
        self.assertEqual(path.ends[1].session.peer.load, 0.25)

    def test_slow_and_irregular_paths(self) -> None:
        """Up to a second each way and as much jitter, at an interval of half a second: nobody dies."""
        for seed, (delay, jitter) in enumerate(((0.05, 0.05), (0.3, 0.2), (0.9, 0.4), (0.01, 0.45), (0.0, 0.0))):
            path = Path(seed, *two_ends(), delay=delay, jitter=jitter)
            path.run(200.0)
            self.both_well(path)
            self.assertGreater(path.ends[0].session.tally.acks_in, 300)
            self.assertEqual(path.ends[0].session.tally.strays, 0)

    def test_stalls_of_either_end(self) -> None:
        """Each end is stopped for up to 3 s of its 4 again and again: told with STALLED, counted, never killed."""
        for seed in range(4):
            path = Path(seed, *two_ends(multiplier=8), delay=0.02, jitter=0.02)
            path.run(300.0, stall=0.05)
            self.both_well(path)
            told = [sum(isinstance(frame, f.Stalled) for frame in decoded(end.sent)) for end in path.ends]
            self.assertGreater(min(told), 10, f"seed {seed}")
            heard = [end.session.tally.stalled_in for end in path.ends]
            self.assertLessEqual(sum(told) - sum(heard), 2, f"seed {seed}")  # the last ones are on their way

    def test_own_stalls_are_no_round_trips(self) -> None:
        """One end is stalled again and again while answers lie in its kernel: it learns nothing from them."""
        for known in (False, True):
            path = Path(5, *two_ends(multiplier=8), delay=0.02, jitter=0.02)
            path.knows = known
            path.run(300.0, stall=0.1, stalls=(0,))
            self.both_well(path)
            one = path.ends[0].session.beats.rtt
            self.assertGreater(one.smoothed or 0.0, 0.03)
            self.assertLess(one.smoothed or 1.0, 0.12)
            self.assertLess(one.p95 or 1.0, 0.2)
            self.assertGreater(path.ends[1].session.beats.rtt.p95 or 0.0, 0.5)  # the other end sees them

    def test_accounts_that_change(self) -> None:
        """Whenever the services or the meta of an end change, the other knows within two sync intervals."""
        one, other = two_ends(sync_interval=0.5)
        path = Path(3, one, other, delay=0.01, jitter=0.01)
        # Their HELLOs ask for at least 0.5 s; the default of the other end would be 5 s.
        for number in range(30):
            one.source.told = Report(
                services=tuple(f"s{index}" for index in range(number % 4)), meta={"n": str(number)}
            )
            path.run(2.2)
            self.assertEqual(other.session.peer.services, one.source.told.services)
            self.assertEqual(dict(other.session.peer.meta), {"n": str(number)})
        self.both_well(path)

    def test_a_cut(self) -> None:
        """The path falls silent: both ends find out within D and a tenth of a second."""
        for seed in range(5):
            path = Path(seed, *two_ends(), delay=0.01, jitter=0.01)
            path.run(20.0 + seed * 0.13)
            path.cut = True
            cut_at = path.now
            path.run(1.0)
            self.both_well(path)
            path.run(3.0)
            for end in path.ends:
                (dead,) = end.events(Dead)
                self.assertLessEqual(dead.at - cut_at, 1.5 + 0.1, f"seed {seed}")

    def test_a_goodbye(self) -> None:
        """One leaves: the other closes at once, and neither counts a failure."""
        path = Path(6, *two_ends(), delay=0.01, jitter=0.01)
        path.run(10.0)
        one, other = path.ends
        one.session.bye(0, "done", path.now)
        path.send(0)
        path.run(0.1)
        self.assertEqual((one.session.beats.state, other.session.beats.state), (State.LEFT, State.LEFT))
        self.assertEqual((one.session.parting, other.session.parting), (Parting.LINGER, Parting.CLOSE))
        path.run(2.0)
        self.assertIs(one.session.parting, Parting.ABORT)

    def test_every_pace(self) -> None:
        """From a hundred a second to one in a minute, with any floors between: the agreed terms hold on the wire."""
        for interval, floor in ((0.01, 0.0), (0.1, 0.5), (5.0, 0.1), (60.0, 1.0)):
            one, other = two_ends(interval=interval, min_interval=floor, adaptive=False)
            path = Path(8, one, other, delay=0.004, jitter=0.001)
            agreed = max(interval, floor)
            path.run(agreed * 100.0)
            self.both_well(path)
            for end in path.ends:
                self.assertTrue(80 <= end.session.tally.pings_in <= 125, (interval, floor, end.session.tally.pings_in))
