"""What the flight recorder of a real connection tells when it has ended."""

from __future__ import annotations

from heartbeat import State
from heartbeat.testing import SilentDrop
from tests.net.cases import DETECT, HandCase, SimulatedCase
from tests.net.hand import hello, ping


class SilenceTests(SimulatedCase):
    """A client behind a path that swallows everything."""

    def test_from_the_gate_to_the_verdict(self) -> None:
        """Opened, heard, suspect, asked once more, looked at twice, dead, and the questions that nobody answered."""
        self.listen()
        self.connect()
        self.net.run(5.3)
        (peer,) = self.notes.peers
        self.assertEqual([event["event"] for event in peer.details()["events"]][:2], ["opened", "heard"])
        self.path.add(SilentDrop())
        self.net.run(DETECT + 0.2)
        self.assertIs(peer.state, State.DEAD)
        told = peer.details()["events"]
        names = [event["event"] for event in told]
        self.assertEqual([names[0], names[-1]], ["opened", "dead"])
        self.assertEqual(
            [name for name in names if name != "asked"],
            ["opened", "heard", "suspect", "confirm", "looked", "looked", "dead"],
        )
        self.assertGreaterEqual(names.count("asked"), 2)
        times = [event["at"] for event in told]
        self.assertEqual(times, sorted(times))
        silent = next(event["value"] for event in told if event["event"] == "suspect")
        self.assertAlmostEqual(silent, 1.0, 1)
        self.assertLess(abs(times[-1] - times[1] - told[-1]["value"]), 0.01)
        self.assertLess(times[-1] - (times[1] + DETECT), 0.15)

    def test_a_stall_of_ours(self) -> None:
        """The record of a peer that was spared says whose fault the silence was."""
        self.listen(multiplier=20)  # the client waits for us
        self.connect()
        self.net.run(2.0)
        (peer,) = self.notes.peers
        self.server.stall(3.0)
        self.net.run(6.0)
        self.assertIs(peer.state, State.ALIVE)
        events = {event["event"]: event["value"] for event in peer.details()["events"]}
        self.assertGreater(events["spared:local_stall"], 1.0)
        self.assertEqual(self.notes.deaths(), [])


class GateTests(HandCase):
    """Played by hand."""

    def test_a_peer_that_is_well_has_none(self) -> None:
        """Beats, reports and a goodbye allocate no recorder."""
        transport = self.connect(hello("a"))
        self.advance(10.0, transport)
        self.assertIsNone(transport.protocol.driver.session.liveness.recorder)
        (peer,) = self.notes.peers
        self.assertEqual([event["event"] for event in peer.details()["events"]], ["opened", "heard"])

    def test_who_is_refused(self) -> None:
        """The record begins with the transport and ends with the refusal."""
        transport = self.connect()
        self.advance(11.0)
        peer = transport.protocol.driver.session.peer
        self.assertIs(peer.state, State.REFUSED)
        self.assertEqual([event["event"] for event in peer.details()["events"]], ["connected", "heard", "refused"])

    def test_an_end_without_a_word(self) -> None:
        """A peer that was well until its transport ended."""
        transport = self.connect(ping())
        self.advance(1.0, transport)
        transport.lose()
        (peer,) = self.notes.peers
        self.assertIs(peer.state, State.DEAD)
        names = [event["event"] for event in peer.details()["events"]]
        self.assertEqual([name for name in names if name != "asked"], ["opened", "heard", "dead"])
