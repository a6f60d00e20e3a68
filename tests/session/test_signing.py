"""The arithmetic of shared keys: the vectors of ``wire.md`` §8, and what never verifies (§5)."""

from __future__ import annotations

import copy
import pickle

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.keys import SharedKey
from heartbeat.session.signing import ACCEPTOR, CONNECTOR, Tags, binding, derived, transcript
from heartbeat.wire import frames as f
from tests.vectors.golden import VECTORS, unhex

KEYS = VECTORS["keys"]
HELLO = {name: f.Hello(KEYS[f"{name}_hello"].encode()).encode() for name in ("connector", "acceptor")}
SIDES = ("without_tls", "tls")
MESSAGES = st.lists(st.binary(max_size=40), min_size=1, max_size=8)


def tags_of(side: str, label: bytes) -> Tags:
    """The tags of one direction, by the vectors' key and HELLOs."""
    exporter = KEYS[side]["exporter"]
    bound = binding(None if exporter is None else unhex(exporter))
    key = SharedKey(unhex(KEYS["key"]))
    return Tags(derived(key, label, transcript(HELLO["connector"], HELLO["acceptor"]), bound))


class VectorTests(SynchronousTestCase):
    """wire.md §8."""

    def test_the_key(self) -> None:
        """kid and PRK."""
        key = SharedKey(unhex(KEYS["key"]))
        self.assertEqual((key.kid, key.prk.hex()), (KEYS["kid"], KEYS["prk"]))

    def test_the_transcript(self) -> None:
        """TH covers both frames as they are on the wire, headers included."""
        for name, frame in HELLO.items():
            self.assertEqual(len(frame), 8 + KEYS[f"{name}_hello_bytes"])
        self.assertEqual(transcript(HELLO["connector"], HELLO["acceptor"]).hex(), KEYS["th"])

    def test_the_keys_of_both_directions(self) -> None:
        """K_c and K_a, with and without TLS."""
        key = SharedKey(unhex(KEYS["key"]))
        for side in SIDES:
            exporter = KEYS[side]["exporter"]
            bound = binding(None if exporter is None else unhex(exporter))
            for label, name in ((CONNECTOR, "k_c"), (ACCEPTOR, "k_a")):
                self.assertEqual(derived(key, label, unhex(KEYS["th"]), bound).hex(), KEYS[side][name])

    def test_the_frames(self) -> None:
        """CONFIRM both ways, a SIGNED ACK, a PING and its SEAL."""
        said = KEYS["acceptor_confirm_json"].encode()
        for side in SIDES:
            connector, acceptor = tags_of(side, CONNECTOR), tags_of(side, ACCEPTOR)
            header = f.CONFIRM + (16).to_bytes(4, "big")
            confirm = f.Confirm(connector.tag(header), b"").encode()
            self.assertEqual(confirm, unhex(KEYS[side]["connector_confirm"]))
            header = f.CONFIRM + (16 + len(said)).to_bytes(4, "big")
            confirm = f.Confirm(acceptor.tag(header + said), said).encode()
            self.assertEqual(confirm, unhex(KEYS[side]["acceptor_confirm_without_json"]) + said)
            signed = KEYS[side]["signed_ack"]
            header = f.SIGNED_ACK + f.Ack(signed["seq"], signed["ts"]).encode()[4:]
            self.assertEqual(acceptor.count, signed["n"])
            self.assertEqual(header + acceptor.tag(header), unhex(signed["hex"]))
        sealed = KEYS["without_tls"]["sealed_ping"]
        connector = tags_of("without_tls", CONNECTOR)
        connector.tag(b"the CONFIRM")
        seal = f.Seal(connector.count, connector.tag(unhex(sealed["ping"]))).encode()
        self.assertEqual(seal, unhex(sealed["seal"]))


class TagTests(SynchronousTestCase):
    """What a receiver takes for a tag, and what not."""

    @given(MESSAGES)
    def test_in_order(self, messages: list[bytes]) -> None:
        """Each tag is true once, in its place."""
        sender, receiver = Tags(b"k" * 32), Tags(b"k" * 32)
        for message in messages:
            tag = sender.tag(message)
            self.assertEqual(len(tag), f.TAG_SIZE)
            self.assertTrue(receiver.match(tag, message))

    @given(MESSAGES, st.data())
    def test_altered(self, messages: list[bytes], data: st.DataObject) -> None:
        """A bit that is another, in the tag or in what it covers, makes it false; so does a byte more or less."""
        sender, receiver = Tags(b"k" * 32), Tags(b"k" * 32)
        for message in messages[:-1]:
            receiver.match(sender.tag(message), message)
        message = messages[-1]
        tag = sender.tag(message)
        whole = bytearray(tag + message)
        bit = data.draw(st.integers(0, 8 * len(whole) - 1))
        whole[bit // 8] ^= 1 << bit % 8
        kind = data.draw(st.sampled_from(("bit", "longer", "shorter tag")))
        if kind == "bit":
            self.assertFalse(receiver.match(bytes(whole[:16]), bytes(whole[16:])))
        elif kind == "longer":
            self.assertFalse(receiver.match(tag, message + b"x"))
        else:
            self.assertFalse(receiver.match(tag[:-1], message))

    @given(MESSAGES, st.randoms(use_true_random=False))
    def test_repeated_and_reordered(self, messages: list[bytes], chance: object) -> None:
        """No tag is true in another place than its own, even over the same bytes."""
        sender = Tags(b"k" * 32)
        tags = [sender.tag(message) for message in messages]
        for place in range(len(messages)):
            for other in range(len(messages)):
                receiver = Tags(b"k" * 32)
                receiver.count = place
                self.assertEqual(receiver.match(tags[other], messages[other]), place == other)

    @given(st.binary(max_size=40), st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32))
    def test_foreign(self, message: bytes, count: int, secret: bytes) -> None:
        """Tags of another key, of the other direction, of another conversation and of another connection are false."""
        key, other = SharedKey(bytes(range(32))), SharedKey(secret)
        digest, bound = transcript(b"one", b"other"), binding(None)
        mine = derived(key, CONNECTOR, digest, bound)
        foreign = [
            derived(key, ACCEPTOR, digest, bound),
            derived(key, CONNECTOR, transcript(b"one", b"another"), bound),
            derived(key, CONNECTOR, transcript(b"oneother", b""), binding(b"\0" * 32)),
            derived(key, CONNECTOR, digest, binding(secret)),
        ]
        if other != key:
            foreign.append(derived(other, CONNECTOR, digest, bound))
        for one in foreign:
            sender, receiver = Tags(one), Tags(mine)
            sender.count = receiver.count = min(count, 2**64 - 2)
            self.assertFalse(receiver.match(sender.tag(message), message))

    def test_secret(self) -> None:
        """Tags are not shown, copied or pickled."""
        tags = Tags(b"k" * 32)
        self.assertEqual(repr(tags), "<Tags>")
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            self.assertRaises(TypeError, attempt, tags)
