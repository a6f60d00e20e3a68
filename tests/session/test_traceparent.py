"""The trace context of a connection: in HELLO both ways, and in STATE (``wire.md`` §3, §4)."""

from __future__ import annotations

import json
from typing import Any

from heartbeat.wire import frames as f
from tests.session.ends import OTHER_NONCE, End, SessionTestCase, decoded, hello
from tests.session.pairs import KEY, Pair, PairTestCase

THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OURS = "00-0af7651916cd43dd8448eb211c80319c-00000000000000a1-01"


def members(frame: Any) -> dict[str, Any]:
    """The JSON of a frame."""
    found: dict[str, Any] = json.loads(frame.body)
    return found


class HelloTests(SessionTestCase):
    """HELLO."""

    def test_a_connector_names_its_trace(self) -> None:
        """What its peer's view has when it says HELLO; without one the member is not there."""
        for traceparent in (OURS, None):
            end = End(connector=True)
            end.session.peer.traceparent = traceparent
            end.session.start(end.now)
            (said,) = decoded(end.session.data_to_send())
            self.assertEqual(members(said).get("traceparent"), traceparent)
            self.assertEqual("traceparent" in members(said), traceparent is not None)

    def test_an_acceptor_continues_it(self) -> None:
        """It is there before the answer is made, and whoever traces may put its own in its place."""
        end = End()
        end.session.receive_data(hello(traceparent=THEIRS), end.now)
        peer = end.session.peer
        self.assertEqual((peer.traceparent, peer.trace_id), (THEIRS, THEIRS[3:35]))
        peer.traceparent = OURS
        end.session.admit(end.now, "s-1")
        self.assertEqual(members(decoded(end.session.data_to_send())[0])["traceparent"], OURS)

    def test_a_connector_without_one_takes_the_answer(self) -> None:
        """And one that has its own keeps it."""
        for before, after in ((None, THEIRS), (OURS, OURS)):
            end = End(connector=True)
            end.session.peer.traceparent = before
            end.session.start(end.now)
            end.read(hello(traceparent=THEIRS, session="s-1"))
            self.assertEqual(end.session.peer.traceparent, after)

    def test_one_that_is_none(self) -> None:
        """It is ignored, and nothing is made up."""
        end = End()
        end.take(hello(traceparent="00-0-0-00"))
        self.assertIsNone(end.session.peer.traceparent)
        self.assertIsNone(end.session.peer.trace_id)
        self.assert_stays(end)


class ProvedTests(PairTestCase):
    """Where a key is used."""

    def test_nothing_is_believed_before(self) -> None:
        """The trace of a HELLO takes effect when its CONFIRM has come, and not before."""

        def hold_back(speaker: str, data: bytes) -> bytes:
            return b"" if speaker == "connector" and data[:4] == f.CONFIRM else data

        for meddle, after in ((hold_back, None), (lambda speaker, data: data, THEIRS)):
            pair = Pair(connector={"keys": (KEY,)}, acceptor={"keys": (KEY,)}, meddle=meddle)
            # A connector that knows of its trace before it says its first word.
            end = pair.connector = End(connector=True, id="gateway-7", nonce=OTHER_NONCE, keys=(KEY,))
            end.session.peer.traceparent = THEIRS
            end.session.start(end.now)
            pair.flow()
            self.assertEqual(pair.acceptor.session.peer.traceparent, after)
            self.assertEqual(end.session.peer.traceparent, THEIRS)


class StateTests(SessionTestCase):
    """STATE."""

    def test_it_is_told(self) -> None:
        """A STATE says it again, for an end that did not know the HELLO of this connection."""
        end = End()
        end.take(hello(traceparent=THEIRS))
        end.session.peer.traceparent = OURS
        asked = end.session.syncs.compose(end.now)
        (said,) = decoded(asked)
        assert isinstance(said, f.Sync)
        answers = end.read(f.SyncAck(said.seq, f.WANT_STATE))
        (told,) = [one for one in answers if isinstance(one, f.State)]
        self.assertEqual(members(told)["traceparent"], OURS)

    def test_it_is_taken(self) -> None:
        """By an end that has none yet, and only by such a one."""
        for before, text, after in ((None, THEIRS, THEIRS), (OURS, THEIRS, OURS), (None, "nonsense", None)):
            end = End()
            end.take(hello())
            end.session.peer.traceparent = before
            end.read(f.Sync(0, 0, b"x" * 16, 0.0, 1))
            end.read(f.State(json.dumps({"traceparent": text}).encode()))
            self.assertEqual(end.session.peer.traceparent, after)
            self.assert_stays(end)
