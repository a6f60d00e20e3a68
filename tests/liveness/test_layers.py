"""Split liveness: host, loop and work."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.causes import FAILURE_REASONS
from heartbeat.liveness.evidence import Evidence, TcpInfo
from heartbeat.liveness.layers import Layers, layers
from heartbeat.liveness.states import State

NOTHING = Layers("unknown", "unknown", "unknown")
#: What a death of this cause says of host, loop and work; all other causes say nothing.
PROVED = {
    "peer_stalled": ("alive", "dead", "unknown"),
    "peer_closed": ("alive", "dead", "unknown"),
    "peer_reset": ("alive", "dead", "unknown"),
    "peer_restarted": ("alive", "dead", "unknown"),
    "peer_stuck": ("alive", "alive", "dead"),
    "ping_flood": ("alive", "alive", "unknown"),
    "protocol_error": ("alive", "alive", "unknown"),
}


def window(size: int | None, unacked: int | None) -> Evidence:
    """What the kernel says of the peer's window."""
    return Evidence(1.0, tcp=TcpInfo(state=1, retransmits=0, probes=1, backoff=1, snd_wnd=size, unacked=unacked))


class LayersTests(SynchronousTestCase):
    """One function from state, cause and evidence."""

    def test_who_answers(self) -> None:
        """An answer proves host and loop; the work is known of those who count it."""
        self.assertEqual(layers(State.ALIVE), ("alive", "alive", "unknown"))
        self.assertEqual(layers(State.ALIVE, counts=True), ("alive", "alive", "alive"))

    def test_stuck(self) -> None:
        """The loop answers, so the host lives; the work stands still, whether the counter itself is known or not."""
        for counts in (False, True):
            self.assertEqual(layers(State.STUCK, counts=counts), ("alive", "alive", "dead"))

    def test_nobody_knows(self) -> None:
        """Of who is silent, has left or never came in, nothing is claimed."""
        for state in (State.CONNECTING, State.SUSPECT, State.LEFT, State.REFUSED):
            for counts in (False, True):
                self.assertEqual(layers(state, None, None, counts=counts), NOTHING, state)

    def test_each_cause(self) -> None:
        """What the cause of a death proves, and of no other cause anything."""
        for cause in sorted(FAILURE_REASONS):
            found = layers(State.DEAD, cause, Evidence(1.0), counts=True)
            self.assertEqual(found, PROVED.get(cause, NOTHING), cause)

    def test_a_path_that_is_dead(self) -> None:
        """It hides all three; so does our own end of it."""
        for cause in ("path_dead", "nat_expired", "local_egress", "local_link", "unattributed"):
            self.assertEqual(layers(State.DEAD, cause, window(1000, 1)), NOTHING, cause)

    def test_a_closed_window(self) -> None:
        """It is the peer's if its kernel acknowledged all that it was offered; else nothing is proved."""
        for evidence, proved in (
            (window(0, 0), True),
            (window(0, 1), False),
            (window(5, 0), False),
            (window(None, None), False),
            (Evidence(1.0), False),
            (None, False),
        ):
            found = layers(State.DEAD, "peer_not_reading", evidence)
            self.assertEqual(found, ("alive", "dead", "unknown") if proved else NOTHING, evidence)

    def test_as_json(self) -> None:
        """By name."""
        self.assertEqual(layers(State.STUCK).as_json(), {"host": "alive", "loop": "alive", "work": "dead"})
