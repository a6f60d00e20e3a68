"""A day of one peer and an hour of a thousand in virtual time: what happened is asserted, the time is printed."""

from __future__ import annotations

import heapq
import random
import time
from heapq import heappop, heappush
from typing import Any

from heartbeat.liveness.attention import Attention
from heartbeat.liveness.states import State
from heartbeat.wire import frames as f
from tests.session.ends import START, End, SessionTestCase, hello

PING, ACK = f.PING, f.ACK
RTT = 0.02


class Light:
    """A peer of the simplest kind: beats at its time, and turns PINGs into ACKs. What else it is told, it counts."""

    def __init__(self, chance: random.Random, interval: float) -> None:
        self.chance = chance
        self.interval = interval
        self.seq = 0
        self.acks = 0
        self.syncs = 0

    def beat(self) -> bytes:
        """Its next PING."""
        self.seq = (self.seq + 1) & 0xFFFF
        return f.Ping(self.seq, 7).encode()

    def pause(self) -> float:
        """Seconds until the one after that."""
        return self.interval * self.chance.uniform(0.85, 1.15)

    def hear(self, data: bytes) -> bytes:
        """What it answers."""
        answer = b""
        at = 0
        while at < len(data):
            magic, four = data[at : at + 4], data[at + 4 : at + 8]
            if magic == PING:
                answer += ACK + four
            elif magic == ACK:
                self.acks += 1
            elif magic == f.SYNC:
                self.syncs += 1
                answer += f.SYNC_ACK + four[:2] + b"\0\0"
            at += 32 if magic == f.SYNC else 8
        return answer


def simulated(count: int, seconds: float, **settings: Any) -> list[tuple[End, Light]]:
    """So many peers, each with a session of ours, for so long. Everything happens in its own time."""
    attention = Attention(START)
    chance = random.Random(11)
    pairs: list[tuple[End, Light]] = []
    coming: list[tuple[float, int, bytes]] = []  # when a peer's bytes reach us; b"" is its next beat
    for number in range(count):
        end = End(attention=attention, draw=chance.random, id=f"peer-{number}", **settings)
        end.take(hello(want_ping_ms=round(end.config.interval * 1000), sync_ms=60_000))
        pairs.append((end, Light(chance, end.config.interval)))
        coming.append((START + chance.random() * end.config.interval, number, b""))
    heapq.heapify(coming)
    due = [(end.session.next_timer() or 0.0, number) for number, (end, _) in enumerate(pairs)]
    heapq.heapify(due)
    last = START + seconds
    while True:
        now = min(due[0][0], coming[0][0])
        if now > last:
            return pairs
        attention.expect(now)
        attention.looked(now)
        if due[0][0] <= now:
            number = due[0][1]
            session = pairs[number][0].session
            session.handle_timer(now)
            heapq.heapreplace(due, (session.next_timer() or float("inf"), number))
        else:
            _, number, data = heappop(coming)
            session, light = pairs[number][0].session, pairs[number][1]
            if not data:
                data = light.beat()
                heappush(coming, (now + light.pause(), number, b""))
            session.receive_data(data, now)
        sent = session.data_to_send()
        if sent:
            session.beats.handed_over(now)
            answer = pairs[number][1].hear(sent)
            if answer:
                heappush(coming, (now + RTT, number, answer))


class SpeedTests(SessionTestCase):
    """Under 10 s and under 30 s on two slow cores: about what they take is printed."""

    def lived(self, pairs: list[tuple[End, Light]], beats: int) -> None:
        """Every peer beat and answered all the time and nobody was ever suspect."""
        for end, light in pairs:
            tally, session = end.session.tally, end.session
            self.assertIs(session.beats.state, State.ALIVE)
            self.assertEqual([type(event).__name__ for event in (*end.log, *session.beats.events())], ["Alive"])
            self.assertLess(abs(tally.pings_in - beats), beats * 0.02 + 3)
            self.assertLess(abs(tally.pings_out - beats), beats * 0.02 + 3)
            self.assertEqual(light.acks, tally.pings_in)
            self.assertLessEqual(tally.pings_out - tally.acks_in, 1)
            self.assertEqual((tally.lost, tally.strays, tally.late), (0, 0, 0))
            self.assertAlmostEqual(session.beats.rtt.smoothed or 0.0, RTT, places=3)
            self.assertIsNone(session.said)
            self.assertGreater(light.syncs, 0)

    def test_a_day_of_one_peer(self) -> None:
        """172,800 beats each way at half a second."""
        begun = time.monotonic()
        pairs = simulated(1, 86_400.0, interval=0.5)
        print(f"a peer's day at 0.5 s: {time.monotonic() - begun:.1f} s")
        self.lived(pairs, 172_800)

    def test_an_hour_of_a_thousand_peers(self) -> None:
        """120 beats each way of every one of them, at 30 s."""
        begun = time.monotonic()
        pairs = simulated(1000, 3600.0, interval=30.0)
        print(f"1,000 peers for an hour at 30 s: {time.monotonic() - begun:.1f} s")
        self.lived(pairs, 120)
