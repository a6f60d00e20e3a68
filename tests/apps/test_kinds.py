"""Tests of the kinds of values that options have."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.kinds import (
    Flag,
    Keepalive,
    Kind,
    Many,
    Names,
    OneOf,
    Pairs,
    Seconds,
    SecondsOr,
    Text,
    Whole,
    peer_id,
)
from heartbeat.errors import ConfigError

SECONDS = Seconds(0.001, 3600)
WHOLE = Whole(2, 255)
TIMEOUT = SecondsOr(1, 60, {"auto": "auto", "none": None})


class KindTests(SynchronousTestCase):
    """What is taken and what is refused."""

    def refused(self, kind: Kind, text: str) -> None:
        """The text of the command line is refused in one line that names the option and the value."""
        error = self.assertRaises(ConfigError, kind.from_text, "--some-option", text)
        self.assertTrue(str(error).startswith("--some-option: "), str(error))
        self.assertIn(repr(text)[:50], str(error))
        self.assertNotIn("\n", str(error))

    def refused_in_file(self, kind: Kind, value: Any) -> None:
        """The value of a config file is refused in one line that names the key and the value."""
        error = self.assertRaises(ConfigError, kind.from_toml, "some-key", value)
        self.assertTrue(str(error).startswith("some-key: "), str(error))
        self.assertIn(repr(value)[:50], str(error))

    def test_seconds(self) -> None:
        """Seconds are decimal numbers in range, from the command line and from a file."""
        for text, value in (("0.5", 0.5), ("3600", 3600.0), ("1e-3", 0.001), (".5", 0.5), ("5.", 5.0)):
            self.assertEqual(SECONDS.from_text("--x", text), value)
        self.assertEqual(SECONDS.from_toml("x", 2), 2.0)
        self.assertIsInstance(SECONDS.from_toml("x", 2), float)

    def test_no_seconds(self) -> None:
        """Nothing that Python's float() would be generous about is taken, and nothing out of range."""
        for text in (
            "",
            "abc",
            "nan",
            "inf",
            "-inf",
            "1_0",
            " 1",
            "1 ",
            "0x1",
            "1s",
            "٣",
            "1e9999",
            "0",
            "-1",
            "3600.1",
            "9" * 400,
        ):
            self.refused(SECONDS, text)
        for value in (True, "1", None, [1], math.nan, math.inf, 0, 4000):
            self.refused_in_file(SECONDS, value)

    def test_seconds_or_a_word(self) -> None:
        """A number in range, or one of the words, which stands for what it stands for; in a file just the same."""
        for text, value in (("1", 1.0), ("2.5", 2.5), ("auto", "auto"), ("none", None)):
            self.assertEqual(TIMEOUT.from_text("--x", text), value)
        for value, meant in ((1, 1.0), (2.5, 2.5), ("auto", "auto"), ("none", None)):
            self.assertEqual(TIMEOUT.from_toml("x", value), meant)
        for text in ("", "Auto", "never", "0.9", "61", "nan", "1_0", " 1"):
            self.refused(TIMEOUT, text)
        for value in ("2", "", "Auto", True, None, 0, 61, math.nan):
            self.refused_in_file(TIMEOUT, value)
        self.assertEqual(TIMEOUT.metavar, "S|auto|none")

    def test_keepalive(self) -> None:
        """One to three whole numbers, or none; in a file one may be an integer."""
        for text, value in (
            ("60", (60, None, None)),
            ("60/10", (60, 10, None)),
            ("60/10/3", (60, 10, 3)),
            ("none", None),
        ):
            self.assertEqual(Keepalive().from_text("--x", text), value)
            self.assertEqual(Keepalive().from_toml("x", text), value)
        self.assertEqual(Keepalive().from_toml("x", 60), (60, None, None))
        for text in ("", "/", "60/", "/10", "60/10/3/1", "6.0", "60 / 10", "None", "٣", "9" * 50):
            self.refused(Keepalive(), text)
        for value in ("60/", True, 60.0, None, [60, 10]):
            self.refused_in_file(Keepalive(), value)

    def test_whole_numbers(self) -> None:
        """Whole numbers in range, and nothing else."""
        self.assertEqual(WHOLE.from_text("--x", "255"), 255)
        self.assertEqual(WHOLE.from_toml("x", 2), 2)
        for text in ("", "2.0", "1", "256", "2_0", " 3", "٣", "9" * 5000):
            self.refused(WHOLE, text)
        for value in (2.0, True, "3", 1, 256):
            self.refused_in_file(WHOLE, value)

    @given(st.text())
    @settings(deadline=None)
    def test_any_text(self, text: str) -> None:
        """Whatever is typed is either a value or a ConfigError of one short line."""
        for kind in (
            SECONDS,
            TIMEOUT,
            Keepalive(),
            WHOLE,
            Text(check=peer_id),
            OneOf("W", ("a", "b")),
            Names(),
            Pairs(),
            Flag(),
        ):
            try:
                kind.from_text("--x", text)
            except ConfigError as error:
                self.assertNotIn("\n", str(error))
                self.assertLess(len(str(error)), 400 + len(text) * 12)

    def test_text(self) -> None:
        """Text is one line of UTF-8."""
        self.assertEqual(Text().from_text("--x", "grün"), "grün")
        for text in ("a\nb", "\x00", "\udcff", "x" * 5000):
            self.refused(Text(), text)
        self.refused_in_file(Text(), 5)

    def test_peer_ids(self) -> None:
        """An id obeys the rules of HELLO."""
        self.assertEqual(Text(check=peer_id).from_text("--id", "gateway-7"), "gateway-7")
        for text in ("", "~a", "x" * 256):
            self.refused(Text(check=peer_id), text)

    def test_words(self) -> None:
        """One of the words, exactly."""
        kind = OneOf("LEVEL", ("info", "warn"))
        self.assertEqual(kind.from_text("--x", "warn"), "warn")
        for text in ("WARN", "", "inf"):
            self.refused(kind, text)

    def test_flags(self) -> None:
        """In a file a flag is true or false, not 1 or "yes"."""
        self.assertIs(Flag().from_toml("x", True), True)
        self.assertIs(Flag().from_toml("x", False), False)
        for value in (1, 0, "true", "yes"):
            self.refused_in_file(Flag(), value)

    def test_many(self) -> None:
        """An option that may be repeated is an array in a file, or one value; an empty array says nothing."""
        kind = Many(Whole(1, 9))
        self.assertEqual(kind.from_text("--x", "1"), 1)
        self.assertEqual(kind.from_toml("x", [1, 2]), (1, 2))
        self.assertEqual(kind.from_toml("x", 3), (3,))
        self.refused_in_file(kind, [])
        self.assertRaises(ConfigError, kind.from_toml, "x", [1, "a"])

    def test_names(self) -> None:
        """Names are separated by commas, or stand in an array; none of them is empty, none is there twice."""
        kind = Names()
        self.assertEqual(kind.from_text("--services", "auth, billing,auth"), ("auth", "billing"))
        self.assertEqual(kind.from_text("--services", ""), ())
        self.assertEqual(kind.from_toml("services", ["auth", "a,b"]), ("auth", "a,b"))
        self.assertEqual(kind.from_toml("services", "auth,billing"), ("auth", "billing"))
        for text in ("a,,b", ",", "a,\x01"):
            self.assertRaises(ConfigError, kind.from_text, "--services", text)
        for value in ([1], 5, {"a": 1}):
            self.assertRaises(ConfigError, kind.from_toml, "services", value)

    def test_pairs(self) -> None:
        """Pairs have an equals sign; a file has them as a table."""
        kind = Pairs()
        self.assertEqual(kind.from_text("--meta", "a=b=c"), ("a", "b=c"))
        self.assertEqual(kind.from_text("--meta", "a="), ("a", ""))
        self.assertEqual(dict(kind.from_toml("meta", {"rack": "r1"})), {"rack": "r1"})
        self.refused(kind, "rack")
        for text in ("=x", "a\x00=1", "k=" + "v" * 2000):
            self.assertRaises(ConfigError, kind.from_text, "--meta", text)
        for value in ("a=b", ["a=b"], {"a": 1}):
            self.assertRaises(ConfigError, kind.from_toml, "meta", value)

    def test_a_long_value_is_cut(self) -> None:
        """A wrong value of any length is repeated so far that it can be recognised, and the line stays a line."""
        error = self.assertRaises(ConfigError, WHOLE.from_text, "--x", "y" * 100_000)
        self.assertLess(len(str(error)), 300)
