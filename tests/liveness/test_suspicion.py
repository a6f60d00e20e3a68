"""What is remembered between half time and the end of a suspicion: above all, how long a drain may last."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.evidence import Evidence, TcpInfo
from heartbeat.liveness.suspicion import DRAIN_LOOKS, DRAIN_LOOKS_UNCOUNTED, Suspicion
from tests.liveness.loops import START, counted, uncounted

#: One step of a drain: so many bytes were read since the last look, so many came.
STEPS = st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 70_000)), max_size=300)


class DrainTests(SynchronousTestCase):
    """:meth:`Suspicion.undrained`: whether to look once more before the verdict."""

    def test_begins_without_anything(self) -> None:
        """No evidence of half time, no second chance given."""
        suspicion = Suspicion()
        self.assertIsNone(suspicion.half_time)
        self.assertFalse(suspicion.doubted)

    def test_nothing_unread_is_drained(self) -> None:
        """With a counter or without, and where the platform cannot say."""
        for evidence in (counted(START, 0, 800), uncounted(START, 0), Evidence(START)):
            self.assertFalse(Suspicion().undrained(evidence))

    def test_what_lay_there_at_the_first_look(self) -> None:
        """Waited for until it was read, and no longer: what came later does not count."""
        suspicion = Suspicion()
        self.assertTrue(suspicion.undrained(counted(START, 100, 1000)))
        self.assertTrue(suspicion.undrained(counted(START, 99, 1000)))
        self.assertTrue(suspicion.undrained(counted(START, 500, 1499)))  # 999 were read: one of them lies there still
        self.assertFalse(suspicion.undrained(counted(START, 500, 1500)))

    def test_an_unfinished_record(self) -> None:
        """Bytes of an unfinished TLS record are waited for as unread ones are, where nothing counts."""
        suspicion = Suspicion()
        pending = Evidence(START, tls_pending=20)
        for _ in range(DRAIN_LOOKS_UNCOUNTED):
            self.assertTrue(suspicion.undrained(pending))
        self.assertFalse(suspicion.undrained(pending))

    def test_a_kernel_that_does_not_count(self) -> None:
        """An old one has a TCP_INFO without ``bytes_received``: five looks."""
        old = TcpInfo(state=1, retransmits=0, probes=0, backoff=0)
        suspicion = Suspicion()
        looks = [suspicion.undrained(Evidence(START, unread=8, tcp=old)) for _ in range(10)]
        self.assertEqual(looks, [True] * DRAIN_LOOKS_UNCOUNTED + [False] * (10 - DRAIN_LOOKS_UNCOUNTED))

    @settings(deadline=None)
    @given(st.integers(1, 10_000_000), STEPS)
    def test_is_bounded_by_bytes_and_by_looks(self, unread: int, steps: list[tuple[int, int]]) -> None:
        """For any reading and any trickle: no look after the bytes of the deadline were read, or after a hundred."""
        suspicion = Suspicion()
        received = unread
        read = 0
        for looks, (took, came) in enumerate(steps, 1):
            going_on = suspicion.undrained(counted(START, received - read, received))
            self.assertEqual(going_on, read < unread and looks <= DRAIN_LOOKS and received > read)
            read = min(received, read + took)
            received += came

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=300))
    def test_without_a_counter(self, seen: list[tuple[int, int]]) -> None:
        """However little is left at each look, at most five of them find something and go on."""
        suspicion = Suspicion()
        found = [suspicion.undrained(Evidence(START, unread=unread, tls_pending=pending)) for unread, pending in seen]
        self.assertLessEqual(sum(found), DRAIN_LOOKS_UNCOUNTED)
        for going_on, (unread, pending) in zip(found, seen, strict=True):
            self.assertFalse(going_on and not unread and not pending)
