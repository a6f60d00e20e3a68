"""Phase two (``wire.md`` §3): when SYNC is sent, what SYNC-ACK asks for, and when STATE may come."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.errors import PeerViolation
from heartbeat.liveness.events import Alive, Stuck, Synced
from heartbeat.liveness.report import Report
from heartbeat.liveness.states import State
from heartbeat.session.sync import Syncs, parse_state, service_hash
from heartbeat.wire import frames as f
from tests.session.ends import START, End, SessionTestCase, Source, decoded, hello, ping
from tests.vectors.golden import VECTORS

NO_SERVICES = bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e")
AUTH = service_hash(("auth",))


def sync(seq: int, services: tuple[str, ...] = (), flags: int = 0, load: float = 0.5, uptime: int = 60) -> f.Sync:
    """A SYNC of the peer."""
    return f.Sync(seq, flags, service_hash(services), load, uptime)


def state(**members: Any) -> f.State:
    """A STATE of the peer."""
    return f.State(json.dumps(members).encode())


def of(kind: type, sent: list[f.Frame]) -> list[Any]:
    """The frames of one kind."""
    return [frame for frame in sent if isinstance(frame, kind)]


class HashTests(SessionTestCase):
    """:func:`service_hash`."""

    def test_golden(self) -> None:
        """The digests of ``wire.md`` §8."""
        self.assertTrue(VECTORS["digests"])
        self.assertEqual(service_hash(("auth", "billing")).hex(), "3513cc171813c8dc046d68b1f2cba999")
        self.assertEqual(service_hash(()), NO_SERVICES)

    @settings(deadline=None)
    @given(st.lists(st.text(min_size=1, max_size=10).filter(lambda one: one.isprintable()), max_size=8))
    def test_order_and_repetition_do_not_matter(self, names: list[str]) -> None:
        """Sorted by their bytes, without duplicates, each followed by a newline."""
        expected = b"".join(name + b"\n" for name in sorted({name.encode() for name in names}))
        self.assertEqual(service_hash(tuple(names)), hashlib.md5(expected).digest())
        self.assertEqual(service_hash(tuple(reversed(names)) + tuple(names)), service_hash(tuple(names)))


class SendingTests(SessionTestCase):
    """When we send SYNC."""

    def answer(self, end: End) -> list[f.Frame]:
        """Answer the newest PING of ours; what is sent in return."""
        asked = of(f.Ping, decoded(end.sent))[-1]
        return end.read(f.Ack(asked.seq, asked.ts))

    def test_an_end_that_pings(self) -> None:
        """After the first ACK that matched; then not again before the sync interval has passed."""
        end = self.connector(sync_interval=2.0)
        end.run(START)
        self.assertEqual([type(one) for one in self.answer(end)], [f.Sync])
        syncs = []
        while end.now < START + 9.0:
            end.run(end.now + 0.5)
            syncs += of(f.Sync, self.answer(end))
        # The larger of both ends' intervals, 5 s of the peer's, and then the next success.
        self.assertEqual(len(syncs), 1)
        self.assertEqual(syncs[0].seq, 1)

    def test_an_end_that_answers(self) -> None:
        """Directly behind an ACK that it sends."""
        end = self.acceptor({"sync_ms": 1000}, sync_interval=1.0)
        self.assertEqual([type(one) for one in end.read(ping(1))], [f.Ack, f.Sync])
        self.assertEqual([type(one) for one in end.read(ping(2), ping(3))], [f.Ack, f.Ack])
        end.to(START + 1.0)
        self.assertEqual([type(one) for one in end.read(ping(4), ping(5))], [f.Ack, f.Sync, f.Ack])

    def test_only_a_success_calls_for_one(self) -> None:
        """Neither time alone, nor a stray ACK, nor any other frame."""
        end = self.acceptor()
        end.to(START + 20.0)
        self.assertEqual(of(f.Sync, end.read(f.Ack(77, 1), sync(0), f.SyncAck(9, 0), f.Stalled(1))), [])
        self.assertEqual(of(f.Sync, end.run(START + 20.4)), [])
        self.assertEqual(len(of(f.Sync, end.read(ping(1)))), 1)

    def test_the_first_one_hot_or_not(self) -> None:
        """The quick way of one PING per read and the decoder's way do the same."""
        hot, cold = self.acceptor(), self.acceptor()
        for seq in range(50):
            for end in (hot, cold):
                end.to(START + seq * 0.4)
            one = hot.take(ping(seq))
            two = cold.take(ping(seq)[:3]) + cold.take(ping(seq)[3:])
            self.assertEqual(one, two)

    def test_what_it_says(self) -> None:
        """The account as it is now: digest, load, uptime, STUCK."""
        source = Source(load=1.75, uptime=3600, stuck=True, services=("billing", "auth"))
        end = self.acceptor(source=source)
        (said,) = of(f.Sync, end.read(ping(1)))
        self.assertEqual(said, f.Sync(0, f.STUCK, service_hash(("auth", "billing")), 1.75, 3600))

    def test_an_account_that_makes_no_sense(self) -> None:
        """A load that is no number is none, one beyond single precision the largest, a negative uptime 0."""
        for load, uptime, said_load, said_uptime in (
            (math.nan, 5, 0.0, 5),
            (-1.0, -5, 0.0, 0),
            (math.inf, 2**40, 3.4028234663852886e38, 2**32 - 1),
            (1e300, 1, 3.4028234663852886e38, 1),
        ):
            end = self.acceptor(source=Source(load=load, uptime=uptime))
            (said,) = of(f.Sync, end.read(ping(1)))
            self.assertEqual((said.load, said.uptime), (said_load, said_uptime))

    def test_its_numbers_wrap(self) -> None:
        """They are a counter of their own, of 16 bits."""
        syncs = Syncs(Source())
        seqs = [decoded(syncs.compose(START))[0].seq for _ in range(65_538)]  # type: ignore[union-attr]  # it is a SYNC
        self.assertEqual(seqs[:2] + seqs[-3:], [0, 1, 65_535, 0, 1])

    @settings(deadline=None)
    @given(st.floats(allow_nan=True, allow_infinity=True), st.integers())
    def test_any_number_can_be_said(self, load: float, uptime: int) -> None:
        """A source of the application never breaks a connection."""
        (said,) = decoded(Syncs(Source(load=load, uptime=uptime)).compose(START))
        assert isinstance(said, f.Sync)
        self.assertGreaterEqual(said.load, 0.0)


class AnsweredTests(SessionTestCase):
    """SYNC-ACK and what it asks for."""

    def asked(self, **source: Any) -> End:
        """An end whose first SYNC is out."""
        end = self.acceptor(source=Source(**source))
        self.assertEqual(len(of(f.Sync, end.read(ping(1)))), 1)
        return end

    def test_state_is_sent_when_asked_for(self) -> None:
        """Once, with everything that the account has."""
        end = self.asked(services=("auth",), meta={"zone": "é"}, progress=5, cert_expires=60, lag_p99_ms=3.1)
        (sent,) = end.read(f.SyncAck(0, f.WANT_STATE))
        assert isinstance(sent, f.State)
        self.assertEqual(
            json.loads(sent.body),
            {"services": ["auth"], "meta": {"zone": "é"}, "progress": 5, "cert_expires_s": 60, "lag_p99_ms": 3.1},
        )

    def test_a_renewed_certificate_is_news(self) -> None:
        """CHANGED says so when a certificate expires at another time than was told; that it has come nearer is none."""
        end = self.asked(cert_expires=1000)
        source = end.session.syncs._source
        end.read(f.SyncAck(0, f.WANT_STATE))
        for number, (left, changed) in enumerate(((995, False), (988, False), (90_000, True), (89_995, True)), 1):
            source.told = Report(cert_expires=left)
            end.to(START + 5.0 * number)
            (said,) = of(f.Sync, end.read(ping(number + 1)))
            self.assertEqual(bool(said.flags & f.CHANGED), changed, left)
        end.read(f.SyncAck(4, f.WANT_STATE))
        source.told = Report(cert_expires=89_990)
        end.to(START + 25.0)
        (said,) = of(f.Sync, end.read(ping(9)))
        self.assertFalse(said.flags & f.CHANGED)

    def test_withheld(self) -> None:
        """Who is to get no state gets no SYNC, however often it asks or answers; its own are answered as ever."""
        end = self.acceptor(source=Source(services=("a",)))
        end.session.syncs.withhold()
        for number in range(1, 5):
            end.to(START + 6.0 * number)
            self.assertEqual(of(f.Sync, end.read(ping(number))), [])
        self.assertEqual([type(one) for one in end.read(f.Sync(0, 0, bytes(16), 0.5, 7))], [f.SyncAck])
        self.assertEqual(end.read(f.SyncAck(0, f.WANT_STATE)), [])
        self.assert_stays(end)

    def test_not_when_not_asked_for(self) -> None:
        """A plain SYNC-ACK, or one with flags that nobody knows."""
        end = self.asked()
        self.assertEqual(end.read(f.SyncAck(0, 0xFFFE)), [])

    def test_once_for_each_sync(self) -> None:
        """The same SYNC-ACK again is counted and ignored: a second STATE would be unasked for."""
        end = self.asked(services=("a",) * 3)
        self.assertEqual(len(end.read(f.SyncAck(0, f.WANT_STATE))), 1)
        strays = end.session.tally.strays
        self.assertEqual(end.read(*[f.SyncAck(0, f.WANT_STATE)] * 100), [])
        self.assertEqual(end.session.tally.strays, strays + 100)

    def test_for_any_but_the_newest(self) -> None:
        """Counted and ignored, one for a SYNC that never was as well."""
        end = self.asked()
        end.to(START + 5.0)
        end.read(ping(2))
        self.assertEqual(end.read(f.SyncAck(0, f.WANT_STATE), f.SyncAck(2, f.WANT_STATE)), [])
        self.assertEqual(end.session.tally.strays, 2)
        self.assertEqual(len(end.read(f.SyncAck(1, f.WANT_STATE))), 1)

    def test_before_any_sync(self) -> None:
        """There is nothing that it could answer."""
        end = self.acceptor()
        self.assertEqual(end.read(f.SyncAck(65_535, f.WANT_STATE), f.SyncAck(0, f.WANT_STATE)), [])
        self.assert_stays(end)

    def test_without_the_capability(self) -> None:
        """A peer that has not agreed on STATE gets none."""
        end = self.acceptor({"caps": []}, source=Source(services=("a",)))
        end.read(ping(1))
        self.assertEqual(end.read(f.SyncAck(0, f.WANT_STATE)), [])

    def test_more_than_a_state_holds(self) -> None:
        """Better an empty account than a peer that asks for ever."""
        end = self.asked(services=tuple(f"{number:0250}" for number in range(400)))
        (sent,) = end.read(f.SyncAck(0, f.WANT_STATE))
        assert isinstance(sent, f.State)
        self.assertEqual(json.loads(sent.body), {"services": [], "meta": {}})
        self.assert_stays(end)


class ChangedTests(SessionTestCase):
    """The flag CHANGED: our STATE differs from the last one that we sent."""

    def next_flags(self, end: End) -> int:
        """The flags of our next SYNC."""
        end.to(end.now + 5.0)
        (said,) = of(f.Sync, end.read(ping(9)))
        flags: int = said.flags
        return flags

    def test_until_it_was_sent_again(self) -> None:
        """Set from the change on, and gone when the new STATE was sent."""
        source = Source(services=("a",), meta={"k": "1"})
        end = self.acceptor(source=source)
        self.assertEqual(self.next_flags(end), 0)  # no STATE was sent yet: there is nothing that differs
        end.read(f.SyncAck(0, f.WANT_STATE))
        self.assertEqual(self.next_flags(end), 0)
        source.told = Report(services=("a",), meta={"k": "2"})
        self.assertEqual(self.next_flags(end), f.CHANGED)
        self.assertEqual(self.next_flags(end), f.CHANGED)
        end.read(f.SyncAck(3, f.WANT_STATE))
        self.assertEqual(self.next_flags(end), 0)

    def test_not_for_what_moves_all_the_time(self) -> None:
        """``progress`` and ``lag_p99_ms`` are no change."""
        source = Source(services=("a",), progress=1, lag_p99_ms=1.0)
        end = self.acceptor(source=source)
        end.read(ping(1))
        end.read(f.SyncAck(0, f.WANT_STATE))
        source.told = Report(services=("a",), progress=2, lag_p99_ms=9.0, load=2.0, uptime=77)
        self.assertEqual(self.next_flags(end), 0)
        source.told = Report(services=("b",), progress=2)
        self.assertEqual(self.next_flags(end), f.CHANGED)

    def test_only_with_the_capability(self) -> None:
        """Without ``state`` in force the flag is not sent."""
        source = Source(services=("a",))
        end = self.acceptor({"caps": ["stalled"]}, source=source)
        end.read(ping(1))
        end.read(f.SyncAck(0, f.WANT_STATE))
        source.told = Report(services=("b",))
        self.assertEqual(self.next_flags(end), 0)

    def test_a_resumed_session(self) -> None:
        """What was last said in it is not known any more: said as changed until a STATE was sent."""
        end = self.connector({"session": "s", "resumed": True}, source=Source(services=("a",)))
        self.assertEqual(self.next_flags(end), f.CHANGED)
        end.read(f.SyncAck(0, f.WANT_STATE))
        self.assertEqual(self.next_flags(end), 0)
        fresh = self.connector({"session": "s", "resumed": False}, source=Source(services=("a",)))
        self.assertEqual(self.next_flags(fresh), 0)


class ReceivingTests(SessionTestCase):
    """The peer's SYNC and STATE."""

    def test_every_sync_is_answered_at_once(self) -> None:
        """An early one and a repeated one, too; what came last holds."""
        end = self.acceptor()
        answers = end.read(sync(5, load=0.25, uptime=10), sync(5, load=0.75, uptime=11), sync(2, load=0.5, uptime=12))
        self.assertEqual([(one.seq, type(one)) for one in answers], [(5, f.SyncAck), (5, f.SyncAck), (2, f.SyncAck)])  # type: ignore[union-attr]  # they are SYNC-ACKs
        self.assertEqual((end.session.peer.load, end.session.peer.uptime), (0.5, 12))
        self.assertEqual(end.session.peer.svc_hash, NO_SERVICES)

    def test_state_is_wanted_until_it_is_held(self) -> None:
        """A digest that is not held, or CHANGED, asks for it; one that is held does not."""
        end = self.acceptor()
        self.assertEqual(end.read(sync(0, ("auth",))), [f.SyncAck(0, f.WANT_STATE)])
        self.assertEqual(end.read(sync(1, ("auth",))), [f.SyncAck(1, f.WANT_STATE)])
        self.assertEqual(end.read(state(services=["auth"], meta={"k": "v"}, progress=3)), [])
        self.assertEqual((end.session.peer.services, end.session.peer.meta), (("auth",), {"k": "v"}))
        self.assertEqual(end.read(sync(2, ("auth",))), [f.SyncAck(2, 0)])
        self.assertEqual(end.read(sync(3, ("auth",), f.CHANGED)), [f.SyncAck(3, f.WANT_STATE)])
        end.read(state(services=["auth"]))
        self.assertEqual(dict(end.session.peer.meta), {})
        self.assertEqual(end.read(sync(4, ("auth", "db"))), [f.SyncAck(4, f.WANT_STATE)])

    def test_one_that_does_not_hash_to_what_was_said(self) -> None:
        """Is kept, and not asked for again until the digest or CHANGED says something new."""
        end = self.acceptor()
        end.read(sync(0, ("auth",)), state(services=["mail"]))
        self.assertEqual(end.session.peer.services, ("mail",))
        self.assertEqual(end.session.peer.svc_hash, AUTH)
        self.assertEqual(end.read(sync(1, ("auth",))), [f.SyncAck(1, 0)])
        self.assertEqual(end.read(sync(2, ("mail",))), [f.SyncAck(2, f.WANT_STATE)])
        end.read(state(services=["mail"]))
        self.assertEqual(end.read(sync(3, ("mail",), f.CHANGED)), [f.SyncAck(3, f.WANT_STATE)])

    def test_unasked_for_it_is_a_violation(self) -> None:
        """Before any SYNC, a second time, and without the capability."""
        for before in ((), (sync(0), state()), (sync(0), state(), sync(1))):
            end = self.acceptor()
            end.read(*before)
            end.read(state(services=["x"]))
            self.assert_said(end, 2, "STATE")
        end = self.acceptor({"caps": []})
        self.assertEqual(end.read(sync(0, ("auth",), f.CHANGED)), [f.SyncAck(0, 0)])
        end.read(state())
        self.assert_said(end, 2, "STATE")

    def test_the_flags_that_nobody_knows(self) -> None:
        """Are ignored."""
        end = self.acceptor()
        self.assertEqual(end.read(sync(0, (), 0xFFFF & ~f.STUCK)), [f.SyncAck(0, f.WANT_STATE)])
        self.assertIs(end.session.beats.state, State.ALIVE)

    def test_stuck(self) -> None:
        """Its work stands still while its loop answers: STUCK, and back; each change is told with its account."""
        end = self.acceptor()
        end.read(sync(0))
        end.read(sync(1, flags=f.STUCK))
        self.assertIs(end.session.beats.state, State.STUCK)
        end.read(ping(1), sync(2, flags=f.STUCK))
        self.assertIs(end.session.beats.state, State.STUCK)
        end.read(sync(3))
        self.assertIs(end.session.beats.state, State.ALIVE)
        kinds = [type(event) for event in end.log]
        self.assertEqual(kinds, [Alive, Synced, Stuck, Synced, Alive, Synced])
        self.assertTrue(end.events(Synced)[1].report.stuck)

    def test_events(self) -> None:
        """The first SYNC, a STATE and a change of STUCK are told; a beat of phase two is not."""
        end = self.acceptor()
        end.read(sync(0, load=0.1))
        end.read(sync(1, load=0.2))
        end.read(state(services=["a"]))
        end.read(sync(2, load=0.3))
        told = end.events(Synced)
        self.assertEqual([event.report.services for event in told], [(), ("a",)])
        self.assertAlmostEqual(told[1].report.load, 0.2, places=6)

    def test_state_leaves_the_numbers_and_sync_the_rest(self) -> None:
        """Load, uptime and STUCK come with SYNC, all else with STATE."""
        end = self.acceptor()
        end.read(sync(0, ("a",), f.STUCK, load=0.5, uptime=9))
        end.read(state(services=["a"], meta={"k": "v"}, progress=1, cert_expires_s=50, lag_p99_ms=2))
        end.read(sync(1, ("a",), 0, load=0.75, uptime=10))
        self.assertEqual(
            end.session.peer.report,
            Report(
                load=0.75,
                uptime=10,
                stuck=False,
                services=("a",),
                meta={"k": "v"},
                progress=1,
                cert_expires=50,
                lag_p99_ms=2.0,
            ),
        )

    def test_a_negative_zero(self) -> None:
        """-0.0 is 0.0."""
        end = self.acceptor()
        end.read(f.Sync(0, 0, NO_SERVICES, 0.0, 1).encode().replace(b"\0\0\0\0\0\0\0\1", b"\x80\0\0\0\0\0\0\1"))
        self.assertEqual(math.copysign(1.0, end.session.peer.load), 1.0)

    def test_alone_in_a_read_or_not(self) -> None:
        """The quick way of one SYNC per read and the decoder's way do the same, whatever stands in it."""
        known: list[f.Frame] = [
            sync(0, ("a",)), state(services=["a"]), sync(1, ("a",), load=0.1), sync(1, ("a",), load=0.2, uptime=61),
            sync(2, ("a",), f.STUCK), sync(3, ("a",), f.STUCK | 0xFFF0), sync(4, ("a",)), sync(5, ("a",), f.CHANGED),
            state(services=["a"]), sync(6, ("b",)), state(services=["x"]), sync(7, ("b",), load=1.5), sync(8, ()),
        ]  # fmt: skip
        none = service_hash(())
        wrong = [struct.pack(">4sHH16sfI", f.SYNC, 9, 0, none, load, 9) for load in (-0.0, math.nan)]
        ends = [self.acceptor(), self.acceptor()]
        for one in [*(frame.encode() for frame in known), *wrong]:
            quick = ends[0].take(one)
            slow = ends[1].take(one[:5]) + ends[1].take(one[5:])
            self.assertEqual(quick, slow)
            for end in ends:
                end.to(end.now + 0.01)
        for end in ends:
            self.assert_said(end, 2, "load")
        self.assertEqual(ends[0].session.peer.report, ends[1].session.peer.report)
        self.assertEqual(math.copysign(1.0, ends[0].session.peer.load), 1.0)
        self.assertEqual([type(event) for event in ends[0].log], [type(event) for event in ends[1].log])

    def test_a_quick_one_is_a_sign_of_life_and_is_paid_for(self) -> None:
        """A suspicion ends with it, and a flood of them is one."""
        end = self.acceptor(min_interval=1.0)
        end.read(sync(0))
        end.read(state())
        end.run(START + 2.1)
        self.assertIs(end.session.beats.state, State.SUSPECT)
        self.assertTrue(end.session.receive_data(sync(1).encode(), end.now))
        self.assertIs(end.session.beats.state, State.ALIVE)
        for number in range(2000):
            end.take(sync(number).encode())
        self.assert_said(end, 9)

    def test_two_ends(self) -> None:
        """They come to know each other: services both ways, after one exchange and without a violation."""
        one = End(connector=True, source=Source(services=("web",), load=0.5))
        other = End(nonce="98" * 16, source=Source(services=("db", "mq"), meta={"zone": "b"}))
        one.session.start(one.now)
        back, forth = b"", one.out()
        for _ in range(10):
            back = other.take(forth)
            one.serve()
            forth = one.take(back) + one.out()
            forth += b"".join(frame.encode() for frame in one.serve())
        self.assertEqual(one.session.peer.services, ("db", "mq"))
        self.assertEqual(other.session.peer.services, ("web",))
        self.assert_stays(one)
        self.assert_stays(other)


class ParseStateTests(SessionTestCase):
    """The limits of STATE."""

    def refused(self, **members: Any) -> None:
        """A violation, code 2."""
        with self.assertRaises(PeerViolation) as caught:
            parse_state(json.dumps(members).encode())
        self.assertEqual(caught.exception.code, 2)
        self.assertTrue(caught.exception.reason.startswith("STATE"), caught.exception.reason)
        self.assertLess(len(caught.exception.reason), 250)

    def test_nothing(self) -> None:
        """All keys are optional, unknown ones ignored."""
        self.assertEqual(parse_state(b"{}"), Report())
        self.assertEqual(parse_state(b'{"color":"red","services":[]}'), Report())

    def test_at_the_limits(self) -> None:
        """What is just allowed."""
        for members in (
            {"services": ["x" * 255, "é" * 127]},
            {"services": [f"{number:016}" for number in range(4096)]},
            {"meta": {f"{number:064}": "" for number in range(64)}},
            {"meta": {"k": "é" * 512}},
            {"progress": -(10**300), "cert_expires_s": -5, "lag_p99_ms": 0},
            {"lag_p99_ms": 1.5, "traceparent": "anything"},
        ):
            parse_state(json.dumps(members).encode())

    def test_over_the_limits(self) -> None:
        """Each of them, by one."""
        wrong: tuple[dict[str, Any], ...] = (
            {"services": ["x" * 256]},
            {"services": ["é" * 128]},
            {"services": [""]},
            {"services": ["a\nb"]},
            {"services": ["\x9f"]},
            {"services": [7]},
            {"services": "auth"},
            {"services": None},
            {"services": {"a": 1}},
            {"services": ["x"] * 4097},
            {"services": [f"{number:0200}" for number in range(330)]},
            {"meta": {f"k{number}": "" for number in range(65)}},
            {"meta": {"k" * 65: ""}},
            {"meta": {"k": "x" * 1025}},
            {"meta": {"k": "a\x00"}},
            {"meta": {"k\n": ""}},
            {"meta": {"k": 7}},
            {"meta": {"k": None}},
            {"meta": []},
            {"meta": None},
            {"progress": 1.0},
            {"progress": "1"},
            {"progress": True},
            {"progress": None},
            {"cert_expires_s": 1.5},
            {"cert_expires_s": None},
            {"lag_p99_ms": "1"},
            {"lag_p99_ms": True},
            {"lag_p99_ms": None},
            {"traceparent": 7},
            {"traceparent": None},
        )
        for members in wrong:
            self.refused(**members)

    def test_a_lag_that_no_float_holds(self) -> None:
        """An integer of 300 digits is taken as a very large lag, not as an error."""
        self.assertEqual(parse_state(b'{"lag_p99_ms":1' + b"0" * 300 + b"}").lag_p99_ms, 3.4028234663852886e38)

    def test_on_the_wire(self) -> None:
        """A STATE outside its limits is BYE 2, at its header where it is too long."""
        end = self.acceptor()
        end.read(sync(0, ("a",)))
        end.read(b"HSTA" + (65_537).to_bytes(4))
        self.assert_said(end, 2, "STATE")
        end = self.acceptor()
        end.read(sync(0, ("a",)), state(services=[""]))
        self.assert_said(end, 2, "STATE")

    @settings(deadline=None)
    @given(st.binary(max_size=80))
    def test_any_bytes(self, body: bytes) -> None:
        """A report, or a violation; nothing else is raised."""
        try:
            parse_state(body)
        except PeerViolation as violation:
            self.assertEqual(violation.code, 2)

    def test_the_longest(self) -> None:
        """A STATE of 64 KiB fits, and is bounded."""
        end = End()
        end.take(hello())
        end.read(sync(0, ("a",)))
        body = json.dumps({"services": [f"{number:015}" for number in range(3400)]}).encode()
        self.assertLess(len(body), 65_536)
        end.read(f.State(body))
        self.assertEqual(len(end.session.peer.services), 3400)
