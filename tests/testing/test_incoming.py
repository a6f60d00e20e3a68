"""The receiving half: in order, once, and no more than fits."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.testing.incoming import Incoming
from heartbeat.testing.segments import Segment

HERE, THERE = ("10.0.0.1", 1), ("10.0.0.2", 2)


def segment(seq: int, data: bytes = b"", *, fin: bool = False) -> Segment:
    """One from there to here."""
    return Segment(THERE, HERE, seq, 1, 0, data=data, fin=fin)


class IncomingTests(SynchronousTestCase):
    """Delivery."""

    def setUp(self) -> None:
        """A half that has seen a SYN."""
        self.incoming = Incoming(8)
        self.incoming.next = 1

    def test_in_order(self) -> None:
        """What comes in order can be read at once, and says when it came."""
        self.assertTrue(self.incoming.take(segment(1, b"ab"), 5.0))
        self.assertEqual((self.incoming.next, self.incoming.window, self.incoming.arrived_at), (3, 6, 5.0))
        self.assertEqual(self.incoming.read(1), b"a")
        self.assertEqual(self.incoming.read(9), b"b")
        self.assertEqual(self.incoming.bytes_received, 2)

    def test_overtaken(self) -> None:
        """What came too early waits for what is missing; a copy adds nothing."""
        self.assertFalse(self.incoming.take(segment(3, b"cd"), 1.0))
        self.assertIsNone(self.incoming.arrived_at)
        self.assertTrue(self.incoming.take(segment(1, b"ab"), 2.0))
        self.assertFalse(self.incoming.take(segment(1, b"ab"), 3.0))
        self.assertEqual(self.incoming.read(9), b"abcd")
        self.assertEqual(self.incoming.arrived_at, 2.0)

    def test_no_more_than_fits(self) -> None:
        """What is beyond the window is not taken and will be sent again."""
        self.incoming.take(segment(1, b"123456789"), 1.0)
        self.assertEqual((self.incoming.next, self.incoming.window), (9, 0))
        self.assertFalse(self.incoming.take(segment(20, b"far"), 1.0))
        self.incoming.read(8)
        self.assertTrue(self.incoming.take(segment(9, b"9"), 2.0))

    def test_the_end(self) -> None:
        """A FIN counts once everything before it came, also when it came first."""
        self.assertFalse(self.incoming.take(segment(3, fin=True), 1.0))
        self.assertFalse(self.incoming.ended)
        self.assertTrue(self.incoming.take(segment(1, b"ab"), 2.0))
        self.assertTrue(self.incoming.ended)
        self.assertEqual(self.incoming.next, 4)
        self.assertFalse(self.incoming.take(segment(3, fin=True), 3.0))

    @given(st.binary(min_size=1, max_size=60), st.data())
    @settings(deadline=None, max_examples=60)
    def test_any_order_gives_the_same_bytes(self, payload: bytes, data: st.DataObject) -> None:
        """Cut anywhere, in any order, with copies: what is read is what was sent."""
        cuts = sorted(data.draw(st.sets(st.integers(1, len(payload)), max_size=8)) | {0, len(payload)})
        pieces = [segment(1 + a, payload[a:b]) for a, b in itertools.pairwise(cuts)]
        order = data.draw(st.permutations(pieces + data.draw(st.lists(st.sampled_from(pieces), max_size=4))))
        incoming = Incoming()
        incoming.next = 1
        for one in order:
            incoming.take(one, 1.0)
        self.assertEqual(incoming.read(1000), payload)
