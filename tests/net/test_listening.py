"""Telling applications: in order, once, and so that what they raise harms nobody."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from heartbeat import Alive, Dead, Event, HeartbeatListener, Left, Peer, RoundTrip, State, Suspect
from heartbeat.liveness.events import Refused
from heartbeat.net.listening import call, tell, wants_round_trips
from tests.net.cases import DETECT, INTERVAL, STEP, HandCase
from tests.net.hand import bye, hello, ping

#: The wheel's resolution, and a step of the loop.
LATE = 0.05
PEER: Any = object()


class TellTests(SynchronousTestCase):
    """Which method is told which event."""

    def told(self, event: Event, joined: bool = True) -> list[str]:
        """The names of the methods that were called."""
        names = []

        class Listener:
            def __getattr__(self, name: str) -> Any:
                return lambda *_: names.append(name)

        tell(Listener(), PEER, event, joined)
        return names

    def test_changes(self) -> None:
        """An event of a joined peer is a change; the last one is also its end."""
        self.assertEqual(self.told(Alive(1.0)), ["changed"])
        self.assertEqual(self.told(Suspect(1.0, 1.0)), ["changed"])
        self.assertEqual(self.told(Dead(1.0, "path_dead", 1.5)), ["changed", "gone"])
        self.assertEqual(self.told(Left(1.0, "leaving")), ["changed", "gone"])

    def test_before_the_gate(self) -> None:
        """A refusal is told as such; whoever never joined is never gone."""
        self.assertEqual(self.told(Refused(1.0, "server_full"), joined=False), ["refused"])
        self.assertEqual(self.told(Dead(1.0, "path_dead", 1.5), joined=False), [])

    def test_round_trips(self) -> None:
        """Only those that were answered; a lost one is no round trip."""
        self.assertEqual(self.told(RoundTrip(1.0, 3, 0.1)), ["round_trip"])
        self.assertEqual(self.told(RoundTrip(1.0, 3, None)), [])

    def test_optional_methods(self) -> None:
        """A listener need not have a method that it does not care for; one that is None is none."""
        for listener in (object(), HeartbeatListener()):
            tell(listener, PEER, RoundTrip(1.0, 3, 0.1), True)
            tell(listener, PEER, Refused(1.0, "server_full"), False)
            call(listener, "joined", PEER)
            self.assertFalse(wants_round_trips(listener))

        class Wants(HeartbeatListener):
            def round_trip(self, peer: Peer, seconds: float) -> None:
                pass

        self.assertTrue(wants_round_trips(Wants()))
        self.assertFalse(wants_round_trips(None))

    def test_what_ends_the_process_is_not_caught(self) -> None:
        """A KeyboardInterrupt in a listener is not for us."""

        class Interrupted:
            def joined(self, peer: Peer) -> None:
                raise KeyboardInterrupt

        self.assertRaises(KeyboardInterrupt, call, Interrupted(), "joined", PEER)


class ListenerTests(HandCase):
    """Applications that listen."""

    def test_a_listener_that_raises(self) -> None:
        """It is logged, and harms neither this connection nor any other."""

        class Broken:
            def __getattr__(self, name: str) -> Any:
                def broken(*_: object) -> None:
                    raise ZeroDivisionError(name)

                return broken

        self.factory.listener = Broken()
        transport = self.connect(hello("a"))
        other = self.connect(hello("b"))
        self.advance(2.0, transport, other)
        self.assertIs(transport.protocol.heartbeat.state, State.ALIVE)
        transport.say(bye())
        self.advance(2.0, other)
        self.assertIs(transport.protocol.heartbeat.state, State.LEFT)
        self.assertIs(other.protocol.heartbeat.state, State.ALIVE)
        self.assertGreater(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        self.factory.listener = None

    def test_a_listener_that_acts(self) -> None:
        """A listener may end the connection that it is told about, from within any of its methods."""
        factory = self.factory

        told: list[str] = []

        class Strict:
            def joined(self, peer: Peer) -> None:
                told.append(f"joined {peer.id}")
                factory.abort_all()

            def changed(self, peer: Peer, event: Event) -> None:
                told.append(f"{type(event).__name__} {peer.id}")
                factory.abort_all()

            def gone(self, peer: Peer, event: Event) -> None:
                told.append(f"gone {peer.id}")
                factory.abort_all()

        self.factory.listener = Strict()
        transport = self.connect(hello("a"))
        self.advance(STEP)
        self.assertTrue(transport.gone)
        self.assertEqual(told, ["joined a", "Alive a", "Left a", "gone a"])

    def test_round_trips_for_those_who_want_them(self) -> None:
        """A listener with a method for round trips is told each; one without costs nothing and is told none."""
        trips: list[tuple[str, float]] = []
        transport = self.connect(hello("a"))
        self.advance(2.0, transport)
        self.notes.round_trip = lambda peer, seconds: trips.append((peer.id, seconds))  # type: ignore[attr-defined]
        self.advance(2.0, transport)
        self.assertEqual(trips, [])
        other = self.connect(hello("b"))
        self.advance(2.0, other, transport)
        self.assertEqual({name for name, _ in trips}, {"b"})
        self.assertEqual(len(trips), other.protocol.driver.session.tally.acks_in)
        self.assertNotIn("RoundTrip", {kind for kind, _ in self.notes.lines})


class OrderTests(HandCase):
    """What is told, and in which order."""

    def test_a_life(self) -> None:
        """Joined, alive, suspect, alive again, left, gone."""
        transport = self.connect(hello("a"))
        self.advance((DETECT + INTERVAL) / 2 + LATE)
        transport.say(ping())
        transport.say(bye(0))
        kinds = [kind for kind, _ in self.notes.lines]
        self.assertEqual(kinds, ["joined", "Alive", "Suspect", "Alive", "Left", "gone"])
        events = [type(event) for _, _, event in self.notes.events]
        self.assertEqual(events[:3], [Alive, Suspect, Alive])
        self.assertNotIn(Dead, events)
