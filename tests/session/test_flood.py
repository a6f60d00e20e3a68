"""Flood control (``wire.md`` §2): 1024 tokens, one more per ``min_rx``, two strikes within a minute."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.session.flood import GIVEN_BACK, STRIKE_LASTS, TOKENS, Flood
from heartbeat.wire import frames as f
from tests.session.ends import START, End, SessionTestCase, decoded, ping
from tests.session.test_sync import state, sync


class Bucket:
    """The store as ``wire.md`` describes it, token by token."""

    def __init__(self, floor: float, now: float) -> None:
        self.floor = floor
        self.tokens = float(TOKENS)
        self.filled_at = now
        self.struck_at = -1e9

    def spend(self, now: float) -> bool:
        """One frame; True at the second strike."""
        self.tokens = min(float(TOKENS), self.tokens + (now - self.filled_at) / self.floor)
        self.filled_at = now
        if self.tokens >= 1.0 - 0.02:  # as many as whole tokens, however they were added up
            self.tokens -= 1.0
            return False
        self.tokens += GIVEN_BACK - 1.0
        again = now - self.struck_at < STRIKE_LASTS
        self.struck_at = now
        return again


class BucketTests(SessionTestCase):
    """:class:`Flood`, the store alone."""

    def spend(self, flood: Flood, count: int, now: float) -> list[int]:
        """Spend so many at once; which of them were a second strike."""
        return [number for number in range(count) if flood.spend(now)]

    def test_a_full_store(self) -> None:
        """1024 frames at once are no strike, for any floor, on any clock; the next one is the first strike."""
        for floor in (0.001, 0.1, 0.3, 1.0, 3600.0):
            for now in (0.0, 1.0, START, 1e8):
                flood = Flood(floor, now)
                self.assertEqual(self.spend(flood, TOKENS, now), [])
                self.assertFalse(flood.spend(now))  # the strike gives back 512, and this frame costs one of them
                self.assertEqual(self.spend(flood, GIVEN_BACK + 5, now), [GIVEN_BACK - 1])

    def test_gains_one_per_floor(self) -> None:
        """A peer at the agreed pace never strikes, however long it goes on."""
        flood = Flood(0.1, START)
        self.assertEqual(self.spend(flood, TOKENS, START), [])
        for number in range(1, 5000):
            self.assertFalse(flood.spend(START + number * 0.1))

    def test_is_never_more_than_full(self) -> None:
        """A day of silence saves up no more than 1024."""
        flood = Flood(0.1, START)
        later = START + 86_400.0
        self.assertEqual(self.spend(flood, TOKENS, later), [])
        self.assertEqual(self.spend(flood, GIVEN_BACK + 1, later), [GIVEN_BACK])

    def test_two_strikes_within_a_minute(self) -> None:
        """59.9 s are a flood, 60 s are not."""
        for apart, flooded in ((59.9, True), (60.0, False)):
            flood = Flood(3600.0, START)
            self.assertEqual(self.spend(flood, TOKENS + 1, START), [])
            self.assertEqual(self.spend(flood, GIVEN_BACK - 1, START), [])
            self.assertEqual(flood.spend(START + apart), flooded)

    @settings(deadline=None, max_examples=40)
    @given(
        st.sampled_from((0.001, 0.1, 0.5, 2.0)),
        # Pauses of quarters of a token: sums of them are whole tokens or clearly none.
        st.lists(st.tuples(st.integers(1, 1500), st.integers(0, 5000)), max_size=10),
    )
    def test_is_the_store_of_the_specification(self, floor: float, bursts: list[tuple[int, int]]) -> None:
        """For any bursts: the same strikes as counting tokens one by one."""
        flood, bucket, now = Flood(floor, START), Bucket(floor, START), START
        for count, pause in bursts:
            now += pause * floor / 4
            self.assertEqual([flood.spend(now) for _ in range(count)], [bucket.spend(now) for _ in range(count)])


class PricesTests(SessionTestCase):
    """What each frame costs."""

    def cost(self, frames: list[bytes | f.Frame], prepare: Callable[[End], object] = lambda end: None) -> int:
        """How many tokens these frames cost a greeted peer with DATA."""
        end = self.acceptor(
            {"caps": ["state", "stalled", "data"]}, caps=("state", "stalled", "data"), min_interval=100.0
        )
        prepare(end)
        before = self.left(end)
        end.read(*frames)
        self.assert_stays(end)
        return before - self.left(end)

    def left(self, end: End) -> int:
        """Whole tokens in its store."""
        flood = end.session._flood
        assert flood is not None
        return round(TOKENS - (max(flood._full_at, end.now) - end.now) / 100.0)

    def test_most_cost_one(self) -> None:
        """PING, SYNC, STALLED, and ACK and SYNC-ACK that match nothing."""
        frames: list[bytes | f.Frame] = [ping(1), sync(0), f.Stalled(5), f.Ack(9, 9), f.SyncAck(9, 0)]
        for frame in frames:
            self.assertEqual(self.cost([frame]), 1, frame)
        self.assertEqual(self.cost(frames * 3), 15)

    def test_some_cost_nothing(self) -> None:
        """DATA, WINDOW, a STATE that was asked for, ACK and SYNC-ACK that match."""
        self.assertEqual(self.cost([*[f.Data(b"x" * 100)] * 50, f.Data(b""), f.Window(5)]), 0)
        self.assertEqual(self.cost([state()], lambda end: end.read(sync(0))), 0)

        end = self.acceptor(min_interval=100.0, multiplier=2, max_detection=3600.0)
        end.run(START + 120.0)
        asks = [one for one in decoded(end.sent) if isinstance(one, f.Ping)]
        before = self.left(end)
        replies = end.read(f.Ack(asks[-1].seq, asks[-1].ts))
        self.assertEqual([type(one) for one in replies], [f.Sync])
        end.read(f.SyncAck(0, 0))
        self.assertEqual(self.left(end), before)
        end.read(f.SyncAck(0, 0), f.Ack(asks[-1].seq, asks[-1].ts))
        self.assertEqual(self.left(end), before - 2)


class StrikeTests(SessionTestCase):
    """What a session does about it."""

    def flood(self, end: End, count: int, size: int) -> None:
        """So many PINGs in reads of ``size`` bytes."""
        data = b"".join(ping(number & 0xFFFF) for number in range(count))
        for at in range(0, len(data), size):
            end.take(data[at : at + size])

    def test_the_second_strike(self) -> None:
        """BYE 9; every PING until then was answered, the last one included, whatever the reads were cut like."""
        frames = TOKENS + 1 + GIVEN_BACK
        for size in (8, 5, 64, 65_536):
            end = self.acceptor(min_interval=1.0)
            self.flood(end, frames - 1, size)
            self.assert_stays(end)
            self.flood(end, 500, size)
            self.assert_said(end, 9, "calm down")
            self.assertEqual((end.session.liveness.state.value, end.session.liveness.cause), ("dead", "ping_flood"))
            acks = [one for one in decoded(end.sent) if isinstance(one, f.Ack)]
            self.assertEqual(len(acks), frames)
            self.assertEqual(end.session.tally.pings_in, frames)

    def test_an_honest_peer_after_our_stall(self) -> None:
        """What it sent while we could not read comes at once, and is no flood."""
        end = self.acceptor({"want_ping_ms": 100})
        end.stall(100.0)
        self.flood(end, 1000, 65_536)
        self.assert_stays(end)

    def test_none_where_none_was_announced(self) -> None:
        """``min_rx_ms`` 0: no flood control."""
        for end in (self.acceptor(min_interval=0.0), self.bare(min_interval=0.0)):
            self.flood(end, 10_000, 65_536)
            self.assert_stays(end)

    def test_a_bare_peer_too(self) -> None:
        """Limited by our own configuration."""
        end = self.bare(min_interval=1.0)
        self.flood(end, 2000, 4000)
        self.assert_said(end, 9)

    def test_strays_are_a_flood_as_well(self) -> None:
        """Whoever sends ACKs that answer nothing, on the quick way or not."""
        for size in (8, 800):
            end = self.acceptor(min_interval=1.0)
            data = f.Ack(5, 5).encode() * 2000
            for at in range(0, len(data), size):
                end.take(data[at : at + size])
            self.assert_said(end, 9)

    def test_a_steady_peer_never(self) -> None:
        """An hour at the agreed pace, jittered and bunched by the network."""
        chance = random.Random(3)
        end = self.acceptor({"want_ping_ms": 100})
        now, due = START, START
        for number in range(36_000):
            due += 0.1 * chance.uniform(0.85, 1.15)
            now = max(now, due + (chance.random() * 20.0 if number % 500 == 0 else 0.0))
            end.to(now)
            end.take(ping(number & 0xFFFF))
        self.assert_stays(end)
