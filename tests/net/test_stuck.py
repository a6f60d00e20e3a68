"""A peer whose loop answers while its work stands still: a state of its own, end to end, and never a death."""

from __future__ import annotations

from heartbeat import Dead, State, Stuck
from heartbeat.net import Heartbeat
from heartbeat.testing import SilentDrop
from heartbeat.watch.failures import Failures
from heartbeat.watch.registry import Registry
from tests.net.cases import DETECT, INTERVAL, SimulatedCase

SYNC = 1.0
#: Work must stand still for a sync interval, and what is decided then travels with the next SYNC, behind a beat.
SEEN_BY = 2 * SYNC + 2 * INTERVAL
HOUR = 3600.0


class StuckCase(SimulatedCase):
    """A server, and one client that counts its work."""

    def setUp(self) -> None:
        """Both agree on one report a second."""
        super().setUp()
        self.listen(sync_interval=SYNC)
        self.service_of_client = self.connect(sync_interval=SYNC)
        self.net.run(SYNC)
        (self.peer,) = self.notes.peers

    @property
    def heartbeat(self) -> Heartbeat:
        """The client's handle."""
        assert self.service_of_client.heartbeat is not None
        return self.service_of_client.heartbeat

    def get_stuck(self) -> None:
        """Work waits, and does not move."""
        self.heartbeat.progress(7, 3)
        self.net.run_until(lambda: self.peer.state is State.STUCK, SEEN_BY)

    def kinds(self) -> list[str]:
        """The events that were told at the server, but for the reports, since the gate opened."""
        joined, opened, *kinds = [kind for kind, _ in self.notes.lines if kind != "Synced"]
        self.assertEqual((joined, opened), ("joined", "Alive"))
        return kinds


class StateTests(StuckCase):
    """The state, from end to end."""

    def test_in_time(self) -> None:
        """The server knows two sync intervals and a beat after the work last moved, and one after it is done."""
        self.get_stuck()
        self.heartbeat.progress(10, 0)
        self.net.run_until(lambda: self.peer.state is State.ALIVE, SYNC + 2 * INTERVAL)
        self.assertEqual(self.kinds(), ["Stuck", "Alive"])

    def test_nothing_waits(self) -> None:
        """Work that does not move because there is none is not stuck; neither is one that moves a little."""
        self.heartbeat.progress(7, 0)
        self.net.run(10 * SYNC)
        for done in range(8, 20):
            self.heartbeat.progress(done, 1000)
            self.net.run(0.9 * SYNC)
        self.assertEqual(self.kinds(), [])

    def test_the_application_that_hangs(self) -> None:
        """Who tells nothing any more, with work queued, is stuck; that is what the last word was about."""
        for done in range(5):
            self.heartbeat.progress(done, 10)
            self.net.run(0.5)
        self.net.run(SEEN_BY)
        self.assertIs(self.peer.state, State.STUCK)

    def test_layers(self) -> None:
        """Host and loop live, the work is dead; and this is what pages show."""
        self.assertEqual(self.peer.layers[:2], ("alive", "alive"))
        self.get_stuck()
        shown = self.peer.as_json()
        self.assertEqual(shown["state"], "stuck")
        self.assertEqual(shown["layers"], {"host": "alive", "loop": "alive", "work": "dead"})
        events = [event["event"] for event in self.peer.details()["events"]]
        self.assertEqual(sorted(events), ["heard", "opened", "stuck", "synced"])

    def test_no_death(self) -> None:
        """However long it stands still, it is connected, and nobody takes it for dead."""
        self.get_stuck()
        self.net.run(HOUR / 10)
        self.assertIs(self.peer.state, State.STUCK)
        self.assertEqual(self.notes.deaths(), [])

    def test_it_leaves(self) -> None:
        """Who is stuck may leave like anybody else."""
        self.get_stuck()
        self.service_of_client.stopService()
        self.net.run(2.0)
        self.assertIs(self.peer.state, State.LEFT)

    def test_it_comes_back_stuck(self) -> None:
        """A new connection of the same process says it with its first report."""
        self.get_stuck()
        self.heartbeat.abort()
        self.net.run_until(lambda: len(self.notes.peers) == 2, 30.0)
        second = self.notes.peers[1]
        self.net.run_until(lambda: second.state is State.STUCK, SYNC + 2 * INTERVAL)
        self.assertIs(second.state, State.STUCK)


class SuspectTests(StuckCase):
    """Stuck and silent."""

    def test_back_to_what_it_was(self) -> None:
        """A stuck peer that is silent until half time is suspect, and stuck again when it speaks: not alive between."""
        self.get_stuck()
        self.client.stall(0.9 * DETECT)
        self.net.run_until(lambda: self.peer.state is State.SUSPECT, DETECT)
        self.assertEqual(self.peer.layers, ("unknown", "unknown", "unknown"))
        self.net.run_until(lambda: self.peer.state is not State.SUSPECT, DETECT)
        self.assertIs(self.peer.state, State.STUCK)
        self.assertEqual(self.kinds(), ["Stuck", "Suspect", "Stuck"])

    def test_it_got_well_while_it_was_silent(self) -> None:
        """Suspect, back, and alive with the report that says that the work moves."""
        self.get_stuck()
        self.client.stall(0.9 * DETECT)
        self.net.run_until(lambda: self.peer.state is State.SUSPECT, DETECT)
        self.heartbeat.progress(9, 0)
        self.net.run(2 * SYNC + DETECT)
        self.assertIs(self.peer.state, State.ALIVE)
        self.assertEqual([kind for kind in self.kinds() if kind != "Stuck"], ["Suspect", "Alive"])

    def test_it_dies_of_something_else(self) -> None:
        """A stuck peer that falls silent for good is dead in time, and not because its work stood still."""
        self.get_stuck()
        self.path.add(SilentDrop())
        started = self.net.now
        self.net.run_until(lambda: self.peer.state is State.DEAD, DETECT + 0.2)
        self.assertLess(self.net.now - started, DETECT + 0.15)
        (death,) = [event for _, event in self.notes.of(Dead)]
        assert isinstance(death, Dead)
        self.assertNotEqual(death.cause, "peer_stuck")
        self.assertNotEqual(self.peer.layers.work, "dead")


class BoardTests(StuckCase):
    """What those who watch make of it."""

    def test_a_state_and_no_failure(self) -> None:
        """It is listed as stuck and counted as living; the board of failures stays empty."""
        registry, failures = Registry(self.net_clocks()), Failures(self.net_clocks())
        registry.joined(self.peer)
        self.get_stuck()
        for _, event in self.notes.of(Stuck):
            registry.changed(self.peer, event)
            failures.changed(self.peer, event)
        self.assertEqual((registry.counts()[State.STUCK], registry.living), (1, 1))
        self.assertEqual([peer.id for peer in registry.peers(State.STUCK)], ["client"])
        self.assertEqual((len(failures), failures.counts()), (0, {}))

    def net_clocks(self) -> Clocks:
        """Of the simulation."""
        return Clocks(self)


class Clocks:
    """The two clocks of those who watch."""

    def __init__(self, case: StuckCase) -> None:
        self._case = case

    def seconds(self) -> float:
        """Monotonic."""
        return self._case.net.now

    def wall(self) -> float:
        """Since the epoch."""
        return self._case.net.now
