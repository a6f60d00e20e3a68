"""The server process against the independent peer: the greeting, its shape, its terms. wire.md §4."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.real.cases import QUIET, ServerTestCase
from tests.real.rawpeer import HELLO, PING, framed, hello, short

_TEXTS = ("id", "instance", "nonce", "resume", "traceparent")
_LISTS = ("caps", "kids", "versions")
_NUMBERS = ("want_ping_ms", "min_rx_ms", "mult", "sync_ms", "max_data")

#: HELLOs of one test, by their members, each with its name for the report.
_Table = list[tuple[str, dict[str, Any]]]


def _integers(name: str, *values: int) -> _Table:
    return [(f"{name} {value}", {name: value}) for value in values]


class AnswerTests(ServerTestCase):
    """The acceptor's HELLO."""

    def test_members(self) -> None:
        """The answer has every member that it must have, of the type and in the range of the table."""
        _, answer = self.greeted(id=self.fresh(), instance="i-1", caps=["state", "stalled"])
        self.assertIs(type(answer["v"]), int)
        self.assertEqual(answer["v"], 1)
        for name, expected in [("want_ping_ms", 500), ("min_rx_ms", 100), ("mult", 3), ("sync_ms", 5000)]:
            self.assertIs(type(answer[name]), int, name)
            self.assertEqual(answer[name], expected, name)
        self.assertTrue(16_384 <= answer.get("max_data", 1_048_576) <= 2**30)
        self.assertTrue(all(re.fullmatch("[a-z0-9.-]{1,32}", cap) for cap in answer["caps"]), answer["caps"])
        self.assertLessEqual({"state", "stalled"}, set(answer["caps"]))
        self.assertNotIn("data", answer["caps"])
        self.assertRegex(answer["nonce"], "^[0-9a-fA-F]{32}$")
        self.assertRegex(answer["instance"], "^[!-~]{1,64}$")
        self.assertNotIn("kid", answer)
        self.assertIsInstance(answer["session"], str)
        self.assertRegex(answer.get("resume", "none"), "^[!-~]{1,1024}$")
        self.assertIs(answer["resumed"], False)
        self.assertEqual(set(answer["agreed"]) & {"ping_ms", "detect_ms"}, {"ping_ms", "detect_ms"})

    def test_for_one_connection(self) -> None:
        """The nonce is new for every connection, the instance the same for all; another id has another session."""
        first, second = (self.greeted(id=self.fresh())[1] for _ in range(2))
        self.assertEqual(first["instance"], second["instance"])
        for name in ("nonce", "session"):
            self.assertNotEqual(first[name], second[name], name)

    def test_terms(self) -> None:
        """I is the larger of the sender's want_ping_ms and the receiver's min_rx_ms, D the sender's mult times that."""
        for members, ping_ms, detect_ms in [
            ({}, 500, 1500),
            ({"want_ping_ms": 1}, 100, 300),
            ({"want_ping_ms": 99, "mult": 2}, 100, 200),
            ({"want_ping_ms": 101, "mult": 5}, 101, 505),
            ({"want_ping_ms": 1000, "mult": 255}, 1000, 255_000),
            ({"want_ping_ms": 100_000}, 100_000, 300_000),
            ({"min_rx_ms": 0}, 500, 1500),
            ({"min_rx_ms": 100_000, "mult": 4}, 500, 2000),
            ({"sync_ms": 100}, 500, 1500),
            ({"sync_ms": 86_400_000, "max_data": 16_384}, 500, 1500),
            ({"max_data": 2**30}, 500, 1500),
        ]:
            name = self.fresh()
            peer = self.connect()
            answer = peer.greet(id=name, **members)
            self.assertEqual(answer["agreed"], {"ping_ms": ping_ms, "detect_ms": detect_ms}, f"{members}")
            listed = self.server.peer(name)
            assert listed is not None
            self.assertEqual(listed["detect_ms"], detect_ms, f"{members}")
            peer.close()

    def test_anonymous(self) -> None:
        """A peer without id is known by its address, and has no session and no token."""
        peer, answer = self.greeted()
        self.assertNotIn("session", answer)
        self.assertNotIn("resume", answer)
        self.assertFalse(answer.get("resumed", False))
        listed = self.server.in_state(f"~{peer.address}", "alive")
        self.assertEqual(listed["address"], peer.address)

    def test_unknown_is_ignored(self) -> None:
        """Unknown capabilities and members, a traceparent that is none, and keys of others change nothing."""
        _, answer = self.greeted(
            id=self.fresh(),
            caps=["state", "x.private", "later-one"],
            traceparent="nonsense",
            beyond={"a": [1.5, None, True]},
            nonce="0123456789abcdef" * 2,
            kids=["b0bf7ef350123eea"],
            last={"session": "s", "cause": "no such cause", "heard_ms": 1, "beyond": 1},
        )
        self.assertEqual(answer["v"], 1)
        self.assertNotIn("kid", answer)

    def test_widest(self) -> None:
        """Every member at the edge of its range is taken, as are a HELLO of 8 KiB and a nesting of 8."""
        widest: list[dict[str, Any]] = [
            {"id": "é" * 127},
            {"id": "a" * 255},
            {"instance": "~" * 64},
            {"caps": [f"{n:032}" for n in range(32)]},
            {"resume": "r" * 1024},
            {"versions": list(range(1, 17))},
            {"versions": [1]},
            {"nonce": "0" * 32, "kids": [f"{n:016x}" for n in range(8)]},
            {"deep": [[[[[[[]]]]]]]},
        ]
        for members in widest:
            with_id = {"id": self.fresh(), **members}
            peer, answer = self.greeted(**with_id)
            self.assertEqual(answer["v"], 1, f"{members}")
            peer.close()
        body = json.dumps({"v": 1, "pad": ""}).encode()
        padded = body[:-2] + b"x" * (8192 - len(body)) + body[-2:]
        peer = self.connect()
        peer.send(framed(HELLO, padded))
        self.assertEqual(peer.frame().magic, HELLO)

    def test_frames_behind_hello(self) -> None:
        """What stands behind the connector's HELLO counts as having come after the answer."""
        peer = self.connect()
        peer.send(hello(**QUIET) + short(PING, 1, 2))
        self.assertEqual(peer.frame().magic, HELLO)
        self.assertEqual(peer.expect(b"HACK").raw, short(b"HACK", 1, 2))


class VersionTests(ServerTestCase):
    """Versions, looked at before anything else in a HELLO."""

    def test_none_in_common(self) -> None:
        """No common version gets BYE 3 whose reason starts with the versions of this end, whatever else is wrong."""
        speakers: list[dict[str, Any]] = [
            {"v": 2},
            {"v": 0},
            {"v": -1},
            {"v": 10**40},
            {"v": 2, "versions": [2, 3]},
            {"v": 3, "id": 7, "mult": 0, "caps": "x", "want_ping_ms": 0},
        ]
        for members in speakers:
            farewell = self.refused(hello(**members), 3, f"{members}")
            self.assertTrue(farewell.reason.startswith("versions=1"), farewell.reason)
            self.assertRegex(farewell.reason, r"^versions=1(?![\d,])")

    def test_common_one(self) -> None:
        """A connector that speaks several versions is answered in the highest common one."""
        speakers: list[dict[str, Any]] = [{"versions": [1, 2, 3]}, {"v": 2, "versions": [2, 1]}]
        for members in speakers:
            _, answer = self.greeted(id=self.fresh(), **members)
            self.assertEqual(answer["v"], 1, f"{members}")

    def test_no_version(self) -> None:
        """A HELLO without v, or with one of the wrong type, is a violation."""
        table: _Table = [("no v", {"v": ...})] + [
            (f"v {value!r}", {"v": value}) for value in (1.0, True, "1", None, [1])
        ]
        table += [(f"versions {value!r}", {"versions": value}) for value in (1, "1", ["1"], [1, True], [1.0], [1] * 17)]
        self.refused_hellos(table, 2)


class ShapeTests(ServerTestCase):
    """A HELLO outside the JSON profile or the table gets BYE 2, a number out of its range BYE 4."""

    def test_profile(self) -> None:
        """One I-JSON object and nothing else, wire.md §1."""
        for what, body in [
            ("nothing", b""),
            ("no JSON", b'{"v":1'),
            ("two objects", b'{"v":1}{"v":1}'),
            ("a list", b"[]"),
            ("a number", b"1"),
            ("null", b"null"),
            ("a byte order mark", b'\xef\xbb\xbf{"v":1}'),
            ("UTF-16", '{"v":1}'.encode("utf-16-le")),
            ("no UTF-8", b'{"v":1,"id":"\xff"}'),
            ("an overlong form", b'{"v":1,"id":"\xc0\xaf"}'),
            ("a surrogate in UTF-8", b'{"v":1,"id":"\xed\xa0\x80"}'),
            ("a member twice", b'{"v":1,"id":"a","id":"a"}'),
            ("a member twice, escaped", rb'{"v":1,"id":"a","\u0069d":"a"}'),
            ("an unknown member twice", b'{"v":1,"x":1,"x":2}'),
            ("a member twice below", b'{"v":1,"last":{"cause":"a","cause":"b"}}'),
            ("a member twice below an unknown one", b'{"v":1,"x":[{"a":1,"a":1}]}'),
            ("a lone surrogate", rb'{"v":1,"id":"\ud800"}'),
            ("a lone surrogate in an unknown member", rb'{"v":1,"x":["\udc00"]}'),
            ("a lone surrogate as a name", rb'{"v":1,"\ud800":1}'),
            ("surrogates the wrong way round", rb'{"v":1,"x":"\udc00\ud800"}'),
            ("NaN", b'{"v":1,"x":NaN}'),
            ("Infinity", b'{"v":1,"x":Infinity}'),
            ("-Infinity", b'{"v":1,"last":{"x":-Infinity}}'),
            ("a number over every double", b'{"v":1,"mult":1e999}'),
            ("lists too deep", b'{"v":1,"x":' + b"[" * 10 + b"]" * 10 + b"}"),
            ("objects too deep", b'{"v":1,"x":' + b'{"a":' * 10 + b"1" + b"}" * 11),
            ("lists far too deep", b'{"v":1,"x":' + b"[" * 4000 + b"]" * 4000 + b"}"),
            ("never closed", b"[" * 8192),
        ]:
            farewell = self.refused(framed(HELLO, body), 2, what)
            self.assertEqual(farewell.before, [], what)

    def test_escaped_pair(self) -> None:
        """A surrogate pair is a character, and an id is what it says, byte by byte."""
        peer = self.connect()
        peer.send(framed(HELLO, rb'{"v":1,"id":"\ud83d\ude00 \"\\"}'))
        self.assertEqual(peer.frame().magic, HELLO)
        self.assertIsNotNone(self.server.peer('\U0001f600 "\\'))

    def test_types(self) -> None:
        """Every member with a value of another type gets BYE 2, null and true too."""
        good: dict[str, type] = {"last": dict, **dict.fromkeys(_TEXTS, str), **dict.fromkeys(_LISTS, list)}
        values: list[Any] = ["text", True, None, 1.5, 3000.0, [7], {"a": 1}]
        table = [
            (f"{name} {value!r}", {"nonce": "0" * 32, name: value})
            for name in (*_TEXTS, *_LISTS, *_NUMBERS, "last")
            for value in [*values, *([7] if name in good else [])]
            if (type(value) is not good.get(name) or type(value) is list) and (name, value) != ("versions", [7])
        ]
        self.refused_hellos(table, 2)
        exponent = b'{"v":1,"want_ping_ms":5e2}'
        self.refused(framed(HELLO, exponent), 2, "an integer with an exponent")

    def test_last(self) -> None:
        """The members of last have types, too."""
        table = [
            (f"last.{name} {value!r}", {"last": {name: value}})
            for name in ("session", "cause", "heard_ms", "idle_ms", "heard_seq", "acked_seq")
            for value in (["x"], True, 7 if name in ("session", "cause") else "7")
        ]
        self.refused_hellos(table, 2)

    def test_strings(self) -> None:
        """A string or list that is too long, empty or of other characters gets BYE 2."""
        table: _Table = []
        wrong: list[tuple[str, list[Any]]] = [
            ("id", ["", "a" * 256, "é" * 128, "~a", "a\x00", "a\n", "a\x7f", "a\x9f"]),
            ("instance", ["", "a" * 65, "ä", "a\n"]),
            ("caps", [[""], ["a" * 33], ["A"], ["a_b"], ["é"], [f"{n}" for n in range(33)], ["a", None]]),
            ("nonce", ["", "0" * 31, "0" * 33, "g" * 32, "0x" + "0" * 30, " " * 32, "٠" * 32]),
            ("resume", ["", "a" * 1025, "a\n", "é"]),
            ("kids", [["0" * 15], ["0" * 17], ["g" * 16], [f"{n:016x}" for n in range(9)], ["0" * 16, 1]]),
        ]
        for name, values in wrong:
            table += [(f"{name} {value!r}", {"nonce": "0" * 32, name: value}) for value in values]
        table.append(("kids without nonce", {"kids": ["0" * 16]}))
        self.refused_hellos(table, 2)

    def test_numbers(self) -> None:
        """A number out of its range gets BYE 4, however large it is."""
        table = [
            *_integers("want_ping_ms", 0, -1, 3_600_001, 10**40),
            *_integers("min_rx_ms", -1, 3_600_001, 2**64),
            *_integers("mult", 1, 0, 256, -3),
            *_integers("sync_ms", 99, 0, 86_400_001),
            *_integers("max_data", 16_383, 0, 2**30 + 1),
        ]
        self.refused_hellos(table, 4)
        digits = framed(HELLO, b'{"v":1,"mult":' + b"9" * 5000 + b"}")
        peer = self.connect()
        peer.send(digits)
        self.assertIn(peer.farewell().code, (2, 4), "no I-JSON number, and out of range")

    def test_detection_time(self) -> None:
        """A detection time over an hour, or over this end's maximum (300 s), gets BYE 4, in either direction."""
        table = [
            ("over an hour", {"want_ping_ms": 3_600_000}),
            ("just over an hour", {"want_ping_ms": 1_800_001, "mult": 2}),
            ("over the maximum", {"want_ping_ms": 100_001}),
            ("over the maximum by mult", {"want_ping_ms": 2000, "mult": 151}),
            ("the other direction over an hour", {"min_rx_ms": 3_600_000}),
            ("the other direction over the maximum", {"min_rx_ms": 100_001}),
        ]
        self.refused_hellos(table, 4)

    def test_order(self) -> None:
        """Shape comes before terms: a wrong type beside a number out of range gets BYE 2."""
        self.refused_hellos(
            [("both", {"mult": 0, "sync_ms": "5000"}), ("the other way", {"want_ping_ms": "1", "mult": 1})], 2
        )

    def test_refused_is_not_lost(self) -> None:
        """A peer that was refused is neither left nor dead nor listed; its failure has the phase handshake."""
        table: list[tuple[dict[str, Any], int, str]] = [
            ({"mult": 0}, 4, "terms_refused"),
            ({"caps": "state"}, 2, "protocol_error"),
            ({"v": 9}, 3, "version_refused"),
        ]
        for members, code, reason in table:
            name = self.fresh()
            known = {one["id"] for one in self.server.failures()}
            self.refused(hello(id=name, **members), code, reason)
            self.assertIsNone(self.server.peer(name))
            new = [one for one in self.server.failures() if one["id"] not in known]
            self.assertEqual([(one["failure_reason"], one["phase"]) for one in new], [(reason, "handshake")])
