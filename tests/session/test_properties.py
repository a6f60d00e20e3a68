"""Any bytes, cut anywhere: the same replies, no other exception, bounded memory, at most one BYE."""

from __future__ import annotations

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.liveness.events import Dead, Left, Refused
from heartbeat.liveness.states import FINAL
from heartbeat.session.parting import Parting
from heartbeat.session.session import MOST_BEHIND
from heartbeat.wire import frames as f
from tests.session.ends import ALL_CAPS, NONCE, End, SessionTestCase, Source, decoded, hello, ping
from tests.wire import strategies as wire

U16 = st.integers(0, 2**16 - 1)
SERVICES = st.lists(st.sampled_from(("auth", "db", "mq")), max_size=3, unique=True).map(tuple)

#: What a peer may say behind its gate, and a little that it may not.
TALK: st.SearchStrategy[bytes] = st.one_of(
    st.builds(ping, U16),
    st.builds(lambda seq: ping(seq) * 3, U16),
    st.builds(lambda seq, ts: f.Ack(seq, ts).encode(), st.integers(0, 3), U16),
    st.builds(
        lambda seq, flags, load: f.Sync(seq, flags, bytes(16), load, 5).encode(),
        U16,
        st.integers(0, 3),
        st.floats(0, 2, width=32),
    ),
    st.builds(lambda seq, flags: f.SyncAck(seq, flags).encode(), st.integers(0, 3), st.integers(0, 1)),
    st.builds(lambda names: f.State(json.dumps({"services": list(names)}).encode()).encode(), SERVICES),
    st.builds(lambda ms: f.Stalled(ms).encode(), st.integers(0, 5000)),
    st.builds(lambda size: f.Data(b"d" * size).encode(), st.integers(0, 9000)),
    st.builds(lambda credit: f.Window(credit).encode(), st.integers(1, 9000)),
    st.builds(lambda code: f.Bye(code, "bye").encode(), st.integers(0, 13)),
)
TALKS = st.lists(TALK, max_size=25)
CONVERSATIONS = TALKS.map(b"".join)


def started(kind: str) -> tuple[End, bytes]:
    """An end and what its peer says first."""
    source = Source(services=("web",), load=0.5)
    if kind == "connector":
        end = End(connector=True, caps=ALL_CAPS, source=source)
        end.session.start(end.now)
        end.out()
        return end, hello(caps=list(ALL_CAPS))
    if kind == "bare":
        return End(source=source), ping(0)
    caps = ALL_CAPS if kind == "wrapped" else ("state", "stalled")
    return End(caps=caps, source=source, min_interval=0.0 if kind == "wrapped" else 0.1), hello(caps=list(caps))


KINDS = ("connector", "bare", "wrapped", "acceptor")


class SplitTests(SessionTestCase):
    """How a conversation is cut into reads makes no difference."""

    def outcome(self, end: End) -> tuple[object, ...]:
        """Everything that can be seen of an end."""
        session, peer, stream = end.session, end.session.peer, end.session.stream
        tally = session.tally
        return (
            end.sent, session.parting, session.said, session.farewell, session.beats.state, session.beats.cause,
            peer.report, peer.svc_hash, peer.id, peer.bare, [type(event) for event in end.log],
            tally.pings_in, tally.acks_in, tally.strays, tally.stalled_in, session.syncs.expects,
            None if stream is None else (stream.credit_in, stream.credit_out, list(stream.inbox)),
        )  # fmt: skip

    @settings(deadline=None, max_examples=150)
    @given(st.sampled_from(KINDS), TALKS, st.data())
    def test_same_replies(self, kind: str, talk: list[bytes], data: st.DataObject) -> None:
        """One read, a frame at a time, or cut anywhere: the same bytes go out, and the same is known afterwards."""
        whole, first = started(kind)
        stream = first + b"".join(talk)
        whole.take(stream)
        offsets = data.draw(wire.cuts(len(stream)))
        eights = [stream[at : at + 8] for at in range(0, len(stream), 8)]
        for parts in ([first, *talk], wire.pieces(stream, offsets), eights):
            end, _ = started(kind)
            for part in parts:
                end.take(part)
            self.assertEqual(self.outcome(end), self.outcome(whole))

    @settings(deadline=None, max_examples=30)
    @given(st.sampled_from(KINDS), st.lists(TALK, max_size=5).map(b"".join))
    def test_byte_by_byte(self, kind: str, talk: bytes) -> None:
        """The smallest reads there are."""
        whole, first = started(kind)
        whole.take(first + talk)
        end, _ = started(kind)
        for byte in first + talk:
            end.take(bytes([byte]))
        self.assertEqual(self.outcome(end), self.outcome(whole))


class AnyBytesTests(SessionTestCase):
    """Bytes of which nothing is known."""

    def feed(self, end: End, parts: list[bytes]) -> None:
        """Read them, and check what must hold after each read."""
        for part in parts:
            waiting = end.session.applicant is not None
            end.take(part)
            stream = end.session.stream
            most = f.BODY_LIMITS[f.HELLO if end.session.gate is not None else f.STATE] + f.HEADER_SIZE
            if waiting:
                most += MOST_BEHIND
            if stream is not None:
                most = max(most, stream.credit_in + f.HEADER_SIZE)
            if end.session.parting is not Parting.STAY:
                most += len(part)  # nothing more is taken, and what stood behind in this read is not looked at
            self.assertLess(end.session.pending, most)
            byes = [frame for frame in decoded(end.sent) if isinstance(frame, f.Bye)]
            self.assertLessEqual(len(byes), 1)
            if byes:
                self.assertIs(end.session.parting, Parting.LINGER)
                self.assertIsInstance(decoded(end.sent)[-1], f.Bye)
                self.assertIn(byes[0].code, (2, 3, 4, 5, 9))
        if end.session.parting is not Parting.STAY:
            self.assertIn(end.session.beats.state, FINAL)
        ends = [event for event in end.log if isinstance(event, (Dead, Left, Refused))]
        self.assertLessEqual(len(ends), 1)

    @settings(deadline=None, max_examples=150)
    @given(st.sampled_from(KINDS), st.booleans(), st.lists(st.binary(max_size=60), max_size=8))
    def test_random(self, kind: str, greeted: bool, parts: list[bytes]) -> None:
        """In any phase: a violation is BYE 2, and nothing is ever raised."""
        end, first = started(kind)
        self.feed(end, [first, *parts] if greeted else parts)

    @settings(deadline=None, max_examples=200)
    @given(st.sampled_from(KINDS), CONVERSATIONS, st.data())
    def test_mutated(self, kind: str, talk: bytes, data: st.DataObject) -> None:
        """A conversation in which some bytes were changed, taken out or put in."""
        end, first = started(kind)
        stream = bytearray(first + talk)
        for _ in range(data.draw(st.integers(1, 6))):
            at = data.draw(st.integers(0, len(stream)))
            stream[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        self.feed(end, wire.pieces(bytes(stream), data.draw(wire.cuts(len(stream)))))

    @settings(deadline=None, max_examples=100)
    @given(st.sampled_from(KINDS), st.lists(wire.frames, max_size=12), st.booleans())
    def test_any_frames(self, kind: str, frames: list[f.Frame], greeted: bool) -> None:
        """Every frame there is, with any content, in any order."""
        end, first = started(kind)
        self.feed(
            end, [first, *(frame.encode() for frame in frames)] if greeted else [frame.encode() for frame in frames]
        )

    def test_long_bodies_that_drip_in(self) -> None:
        """What is kept is never more than one frame that may stand there, and costs no more the longer it takes."""
        end, first = started("acceptor")
        end.take(first)
        end.read(f.Sync(0, 0, bytes(16), 0.0, 1))
        body = json.dumps({"meta": {f"k{number}": "x" * 1000 for number in range(60)}}).encode()
        raw = f.State(body).encode()
        self.feed(end, [raw[at : at + 100] for at in range(0, len(raw), 100)])
        self.assertEqual(len(end.session.peer.meta), 60)

    def test_after_a_violation_nothing_is_kept(self) -> None:
        """A peer that goes on sending is discarded, megabytes of it."""
        end, _ = started("acceptor")
        end.take(b"NOTAFRAME")
        noise = random.Random(5).randbytes(50_000)
        self.feed(end, [noise] * 20)
        self.assertEqual(end.session.pending, 0)

    def test_a_nonce_of_its_own(self) -> None:
        """The peers of these tests are no reflectors."""
        end, first = started("acceptor")
        self.assertNotIn(NONCE.encode(), first)
        end.take(first)
        self.assert_stays(end)
