"""The agent process against an independent acceptor, written from ``wire.md`` alone."""

from __future__ import annotations

import itertools
import math
import signal
import struct
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.real.processes import Agent
from tests.real.rawpeer import (
    ACK,
    BYE,
    DATA,
    HELLO,
    PING,
    STATE,
    SYNC,
    SYNC_ACK,
    Ended,
    RawAcceptor,
    RawPeer,
    Silence,
    digest,
    framed,
    hello,
    short,
    strict_object,
)

_OPTIONS = ("--id", "agent-7", "--services", "billing,auth", "--meta", "zone=a", "--ping-interval", "0.5")
#: Seconds for an agent to start, on a machine that does other things too.
_START = 30.0


def bye(code: int, reason: bytes = b"") -> bytes:
    """A BYE."""
    return BYE + struct.pack("!HH", code, len(reason)) + reason


class AcceptorTestCase(SynchronousTestCase):
    """An agent, and a raw acceptor that it connects to."""

    def setUp(self) -> None:
        """Listen, and start the agent."""
        self.acceptor = RawAcceptor()
        self.addCleanup(self.acceptor.close)
        self.agent = Agent(self.acceptor.port, *_OPTIONS)
        self.addCleanup(lambda: self.assertEqual(self.agent.complaints(), []))
        self.addCleanup(self.agent.kill)

    def accept(self, timeout: float = _START) -> tuple[RawPeer, dict[str, Any]]:
        """The agent's next connection, and what its HELLO says."""
        peer = self.acceptor.accept(timeout)
        self.addCleanup(peer.close)
        frame = peer.frame()
        self.assertEqual(frame.magic, HELLO, "the connector's first frame")
        return peer, strict_object(frame.body)

    def reply(self, said: dict[str, Any], **members: Any) -> bytes:
        """An acceptor's HELLO that answers this one; terms that keep the agent's beats as they are."""
        ping_ms = max(said["want_ping_ms"], 100)
        whole: dict[str, Any] = {
            "id": "raw-acceptor",
            "instance": "acceptor-1",
            "caps": ["state", "stalled"],
            "want_ping_ms": 60_000,
            "nonce": "22222222222222222222222222222222",
            "session": "s-1",
            "resume": "token-1",
            "resumed": False,
            "agreed": {"ping_ms": ping_ms, "detect_ms": said["mult"] * ping_ms},
        }
        return hello(**{**whole, **members})

    def greeted(self, timeout: float = _START) -> tuple[RawPeer, dict[str, Any]]:
        """The agent's next connection, its gate open, and what its HELLO said."""
        peer, said = self.accept(timeout)
        peer.send(self.reply(said))
        return peer, said

    def refusing(self, data: bytes, code: int) -> None:
        """The agent's answer to this, in place of a HELLO, is BYE with that code."""
        peer, _ = self.accept()
        peer.send(data)
        farewell = peer.farewell()
        self.assertEqual((farewell.code, farewell.before), (code, []))


class ConversationTests(AcceptorTestCase):
    """What the agent says, and when."""

    def test_a_day(self) -> None:
        """HELLO, then nothing until the answer; then beats, SYNC, STATE; BYE 0 at SIGTERM."""
        peer, said = self.accept()
        self.check_hello(said)
        self.assertRaises(Silence, peer.frame, 0.7)
        peer.send_bytewise(self.reply(said))
        first = peer.expect(PING)
        self.assertRaises(Silence, peer.frame, 0.05)  # phase two waits for phase one
        peer.answer(first)
        told = peer.expect(SYNC)
        self.assertEqual(told.low & ~3, 0, "flag bits without a meaning are sent as zero")
        svc_hash, load, uptime = struct.unpack("!16sfI", told.body)
        self.assertEqual(svc_hash, digest(["auth", "billing"]))
        self.assertTrue(math.isfinite(load) and load >= 0.0, load)
        self.assertGreater(uptime, 0)
        peer.send(short(SYNC_ACK, told.seq, 1))
        full = strict_object(peer.expect(STATE).body)
        self.assertEqual(sorted(full["services"]), ["auth", "billing"])
        self.assertEqual(full["meta"], {"zone": "a"})
        peer.send(short(PING, 40_000, 50_000) + short(PING, 40_001, 50_000))
        self.assertEqual(peer.expect(ACK).raw, short(ACK, 40_000, 50_000))
        self.assertEqual(peer.expect(ACK).raw, short(ACK, 40_001, 50_000))
        self.check_beats(peer, first.seq)
        self.agent.signal(signal.SIGTERM)
        farewell = peer.farewell()
        self.assertEqual(farewell.code, 0)
        self.assertIn(self.agent.wait(), (0, -signal.SIGTERM), "Twisted ends the process by the signal")

    def check_hello(self, said: dict[str, Any]) -> None:
        """Every member of the connector's HELLO."""
        self.assertEqual((said["v"], said["id"]), (1, "agent-7"))
        self.assertRegex(said["instance"], "^[!-~]{1,64}$")
        self.assertLessEqual({"state", "stalled"}, set(said["caps"]))
        self.assertEqual((said["want_ping_ms"], said["mult"]), (500, 3))
        self.assertTrue(0 <= said.get("min_rx_ms", 100) <= 3_600_000)
        self.assertTrue(100 <= said.get("sync_ms", 5000) <= 86_400_000)
        self.assertTrue(16_384 <= said.get("max_data", 1_048_576) <= 2**30)
        self.assertRegex(said["nonce"], "^[0-9a-fA-F]{32}$")
        for name in ("session", "resumed", "agreed", "kids", "kid", "resume", "last"):
            self.assertNotIn(name, said)

    def check_beats(self, peer: RawPeer, first: int) -> None:
        """Its PINGs come every 0.5 s ± 15 %, numbered one by one."""
        peer.asked.clear()
        peer.attend(2.4)
        asked = peer.asked
        gaps = [b.at - a.at for a, b in itertools.pairwise(asked) if a.magic == b.magic == PING]
        self.assertGreaterEqual(len(gaps), 2)
        for gap in gaps:
            self.assertTrue(0.425 - 0.05 < gap < 0.575 + 0.1, gaps)
        beats = [frame.seq for frame in asked if frame.magic == PING]
        self.assertEqual(beats, [(beats[0] + n) % 65_536 for n in range(len(beats))])
        self.assertLess((beats[0] - first) % 65_536, 8)


class RefusingTests(AcceptorTestCase):
    """What the agent does not take from an acceptor. Each starts an agent, so they are few."""

    def test_speaks_first(self) -> None:
        """Before the connector's HELLO is answered an acceptor sends nothing but HELLO and BYE: a PING gets BYE 2."""
        self.refusing(short(PING, 1, 1), 2)

    def test_another_protocol(self) -> None:
        """Another protocol's greeting gets BYE 2."""
        self.refusing(b"SSH-2.0-OpenSSH_9.2p1\r\n", 2)

    def test_reflector(self) -> None:
        """A HELLO that brings the own nonce back comes from a reflector: BYE 5."""
        peer, said = self.accept()
        peer.send(self.reply(said, nonce=said["nonce"]))
        self.assertEqual(peer.farewell().code, 5)

    def test_version(self) -> None:
        """An acceptor's HELLO in a version that was not offered gets BYE 3."""
        peer, said = self.accept()
        peer.send(self.reply(said, v=2))
        farewell = peer.farewell()
        self.assertEqual(farewell.code, 3)
        self.assertTrue(farewell.reason.startswith("versions=1"), farewell.reason)

    def test_terms(self) -> None:
        """Terms out of range, or with a detection time over the agent's maximum, get BYE 4."""
        peer, said = self.accept()
        peer.send(self.reply(said, want_ping_ms=3_600_000, mult=2))
        self.assertEqual(peer.farewell().code, 4)

    def test_data(self) -> None:
        """DATA, which was not agreed, gets BYE 2."""
        peer, said = self.accept()
        peer.send(self.reply(said, caps=["data"]) + framed(DATA, b"hello"))
        self.assertEqual(peer.farewell().code, 2)


class ReturningTests(AcceptorTestCase):
    """How the agent comes back."""

    def test_after(self) -> None:
        """BYE 1 with after=: closed at once, back after that time and at most one second more."""
        peer, first = self.greeted()
        peer.ping()
        peer.send(bye(1, b"after=500 going for an update"))
        said = time.monotonic()
        try:
            while True:
                frame = peer.frame(1.0)
                self.assertIn(frame.magic, (PING, SYNC), "nothing is said after a BYE was read")
        except Ended as end:
            self.assertEqual(end.how, "fin")
        self.assertLess(time.monotonic() - said, 0.3)
        peer.close()
        peer, second = self.accept(4.0)
        waited = time.monotonic() - said
        self.assertTrue(0.45 < waited < 2.3, waited)
        self.assertEqual(second.get("resume", "token-1"), "token-1", "the token that it was given, if it takes tokens")
        self.assertEqual(second["instance"], first["instance"])
        self.assertNotEqual(second["nonce"], first["nonce"])

    def test_lost(self) -> None:
        """FIN without BYE brings it back; what it tells of its last connection is within the closed list."""
        peer, _ = self.greeted()
        peer.ping()
        peer.close()
        peer, said = self.greeted(10.0)
        if "last" in said:
            self.assertEqual(said["last"].get("session", "s-1"), "s-1")
            self.assertEqual(said["last"]["cause"], "peer_closed")
        peer.ping()

    def test_silent_acceptor(self) -> None:
        """An acceptor that answers nothing is dead for the agent after its D, and is connected to again.

        Here D is 3 × the 0.5 s of the acceptor's own wish.
        """
        peer, said = self.accept()
        begun = time.monotonic()
        peer.send(self.reply(said, want_ping_ms=500))
        frames, _ = peer.until_end(5.0)
        lived = time.monotonic() - begun
        self.assertLessEqual({frame.magic for frame in frames}, {PING, SYNC})
        self.assertTrue(1.5 - 0.02 < lived < 1.5 + 0.3, lived)
        peer, said = self.greeted(10.0)
        peer.ping()

    def test_codes(self) -> None:
        """After BYE 10 it is back within its back-off; after BYE 7 not at all."""
        peer, _ = self.greeted()
        peer.send(bye(10, b"full"))
        peer.until_end()
        peer, _ = self.greeted(15.0)
        peer.ping()
        peer.send(bye(7, b"superseded"))
        peer.until_end()
        self.assertRaises(Silence, self.acceptor.accept, 3.0)
