"""Somebody is on the path (``wire.md`` §5): with a key each thing that he does is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.keys import SharedKey
from heartbeat.liveness.states import State
from heartbeat.session.channel import Channel
from heartbeat.session.parting import Parting
from heartbeat.wire import frames as f
from tests.session.ends import End, Source, decoded, hello, ping
from tests.session.pairs import KEY, TLS, Pair, PairTestCase

INTERCEPTED = "intercepted"
BINDING_FAILED = 8


def rewritten(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A HELLO with other members; what is no HELLO stays as it is."""
    if not data.startswith(f.HELLO):
        return data
    body = json.loads(data[8:])
    change(body)
    return f.Hello(json.dumps(body, separators=(",", ":")).encode()).encode()


def named(end: End) -> tuple[int | None, str | None]:
    """The BYE that an end said, and the cause that it has recorded."""
    return None if end.session.said is None else end.session.said.code, end.session.beats.cause


class HandshakeTests(PairTestCase):
    """What he does to HELLO and CONFIRM."""

    def found(self, change: Callable[[dict[str, Any]], None], speaker: str) -> None:
        """A HELLO of this speaker that was changed on the way: no gate opens, and both ends know why."""
        for channels in ((None, None), (TLS, TLS)):
            pair = self.pair(
                channels=channels, meddle=lambda name, data: rewritten(data, change) if name == speaker else data
            )
            self.assertFalse(pair.open)
            self.assertEqual(named(pair.acceptor), (BINDING_FAILED, INTERCEPTED))
            self.assertEqual(pair.connector.session.beats.cause, INTERCEPTED)
            for _, end, _ in pair.ends:
                self.assertIs(end.session.beats.state, State.REFUSED)
                self.assertEqual(end.session.tally.pings_in + end.session.tally.pings_out, 0)

    def test_capabilities(self) -> None:
        """He strips them."""
        for speaker in ("connector", "acceptor"):
            self.found(lambda body: body.update(caps=["state"]), speaker)

    def test_terms(self) -> None:
        """He lowers, or raises, how soon a death is noticed."""
        for speaker in ("connector", "acceptor"):
            self.found(lambda body: body.update(mult=9), speaker)
            self.found(lambda body: body.update(want_ping_ms=5000), speaker)
        self.found(lambda body: body.update(agreed={"ping_ms": 1, "detect_ms": 2}), "acceptor")

    def test_the_id(self) -> None:
        """He makes one peer of another, or himself of the acceptor."""
        self.found(lambda body: body.update(id="gateway-8"), "connector")
        self.found(lambda body: body.pop("id"), "connector")
        self.found(lambda body: body.update(id="node-2"), "acceptor")

    def test_the_rest(self) -> None:
        """He adds what means nothing, other nonces, another token, another past, or a space."""
        for change in (
            {"x-private": 1},
            {"nonce": "33" * 16},
            {"resume": "stolen"},
            {"last": {"session": "s", "cause": "path_dead"}},
            {"versions": [1, 2]},
        ):
            self.found(lambda body, change=change: body.update(change), "connector")  # type: ignore[misc]  # bound now
        pair = self.pair(
            meddle=lambda name, data: f.Hello(data[8:] + b" ").encode() if data.startswith(f.HELLO) else data
        )
        self.assertEqual(named(pair.acceptor), (BINDING_FAILED, INTERCEPTED))

    def test_the_keys(self) -> None:
        """He takes the names of the keys away: no gate opens without."""
        for speaker, member in (("connector", "kids"), ("acceptor", "kid")):
            pair = self.pair(
                meddle=lambda name, data, speaker=speaker, member=member: (
                    rewritten(data, lambda body: body.pop(member)) if name == speaker else data
                )
            )
            self.assertFalse(pair.open)
            victim = pair.acceptor if speaker == "connector" else pair.connector
            self.assertEqual(named(victim), (5, "identity_refused"))

    def test_reflected(self) -> None:
        """He sends a connector what it said itself: the nonce is its own."""
        end = End(connector=True, keys=(KEY,))
        end.session.start(end.now)
        said = end.out()
        end.take(said)
        self.assertEqual(named(end), (5, "identity_refused"))
        end = End(connector=True, keys=(KEY,))
        end.session.start(end.now)
        said = end.out()
        confirm = end.take(rewritten(said, lambda body: body.update(nonce="44" * 16, kid=KEY.kid)))
        self.assertTrue(confirm.startswith(f.CONFIRM))
        end.take(confirm)
        self.assertEqual(named(end), (BINDING_FAILED, INTERCEPTED))

    def test_another_key_of_that_name(self) -> None:
        """Who has not the key cannot say CONFIRM, whatever name he gives it."""
        mine = SharedKey(bytes(range(50, 82)))
        mine.kid = KEY.kid
        for connector, acceptor in (((mine,), (KEY,)), ((KEY,), (mine,))):
            pair = self.pair(connector={"keys": connector}, acceptor={"keys": acceptor})
            self.assertFalse(pair.open)
            self.assertEqual(named(pair.acceptor), (BINDING_FAILED, INTERCEPTED))

    def test_tls_that_ends_on_the_way(self) -> None:
        """Two TLS connections have two exporter values, whatever certificate was shown."""
        pair = self.pair(channels=(TLS, Channel(True, b"\x11" * 32)))
        self.assertEqual(named(pair.acceptor), (BINDING_FAILED, INTERCEPTED))
        self.assertEqual(pair.connector.session.beats.cause, INTERCEPTED)
        self.assertEqual(pair.said["connector"].count(f.PING) + pair.said["acceptor"].count(f.PING), 0)

    def test_tls_on_one_side_only(self) -> None:
        """TLS that he took away, or put in, is found, too."""
        for channels in ((TLS, None), (None, TLS)):
            pair = self.pair(channels=channels)
            self.assertFalse(pair.open)
            self.assertEqual(named(pair.acceptor)[1], INTERCEPTED)

    def test_the_acceptors_confirm(self) -> None:
        """He changes what the acceptor says there: another session, or a token of his own."""
        for body in (b'{"session":"s-2","resumed":false}', b"", b'{"session":"s-1","resumed":true}'):
            pair = self.pair(
                meddle=lambda name, data, body=body: (
                    f.Confirm(data[8:24], body).encode() if name == "acceptor" and data.startswith(f.CONFIRM) else data
                )
            )
            self.assertEqual(named(pair.connector), (BINDING_FAILED, INTERCEPTED))
            self.assertEqual((pair.connector.session.token, pair.connector.session.peer.session), (None, ""))


class BeatTests(PairTestCase):
    """What he does behind the gate, where there is no TLS."""

    def running(self, **settings: Any) -> Pair:
        """Two ends that beat."""
        pair = self.pair(**settings)
        pair.run(3.0)
        self.assert_open(pair)
        return pair

    def intercepted(self, end: End) -> None:
        """It has noticed, said so, and ended the connection."""
        self.assertEqual(named(end), (BINDING_FAILED, INTERCEPTED))
        self.assertIs(end.session.beats.state, State.DEAD)
        self.assertIs(end.session.parting, Parting.LINGER)

    def test_harvesting(self) -> None:
        """PINGs of his own, to collect signed answers for later: the first has no SEAL, and is answered by none."""
        pair = self.running()
        before = pair.acceptor.session.tally.pings_in
        answer = pair.acceptor.take(ping(99) + ping(100))
        self.intercepted(pair.acceptor)
        self.assertEqual([type(frame) for frame in decoded(answer)], [f.Bye, f.Seal])
        self.assertEqual(pair.acceptor.session.tally.pings_in, before)

    def test_with_a_seal_of_his_own(self) -> None:
        """Any tag, any count."""
        for count in (0, 1, 7, 2**32 - 1):
            pair = self.running()
            self.assertEqual(
                [type(frame) for frame in decoded(pair.acceptor.take(ping(99) + f.Seal(count, bytes(16)).encode()))],
                [f.Bye, f.Seal],
            )
            self.intercepted(pair.acceptor)

    def test_a_forged_bye(self) -> None:
        """Is believed with its SEAL only; what follows shows that it was forged."""
        for code in (0, 1, 7, 12):
            pair = self.running()
            pair.connector.take(f.Bye(code, "go away").encode())
            self.assertIsNone(pair.connector.session.farewell)
            pair.acceptor.session.ping(pair.acceptor.now)
            pair.flow()
            self.intercepted(pair.connector)

    def test_a_forged_state(self) -> None:
        """Every other frame, too, each with a tag of his own."""
        for frame in (f.Sync(3, 0, bytes(16), 9.0, 1), f.SyncAck(0, 1), f.Stalled(60_000), f.SyncAck(9, 0)):
            pair = self.running()
            pair.acceptor.take(frame.encode() + f.Seal(5, b"t" * 16).encode())
            self.intercepted(pair.acceptor)

    def test_answers(self) -> None:
        """A SIGNED ACK that he makes up, or one that he has kept."""
        recorded: list[bytes] = []

        def recorder(name: str, data: bytes) -> bytes:
            if name == "acceptor" and data.startswith(f.SIGNED_ACK):
                recorded.append(data[:24])
            return data

        pair = self.running(meddle=recorder)
        self.assertGreater(len(recorded), 3)
        pair.connector.take(recorded[-1])
        self.intercepted(pair.connector)
        pair = self.running()
        number = pair.connector.session.ping(pair.connector.now)
        pair.connector.take(f.SignedAck(number, int(pair.connector.now * 1000) & 0xFFFF, b"t" * 16).encode())
        self.intercepted(pair.connector)

    def test_a_recorded_connection(self) -> None:
        """All that a connector has said, said once more to the same acceptor: the nonce is another."""
        pair = self.running()
        end = End(keys=(KEY,), id="node-1", nonce="55" * 16)
        end.take(pair.said["connector"])
        self.assertEqual(named(end), (BINDING_FAILED, INTERCEPTED))
        self.assertEqual(end.session.tally.pings_in, 0)
        self.assertIs(end.session.beats.state, State.REFUSED)
        peer = End(connector=True, keys=(KEY,), id="gateway-7", nonce="66" * 16)
        peer.session.start(peer.now)
        peer.take(pair.said["acceptor"])
        self.assertEqual(named(peer)[1], INTERCEPTED)

    def test_an_end_of_file_behind_a_forged_bye(self) -> None:
        """The BYE never takes effect: the end is a failure with a cause, never ``left``."""
        from heartbeat.liveness.evidence import Ending

        pair = self.running()
        pair.connector.take(f.Bye(0, "").encode())
        pair.connector.session.ended(Ending("eof"), pair.connector.now)
        self.assertIs(pair.connector.session.beats.state, State.DEAD)
        self.assertEqual(pair.connector.session.beats.cause, "peer_closed")

    def test_without_a_key(self) -> None:
        """For comparison: without one he is believed, as wire.md says."""
        pair = Pair()
        pair.flow()
        pair.connector.take(f.Bye(7, "go away").encode())
        self.assertIs(pair.connector.session.beats.state, State.LEFT)

    @settings(max_examples=150)
    @given(st.data())
    def test_any_change(self, data: st.DataObject) -> None:
        """Whatever he does to sealed frames (a bit, a repeat, two in another order, one left out, some of another
        conversation), nothing of it takes effect: the first that is not what was sent ends the connection."""
        pair = self.pair(connector={"source": Source(services=("a",))}, acceptor={"min_interval": 0.0})
        other = self.pair(connector={"nonce": "77" * 16})
        sent: list[bytes] = []
        for one, into in ((pair, sent), (other, foreign := [])):
            for _ in range(4):
                one.connector.session.ping(one.connector.now)
                into.append(one.connector.out())
        whole = [part[:8] + part[8:] for part in sent]
        kind = data.draw(st.sampled_from(("bit", "repeat", "swap", "drop", "foreign", "split")))
        at = data.draw(st.integers(0, 2))
        if kind == "bit":
            changed = bytearray(whole[at])
            bit = data.draw(st.integers(0, 8 * len(changed) - 1))
            changed[bit // 8] ^= 1 << bit % 8
            whole[at] = bytes(changed)
        elif kind == "repeat":
            whole.insert(at + 1, whole[at])
        elif kind == "swap":
            whole[at], whole[at + 1] = whole[at + 1], whole[at]
        elif kind == "drop":
            del whole[at]
        elif kind == "foreign":
            whole[at] = foreign[at]
        else:  # a frame of one and the SEAL of another
            whole[at] = whole[at][:8] + whole[at + 1][8:]
        true = {"repeat": at + 1}.get(kind, at)
        before = pair.acceptor.session.tally.pings_in
        stream = b"".join(whole)
        cut = data.draw(st.integers(0, len(stream)))
        for part in (stream[:cut], stream[cut:]):
            pair.acceptor.session.receive_data(part, pair.acceptor.now)
        said = pair.acceptor.session.said
        if said is None:  # a bit in a length: the rest of the stream is inside a frame that never ends
            self.assertEqual(kind, "bit")
        else:
            self.assertIn(said.code, (BINDING_FAILED, 2))
            if kind != "bit":
                self.assertEqual(said.code, BINDING_FAILED)
        self.assertEqual(pair.acceptor.session.tally.pings_in - before, true)


class ServerTests(PairTestCase):
    """Whoever has no key at all."""

    def test_knocking(self) -> None:
        """Learns nothing from what he is told: whatever id he claims, the answers are the same."""
        answers = set()
        for name in ("gateway-7", "gateway-8", "node-1", None):
            end = End(keys={"gateway-7": KEY, "*": SharedKey(b"m" * 32)}, id="node-1")
            answers.add(end.take(hello(id=name, kids=[KEY.kid])))
            answers.add(end.take(f.Confirm(bytes(16), b"").encode()))
        self.assertEqual(len(answers), 2)
