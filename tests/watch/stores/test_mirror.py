"""What others hold, as a server mirrors it; and a view of one peer of theirs."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.events import Dead, Event, Left, Stuck, Suspect
from heartbeat.liveness.peer import Peer
from heartbeat.liveness.states import State
from heartbeat.watch.registry import Registry
from heartbeat.watch.stores.elsewhere import Elsewhere
from heartbeat.watch.stores.ledgerkeeper import LedgerKeeper
from heartbeat.watch.stores.mirror import Mirror
from heartbeat.watch.stores.records import Fence, record_of
from tests.watch.crowd import Hands, Somebody
from tests.watch.stores.contract import record


class Lines(HeartbeatListener):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def joined(self, peer: Peer) -> None:
        self.lines.append(f"{peer.id} joined {peer.node}")

    def changed(self, peer: Peer, event: Event) -> None:
        self.lines.append(f"{peer.id} {type(event).__name__}")

    def gone(self, peer: Peer, event: Event) -> None:
        self.lines.append(f"{peer.id} gone")

    def taken(self) -> list[str]:
        """What is new."""
        lines, self.lines = self.lines, []
        return lines


class MirrorTests(SynchronousTestCase):
    """A mirror of our own, whose holder is ``me``."""

    def setUp(self) -> None:
        """It is empty, and we hold nobody."""
        self.hands = Hands()
        self.lines = Lines()
        self.ours: dict[str, tuple[str, int]] = {}
        self.mirror = Mirror("me", self.hands, self.lines, self.ours.get)
        self.old: set[str] = set()
        self.mirror.stale = self.old.__contains__

    def test_a_life(self) -> None:
        """A peer joins, changes and ends for those who list peers, as it did for the server that holds it."""
        self.mirror.take(record())
        self.assertEqual(self.lines.taken(), ["a joined n1", "a Alive"])
        self.mirror.take(record(version=2, load=0.5))
        self.assertEqual(self.lines.taken(), [])
        states = (State.SUSPECT, State.STUCK, State.ALIVE, State.DEAD)
        for number, state in enumerate(states):
            self.mirror.take(record(version=3 + number, state=state))
        self.assertEqual(self.lines.taken(), ["a Suspect", "a Stuck", "a Alive", "a Dead", "a gone"])
        self.mirror.take(record(version=9, state=State.DEAD))
        self.assertEqual(self.lines.taken(), ["a joined n1", "a Dead", "a gone"])

    def test_another_connection(self) -> None:
        """A peer that has moved to another server joins there; a session that ended and goes on joins anew."""
        self.mirror.take(record())
        self.lines.taken()
        self.mirror.take(record(epoch=2, holder="k", node="n2"))
        self.assertEqual(self.lines.taken(), ["a joined n2", "a Alive"])
        self.assertEqual((list(self.mirror.holders()), [one.id for one in self.mirror.held_by("k")]), (["k"], ["a"]))
        self.mirror.take(record(epoch=2, holder="k", node="n2", version=2, state=State.LEFT))
        self.mirror.take(record(epoch=3, holder="k", node="n2"))
        self.assertEqual(self.lines.taken(), ["a Left", "a gone", "a joined n2", "a Alive"])

    def test_ours(self) -> None:
        """What we wrote is not mirrored; what is older than our own connection is not told, what is newer is."""
        self.mirror.take(record(holder="me"))
        self.assertEqual((len(self.mirror), self.lines.taken()), (0, []))
        self.ours["a"] = ("01", 3)
        self.mirror.take(record(epoch=2))
        self.assertEqual(self.lines.taken(), [])
        self.mirror.take(record(epoch=4, holder="k"))
        self.assertEqual(self.lines.taken(), ["a joined n1", "a Alive"])
        self.assertTrue(self.mirror.moved("a", "01", 3))
        self.assertFalse(self.mirror.moved("a", "01", 4))
        self.assertFalse(self.mirror.moved("a", "00", 3), "another session is another story")
        self.mirror.drop("a")
        self.assertEqual((len(self.mirror), list(self.mirror.holders())), (0, []))

    def test_recall(self) -> None:
        """A session is recalled by its id and its peer: the epoch, the account, and which STATE is held."""
        told = {"services": ["x", "y"], "meta": {"k": "v"}, "svc_hash": "ab" * 16, "load": 0.5, "uptime_s": 7}
        self.mirror.take(record(epoch=5, **told))
        nobody: Any = None
        keeper = LedgerKeeper(nobody, nobody, nobody, holdings=nobody, mirror=self.mirror, sealed=True)
        known = keeper.recall("01", "a")
        assert known is not None
        self.assertEqual((known.epoch, known.svc_hash, known.held), (5, b"\xab" * 16, b"\x00\xff"))
        self.assertEqual((known.report.services, dict(known.report.meta)), (("x", "y"), {"k": "v"}))
        self.assertEqual((known.report.load, known.report.uptime), (0.5, 7))
        self.assertIsNone(keeper.recall("02", "a"))
        self.assertIsNone(keeper.recall("01", "b"))
        self.assertEqual((keeper.newest("a"), keeper.newest("b")), ("01", ""))

    def test_forgetting(self) -> None:
        """Those that ended are forgotten when they have lasted long enough since their end; the living are not."""
        since = self.hands.wall() - 50.0
        self.mirror.take(record("dead", state=State.DEAD, lasts=60.0, since=since))
        self.mirror.take(record("alive", lasts=60.0))
        self.mirror.forget()
        self.assertEqual(len(self.mirror), 2)
        self.hands.now += 10.5
        self.mirror.forget()
        self.assertEqual([one.id for one in self.mirror.records()], ["alive"])

    def test_many_in_a_registry(self) -> None:
        """A registry lists, counts and finds them like its own."""
        registry = Registry(self.hands)
        mirror = Mirror("me", self.hands, registry, self.ours.get)
        for number in range(50):
            state = State.DEAD if number % 10 == 0 else State.ALIVE
            mirror.take(record(f"p{number:02d}", node=f"n{number % 2}", state=state, services=[f"s{number}"]))
        self.assertEqual((registry.counts()[State.ALIVE], registry.counts()[State.DEAD]), (45, 5))
        self.assertEqual([peer.id for peer in registry.peers(State.DEAD)], ["p00", "p10", "p20", "p30", "p40"])
        self.assertEqual([peer.id for peer in registry.peers(q="s17")], ["p17"])
        self.assertEqual(len(registry.peers(reason="path_dead")), 5)


class ElsewhereTests(SynchronousTestCase):
    """A peer that another server holds."""

    def setUp(self) -> None:
        """Of a real peer."""
        self.hands = Hands()
        self.somebody = Somebody(self.hands, "a", node="n1", services=("x",), meta={"k": "v"}, load=0.5, uptime=9)
        self.somebody.join()
        self.somebody.answer(0.02)
        self.peer = self.somebody.peer
        self.peer.session = "s1"
        self.here = Hands()
        self.here.now = 5000.0  # this server has been running for longer
        self.old = False

    def view(self) -> Elsewhere:
        """Of what is written of the peer now."""
        made = record_of(self.peer, Fence("s1", 1, "h", 1), None, 60.0, self.hands)
        return Elsewhere(made, self.clocks(), lambda holder: self.old)

    def clocks(self) -> Any:
        """Ours: the same time of day on another monotonic clock."""
        here, there = self.here, self.hands

        class Clocks:
            def seconds(self) -> float:
                return here.now

            def wall(self) -> float:
                return there.wall()

        return Clocks()

    def test_shown_as_there(self) -> None:
        """It is shown as where it is held, with its age as of now, and a mark whether that may be old news."""
        self.hands.now += 0.5
        view = self.view()
        told = view.as_json()
        self.assertEqual(told, {**self.peer.as_json(), "stale": False})
        self.hands.now += 2.0
        self.here.now += 2.0
        self.old = True
        later = view.as_json()
        self.assertEqual((later["last_heard_ms"], later["stale"]), (told["last_heard_ms"] + 2000, True))

    def test_read_as_there(self) -> None:
        """Whatever is read of a peer can be read of this one, with times on our own clock."""
        view = self.view()
        for name in ("id", "node", "session", "address", "transport", "identity", "state", "cause", "services", "bare"):
            self.assertEqual(getattr(view, name), getattr(self.peer, name), name)
        for name in ("load", "uptime", "meta", "interval", "detect", "phi", "layers", "svc_hash"):
            self.assertEqual(getattr(view, name), getattr(self.peer, name), name)
        self.assertAlmostEqual(view.rtt.last, self.peer.rtt.last, 4)
        self.assertAlmostEqual(view.loss, self.peer.loss, 4)
        self.assertAlmostEqual(self.here.now - view.heard_at, self.hands.now - self.peer.heard_at, 2)
        self.assertAlmostEqual(self.here.now - view.since, self.hands.now - self.peer.since, 2)
        self.assertEqual(view.tally.pings_in, 0)
        details = view.details()
        self.assertEqual([one["event"] for one in details["events"]], ["opened", "heard"])
        self.assertEqual(details["kernel"], {})

    def test_ends(self) -> None:
        """So is its end."""
        self.somebody.die("peer_reset")
        view = self.view()
        self.assertEqual((view.state, view.cause), (State.DEAD, "peer_reset"))
        self.assertEqual([one["event"] for one in view.details()["events"]][-1], "dead")

    def test_events(self) -> None:
        """What happened to it is told with the values that listeners know."""
        heard: list[Event] = []
        listener = Lines()
        listener.changed = lambda peer, event: heard.append(event)  # type: ignore[method-assign]
        mirror = Mirror("me", self.clocks(), listener, lambda id: None)
        self.somebody.fall_silent()
        for number, act in enumerate((lambda: None, self.somebody.speak, self.somebody.stick)):
            act()
            mirror.take(record_of(self.peer, Fence("s1", 1, "h", number), None, 60.0, self.hands))
        self.somebody.die("path_dead")
        mirror.take(record_of(self.peer, Fence("s1", 1, "h", 9), None, 60.0, self.hands))
        kinds = [type(event) for event in heard]
        self.assertEqual((kinds[0], kinds[-2], kinds[-1]), (Suspect, Stuck, Dead))
        last: Any = heard[-1]
        self.assertEqual(last.cause, "path_dead")
        other = Somebody(self.hands, "b").join()
        other.leave()
        mirror.take(record_of(other.peer, Fence("s2", 1, "h", 1), None, 60.0, self.hands))
        self.assertIsInstance(heard[-1], Left)
