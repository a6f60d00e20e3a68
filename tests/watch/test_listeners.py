"""heartbeat.watch.listeners: several listeners where one is asked for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from heartbeat.interfaces import HeartbeatListener, IHeartbeatListener
from heartbeat.liveness.events import Event
from heartbeat.liveness.peer import Peer
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.registry import Registry
from tests.watch.crowd import Hands, Somebody


class Diary(HeartbeatListener):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def joined(self, peer: Peer) -> None:
        self.heard.append(f"joined {peer.id}")

    def changed(self, peer: Peer, event: Event) -> None:
        self.heard.append(type(event).__name__)

    def gone(self, peer: Peer, event: Event) -> None:
        self.heard.append(f"gone {peer.id}")

    def refused(self, peer: Peer, event: Event) -> None:
        self.heard.append(f"refused {peer.id}")


class Curious(Diary):
    """Wants each round trip."""

    def round_trip(self, peer: Peer, seconds: float) -> None:
        self.heard.append(f"{seconds}")


class Broken(HeartbeatListener):
    """Fails at everything."""

    def joined(self, peer: Peer) -> None:
        raise ZeroDivisionError

    def changed(self, peer: Peer, event: Event) -> None:
        raise ZeroDivisionError


class ListenersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.hands = Hands()

    def test_each_hears_all(self) -> None:
        """All listeners hear the same, in the order in which it happened."""
        diaries = Diary(), Diary()
        both = Listeners(*diaries)
        verifyObject(IHeartbeatListener, both)
        one = Somebody(self.hands, "a", both).join()
        one.die()
        Somebody(self.hands, "b", both).die("server_full")
        for diary in diaries:
            self.assertEqual(diary.heard, ["joined a", "Alive", "Dead", "gone a", "refused b"])

    def test_one_that_fails_harms_nobody(self) -> None:
        """What a listener raises is logged; the others hear as if nothing had been."""
        diary = Diary()
        Somebody(self.hands, "a", Listeners(Broken(), diary)).join()
        self.assertEqual(diary.heard, ["joined a", "Alive"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_round_trips_only_for_those_who_want_them(self) -> None:
        """Whoever looks for ``round_trip`` finds it only where somebody wants it, so beats cost nothing without."""
        self.assertFalse(hasattr(Listeners(Diary(), Registry(self.hands)), "round_trip"))
        curious, diary = Curious(), Diary()
        Listeners(diary, curious).round_trip(Somebody(self.hands, "a").peer, 0.25)
        self.assertEqual((curious.heard, diary.heard), (["0.25"], []))
