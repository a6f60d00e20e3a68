"""Sessions with a shared key (``wire.md`` §5): CONFIRM, SIGNED ACK, SEAL, who opens no gate without, rotation."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.errors import ConfigError
from heartbeat.liveness.events import RoundTrip
from heartbeat.liveness.report import Report
from heartbeat.liveness.states import State
from heartbeat.session.channel import Channel
from heartbeat.session.parting import Parting
from heartbeat.session.proving import NO_KEY
from heartbeat.session.sealing import SEAL_SIZE
from heartbeat.wire import frames as f
from tests.session.ends import ALL_CAPS, End, Source, decoded, hello, ping
from tests.session.pairs import EXPORTER, KEY, OTHER_KEY, TLS, Pair, PairTestCase
from tests.session.test_conversations import ConversationCase, Path, two_ends
from tests.vectors.golden import VECTORS, unhex

BOTH_TLS = (TLS, TLS)
OLD_TLS = Channel(True, None)


def types(data: bytes) -> list[type]:
    """The kinds of frames in some bytes."""
    return [type(frame) for frame in decoded(data)]


def members(frame: f.Frame) -> dict[str, Any]:
    """The JSON of a HELLO."""
    assert isinstance(frame, f.Hello)
    found: dict[str, Any] = json.loads(frame.body)
    return found


class GateTests(PairTestCase):
    """HELLO, HELLO, CONFIRM, CONFIRM."""

    def test_the_exchange(self) -> None:
        """Both gates open behind both CONFIRMs; session, token and resumed stand in CONFIRM and in no HELLO."""
        for channels in ((None, None), BOTH_TLS):
            pair = self.pair(channels=channels)
            self.assert_open(pair)
            said = {name: decoded(data) for name, data in pair.said.items()}
            self.assertEqual(types(pair.said["connector"])[:2], [f.Hello, f.Confirm])
            self.assertEqual(types(pair.said["acceptor"])[:2], [f.Hello, f.Confirm])
            self.assertEqual(members(said["connector"][0])["kids"], [KEY.kid])
            answer = members(said["acceptor"][0])
            self.assertEqual(answer["kid"], KEY.kid)
            self.assertEqual({"session", "resume", "resumed"} & set(answer), set())
            first, second = said["connector"][1], said["acceptor"][1]
            assert isinstance(first, f.Confirm)
            assert isinstance(second, f.Confirm)
            self.assertEqual(first.body, b"")
            self.assertEqual(json.loads(second.body), {"session": "s-1", "resumed": False})
            self.assertEqual(pair.connector.session.peer.session, "s-1")
            self.assertEqual(pair.acceptor.session.peer.id, "gateway-7")
            self.assertEqual(pair.acceptor.session.peer.identity, "*")
            self.assertEqual(pair.connector.session.peer.identity, "*")

    def test_a_peer_without_a_name(self) -> None:
        """Its CONFIRM is answered without JSON; it has no session."""
        pair = self.pair(connector={"id": None})
        self.assert_open(pair)
        confirm = decoded(pair.said["acceptor"])[1]
        assert isinstance(confirm, f.Confirm)
        self.assertEqual((confirm.body, pair.connector.session.peer.session), (b"", ""))
        self.assertEqual(pair.acceptor.session.peer.id, "~192.0.2.7:4000")

    def test_nothing_takes_effect_before(self) -> None:
        """Until CONFIRM the acceptor lists nobody, has no applicant, and says nothing but its HELLO."""
        pair = Pair(connector={"keys": (KEY,)}, acceptor={"keys": (KEY,)})
        acceptor = pair.acceptor
        acceptor.session.receive_data(pair.connector.out(), acceptor.now)
        self.assertIsNone(acceptor.session.applicant)
        self.assertEqual(acceptor.session.peer.id, "~192.0.2.7:4000")
        self.assertIsNone(acceptor.session.peer.instance)
        self.assertIsNone(acceptor.session.peer.identity)
        self.assertEqual(types(acceptor.out()), [f.Hello])
        self.assertIsNotNone(acceptor.session.gate)
        self.assertEqual(acceptor.log, [])

    def test_nor_at_the_connector(self) -> None:
        """What the acceptor's HELLO says is nothing before its CONFIRM."""
        pair = Pair(connector={"keys": (KEY,)}, acceptor={"keys": (KEY,)})
        pair.acceptor.session.receive_data(pair.connector.out(), pair.acceptor.now)
        connector = pair.connector
        connector.session.receive_data(pair.acceptor.out(), connector.now)
        self.assertEqual(types(connector.out()), [f.Confirm])
        self.assertEqual((connector.session.peer.id, connector.session.token), ("~192.0.2.7:4000", None))
        self.assertIsNotNone(connector.session.gate)
        self.assertIsNone(connector.session.beats.rtt.smoothed)

    def test_a_token(self) -> None:
        """It is given in CONFIRM, and shown in the next HELLO."""
        pair = Pair(connector={"keys": (KEY,)}, acceptor={"keys": (KEY,)})
        acceptor = pair.acceptor
        acceptor.session.receive_data(pair.connector.out(), acceptor.now)
        pair.connector.session.receive_data(acceptor.out(), acceptor.now)
        acceptor.session.receive_data(pair.connector.out(), acceptor.now)
        acceptor.session.admit(acceptor.now, "s-9", True, "a-token")
        pair.connector.session.receive_data(acceptor.out(), acceptor.now)
        session = pair.connector.session
        self.assertEqual((session.token, session.peer.session), ("a-token", "s-9"))

    def test_another_frame_where_confirm_is_due(self) -> None:
        """Is a violation at its header, at either end, whatever it is."""
        for frame in (ping(1), f.Ack(1, 2).encode(), hello(), f.Seal(1, bytes(16)).encode(), f.Window(1).encode()):
            for speaker in ("connector", "acceptor"):
                pair = self.pair(
                    meddle=lambda name, data, speaker=speaker, frame=frame: (
                        frame if name == speaker and data.startswith(f.CONFIRM) else data
                    )
                )
                victim = pair.acceptor if speaker == "connector" else pair.connector
                assert victim.session.said is not None
                self.assertEqual(victim.session.said.code, 2)
                self.assertIs(victim.session.beats.state, State.REFUSED)

    def test_json_from_a_connector(self) -> None:
        """A connector says no JSON in its CONFIRM: a longer one is refused at its header."""
        pair = self.pair(
            meddle=lambda name, data: f.Confirm(bytes(16), b"{}").encode() if data.startswith(f.CONFIRM) else data
        )
        self.assert_said(pair.acceptor, 2, "CONFIRM")

    def test_wrong_json(self) -> None:
        """A true CONFIRM with a member of the wrong type is a violation that names it."""
        pair = Pair(connector={"keys": (KEY,)}, acceptor={"keys": (KEY,)})
        pair.acceptor.session.receive_data(pair.connector.out(), pair.acceptor.now)
        pair.connector.session.receive_data(pair.acceptor.out(), pair.acceptor.now)
        gate: Any = pair.acceptor.session.gate
        body = b'{"session":5}'
        tag = gate.ours.tag(f.CONFIRM + (16 + len(body)).to_bytes(4, "big") + body)
        pair.connector.take(f.Confirm(tag, body).encode())
        self.assertEqual(pair.connector.session.said.code, 2)  # type: ignore[union-attr]  # it said one
        self.assertIn("CONFIRM: session", pair.connector.session.said.reason)  # type: ignore[union-attr]

    def test_the_handshake_has_its_time(self) -> None:
        """A peer that proves nothing is closed at the handshake timeout."""
        end = End(keys=(KEY,), handshake_timeout=2.0)
        end.read(hello(kids=[KEY.kid]))
        end.run(end.now + 2.1)
        self.assertIs(end.session.beats.state, State.REFUSED)
        self.assertEqual(end.session.beats.cause, "hello_timeout")
        self.assertIs(end.session.parting, Parting.CLOSE)

    def test_a_plain_session_takes_no_keys(self) -> None:
        """Keys that would not be used are an error, not an accident."""
        from heartbeat import Attention, HeartbeatConfig, Session

        config = HeartbeatConfig(keys=(KEY,))
        with self.assertRaises(ConfigError):
            Session(
                config,
                Attention(0.0),
                0.0,
                connector=True,
                nonce="0" * 32,
                draw=lambda: 0.5,
                clocks=None,
                source=None,  # type: ignore[arg-type]
            )


class RequiredTests(PairTestCase):
    """Who opens no gate without a key, and who has proved what."""

    def refused(self, end: End, reason: str = NO_KEY) -> None:
        """It refused the identity of the other."""
        self.assert_said(end, 5, reason)
        self.assertEqual((end.session.beats.state, end.session.beats.cause), (State.REFUSED, "identity_refused"))

    def test_bare_peers(self) -> None:
        """An acceptor with a key takes none."""
        end = End(keys=(KEY,))
        end.read(ping(1))
        self.refused(end, "a HELLO is required here")

    def test_bare_peers_where_none_is_wanted(self) -> None:
        """An acceptor that has keys and wants none proved takes them, unsealed."""
        end = End(keys=(KEY,), auth="none")
        self.assertEqual([type(one) for one in end.read(ping(1))], [f.Ack, f.Sync])

    def test_no_key(self) -> None:
        """A connector without kids, or with none of ours, is refused before anything is said."""
        for members_ in ({}, {"kids": []}, {"kids": [OTHER_KEY.kid]}):
            end = End(keys=(KEY,))
            end.read(hello(**members_))
            self.refused(end)
            self.assertEqual(types(end.sent), [f.Bye])

    def test_where_none_is_wanted(self) -> None:
        """It is let in without; and with a key that we have it is proved."""
        end = End(keys=(KEY,), auth="none")
        (answer,) = end.read(hello())
        self.assertEqual(members(answer)["session"], "s-1")
        self.assertNotIn("kid", members(answer))
        self.assertNotIn("signed-ack", end.session.caps)
        self.assertIsNone(end.session.peer.identity)
        self.assertEqual(end.read(ping(3, 4))[:1], [f.Ack(3, 4)])
        pair = self.pair(acceptor={"auth": "none"})
        self.assert_open(pair)
        self.assertEqual(pair.acceptor.session.peer.identity, "*")

    def test_an_acceptor_without(self) -> None:
        """A connector with a key opens no gate to an acceptor that names none, or one that was not offered."""
        for kid in ({}, {"kid": OTHER_KEY.kid}):
            end = End(connector=True, keys=(KEY,))
            end.session.start(end.now)
            end.read(hello(**kid))
            self.refused(end)

    def test_not_offered(self) -> None:
        """A connector without keys refuses a kid."""
        end = End(connector=True)
        end.session.start(end.now)
        end.read(hello(kid=KEY.kid))
        self.refused(end, "not offered")

    def test_old_tls(self) -> None:
        """A key on a TLS that binds nothing is refused by either end, before a HELLO is said or answered."""
        end = End(connector=True, keys=(KEY,))
        end.session.secured(OLD_TLS)
        end.session.start(end.now)
        self.assertEqual(types(end.out()), [f.Bye])
        self.refused(end, "TLS 1.3")
        end = End(keys=(KEY,))
        end.session.secured(OLD_TLS)
        end.read(hello(kids=[KEY.kid]))
        self.refused(end, "TLS 1.3")

    def test_no_nonce(self) -> None:
        """A key without a nonce is a violation."""
        end = End(keys=(KEY,))
        end.read(hello(kids=[KEY.kid], nonce=None))
        self.assert_said(end, 2, "nonce")

    def test_no_two_ways_of_writing_a_kid(self) -> None:
        """Hex is hex."""
        end = End(keys=(KEY,))
        (answer,) = end.read(hello(kids=[KEY.kid.upper()]))
        self.assertEqual(members(answer)["kid"], KEY.kid)


class RotationTests(PairTestCase):
    """New key to the acceptors, then to the connectors, then the old one away: nobody is refused in between."""

    def test_all_steps(self) -> None:
        """In each step old and new connectors get in, and the preferred key that both have is used."""
        for connector, acceptor, used in (
            ((KEY,), (KEY,), KEY),
            ((KEY,), (OTHER_KEY, KEY), KEY),
            ((OTHER_KEY, KEY), (OTHER_KEY, KEY), OTHER_KEY),
            ((KEY, OTHER_KEY), (OTHER_KEY, KEY), KEY),
            ((OTHER_KEY,), (OTHER_KEY, KEY), OTHER_KEY),
            ((OTHER_KEY, KEY), (OTHER_KEY,), OTHER_KEY),
        ):
            pair = self.pair(connector={"keys": connector}, acceptor={"keys": acceptor})
            self.assert_open(pair)
            self.assertEqual(members(decoded(pair.said["acceptor"])[0])["kid"], used.kid)

    def test_at_most_eight(self) -> None:
        """A connector offers the first eight of its keys, which is what a HELLO may hold."""
        from heartbeat.keys import SharedKey

        keys = tuple(SharedKey(bytes([number]) * 32) for number in range(12))
        pair = self.pair(connector={"keys": keys}, acceptor={"keys": keys[7:]})
        self.assert_open(pair)
        self.assertEqual(members(decoded(pair.said["connector"])[0])["kids"], [key.kid for key in keys[:8]])


class BehindTests(PairTestCase):
    """What is said behind CONFIRM."""

    def test_sealed(self) -> None:
        """Without TLS every frame but SIGNED ACK has its SEAL, and n counts the tags of a direction."""
        pair = self.pair(connector={"source": Source(services=("a",))}, acceptor={"source": Source(services=("b",))})
        pair.run(20.0)
        self.assert_open(pair)
        for name, seals in (("connector", 2), ("acceptor", 2)):
            found = decoded(pair.said[name])[2:]
            kinds = {type(frame) for frame in found}
            self.assertLessEqual({f.Ping, f.SignedAck, f.Sync, f.SyncAck, f.State, f.Seal}, kinds)
            self.assertNotIn(f.Ack, kinds)
            count = 0
            due = False
            for frame in found:
                if isinstance(frame, f.Seal):
                    self.assertTrue(due)
                    due = False
                    count += 1
                    self.assertEqual(frame.count, count)
                else:
                    self.assertFalse(due)
                    due = not isinstance(frame, f.SignedAck)
                    count += isinstance(frame, f.SignedAck)
            self.assertFalse(due)
            self.assertGreater(count, seals)
        self.assertEqual(pair.acceptor.session.peer.services, ("a",))
        self.assertEqual(pair.connector.session.peer.services, ("b",))
        self.assertGreater(pair.connector.session.tally.acks_in, 10)
        self.assertEqual(pair.connector.session.tally.strays, 0)

    def test_on_tls(self) -> None:
        """There is no SEAL; answers are signed."""
        pair = self.pair(channels=BOTH_TLS)
        pair.run(20.0)
        self.assert_open(pair)
        for name in ("connector", "acceptor"):
            kinds = set(types(pair.said[name]))
            self.assertNotIn(f.Seal, kinds)
            self.assertNotIn(f.Ack, kinds)
            self.assertIn(f.SignedAck, kinds)
        self.assertGreater(pair.connector.session.tally.acks_in, 10)

    def test_the_vectors(self) -> None:
        """Ends with the HELLOs of wire.md §8 would say its frames: here the tags of a session are those of its gate."""
        keys = VECTORS["keys"]
        said = {name: f.Hello(keys[f"{name}_hello"].encode()).encode() for name in ("connector", "acceptor")}
        for side, channel in (("without_tls", None), ("tls", Channel(True, EXPORTER))):
            end = End(keys=(KEY,), id="node-1", caps=("state",), nonce="22" * 16)
            if channel is not None:
                end.session.secured(channel)
            end.session.receive_data(said["connector"], end.now)
            end.out()
            gate: Any = end.session.gate
            gate.theirs, gate.ours = gate._tags(KEY, said["connector"], said["acceptor"])
            end.session.receive_data(unhex(keys[side]["connector_confirm"]), end.now)
            end.session.admit(end.now, "s-1", False, "tok")
            body = keys["acceptor_confirm_json"].encode()
            self.assertEqual(end.out(), unhex(keys[side]["acceptor_confirm_without_json"]) + body)
            sealed = keys["without_tls"]["sealed_ping"]
            asked = unhex(sealed["ping"]) + (unhex(sealed["seal"]) if channel is None else b"")
            answer = end.take(asked)
            self.assertEqual(answer[:24], unhex(keys[side]["signed_ack"]["hex"]))

    def test_without_signed_ack(self) -> None:
        """An end that does not sign its answers gets plain ones, sealed where there is no TLS."""
        for channels, seals in (((None, None), True), (BOTH_TLS, False)):
            pair = Pair(connector={"keys": (KEY,)}, acceptor={"keys": (KEY,)}, channels=channels)
            unsigning: Any = pair.acceptor.session.gate
            unsigning.caps = ("state",)
            pair.flow()
            pair.run(5.0)
            self.assert_open(pair)
            self.assertNotIn("signed-ack", pair.connector.session.caps)
            for name in ("connector", "acceptor"):
                kinds = set(types(pair.said[name]))
                self.assertIn(f.Ack, kinds)
                self.assertNotIn(f.SignedAck, kinds)
                self.assertEqual(f.Seal in kinds, seals)
            self.assertGreater(pair.connector.session.tally.acks_in, 5)

    def test_one_read_and_byte_by_byte(self) -> None:
        """However the bytes are cut, the same comes of it."""
        for size in (1, 7, 31, 32, 33, 4096):
            cut: dict[str, bytes] = {"connector": b"", "acceptor": b""}
            pair = Pair(connector={"keys": (KEY,)}, acceptor={"keys": (KEY,)})

            def slowly(name: str, data: bytes, pair: Pair = pair, size: int = size) -> bytes:
                hearer = pair.acceptor if name == "connector" else pair.connector
                for at in range(0, len(data), size):
                    hearer.session.receive_data(data[at : at + size], hearer.now)
                    hearer.admit()
                return b""

            pair.meddle = slowly
            pair.run(5.0)
            self.assert_open(pair)
            self.assertGreater(pair.connector.session.tally.acks_in, 3, cut)
            self.assertEqual(pair.connector.session.pending, 0)

    def test_a_frame_waits_for_its_seal(self) -> None:
        """It takes effect, and is a sign of life, only then."""
        pair = self.pair()
        pair.run(2.0)
        end = pair.acceptor
        number = pair.connector.session.ping(pair.connector.now)
        self.assertGreaterEqual(number, 0)
        data = pair.connector.out()
        end.to(end.now + 0.3)
        heard = end.session.liveness.heard_at
        before = end.session.tally.pings_in
        self.assertEqual(end.take(data[:8]), b"")
        self.assertEqual((end.session.liveness.heard_at, end.session.tally.pings_in), (heard, before))
        self.assertEqual(end.session.pending, 8)
        self.assertEqual(types(end.take(data[8:])), [f.SignedAck])
        self.assertEqual((end.session.liveness.heard_at, end.session.tally.pings_in), (end.now, before + 1))
        self.assertEqual(end.session.pending, 0)

    def test_round_trips(self) -> None:
        """A SIGNED ACK is a round trip as an ACK is."""
        for channels in ((None, None), BOTH_TLS):
            pair = self.pair(channels=channels)
            pair.connector.session.beats.wants_round_trips = True
            pair.run(5.0)
            self.assertGreater(len(pair.connector.events(RoundTrip)), 3)
            self.assertIsNotNone(pair.connector.session.beats.rtt.smoothed)

    def test_data(self) -> None:
        """Application bytes come through, sealed; no batch is larger than its room."""
        pair = self.pair(connector={"caps": ALL_CAPS}, acceptor={"caps": ALL_CAPS})
        self.assert_open(pair)
        ours, theirs = pair.connector.session.stream, pair.acceptor.session.stream
        assert ours is not None
        assert theirs is not None
        ours.send(b"x" * 100_000)
        ours.end()
        got = b""
        while ours.queued or not theirs.ended_in:
            data = ours.data_to_send(48 * 1024)
            self.assertLessEqual(len(data), 48 * 1024)
            self.assertEqual(types(data)[1::2], [f.Seal] * (len(types(data)) // 2))
            pair.acceptor.session.receive_data(data, pair.acceptor.now)
            while part := theirs.take():
                got += part
                pair.acceptor.session.reply(theirs.ate(len(part)))
            pair.flow()
        self.assertEqual(len(got), 100_000)
        self.assert_open(pair)

    def test_data_on_tls(self) -> None:
        """There it is as without a key."""
        pair = self.pair(connector={"caps": ALL_CAPS}, acceptor={"caps": ALL_CAPS}, channels=BOTH_TLS)
        stream = pair.connector.session.stream
        assert stream is not None
        stream.send(b"abc")
        self.assertEqual(stream.data_to_send(1000), f.Data(b"abc").encode())

    def test_bye(self) -> None:
        """BYE is sealed, too, and believed with its SEAL only."""
        pair = self.pair()
        pair.connector.session.bye(0, "so long", pair.connector.now)
        data = pair.connector.out()
        self.assertEqual(types(data)[-2:], [f.Bye, f.Seal])
        pair.acceptor.take(data[:-1])
        self.assertIsNone(pair.acceptor.session.farewell)
        pair.acceptor.take(data[-1:])
        assert pair.acceptor.session.farewell is not None
        self.assertEqual(pair.acceptor.session.farewell.reason, "so long")
        self.assertIs(pair.acceptor.session.beats.state, State.LEFT)

    def test_a_reason_with_controls(self) -> None:
        """The SEAL is over the bytes on the wire, not over what is shown of them."""
        pair = self.pair()
        connector: Any = pair.connector.session
        raw = f.BYE + b"\0\0\0\x05a\x1bb\nc"
        connector._out += raw
        pair.flow()
        assert pair.acceptor.session.farewell is not None
        self.assertEqual(pair.acceptor.session.farewell.reason, "abc")

    def test_refused_behind_the_proof(self) -> None:
        """An acceptor that refuses a proved peer has not said CONFIRM: its BYE has no SEAL, and is understood."""
        pair = Pair(connector={"keys": (KEY,)}, acceptor={"keys": (KEY,)})
        acceptor, connector = pair.acceptor, pair.connector
        acceptor.session.receive_data(connector.out(), acceptor.now)
        connector.session.receive_data(acceptor.out(), connector.now)
        acceptor.session.receive_data(connector.out(), acceptor.now)
        self.assertIsNotNone(acceptor.session.applicant)
        acceptor.session.bye(6, "this id is connected", acceptor.now)
        data = acceptor.out()
        self.assertEqual(types(data), [f.Bye])
        connector.take(data)
        self.assertEqual(connector.session.beats.cause, "id_in_use")

    def test_quick_and_slow(self) -> None:
        """A session whose detector forbids the quick way checks the same tags."""
        for channels in ((None, None), BOTH_TLS):
            pair = self.pair(channels=channels, acceptor={"detector": "phi"}, connector={"detector": "2w"})
            pair.run(10.0)
            self.assert_open(pair)
            self.assertGreater(pair.connector.session.tally.acks_in, 5)

    def test_an_unsigned_ack(self) -> None:
        """Where answers are signed an ACK that is not is a violation; with a SEAL, without, and on TLS."""
        for channels in ((None, None), BOTH_TLS):
            pair = self.pair(channels=channels)
            pair.run(2.0)
            pair.connector.session.ping(pair.connector.now)
            pair.connector.out()
            pair.connector.take(f.Ack(0, 0).encode())
            self.assertEqual(pair.connector.session.said.code, 2)  # type: ignore[union-attr]  # it said one

    def test_a_sealed_beat_is_small(self) -> None:
        """A PING with its SEAL is 40 bytes less 8: what the quick way takes whole."""
        self.assertEqual(SEAL_SIZE, 24)
        pair = self.pair()
        pair.connector.session.ping(pair.connector.now)
        self.assertEqual(len(pair.connector.out()), 32)


class ProofTests(PairTestCase):
    """wire.md §4, "Identity"."""

    def listed(self, **ids: Any) -> dict[str, Any]:
        return {"acceptor": {"keys": {name.replace("_", "-"): key for name, key in ids.items()}}}

    def test_a_key_of_its_own(self) -> None:
        """It proves the id that it is listed under."""
        pair = self.pair(**self.listed(gateway_7=KEY))
        self.assert_open(pair)
        self.assertEqual(pair.acceptor.session.peer.identity, "gateway-7")

    def test_another_id(self) -> None:
        """Than the proved one is refused, behind the proof."""
        pair = self.pair(**self.listed(gateway_8=KEY))
        self.assert_said(pair.acceptor, 5, "another id")
        self.assertEqual(types(pair.said["acceptor"]), [f.Hello, f.Bye])
        self.assertEqual(pair.connector.session.beats.cause, "identity_refused")

    def test_a_member_cannot_have_an_id_with_a_key(self) -> None:
        """An id that has a key is not given to whoever proves membership, and the answer is the same until then."""
        keys = {"*": KEY, "gateway-7": OTHER_KEY}
        pair = self.pair(acceptor={"keys": keys})
        self.assert_said(pair.acceptor, 5, "only given with its key")
        other = self.pair(acceptor={"keys": keys}, connector={"id": "gateway-9"})
        self.assert_open(other)
        first, second = (members(decoded(one.said["acceptor"])[0]) for one in (pair, other))
        self.assertEqual(first, second)

    def test_nor_without_any_key(self) -> None:
        """Even where no key is wanted, and to no certificate."""
        for channel in (None, Channel(True, EXPORTER, ("gateway-7",))):
            end = End(keys={"gateway-7": KEY}, auth="none")
            if channel is not None:
                end.session.secured(channel)
            end.read(hello(id="gateway-7"))
            self.assert_said(end, 5, "only given with its key")

    def test_a_key_for_several(self) -> None:
        """Proves each of them, and no other."""
        keys = {"gateway-7": [KEY, OTHER_KEY], "gateway-8": KEY}
        for name, opens in (("gateway-7", True), ("gateway-8", True), ("gateway-9", False)):
            pair = self.pair(acceptor={"keys": keys}, connector={"id": name})
            self.assertEqual(pair.open, opens, name)
        pair = self.pair(acceptor={"keys": keys}, connector={"id": None})
        self.assert_open(pair)
        self.assertEqual(pair.acceptor.session.peer.identity, "gateway-7")

    def test_a_star_is_no_id(self) -> None:
        """Whoever calls itself ``*`` has proved membership, and not that."""
        pair = self.pair(connector={"id": "*"})
        self.assert_open(pair)
        self.assertEqual((pair.acceptor.session.peer.id, pair.acceptor.session.peer.identity), ("*", "*"))

    def test_my_own_id(self) -> None:
        """Where a key is used nobody is let in under the acceptor's own id."""
        pair = self.pair(connector={"id": "node-1"})
        self.assert_said(pair.acceptor, 5, "my own id")

    def test_certificates(self) -> None:
        """A name in a verified client certificate proves that id; another one is refused."""
        channel = Channel(True, EXPORTER, ("a.example", "spiffe://b"))
        for name, identity in (("a.example", "a.example"), ("spiffe://b", "spiffe://b"), (None, "a.example")):
            end = End(auth="mtls")
            end.session.secured(channel)
            end.read(hello(id=name))
            self.assert_stays(end)
            self.assertEqual(end.session.peer.identity, identity)
        for name in ("b", "A.example", "*"):
            end = End()
            end.session.secured(channel)
            end.read(hello(id=name))
            self.assert_said(end, 5, "another id")

    def test_a_certificate_is_wanted(self) -> None:
        """Without one nobody comes in: no HELLO, with whatever key, and no bare peer; with one both may."""
        for settings_, first in (
            ({"auth": "mtls"}, hello()),
            ({"auth": "mtls"}, ping(1)),
            ({"auth": "key+mtls", "keys": (KEY,)}, hello(kids=[KEY.kid])),
        ):
            end = End(**settings_)
            end.session.secured(TLS)
            end.read(first)
            self.assert_said(end, 5, "client certificate")
        end = End(auth="mtls")
        end.session.secured(Channel(True, None, ("a.example",)))
        end.read(ping(1))
        self.assert_stays(end)
        peer = end.session.peer
        self.assertEqual((peer.id, peer.identity, peer.bare), ("a.example", "a.example", True))

    def test_names_and_channel_come_in_any_order(self) -> None:
        """The shell may tell the names by themselves, before or after the rest."""
        for order in ((0, 1), (1, 0)):
            end = End(auth="mtls")
            for step in order:
                if step:
                    end.session.certified = ("peer-1",)
                else:
                    end.session.secured(TLS)
            assert end.session.gate is not None
            self.assertEqual(end.session.gate.channel, Channel(True, EXPORTER, ("peer-1",)))
            end.read(hello())
            self.assertEqual(end.session.peer.identity, "peer-1")
            end.session.certified = ("late",)
            self.assertEqual(end.session.certified, ())

    def test_both(self) -> None:
        """With key+mtls both are proved, and both must be for the id."""
        named = Channel(True, EXPORTER, ("gateway-7",))
        pair = self.pair(acceptor={"auth": "key+mtls"}, channels=(TLS, named))
        self.assert_open(pair)
        self.assertEqual(pair.acceptor.session.peer.identity, "gateway-7")
        other = Channel(True, EXPORTER, ("gateway-8",))
        pair = self.pair(acceptor={"auth": "key+mtls"}, channels=(TLS, other))
        self.assert_said(pair.acceptor, 5, "another id")


class NonceTests(PairTestCase):
    """A recorded conversation is worth nothing."""

    @settings(max_examples=20)
    @given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
    def test_other_nonces_other_tags(self, one: bytes, other: bytes) -> None:
        """Two conversations that differ in one nonce have no tag in common."""
        first = self.pair(connector={"nonce": one.hex()})
        second = self.pair(connector={"nonce": other.hex()})
        tags = [
            {frame.tag for data in pair.said.values() for frame in decoded(data) if hasattr(frame, "tag")}
            for pair in (first, second)
        ]
        if one != other:
            self.assertEqual(tags[0] & tags[1], set())
        self.assertEqual(len(tags[0]), len(tags[1]))


class StateTests(PairTestCase):
    """Phase two under a key."""

    def test_a_large_state(self) -> None:
        """A STATE of many services is sealed as one frame and arrives."""
        services = tuple(f"service-{number}" for number in range(2000))
        source = Source()
        source.told = Report(services=services)
        pair = self.pair(connector={"source": source})
        pair.run(3.0)
        self.assert_open(pair)
        self.assertEqual(pair.acceptor.session.peer.services, services)


class LongTests(ConversationCase):
    """Two honest ends with a key, on paths that cut and delay what they say, for long."""

    def test_paths(self) -> None:
        """Nobody dies, nothing is false, and nothing is lost, on slow paths and through stalls of either end."""
        for seed, (delay, jitter, stall) in enumerate(((0.001, 0.001, 0.0), (0.3, 0.3, 0.0), (0.02, 0.02, 0.05))):
            for channel in (None, TLS):
                ends = two_ends(multiplier=8, keys=(KEY,))
                for end in ends:
                    if channel is not None:
                        end.session.secured(channel)
                path = Path(seed, *ends, delay=delay, jitter=jitter)
                path.run(120.0, stall=stall)
                self.both_well(path)
                self.assertGreater(path.ends[0].session.tally.acks_in, 100)
                self.assertEqual(path.ends[0].session.peer.services, ("b", "c"))
                self.assertEqual(path.ends[1].session.peer.services, ("a",))
