"""The server process against the independent peer: how it judges a peer, and how it tells one end from another.

wire.md §2, §6.
"""

from __future__ import annotations

import itertools
import struct
import time
from typing import Any

from tests.real.cases import QUIET, ServerTestCase
from tests.real.rawpeer import ACK, BYE, PING, STALLED, SYNC, Ended, Frame, RawPeer, Silence, short

#: Seconds that a verdict may come after its time: a wheel's tick and a busy machine.
_LATE = 0.25


def bye(code: int, reason: bytes = b"") -> bytes:
    """A BYE."""
    return BYE + struct.pack("!HH", code, len(reason)) + reason


class EndTests(ServerTestCase):
    """The ends of a connection after the gate."""

    def ended(self, name: str, reason: str) -> None:
        """The peer is dead, and has this failure and no other."""
        failure = self.server.failure(name)
        self.assertEqual((failure["failure_reason"], failure["phase"]), (reason, "live"))
        self.assertLess(abs(time.time() - failure["at"]), 1.0)
        self.assertEqual(self.server.in_state(name, "dead")["id"], name)
        self.assertEqual(len(self.server.failures(name)), 1)

    def test_fin(self) -> None:
        """FIN without BYE is peer_closed, of a peer with an id and of a bare one."""
        name = self.fresh()
        peer, _ = self.greeted(id=name)
        peer.ping()
        peer.attend(0.05)
        peer.close()
        self.ended(name, "peer_closed")
        bare = self.connect()
        bare.ping()
        bare.attend(0.05)
        address = bare.address
        bare.close()
        self.ended(f"~{address}", "peer_closed")

    def test_fin_within_a_frame(self) -> None:
        """FIN within a frame is peer_closed, too: the half of a BYE is no BYE."""
        for half in (bye(0, b"bye")[:-1], short(PING, 1, 1)[:5]):
            name = self.fresh()
            peer, _ = self.greeted(id=name)
            peer.send(half)
            time.sleep(0.05)
            peer.close()
            self.ended(name, "peer_closed")

    def test_rst(self) -> None:
        """RST is peer_reset."""
        name = self.fresh()
        peer, _ = self.greeted(id=name)
        peer.ping()
        peer.reset()
        self.ended(name, "peer_reset")

    def test_bye_codes(self) -> None:
        """BYE 0, 1, 7 and 12 leave the peer as left and no failure; the others are the failure of the table of §6."""
        for code, reason in [
            (0, None),
            (1, None),
            (7, None),
            (12, None),
            (2, "protocol_error"),
            (3, "version_refused"),
            (4, "terms_refused"),
            (5, "identity_refused"),
            (6, "id_in_use"),
            (8, "intercepted"),
            (9, "ping_flood"),
            (10, "server_full"),
            (11, "peer_not_reading"),
            (999, "server_full"),
        ]:
            name = self.fresh()
            peer, _ = self.greeted(id=name)
            peer.send(bye(code, b"for a test"))
            frames, how = peer.until_end()
            self.assertEqual([frame for frame in frames if frame.magic not in (PING, SYNC)], [], f"BYE {code}")
            self.assertEqual(how, "fin", f"BYE {code}")
            if reason is None:
                self.server.in_state(name, "left")
                self.assertEqual(self.server.failures(name), [], f"BYE {code}")
            else:
                self.assertEqual(self.server.failure(name)["failure_reason"], reason, f"BYE {code}")

    def test_bye_and_rst(self) -> None:
        """A peer that says BYE 0 and resets has left: BYE counts, not what follows."""
        name = self.fresh()
        peer, _ = self.greeted(id=name)
        peer.send(bye(0))
        peer.reset()
        self.server.in_state(name, "left")
        self.assertEqual(self.server.failures(name), [])


class JudgeTests(ServerTestCase):
    """The server as the one that pings and judges, its interval 0.5 s."""

    def answering(self, peer: RawPeer, seconds: float) -> list[Frame]:
        """Only listen and answer for so long; the questions."""
        peer.asked.clear()
        peer.attend(seconds)
        return list(peer.asked)

    def answering_once(self, **members: Any) -> tuple[RawPeer, float]:
        """A connection with the default terms that answered one PING, so that its RTT is known, and when that was."""
        peer = self.connect()
        peer.greet(id=self.fresh(), **members)
        peer.answer(peer.expect(PING))
        return peer, time.monotonic()

    def dies(self, peer: RawPeer) -> float:
        """Read without a word until the connection ends; when that was."""
        try:
            while True:
                peer.frame(10.0)
        except Ended:
            return time.monotonic()

    def test_listener(self) -> None:
        """A peer that only answers gets a PING every 0.5 s ± 15 % and a SYNC after phase one.

        Its ACKs keep it alive; when they stop it is suspect, and dead when D has passed, not before.
        """
        name = self.fresh()
        peer, bare = self.connect(), self.connect()
        peer.greet(id=name)
        bare.ping()
        asked = self.answering(peer, 3.2)
        self.assertIn(SYNC, [frame.magic for frame in asked])
        self.assertEqual(asked[0].magic, PING)
        beats = [frame for frame in asked if frame.magic == PING]
        self.assertEqual([frame.seq for frame in beats], [(beats[0].seq + n) % 65_536 for n in range(len(beats))])
        gaps = [
            later.at - earlier.at
            for earlier, later in itertools.pairwise(asked)
            if earlier.magic == later.magic == PING
        ]
        self.assertGreaterEqual(len(gaps), 3)
        for gap in gaps:
            self.assertTrue(0.425 - 0.05 < gap < 0.575 + 0.1, gaps)
        listed = self.server.in_state(name, "alive")
        self.assertGreater(listed["rtt_ms"]["last"], 0.0)
        self.assertLess(listed["rtt_ms"]["smoothed"], 100.0)
        self.assertEqual(listed["loss_ratio"], 0.0)
        silent_since = peer.asked[-1].at
        self.server.in_state(name, "suspect", 2.0)
        lived = self.dies(peer) - silent_since
        self.assertTrue(1.5 - 0.02 < lived < 1.5 + _LATE, lived)
        failure = self.server.failure(name)
        self.assertEqual(failure["phase"], "live")
        self.assertEqual(self.server.in_state(name, "dead")["state"], "dead")
        self.assertEqual(
            len(self.server.failures(f"~{bare.address}")), 1, "the bare one was judged by the server's own terms"
        )

    def test_ts_is_a_clock(self) -> None:
        """The ts of the server's PINGs counts milliseconds modulo 65536."""
        peer = self.connect()
        peer.greet()
        beats = [frame for frame in self.answering(peer, 1.4) if frame.magic == PING]
        self.assertGreaterEqual(len(beats), 2)
        told = (beats[-1].low - beats[0].low) % 65_536 / 1000.0
        self.assertLess(abs(told - (beats[-1].at - beats[0].at)), 0.1)

    def test_half_a_frame_is_no_life(self) -> None:
        """The bytes of an unfinished frame are no sign of life."""
        peer, begun = self.answering_once()
        for byte in BYE + struct.pack("!HH", 0, 64) + b"x" * 40:
            try:
                peer.send(bytes([byte]))
                peer.frame(0.1)
            except Silence:
                continue
            except (Ended, OSError):
                break
        self.assertTrue(1.5 - 0.02 < time.monotonic() - begun < 1.5 + 0.1 + _LATE, time.monotonic() - begun)

    def test_stalled(self) -> None:
        """STALLED makes D longer by the smaller of stalled_ms and D; a further one adds nothing."""
        lives = []
        for told in ([], [600], [600, 600], [60_000]):
            peer, _ = self.answering_once(caps=["stalled"])
            peer.send(b"".join(short(STALLED, one) for one in told))
            lives.append((peer, time.monotonic()))
        for (peer, begun), longest in zip(lives, (1.5, 2.1, 2.1, 3.0), strict=True):
            lived = self.dies(peer) - begun
            self.assertTrue(longest - 0.02 < lived < longest + _LATE, f"{lived} s, not {longest} s")

    def test_heard_but_never_answers(self) -> None:
        """A peer that is heard but leaves PINGs unanswered for 10 × D is dead, too."""
        name = self.fresh()
        peer = self.connect()
        peer.greet(id=name, want_ping_ms=100, mult=2)
        begun = time.monotonic()
        try:
            while True:
                peer.send(short(PING, 1, 1))
                peer.sock.settimeout(0.1)
                peer.frame(0.1)
                time.sleep(0.1)
                self.assertLess(time.monotonic() - begun, 4.0, "it is still alive")
        except (Ended, OSError):
            pass
        self.assertGreater(time.monotonic() - begun, 2.0)
        self.assertEqual(self.server.failure(name)["phase"], "live")

    def test_any_frame_is_life(self) -> None:
        """A peer lives on any complete frame: here answers to questions that nobody asked."""
        name = self.fresh()
        peer = self.connect()
        peer.greet(id=name, min_rx_ms=60_000)
        for _ in range(5):
            time.sleep(0.5)
            peer.send(short(ACK, 9, 9))
        peer.ping()
        self.assertEqual(self.server.failures(name), [])

    def test_quiet_terms(self) -> None:
        """A peer that announced a min_rx_ms of a minute is left in peace, and not judged sooner than its terms say."""
        peer, _ = self.greeted(**QUIET)
        frames: list[Frame] = []
        until = time.monotonic() + 1.8
        try:
            while True:
                frames.append(peer.frame(until - time.monotonic()))
        except Silence:
            pass
        self.assertLessEqual(len([frame for frame in frames if frame.magic == PING]), 1)
        peer.ping()
