"""The terms (BFD, RFC 5880 §6.8.4; ``wire.md`` §4): worked out from the two HELLOs, each direction for itself."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.errors import PeerViolation
from heartbeat.session.terms import agree
from heartbeat.wire import frames as f
from tests.session.ends import End, SessionTestCase, decoded, hello


class AgreeTests(SessionTestCase):
    """:func:`agree`: one direction."""

    def test_table(self) -> None:
        """I = max(sender's want, receiver's min); D = sender's mult × I."""
        for want, mult, floor, interval, detect in (
            (500, 3, 100, 0.5, 1.5),
            (100, 3, 500, 0.5, 1.5),
            (500, 2, 500, 0.5, 1.0),
            (1, 2, 0, 0.001, 0.002),
            (1000, 255, 0, 1.0, 255.0),
            (1, 3, 3600, 3.6, 10.8),
        ):
            agreed = agree(want, mult, floor, 3_600_000.0)
            self.assertEqual((agreed.interval, agreed.detect), (interval, detect))

    def test_a_detection_time_over_the_limit(self) -> None:
        """BYE 4, and the reason says both numbers."""
        self.assertEqual(agree(1000, 3, 0, 3000.0).detect, 3.0)
        with self.assertRaises(PeerViolation) as caught:
            agree(1001, 3, 0, 3000.0)
        self.assertEqual(caught.exception.code, 4)
        self.assertIn("3003", caught.exception.reason)
        self.assertIn("3000", caught.exception.reason)

    @settings(deadline=None)
    @given(st.integers(1, 3_600_000), st.integers(2, 255), st.integers(0, 3_600_000))
    def test_never_faster_than_the_receiver_wants(self, want: int, mult: int, floor: int) -> None:
        """I is neither under the sender's wish nor under the receiver's floor, and D holds at least two of it."""
        try:
            agreed = agree(want, mult, floor, 3_600_000.0)
        except PeerViolation:
            self.assertGreater(mult * max(want, floor), 3_600_000)
            return
        self.assertGreaterEqual(agreed.interval * 1000.0, max(want, floor) - 1e-6)
        self.assertGreaterEqual(agreed.detect, 2 * agreed.interval - 1e-9)
        self.assertLessEqual(agreed.detect, 3600.0)


class BothEndsTests(SessionTestCase):
    """Two sessions, or one and a HELLO of a test."""

    def meet(self, connector: dict[str, Any], acceptor: dict[str, Any]) -> tuple[End, End]:
        """Two ends with these settings, behind their gates if they agree."""
        one = End(connector=True, **{"id": "c", **connector})
        other = End(nonce="99" * 16, **{"id": "a", **acceptor})
        one.session.start(one.now)
        back = other.take(one.out())
        if other.session.said is None:
            one.take(back)
        return one, other

    def test_each_direction_for_itself(self) -> None:
        """The connector beats as it wants, the acceptor as the connector's floor lets it; each judges the other."""
        one, other = self.meet(
            {"interval": 0.2, "multiplier": 4, "min_interval": 1.0},
            {"interval": 0.3, "multiplier": 5, "min_interval": 0.5},
        )
        judged_by_other, judged_by_one = other.session.liveness.terms, one.session.liveness.terms
        self.assertEqual((judged_by_other.interval, judged_by_other.detect), (0.5, 2.0))
        self.assertEqual((judged_by_one.interval, judged_by_one.detect), (1.0, 5.0))
        self.assertEqual((one.session.beats.interval, other.session.beats.interval), (0.5, 1.0))

    def test_the_answer_tells_them(self) -> None:
        """``agreed`` holds I and D of the connector's direction, by which the acceptor judges."""
        end = End(min_interval=0.7)
        (answer,) = end.read(hello(want_ping_ms=200, mult=4))
        assert isinstance(answer, f.Hello)
        self.assertEqual(json.loads(answer.body)["agreed"], {"ping_ms": 700, "detect_ms": 2800})

    def test_an_acceptor_refuses(self) -> None:
        """A D over its own maximum, in either direction: BYE 4."""
        for members in ({"want_ping_ms": 10_001}, {"min_rx_ms": 10_001}, {"mult": 61}):
            end = End(max_detection=30.0)
            end.read(hello(**{"want_ping_ms": 500, **members}))
            self.assert_said(end, 4)
            self.assertEqual(
                (end.session.liveness.state.value, end.session.liveness.cause), ("refused", "terms_refused")
            )

    def test_a_connector_refuses(self) -> None:
        """It works both directions out itself."""
        for members in ({"want_ping_ms": 10_001}, {"min_rx_ms": 10_001}):
            end = End(connector=True, max_detection=30.0)
            end.session.start(end.now)
            end.read(hello(**{"want_ping_ms": 500, **members}))
            self.assert_said(end, 4)

    def test_an_hour_is_the_most(self) -> None:
        """Whatever an end's own maximum is, it is at most 3,600,000 ms."""
        end = End(max_detection=3600.0)
        end.read(hello(want_ping_ms=14_118, mult=255))
        self.assert_said(end, 4)
        end = End(max_detection=3600.0)
        end.read(hello(want_ping_ms=14_117, mult=255))
        self.assert_stays(end)

    def test_a_bare_peer_has_ours(self) -> None:
        """The acceptor's own configuration stands in for its HELLO, in both directions."""
        end = self.bare(interval=0.4, multiplier=5, min_interval=0.6)
        agreed = end.session.liveness.terms
        self.assertEqual((agreed.interval, agreed.detect), (0.6, 3.0))
        self.assertEqual(end.session.beats.interval, 0.6)

    def test_the_sync_interval_is_the_larger(self) -> None:
        """Of the two ends' ``sync_ms``."""
        for ours, theirs, agreed in ((5.0, 2000, 5.0), (2.0, 5000, 5.0)):
            self.assertEqual(self.acceptor({"sync_ms": theirs}, sync_interval=ours).session.syncs.interval, agreed)
        self.assertEqual(self.bare(sync_interval=7.0).session.syncs.interval, 7.0)

    def test_our_pace_keeps_the_peers_floor(self) -> None:
        """We never ping faster than it announced, with all the losses of the world."""
        end = self.acceptor({"min_rx_ms": 2000})
        for number in range(60):
            end.to(end.now + 2.0)
            end.serve()
            if number % 3 == 2:
                end.read(ping_answer(end))
            end.read(f.Ping(number, 0))
        self.assertGreater(end.session.beats.loss(end.now), 0.3)
        self.assertEqual(end.session.beats.interval, 2.0)

    @settings(deadline=None)
    @given(
        st.tuples(st.integers(1, 5000), st.integers(2, 60), st.integers(0, 5000)),
        st.tuples(st.integers(1, 5000), st.integers(2, 60), st.integers(0, 5000)),
    )
    def test_both_ends_work_out_the_same(self, one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
        """What one end is judged by is what it paces by; both refuse, or none does."""
        wants = [
            {"interval": ms / 1000.0, "multiplier": mult, "min_interval": floor / 1000.0, "max_detection": 300.0}
            for ms, mult, floor in (one, other)
        ]
        connector, acceptor = self.meet(*wants)
        times = [max(one[0], other[2]), max(other[0], one[2])]
        if one[1] * times[0] > 300_000 or other[1] * times[1] > 300_000:
            self.assertEqual(acceptor.session.said and acceptor.session.said.code, 4)
            return
        for judge, paced, ms, mult in (
            (acceptor, connector, times[0], one[1]),
            (connector, acceptor, times[1], other[1]),
        ):
            self.assertEqual(judge.session.liveness.terms.interval, ms / 1000.0)
            self.assertAlmostEqual(judge.session.liveness.terms.detect, mult * ms / 1000.0)
            self.assertAlmostEqual(paced.session.beats.interval, ms / 1000.0)


def ping_answer(end: End) -> f.Ack:
    """The ACK of the newest PING that an end has sent."""
    pings = [frame for frame in decoded(end.sent) if isinstance(frame, f.Ping)]
    return f.Ack(pings[-1].seq, pings[-1].ts)
