"""HELLO (``wire.md`` §4): every member, what it is when absent, and which BYE a wrong one gets."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import PeerViolation
from heartbeat.liveness.terms import terms
from heartbeat.session.greeting import VERSION, Hello, hello_frame, milliseconds, parse_hello
from heartbeat.wire.frames import HEADER_SIZE, HELLO_LIMIT
from tests.session.ends import NONCE, SessionTestCase, decoded, hello
from tests.session.ends import End as Ended

MINIMUM: dict[str, Any] = {"v": 1}
KID = "b0bf7ef350123eea"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

#: member: (values that are in order, values that are a violation)
SHAPES: dict[str, tuple[list[Any], list[Any]]] = {
    "id": (
        ["a", "gateway-7", "é" * 127, "x" * 255, "a~b", " ", "\U0001f600"],
        ["", "x" * 256, "é" * 128, "~x", "a\nb", "\x7f", "\x85", "\x00", None, 7, ["a"], True],
    ),
    "instance": (["9f1c", "x" * 64, "a b"], ["", "x" * 65, "é", "a\tb", "a\n", None, 5]),
    "caps": (
        [[], ["state"], ["x.y-1"], ["a" * 32], [f"c{number}" for number in range(32)], ["state", "state"]],
        [["State"], [""], ["a" * 33], ["a_b"], ["a b"], [7], "state", {"state": 1}, None, [f"c{n}" for n in range(33)]],
    ),
    "want_ping_ms": ([1, 500, 3_600_000], ["500", 500.0, True, None, [500]]),
    "min_rx_ms": ([0, 100, 3_600_000], ["0", 0.0, False, None]),
    "mult": ([2, 3, 255], ["3", 3.5, True, None]),
    "sync_ms": ([100, 86_400_000], ["100", 100.5, True, None]),
    "max_data": ([16_384, 2**30], ["1", 16384.0, True, None]),
    "nonce": ([NONCE, NONCE.upper()], ["", NONCE[:-1], NONCE + "0", "g" * 32, 5, None]),
    "kids": ([[], [KID], [KID] * 8], [[KID] * 9, [KID[:-1]], [KID + "0"], ["x" * 16], KID, [7], None]),
    "kid": ([KID], ["", KID[:-1], "z" * 16, 7, None, [KID]]),
    "resume": (["t", "t" * 1024, "a b~"], ["", "t" * 1025, "é", "a\n", 7, None]),
    "traceparent": ([TRACE, "", "no trace", "\x00"], [7, None, ["x"]]),
    "last": ([{}, {"cause": "path_dead", "unknown": [1]}], [[], "x", 7, None, True]),
    "session": (["s-1"], ["", 7, None, "s\x00"]),
    "resumed": ([True, False], [0, 1, "true", None]),
    "agreed": ([{}, {"ping_ms": 1}], [[], "x", None]),
    "versions": ([[1], [2, 1], list(range(16))], ["1", 1, {"1": 1}, [1.0], ["1"], [True], None, list(range(17))]),
    "v": ([1], ["1", 1.0, True, None, [1]]),
}
#: What must stand in ``last`` where it stands.
LAST = {"session": "s", "cause": "path_dead", "heard_ms": 2140, "idle_ms": 30000, "heard_seq": 17, "acked_seq": 40211}
#: number: (lowest, highest, when absent)
NUMBERS = {
    "want_ping_ms": (1, 3_600_000, 500),
    "min_rx_ms": (0, 3_600_000, 100),
    "mult": (2, 255, 3),
    "sync_ms": (100, 86_400_000, 5000),
    "max_data": (16_384, 2**30, 1_048_576),
}


def parse(**members: Any) -> Hello:
    """The HELLO with these members besides a version and a nonce."""
    return parse_hello(json.dumps({"v": 1, "nonce": NONCE, **members}).encode())


class ParseTests(SynchronousTestCase):
    """:func:`parse_hello`."""

    def refused(self, code: int, **members: Any) -> str:
        """The reason with which these members are refused, with this code."""
        with self.assertRaises(PeerViolation) as caught:
            parse(**members)
        self.assertEqual(caught.exception.code, code, caught.exception.reason)
        reason: str = caught.exception.reason
        return reason

    def test_nothing_but_a_version(self) -> None:
        """Every other member may be absent, and then has the value of ``wire.md`` §4."""
        read = parse_hello(b'{"v":1}')
        self.assertEqual((read.id, read.instance, read.caps, read.nonce), (None, None, frozenset(), None))
        self.assertEqual({name: getattr(read, name) for name in NUMBERS}, {name: n[2] for name, n in NUMBERS.items()})
        self.assertEqual((read.kids, read.kid, read.resume, read.traceparent, read.last), ((), None, None, None, None))
        self.assertEqual((read.session, read.resumed), (None, False))

    def test_the_example(self) -> None:
        """The HELLO of ``wire.md`` is read as it is written there."""
        read = parse(
            id="gateway-7", instance="9f1c", caps=["state", "signed-ack", "stalled", "data"], want_ping_ms=500,
            min_rx_ms=100, mult=3, sync_ms=5000, max_data=1048576, kids=[KID], resume="token", traceparent=TRACE,
            last=LAST,
        )  # fmt: skip
        self.assertEqual((read.id, read.instance), ("gateway-7", "9f1c"))
        self.assertEqual(read.caps, {"state", "signed-ack", "stalled", "data"})
        self.assertEqual((read.kids, read.resume, read.traceparent, read.last), ((KID,), "token", TRACE, LAST))

    def test_every_member_in_order(self) -> None:
        """What the table allows is taken as it is."""
        for name, (good, _) in SHAPES.items():
            for value in good:
                read = parse(**{name: value})
                if name in ("caps", "kids"):
                    self.assertEqual(set(getattr(read, name)), set(value))
                elif name not in ("versions", "v", "agreed", "traceparent"):
                    self.assertEqual(getattr(read, name), value)

    def test_every_member_of_a_wrong_shape(self) -> None:
        """BYE 2, and the reason names the member; a ``null`` is no absence."""
        for name, (_, bad) in SHAPES.items():
            for value in bad:
                reason = self.refused(2, **{name: value})
                self.assertIn(name, reason, f"{name}={value!r:.40}")
                self.assertTrue(reason.startswith("HELLO"), reason)
                self.assertLess(len(reason), 240)

    def test_numbers_out_of_range(self) -> None:
        """BYE 4, which names the member, the value and the range."""
        for name, (lowest, highest, _) in NUMBERS.items():
            for value in (lowest - 1, highest + 1, -(10**30), 10**30):
                reason = self.refused(4, **{name: value})
                self.assertIn(name, reason)
                self.assertIn(str(highest), reason)

    def test_a_wrong_shape_is_looked_at_before_the_terms(self) -> None:
        """Version, shape, terms: in this order."""
        self.refused(2, mult=1, id="~x")
        self.refused(3, v=2, mult=1, id="~x")

    def test_the_members_of_last(self) -> None:
        """A wrong type is a violation here, too; others are ignored, and each may be absent."""
        self.assertEqual(parse(last=LAST).last, LAST)
        for name in LAST:
            values: list[Any] = [[], {}, None, True, 1.5, "7" if name.endswith(("ms", "seq")) else 7]
            for wrong in values:
                self.assertIn(f"last.{name}", self.refused(2, last={**LAST, name: wrong}))
            self.assertIsNotNone(parse(last={key: value for key, value in LAST.items() if key != name}).last)

    def test_keys_need_a_nonce(self) -> None:
        """Without one nothing is proved: a violation beside ``kids`` or ``kid``, an empty list included."""
        without: tuple[dict[str, Any], ...] = ({"kids": [KID]}, {"kid": KID}, {"kids": []})
        for members in without:
            with self.assertRaises(PeerViolation) as caught:
                parse_hello(json.dumps({"v": 1, **members}).encode())
            self.assertEqual(caught.exception.code, 2)
            self.assertIn("nonce", caught.exception.reason)

    def test_members_that_nobody_knows(self) -> None:
        """Are ignored, whatever they hold."""
        self.assertEqual(parse(color="red", more={"a": [1, None]}), parse())

    def test_unknown_capabilities(self) -> None:
        """Are read, and come into force only if both list them."""
        self.assertEqual(parse(caps=["teleport", "acme.x"]).caps, {"teleport", "acme.x"})

    def test_a_trace_that_is_none(self) -> None:
        """Ignored if it is not W3C's."""
        for wrong in ("", "x", TRACE[3:], "ff" + TRACE[2:], TRACE.replace("0af", "0AF"), "00-" + "0" * 32 + TRACE[35:]):
            self.assertIsNone(parse(traceparent=wrong).traceparent, wrong)
        self.assertIsNone(parse(traceparent=TRACE + "-more").traceparent)

    def test_a_trace_of_a_later_version(self) -> None:
        """A later version of the format may say more: what all versions have is kept, and no more of it."""
        later = "01" + TRACE[2:]
        self.assertEqual(parse(traceparent=later + "-more" * 9).traceparent, later)
        self.assertIsNone(parse(traceparent=later + "more").traceparent)

    def test_outside_the_profile(self) -> None:
        """No object, no JSON, no UTF-8, a member twice: BYE 2."""
        for body in (b"", b"[]", b"{", b'{"v":1,"v":1}', b"\xff", b'{"v":1,"id":"\\ud800"}', b'{"v":NaN}'):
            with self.assertRaises(PeerViolation) as caught:
                parse_hello(body)
            self.assertEqual(caught.exception.code, 2)

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(sorted(SHAPES)),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
                max_leaves=5,
            ),
        )
    )
    def test_any_members(self, members: dict[str, Any]) -> None:
        """Anything at all: a HELLO, or a violation with code 2, 3 or 4; nothing else is ever raised."""
        try:
            read = parse_hello(json.dumps({"v": 1, **members}).encode())
        except PeerViolation as violation:
            self.assertIn(violation.code, (2, 3, 4))
        else:
            self.assertTrue(read.id is None or 0 < len(read.id.encode()) <= 255)
            for name, (lowest, highest, _) in NUMBERS.items():
                self.assertTrue(lowest <= getattr(read, name) <= highest)


class VersionTests(SynchronousTestCase):
    """No common version: BYE 3, looked at before anything else in the HELLO."""

    def test_refused(self) -> None:
        """The reason starts with the version that is spoken here, for programs to read."""
        for members in (
            {"v": 2},
            {"v": 0},
            {"v": -1},
            {"v": 10**300},
            {"v": 2, "versions": [2, 3]},
            {"v": 1, "versions": []},
            {"v": 2, "id": 7, "mult": "x", "kids": None},
        ):
            with self.assertRaises(PeerViolation) as caught:
                parse_hello(json.dumps(members).encode())
            self.assertEqual((caught.exception.code, caught.exception.reason), (3, "versions=1"))

    def test_one_of_several(self) -> None:
        """A connector that speaks a newer one as well is welcome."""
        self.assertEqual(parse(v=2, versions=[2, 1], id="new").id, "new")

    def test_none_at_all(self) -> None:
        """``v`` must stand there."""
        with self.assertRaises(PeerViolation) as caught:
            parse_hello(b"{}")
        self.assertEqual(caught.exception.code, 2)


class WriteTests(SynchronousTestCase):
    """:func:`hello_frame`."""

    def members(self, config: HeartbeatConfig, **more: Any) -> dict[str, Any]:
        """What is written, from the bytes."""
        raw = hello_frame(config, NONCE, ("state",), **more)
        self.assertEqual(raw[:4], b"HELO")
        self.assertEqual(int.from_bytes(raw[4:8]), len(raw) - HEADER_SIZE)
        found: dict[str, Any] = json.loads(raw[HEADER_SIZE:])
        return found

    def test_of_a_connector(self) -> None:
        """The settings in whole milliseconds; what there is not is not written."""
        config = HeartbeatConfig(
            id="é", instance="boot", interval=0.25, multiplier=4, min_interval=0.05, sync_interval=2.5
        )
        self.assertEqual(
            self.members(config),
            {
                "v": VERSION, "id": "é", "instance": "boot", "caps": ["state"], "want_ping_ms": 250, "min_rx_ms": 50,
                "mult": 4, "sync_ms": 2500, "nonce": NONCE,
            },
        )  # fmt: skip
        self.assertNotIn("id", self.members(HeartbeatConfig()))

    def test_of_an_acceptor(self) -> None:
        """What only it says, and the terms that it judges by."""
        answer = {"session": "s-1", "resumed": False, "resume": None}
        members = self.members(HeartbeatConfig(), answer=answer, agreed=terms(0.5, 1.5))
        self.assertEqual((members["session"], members["resumed"]), ("s-1", False))
        self.assertNotIn("resume", members)
        self.assertEqual(members["agreed"], {"ping_ms": 500, "detect_ms": 1500})

    def test_what_a_connector_remembers(self) -> None:
        """Its token, and how its previous connection ended."""
        members = self.members(HeartbeatConfig(), resume="t", last=LAST)
        self.assertEqual((members["resume"], members["last"]), ("t", LAST))

    def test_credit_only_with_data(self) -> None:
        """``max_data`` belongs to the capability."""
        self.assertNotIn("max_data", self.members(HeartbeatConfig()))
        raw = hello_frame(HeartbeatConfig(max_data=65_536), NONCE, ("data",))
        self.assertEqual(json.loads(raw[HEADER_SIZE:])["max_data"], 65_536)

    def test_an_interval_under_a_millisecond_is_one(self) -> None:
        """0 would be no interval; a floor of 0 says: no flood control."""
        members = self.members(HeartbeatConfig(interval=0.001, min_interval=0.0))
        self.assertEqual((members["want_ping_ms"], members["min_rx_ms"]), (1, 0))
        self.assertEqual([milliseconds(seconds) for seconds in (0.0014, 0.0016, 3600.0)], [1, 2, 3_600_000])

    @settings(deadline=None)
    @given(
        st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=60).filter(
            lambda name: name[0] != "~"
        ),
        st.floats(0.001, 100.0),
        st.integers(2, 255),
        st.floats(0.0, 100.0),
        st.floats(0.1, 86_400.0),
    )
    def test_is_read_back(self, name: str, interval: float, mult: int, floor: float, sync: float) -> None:
        """Any configuration gives a HELLO that the other end takes, and that says the same."""
        fits = {"interval": interval, "multiplier": mult} if interval * mult <= 3600.0 else {}
        config = HeartbeatConfig(id=name, min_interval=floor, sync_interval=sync, max_detection=3600.0, **fits)  # type: ignore[arg-type]  # keyword arguments of a test
        raw = hello_frame(config, NONCE, ("state", "stalled"))
        self.assertLessEqual(len(raw), HEADER_SIZE + HELLO_LIMIT)
        read = parse_hello(raw[HEADER_SIZE:])
        self.assertEqual((read.id, read.mult), (name, config.multiplier))
        self.assertEqual(read.want_ping_ms, max(1, round(config.interval * 1000)))
        self.assertEqual((read.min_rx_ms, read.sync_ms), (round(floor * 1000), round(sync * 1000)))


class OnTheWireTests(SessionTestCase):
    """What an acceptor and a connector do with them."""

    def test_each_kind_of_refusal(self) -> None:
        """Version 3, terms 4, identity 5, everything else 2; and nobody was ever connected."""
        for members, code in (
            ({"v": 2}, 3),
            ({"id": "~x"}, 2),
            ({"mult": 256}, 4),
            ({"want_ping_ms": 3_600_000}, 4),
            ({"nonce": NONCE}, 5),
            ({"nonce": NONCE.upper()}, 5),
        ):
            for connector in (False, True):
                end = Ended(connector=connector)
                end.session.start(end.now)
                end.read(hello(**members))
                self.assert_said(end, code)
                self.assertEqual(end.session.liveness.state.value, "refused")

    def test_a_nonce_that_comes_back_is_a_reflector(self) -> None:
        """A connector that hears its own HELLO has connected to itself."""
        end = Ended(connector=True)
        end.session.start(end.now)
        end.take(end.out())
        self.assert_said(end, 5)

    def test_a_key_that_was_not_offered(self) -> None:
        """An acceptor that answers with a ``kid`` is refused with BYE 5; the terms are looked at before."""
        end = Ended(connector=True)
        end.session.start(end.now)
        end.read(hello(kid=KID))
        self.assert_said(end, 5)
        end = Ended(connector=True)
        end.session.start(end.now)
        end.read(hello(kid=KID, mult=1))
        self.assert_said(end, 4)

    def test_a_connectors_kids_are_not_used(self) -> None:
        """An acceptor without keys names none, and goes on."""
        end = self.acceptor({"kids": [KID]})
        self.assert_stays(end)
        self.assertNotIn(b'"kid"', end.sent)

    def test_the_longest(self) -> None:
        """8 KiB are taken, one byte more is refused at the header."""
        filler = "x" * (HELLO_LIMIT - len(hello()) + HEADER_SIZE - len(',"pad":""'))
        exact = hello(pad=filler)
        self.assertEqual(len(exact), HEADER_SIZE + HELLO_LIMIT)
        end = Ended()
        self.assertEqual([type(frame).__name__ for frame in end.read(exact)], ["Hello"])
        end = Ended()
        end.read(b"HELO" + (HELLO_LIMIT + 1).to_bytes(4))
        self.assert_said(end, 2)
        self.assertEqual(len(decoded(end.sent)), 1)
