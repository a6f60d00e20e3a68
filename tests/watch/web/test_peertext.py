"""heartbeat.watch.web.peertext: the same as ``as_json``, and faster."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.detectors import detector_for
from heartbeat.liveness.states import FINAL, State
from heartbeat.watch.stores.elsewhere import Elsewhere
from heartbeat.watch.stores.records import Fence, record_of
from heartbeat.watch.web.peertext import peer_text
from tests.watch.crowd import DETECT, INTERVAL, Hands, Somebody

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
REPORT = st.fixed_dictionaries(
    {
        "services": st.lists(TEXT, max_size=3).map(tuple),
        "meta": st.dictionaries(TEXT, TEXT, max_size=2),
        "load": st.floats(0.0, 1e6, width=32),
        "uptime": st.integers(0, 2**32 - 1),
        "cert_expires": st.none() | st.integers(-(10**6), 10**9),
        "progress": st.none() | st.integers(0, 9),
    }
)
PEER = st.fixed_dictionaries({"id": TEXT, "node": TEXT, "identity": st.none() | TEXT, "bare": st.booleans()})
DETECTORS = st.sampled_from(["fixed", "phi", "2w"])
HAPPENINGS = ("answer", "lose", "fall_silent", "speak", "stick", "die", "leave")


def told(peer: Any, hands: Hands) -> Any:
    """What the text says."""
    return json.loads(peer_text(peer, hands.seconds(), hands.wall()))


class PeerTextTests(SynchronousTestCase):
    """Each peer in each state."""

    @settings(deadline=None)
    @given(REPORT, PEER, st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.floats(0.0, 3.0)), max_size=6), DETECTORS)
    def test_any_peer(
        self, report: dict[str, Any], peer: dict[str, Any], happens: list[tuple[str, float]], detector: str
    ) -> None:
        """Every field, whatever it holds and whatever became of the peer, in the same order."""
        hands = Hands()
        one = Somebody(hands, peer["id"], bare=peer["bare"], node=peer["node"], **report)
        one.beats.liveness.detector = detector_for(detector, INTERVAL, DETECT)
        one.peer.identity = peer["identity"]
        self.compare(one)
        one.join()
        for what, seconds in happens:
            hands.now += seconds
            if what == "answer":
                one.answer(seconds / 100)
            elif what != "fall_silent" or one.peer.state is State.ALIVE:
                getattr(one, what)()
            self.compare(one)
            if one.peer.state in FINAL:
                break

    def compare(self, one: Somebody) -> None:
        """It is what ``as_json`` says."""
        expected = one.peer.as_json()
        found = told(one.peer, one.hands)
        self.assertEqual(found, expected)
        self.assertEqual(list(found), list(expected))

    def test_a_peer_of_another_server(self) -> None:
        """It has one field more."""
        hands = Hands()
        one = Somebody(hands, "a", node="n1", services=("x",)).join()
        one.answer(0.02)
        kept = Elsewhere(record_of(one.peer, Fence("s1", 1, "h", 1), None, 60.0, hands), hands, lambda holder: True)
        self.assertEqual(told(kept, hands), kept.as_json())
        self.assertIs(told(kept, hands)["stale"], True)
