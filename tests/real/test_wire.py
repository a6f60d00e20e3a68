"""The server process against the independent peer: beats, SYNC, STATE, STALLED, BYE, and how the stream may be cut.

wire.md §1, §2, §3, §6.
"""

from __future__ import annotations

import itertools
import math
import struct
import time

from tests.real.cases import QUIET, ServerTestCase
from tests.real.rawpeer import (
    ACK,
    BYE,
    HELLO,
    PING,
    STALLED,
    STATE,
    SYNC,
    SYNC_ACK,
    Frame,
    RawPeer,
    Silence,
    digest,
    hello,
    short,
    state,
    strict_object,
    sync,
)

_LEAVING = BYE + struct.pack("!HH", 0, 3) + b"bye"
_WANT_STATE = 1
_CHANGED = 2


class BeatTests(ServerTestCase):
    """Phase one, wire.md §2."""

    def test_bare_ping(self) -> None:
        """A connector whose first frame is PING gets ACK with its seq and ts, and is listed as bare by its address."""
        peer = self.connect()
        peer.ping(1, 2)
        peer.ping(65_535, 65_535)
        peer.ping(0, 0)
        listed = self.server.in_state(f"~{peer.address}", "alive")
        self.assertEqual((listed["bare"], listed["address"]), (True, peer.address))

    def test_pipelined(self) -> None:
        """Of several PINGs in one segment each gets its ACK, in order, none left out and none merged."""
        peer, _ = self.greeted()
        burst = [(seq % 65_536, seq * 7 % 65_536) for seq in range(65_036, 65_936)]
        peer.send(b"".join(short(PING, *one) for one in burst))
        self.assertEqual([(ack.seq, ack.low) for ack in (peer.expect(ACK) for _ in burst)], burst)

    def test_same_ping_twice(self) -> None:
        """A PING is answered whatever was asked before: two alike get two ACKs."""
        peer, _ = self.greeted()
        for _ in range(2):
            peer.ping(7, 7)

    def test_unmatched_answers(self) -> None:
        """An ACK or SYNC-ACK that nobody asked for is counted and ignored."""
        peer, _ = self.greeted()
        peer.send(short(ACK, 4, 4) + short(SYNC_ACK, 4, 0))
        peer.ping()


class SyncTests(ServerTestCase):
    """Phase two, wire.md §3."""

    def test_state_is_asked_for_and_shown(self) -> None:
        """SYNC gets SYNC-ACK of its seq with WANT_STATE; the STATE that follows is what /api/peers shows."""
        name, services = self.fresh(), ["auth", "billing", self.fresh()]
        peer, answer = self.greeted(id=name, caps=["state"])
        peer.ping()
        peer.send(sync(7, services))
        asked = peer.expect(SYNC_ACK)
        self.assertEqual(asked.raw, short(SYNC_ACK, 7, _WANT_STATE))
        peer.send(
            state(services=services, meta={"zone": "a"}, progress=3, cert_expires_s=86_400, lag_p99_ms=3.1, beyond=[{}])
        )
        peer.ping()
        listed = self.server.peer(name)
        assert listed is not None
        self.assertEqual(sorted(listed["services"]), sorted(services))
        self.assertEqual(listed["svc_hash"], digest(services).hex())
        self.assertEqual((listed["load"], listed["uptime_s"]), (0.25, 3600))
        self.assertEqual((listed["meta"], listed["cert_expires_s"], listed["bare"]), ({"zone": "a"}, 86_400, False))
        self.assertEqual((listed["session"], listed["state"]), (answer["session"], "alive"))

    def test_asked_once(self) -> None:
        """A STATE that matches svc_hash is not asked for again until CHANGED or another svc_hash asks for it."""
        services = [self.fresh()]
        peer, _ = self.greeted(id=self.fresh(), caps=["state"])
        for seq, flags, names, wanted in [
            (1, 0, services, _WANT_STATE),
            (2, 0, services, 0),
            (3, _CHANGED, services, _WANT_STATE),
            (4, 0, services, 0),
            (5, 0, [*services, "more"], _WANT_STATE),
        ]:
            peer.send(sync(seq, names, flags=flags))
            self.assertEqual(peer.expect(SYNC_ACK).raw, short(SYNC_ACK, seq, wanted), f"SYNC {seq}")
            if wanted:
                peer.send(state(services=names, meta={"n": str(seq)}))

    def test_mismatched_state(self) -> None:
        """A STATE whose services do not hash to svc_hash is kept, and not asked for again for the same svc_hash."""
        name, services = self.fresh(), [self.fresh()]
        peer, _ = self.greeted(id=name, caps=["state"])
        peer.send(sync(1, services))
        peer.expect(SYNC_ACK)
        peer.send(state(services=["other"]) + sync(2, services))
        self.assertEqual(peer.expect(SYNC_ACK).raw, short(SYNC_ACK, 2, 0))
        listed = self.server.peer(name)
        assert listed is not None
        self.assertEqual(listed["services"], ["other"])

    def test_no_services(self) -> None:
        """A peer without services has the MD5 over nothing, and its load and uptime are shown."""
        name = self.fresh()
        peer, _ = self.greeted(id=name, caps=["state"])
        peer.send(sync(1, [], load=1.5, uptime=2**32 - 1))
        peer.expect(SYNC_ACK)
        listed = self.server.peer(name)
        assert listed is not None
        self.assertEqual((listed["svc_hash"], listed["services"]), ("d41d8cd98f00b204e9800998ecf8427e", []))
        self.assertEqual((listed["load"], listed["uptime_s"]), (1.5, 2**32 - 1))

    def test_early_and_repeated(self) -> None:
        """Every SYNC is answered at once, an early or repeated one too, and what came last holds."""
        name = self.fresh()
        peer, _ = self.greeted(id=name)
        peer.send(sync(9, load=0.1) + sync(9, load=0.1) + sync(3, load=0.75))
        self.assertEqual([peer.expect(SYNC_ACK).raw for _ in range(3)], [short(SYNC_ACK, seq, 0) for seq in (9, 9, 3)])
        listed = self.server.peer(name)
        assert listed is not None
        self.assertEqual(listed["load"], 0.75)

    def test_negative_zero_load(self) -> None:
        """A load of -0.0 is 0.0."""
        name = self.fresh()
        peer, _ = self.greeted(id=name)
        peer.send(sync(1, load=-0.0))
        peer.expect(SYNC_ACK)
        listed = self.server.peer(name)
        assert listed is not None
        self.assertEqual(math.copysign(1.0, listed["load"]), 1.0)

    def test_load_that_is_none(self) -> None:
        """A NaN, infinite or negative load is a violation: BYE 2."""
        for bits in ("7fc00000", "7f800000", "ff800000", "ffc00001", "bf800000", "80000001"):
            frame = SYNC + struct.pack("!HH16s", 1, 0, digest([])) + bytes.fromhex(bits) + bytes(4)
            self.refused(frame, 2, f"load {bits}", {"caps": ["state"]})

    def test_stuck(self) -> None:
        """Flag bit 0 of SYNC shows the peer as stuck, and its absence as alive again; unknown flag bits are ignored."""
        name = self.fresh()
        peer, _ = self.greeted(id=name)
        peer.send(sync(1, flags=0xFFF5))
        self.assertEqual(peer.expect(SYNC_ACK).raw, short(SYNC_ACK, 1, 0))
        self.server.in_state(name, "stuck")
        peer.send(sync(2))
        peer.expect(SYNC_ACK)
        self.server.in_state(name, "alive")

    def test_bare(self) -> None:
        """A bare peer's SYNC is answered without WANT_STATE, and its load is shown."""
        peer = self.connect()
        peer.ping()
        peer.send(sync(3, ["hidden"]))
        self.assertEqual(peer.expect(SYNC_ACK).raw, short(SYNC_ACK, 3, 0))
        listed = self.server.peer(f"~{peer.address}")
        assert listed is not None
        self.assertEqual((listed["load"], listed["svc_hash"]), (0.25, digest(["hidden"]).hex()))


class ServersSyncTests(ServerTestCase):
    """The server's own SYNC, wire.md §3."""

    options = ("--ping-interval", "0.5", "--sync-interval", "1")

    def test_directly_behind_an_ack(self) -> None:
        """An end that answers sends SYNC directly behind the first ACK, and again behind one after its interval."""
        peer = self.connect()
        syncs: list[Frame] = []
        before: list[bytes] = []
        seq, until = 0, time.monotonic() + 2.4
        while time.monotonic() < until:
            peer.send(short(PING, seq := seq + 1, 0))
            try:
                while True:
                    frame = peer.frame(0.1)
                    if frame.magic == SYNC:
                        syncs.append(frame)
                    if frame.magic in (PING, SYNC):
                        peer.answer(frame)
                    before.append(frame.magic)
            except Silence:
                continue
        self.assertEqual(before[:2], [ACK, SYNC])
        self.assertIn(len(syncs), (2, 3))
        for earlier, later in itertools.pairwise(syncs):
            self.assertGreater(later.at - earlier.at, 0.95)
            self.assertEqual(later.seq, (earlier.seq + 1) % 65_536)

    def test_its_state(self) -> None:
        """The server's SYNC has a valid load and svc_hash; WANT_STATE in the answer brings the STATE of that hash."""
        peer, _ = self.greeted(id=self.fresh(), caps=["state"])
        peer.ping()
        frame = peer.expect(SYNC)
        self.assertEqual(frame.low & ~(_CHANGED | 1), 0, "flag bits without a meaning are sent as zero")
        svc_hash, load, _ = struct.unpack("!16sfI", frame.body)
        self.assertGreaterEqual(load, 0.0)
        self.assertTrue(math.isfinite(load))
        peer.send(short(SYNC_ACK, frame.seq, _WANT_STATE))
        told = strict_object(peer.expect(STATE).body)
        self.assertEqual(digest(told.get("services", [])), svc_hash)
        peer.ping(5, 5)


class StreamTests(ServerTestCase):
    """One conversation with every frame in it, cut in every way, wire.md §1."""

    def conversation(self, name: str) -> tuple[bytes, list[bytes]]:
        """What a peer of that id says, and what the answers to it are behind the HELLO (questions left out)."""
        said = [
            hello(id=name, caps=["state", "stalled"], **QUIET),
            short(PING, 1, 10),
            sync(1, [name]),
            state(services=[name]),
            short(PING, 2, 20),
            short(STALLED, 250),
            short(ACK, 9, 9),
            sync(2, [name]),
            short(SYNC_ACK, 9, 0),
            _LEAVING,
        ]
        answers = [short(ACK, 1, 10), short(SYNC_ACK, 1, _WANT_STATE), short(ACK, 2, 20), short(SYNC_ACK, 2, 0)]
        return b"".join(said), answers

    def check(self, peer: RawPeer, answers: list[bytes], what: str, greeted: bool = True) -> None:
        """The connection ended well, with a HELLO if greeted, and these answers."""
        frames, how = peer.until_end()
        said = [frame for frame in frames if frame.magic not in (PING, SYNC)]
        if greeted:
            self.assertEqual(said.pop(0).magic, HELLO, what)
        self.assertEqual([frame.raw for frame in said], answers, what)
        self.assertEqual(how, "fin", what)

    def test_one_segment(self) -> None:
        """All of it in one segment: what stands behind the HELLO counts as having come after the answer."""
        name = self.fresh()
        said, answers = self.conversation(name)
        peer = self.connect()
        peer.send(said)
        self.check(peer, answers, "one segment")
        self.assertEqual(self.server.in_state(name, "left")["services"], [name])
        self.assertEqual(self.server.failures(name), [])

    def test_bytewise(self) -> None:
        """All of it byte by byte."""
        name = self.fresh()
        said, answers = self.conversation(name)
        peer = self.connect()
        peer.send_bytewise(said)
        self.check(peer, answers, "byte by byte")
        self.assertEqual(self.server.in_state(name, "left")["services"], [name])

    def test_every_cut(self) -> None:
        """All of it in two segments, cut at every offset there is."""
        name = self.fresh()
        length = len(self.conversation(f"{name}-000")[0])
        cuts = [(offset, self.connect(), *self.conversation(f"{name}-{offset:03}")) for offset in range(1, length)]
        for offset, peer, said, _ in cuts:
            peer.send(said[:offset])
        time.sleep(0.3)
        for offset, peer, said, _ in cuts:
            peer.send(said[offset:])
        for offset, peer, said, answers in cuts:
            self.check(peer, answers, f"cut at {offset}: {said[:offset]!r}")

    def test_bare_every_cut(self) -> None:
        """A bare peer's PINGs, SYNC and BYE, cut at every offset."""
        said = short(PING, 65_535, 1) + short(PING, 0, 2) + sync(1, ["a"]) + short(PING, 1, 3) + _LEAVING
        answers = [short(ACK, 65_535, 1), short(ACK, 0, 2), short(SYNC_ACK, 1, 0), short(ACK, 1, 3)]
        cuts = [(offset, self.connect()) for offset in range(1, len(said))]
        for offset, peer in cuts:
            peer.send(said[:offset])
        time.sleep(0.1)
        for offset, peer in cuts:
            peer.send(said[offset:])
        for offset, peer in cuts:
            self.check(peer, answers, f"cut at {offset}", greeted=False)
