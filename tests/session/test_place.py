"""The rules of place (``wire.md`` §1): every frame in every phase and with every set of capabilities."""

from __future__ import annotations

from itertools import chain, combinations

from heartbeat.session.gate import behind
from heartbeat.wire import frames as f
from tests.session.ends import ALL_CAPS, End, SessionTestCase, decoded, hello, ping
from tests.session.test_gate import OTHERS
from tests.session.test_sync import sync

#: In which phases each frame may be *read*: a acceptor before its gate, c connector before its gate, b bare peer behind
#: the gate, g greeted, and greeted with one capability in force: s state and a STATE asked for, t stalled, d data.
PLACES = {
    "Ping": "abgstd",
    "Ack": "bgstd",
    "SignedAck": "",
    "Sync": "bgstd",
    "SyncAck": "bgstd",
    "Hello": "ac",
    "State": "s",
    "Stalled": "t",
    "Bye": "acbgstd",
    "Data": "d",
    "Window": "d",
    "Confirm": "",
    "Seal": "",
}
CAPS = {"g": (), "s": ("state",), "t": ("stalled",), "d": ("data",)}
FRAMES: tuple[f.Frame, ...] = (*OTHERS, f.Ping(1, 2), f.Bye(0, ""), f.Hello(hello()[8:]))


class PlaceTests(SessionTestCase):
    """One frame in one phase."""

    def in_phase(self, phase: str) -> End:
        """An end that has come so far."""
        if phase == "a":
            return End()
        if phase == "c":
            end = End(connector=True)
            end.session.start(end.now)
            return end
        if phase == "b":
            return self.bare()
        caps = CAPS[phase]
        end = self.acceptor({"caps": list(caps)}, caps=caps)
        if phase == "s":
            self.assertEqual(end.read(sync(0, ("auth",))), [f.SyncAck(0, f.WANT_STATE)])
        return end

    def test_every_frame_in_every_phase(self) -> None:
        """It is taken where it may stand; elsewhere it is BYE 2, and that at its header already."""
        self.assertEqual({type(frame).__name__ for frame in FRAMES}, set(PLACES))
        for phase in "acbgstd":
            for frame in FRAMES:
                may = phase in PLACES[type(frame).__name__]
                for data in (frame.encode(), frame.encode()[: f.HEADER_SIZE]):
                    end = self.in_phase(phase)
                    end.take(data)
                    where = f"{frame} in {phase}"
                    if may:
                        self.assertIsNone(end.session.said, where)
                    else:
                        self.assert_said(end, 2)
                        self.assertIs(end.session.farewell, None)

    def test_only_what_both_list(self) -> None:
        """A capability of one end alone is not in force; unknown ones are ignored."""
        end = self.acceptor({"caps": ["state", "data", "teleport"]}, caps=("state", "stalled"))
        self.assertEqual(end.session.caps, {"state"})

    def test_the_table_of_the_decoder(self) -> None:
        """With any capabilities: the five that always may, and each of the others with its own."""
        always = {f.BYE, f.PING, f.ACK, f.SYNC, f.SYNC_ACK}
        for caps in chain.from_iterable(combinations(ALL_CAPS, count) for count in range(4)):
            for expects in (False, True):
                allowed = behind(frozenset(caps), expects)
                wanted = set(always)
                if "state" in caps and expects:
                    wanted.add(f.STATE)
                if "stalled" in caps:
                    wanted.add(f.STALLED)
                if "data" in caps:
                    wanted.add(f.WINDOW)
                self.assertEqual(set(allowed), wanted)
                self.assertEqual({magic: allowed[magic] for magic in allowed}, {m: f.BODY_LIMITS[m] for m in wanted})

    def test_nothing_is_sent_that_the_other_end_may_not_know(self) -> None:
        """To a bare peer and to one without capabilities, whatever happens: only the frames of a bare peer."""
        known = (f.Ping, f.Ack, f.Sync, f.SyncAck, f.Bye)
        for end in (self.bare(), self.acceptor({"caps": []}), self.connector({"caps": []})):
            begun = len(decoded(end.sent)) if not end.session.peer.bare else 0
            for number in range(10):
                end.stall(0.6)
                end.run(end.now + 0.3)
                end.read(ping(number), sync(number, ("a",), f.CHANGED | f.STUCK))
                for seq in range(3):
                    end.read(f.SyncAck(seq, f.WANT_STATE))
            end.session.bye(1, "after=1", end.now)
            end.out()
            for frame in decoded(end.sent)[begun:]:
                self.assertIsInstance(frame, known)
                if isinstance(frame, f.Sync):
                    self.assertEqual(frame.flags & ~f.STUCK, 0)
                if isinstance(frame, f.SyncAck):
                    self.assertEqual(frame.flags, 0)
