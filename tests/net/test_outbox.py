"""What waits while a link is busy."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.net.outbox import CLOGGED, Outbox


class OutboxTests(SynchronousTestCase):
    """Exact to the byte, in order, and loud when it is too much."""

    def test_order(self) -> None:
        """What was held leaves in the order in which it came, once."""
        outbox = Outbox(8)
        for data in (b"one", b"two", b"three"):
            outbox.hold(data)
        self.assertEqual(outbox.take(), b"onetwothree")
        outbox.hold(b"four")
        self.assertEqual(outbox.take(), b"four")
        self.assertEqual(outbox.take(), b"")

    def test_what_is_unsent(self) -> None:
        """The bytes that the link holds, and those held here; what was taken is the link's."""
        outbox = Outbox(100)
        outbox.hold(b"x" * 20)
        self.assertEqual(outbox.unsent, 120)
        outbox.take()
        self.assertEqual(outbox.unsent, 20)
        outbox.take()
        self.assertEqual(outbox.unsent, 0)

    def test_the_limit(self) -> None:
        """64 KiB unsent is too much (wire.md §2), one byte less is not; it is said once."""
        outbox = Outbox(8)
        self.assertFalse(outbox.hold(b"x" * (64 * 1024 - 9)))
        self.assertFalse(outbox.clogged)
        self.assertTrue(outbox.hold(b"x"))
        self.assertTrue(outbox.clogged)
        self.assertFalse(outbox.hold(b"x"))

    def test_too_much_at_once(self) -> None:
        """A link that took 64 KiB and does not get rid of them is clogged from the beginning."""
        self.assertTrue(Outbox(64 * 1024).clogged)
        self.assertFalse(Outbox(64 * 1024).hold(b"x"))
        self.assertFalse(Outbox(64 * 1024 - 1).clogged)

    @settings(deadline=None)
    @given(st.integers(0, 2 * CLOGGED), st.lists(st.none() | st.integers(1, CLOGGED), max_size=30))
    def test_nothing_is_lost(self, given: int, steps: list[int | None]) -> None:
        """Whatever is held and taken: no byte is lost, moved or sent twice; clogged is said exactly once, at 64 KiB."""
        outbox = Outbox(given)
        held, taken, said, unsent = b"", b"", 0, given
        for number, size in enumerate(steps):
            if size is None:
                data = outbox.take()
                taken += data
                unsent = len(data)
            else:
                data = bytes((number,)) * size
                held += data
                unsent += size
                before = outbox.clogged
                now = outbox.hold(data)
                self.assertEqual(now, not before and unsent >= CLOGGED)
                said += now
            self.assertEqual(outbox.unsent, unsent)
        self.assertEqual(taken + outbox.take(), held)
        self.assertLessEqual(said + (given >= CLOGGED), 1)
