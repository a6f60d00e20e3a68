"""The JSON profile of wire.md §1: I-JSON, nested at most 8 deep, one object."""

from __future__ import annotations

import json
import sys
import time
from types import MappingProxyType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import ConfigError, PeerViolation
from heartbeat.wire.profile import MAX_DEPTH, MAX_DIGITS, dump_object, parse_object
from tests.vectors.golden import VECTORS

#: Values inside the profile.
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**MAX_DIGITS) + 1, 10**MAX_DIGITS - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
#: Bytes that come near to JSON.
brackets = st.sampled_from([b"{", b"}", b"[", b"]", b"[[[[[[[[[", b":", b",", b'"', b'"k":'])
words = st.sampled_from(rb'"a" \ \u \ud800 d83d 1 - 1e999 NaN Infinity true null'.split())
others = st.sampled_from([b" ", b"\n", b"\xff", b"\xef\xbb\xbf", b"\xc3\xa9"])
tokens = st.lists(brackets | words | others, max_size=40).map(b"".join)


class ProfileTests(SynchronousTestCase):
    """parse_object."""

    def refused(self, body: bytes, reason: str) -> None:
        """``body`` is a violation for exactly this reason, after the name of the frame."""
        violation = self.assertRaises(PeerViolation, parse_object, body, "HELLO")
        self.assertEqual((violation.reason, violation.code), (f"HELLO {reason}", 2))

    def outside(self, body: bytes, why: str) -> None:
        """``body`` is JSON, or nearly, and outside the profile."""
        self.refused(body, f"is outside the JSON profile: {why}")

    def test_golden(self) -> None:
        """The HELLO bodies of wire.md §8 are in the profile, and written again byte by byte."""
        for end in ("connector_hello", "acceptor_hello"):
            body = VECTORS["keys"][end].encode()
            members = parse_object(body, "HELLO")
            self.assertEqual((members["v"], dump_object(members)), (1, body))

    def test_types(self) -> None:
        """An integer is told from a number with fraction or exponent, and from true."""
        members = parse_object(b' {"a":1,"b":1.0,"c":1e0,"d":true,"e":-0,"f":null}\r\n', "HELLO")
        kinds = {name: type(value).__name__ for name, value in members.items()}
        self.assertEqual(kinds, {"a": "int", "b": "float", "c": "float", "d": "bool", "e": "int", "f": "NoneType"})

    def test_encoding(self) -> None:
        """No byte order mark, and nothing but UTF-8."""
        self.refused(b'\xef\xbb\xbf{"v":1}', "starts with a byte order mark")
        self.refused(b'{"v":"\xff"}', "is not UTF-8 at byte 6: b'\\xff'")
        self.refused('{"v":1}'.encode("utf-16"), "is not UTF-8 at byte 0: b'\\xff'")
        self.refused(b'{"v":"\xed\xa0\x80"}', "is not UTF-8 at byte 6: b'\\xed'")
        self.assertIn("outside the JSON profile", self._reason('{"v":1}'.encode("utf-16-le")))

    def test_one_object(self) -> None:
        """One object: no other value, not two, not none."""
        for body in (b"[1,2]", b"1", b'"x"', b"null", b" true "):
            self.refused(body, f"must be a JSON object, not {body.decode().strip()!r}")
        for body in (b"", b" ", b"{} {}", b"{}x", b"{", b'{"a":1', b'{"a":1,}', b"{'a':1}", b'{"a":01}', b'{"a":1.}'):
            self.assertIn("outside the JSON profile", self._reason(body), body)

    def test_twice(self) -> None:
        """No member twice, at any depth, however it is written."""
        self.outside(b'{"a":1,"b":2,"a":1}', "the member 'a' stands twice")
        self.outside(b'{"x":[{"a":1,"\\u0061":2}]}', "the member 'a' stands twice")
        self.outside(b'{"' + b"n" * 99 + b'":1,"' + b"n" * 99 + b'":1}', f"the member '{'n' * 32}' stands twice")

    def test_surrogates(self) -> None:
        """An unpaired surrogate is refused in values and in names; a pair is the character that it means."""
        for body in (
            b'{"a":"\\ud800"}',
            b'{"\\uDFFF":1}',
            b'{"a":[{"b":"x\\udc00\\ud800"}]}',
            b'{"a":"\\uD83D\\\\uDE00"}',
        ):
            self.refused(body, "has a string with an unpaired surrogate")
        self.assertEqual(parse_object(b'{"a":"\\ud83d\\ude00"}', "HELLO"), {"a": "\U0001f600"})
        self.assertEqual(parse_object(b'{"a":"\\\\ud800"}', "HELLO"), {"a": "\\ud800"})

    def test_numbers(self) -> None:
        """No NaN and no infinity, written out or by overflow, and no integer beyond what a double holds."""
        for name in ("NaN", "Infinity", "-Infinity"):
            self.outside(f'{{"a":[{name}]}}'.encode(), f"{name} is no number")
        self.outside(b'{"a":1e999}', "the number 1e999 is infinite")
        self.outside(b'{"a":-1e999}', "the number -1e999 is infinite")
        self.outside(b'{"a":' + b"9" * 309 + b"}", "an integer of 309 digits, at most 308")
        self.outside(b'{"a":-' + b"9" * 5000 + b"}", "an integer of 5000 digits, at most 308")
        for sign in (b"", b"-"):
            members = parse_object(b'{"a":' + sign + b"9" * 308 + b"}", "HELLO")
            self.assertLess(abs(float(members["a"])), float("inf"))

    def test_controls(self) -> None:
        """A raw control character in a string is no JSON."""
        self.assertIn("Invalid control character", self._reason(b'{"a":"\n"}'))

    def test_depth(self) -> None:
        """Nesting of 8, the object itself included, is taken; 9 is refused."""
        self.assertEqual(MAX_DEPTH, 8)
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            inner = opening * 7 + b"1" + closing * 7
            self.assertIn("a", parse_object(b'{"a":' + inner + b"}", "HELLO"))
            self.refused(b'{"a":[' + inner + b"]}", "is nested deeper than 8")

    def test_depth_of_strings(self) -> None:
        """Brackets in strings are text, whatever is escaped before them; siblings are not deeper."""
        body = b'{"a":"[[[[[[[[[[[[","b\\\\":"\\"[[[[[{{{{{{","c":[[],[],[],[],[],[],[],[]]}'
        self.assertEqual(len(parse_object(body, "STATE")), 3)
        self.refused(b'{"a\\"":"\\\\",' + b'"b":' + b"[" * 8 + b"]" * 8 + b"}", "is nested deeper than 8")

    def test_no_recursion(self) -> None:
        """64 KiB of brackets are refused before the parser sees them: the interpreter's limit is never met."""
        for body in (b"[" * 65536, b'{"a":' * 10000, b'{"a":[' * 9000 + b"]}" * 9000, b"]" * 99 + b"[" * 9999):
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(200 + _depth_of_stack())
            try:
                reason = self._reason(body)
            finally:
                sys.setrecursionlimit(limit)
            self.assertTrue(reason.startswith(("HELLO is nested", "HELLO is outside")), reason)

    def test_linear(self) -> None:
        """Unfinished strings full of escapes, the worst case for the scan, are read once and not once per quote."""
        siblings = b"[]" * 9
        for text in (b'"' + b'\\"' * 32000 + b"\\", b'"' + b'\\"' * 32000, b'"' * 65000, b'"' + b"\\" * 65001):
            start = time.process_time()
            self.assertIn("HELLO is outside", self._reason(siblings + text))
            # About 2 ms; once per quote it is seconds.
            self.assertLess(time.process_time() - start, 0.5)

    def _reason(self, body: bytes) -> str:
        return self.assertRaises(PeerViolation, parse_object, body, "HELLO").reason


class ProfilePropertyTests(SynchronousTestCase):
    """What holds for every value and for all bytes."""

    @given(st.dictionaries(st.text(), values))
    @settings(deadline=None)
    def test_round_trip(self, members: dict[str, Any]) -> None:
        """What is in the profile is read as it was written; what is too deep is refused and nothing else is."""
        body = dump_object(members)
        if _depth(members) > MAX_DEPTH:
            self.assertRaises(PeerViolation, parse_object, body, "STATE")
        else:
            self.assertEqual(parse_object(body, "STATE"), members)

    @given(st.one_of(st.binary(max_size=60), tokens))
    @settings(deadline=None, max_examples=500)
    def test_any_bytes(self, body: bytes) -> None:
        """Any bytes give an object that can be written again, or a PeerViolation of one line, and no other error."""
        try:
            members = parse_object(body, "STATE")
        except PeerViolation as violation:
            self.assertNotIn("\n", violation.reason)
        else:
            self.assertEqual(parse_object(dump_object(members), "STATE"), members)
            self.assertLessEqual(_depth(members), MAX_DEPTH)

    @given(st.integers(1, 12), st.text(st.sampled_from('[]{}"\\ax'), max_size=12))
    @settings(deadline=None)
    def test_depth_is_exact(self, depth: int, text: str) -> None:
        """Depth is that of the value, whatever its strings look like."""
        value: Any = text
        for level in range(depth):
            value = {text: value} if level % 2 or level == depth - 1 else [text, value, text]
        body = json.dumps(value).encode()
        if depth > MAX_DEPTH:
            self.assertRaises(PeerViolation, parse_object, body, "STATE")
        else:
            self.assertEqual(parse_object(body, "STATE"), value)


class DumpTests(SynchronousTestCase):
    """dump_object."""

    def test_form(self) -> None:
        """UTF-8 without spaces, in the order given; read-only mappings and tuples are written too."""
        members = {"services": ("a", "é"), "meta": MappingProxyType({"k": "v"}), "progress": 1}
        self.assertEqual(dump_object(members), '{"services":["a","é"],"meta":{"k":"v"},"progress":1}'.encode())
        self.assertEqual(dump_object({}), b"{}")

    def test_refused(self) -> None:
        """What has no place in the profile is a ConfigError that names its member."""
        for value in (float("nan"), float("inf"), "\ud800", b"bytes", [object()], {"x": {1, 2}}):
            error = self.assertRaises(ConfigError, dump_object, {"fine": 1, "wrong": value})
            self.assertEqual(error.name, "wrong")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _depth_of_stack() -> int:
    depth = 0
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        depth += 1
    return depth
