"""Tests of the config file: what it may say, and which line is blamed."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.configfile import MAX_BYTES, ConfigFile, read_config, read_text
from heartbeat.errors import ConfigError

TEXT = """\
# a comment
first = 1

listen = [
    "tcp:1",  # one
    "tcp:2",
]
text = '''
first = 2
'''

[meta]
rack = "r1"
"last one" = "x"
[peer."gateway-*"]
multiplier = 5
"""


class LineTests(SynchronousTestCase):
    """On which line a key stands."""

    def test_lines(self) -> None:
        """A value is found on the line on which it begins, be it of several lines, in a table, or quoted."""
        file = ConfigFile("f.toml", TEXT)
        for keys, line in (
            (("first",), 2),
            (("listen",), 4),
            (("text",), 8),
            (("meta",), 12),
            (("meta", "rack"), 13),
            (("meta", "last one"), 14),
            (("peer", "gateway-*", "multiplier"), 16),
        ):
            self.assertEqual(file.line(*keys), line, keys)
        self.assertEqual(file.name("meta", "rack"), "f.toml:13: meta.rack")

    def test_line_ends_of_windows(self) -> None:
        """CRLF makes no difference."""
        file = ConfigFile("f.toml", TEXT.replace("\n", "\r\n"))
        self.assertEqual(file.values, ConfigFile("f.toml", TEXT).values)
        self.assertEqual(file.line("meta", "rack"), 13)

    @given(st.lists(st.sampled_from(["", "# c", "x = [\n1,\n\n2]", 'y{} = """\na\n"""', "z{} = 1"]), max_size=12))
    @settings(deadline=None)
    def test_any_place(self, before: list[str]) -> None:
        """Whatever stands before it, a key is found on its own line."""
        text = "".join(f"{part.replace('x =', f'x{n} =').format(n)}\n" for n, part in enumerate(before))
        file = ConfigFile("f.toml", f"{text}wanted = 1\n[rest]\nwanted = 2\n")
        self.assertEqual(file.line("wanted"), text.count("\n") + 1)


class ReadTests(SynchronousTestCase):
    """Reading files."""

    def write(self, data: bytes) -> str:
        """A file with this in it."""
        path = self.mktemp()
        Path(path).write_bytes(data)
        return path

    def test_no_toml(self) -> None:
        """What is no TOML is blamed with the line on which it ends to be."""
        path = self.write(b"a = 1\nb = \nc = 2\n")
        self.assertIn(f"{path}:2: is not TOML", str(self.assertRaises(ConfigError, read_config, path)))
        path = self.write(b"a = 1\nb = [\n")
        self.assertIn(f"{path}:3: is not TOML", str(self.assertRaises(ConfigError, read_config, path)))
        path = self.write(b"a = 1\na = 2\n")
        self.assertIn(f"{path}:2: is not TOML", str(self.assertRaises(ConfigError, read_config, path)))

    def test_nested(self) -> None:
        """Nesting without end is refused, not a crash."""
        path = self.write(b"a = " + b"[" * 20_000)
        self.assertIn(path, str(self.assertRaises(ConfigError, read_config, path)))

    def test_no_utf8(self) -> None:
        """What is no UTF-8 is blamed with its line."""
        path = self.write(b"a = 1\nb = '\xff'\n")
        self.assertIn("line 2", str(self.assertRaises(ConfigError, read_config, path)))

    def test_too_long(self) -> None:
        """A file over the limit is refused, one at the limit is not."""
        path = self.write(b"#" * (MAX_BYTES + 1))
        self.assertIn(str(MAX_BYTES), str(self.assertRaises(ConfigError, read_config, path)))
        self.assertEqual(read_config(self.write(b"#" * MAX_BYTES)).values, {})

    def test_not_there(self) -> None:
        """A file that is not there, or is none, is an OSError."""
        self.assertRaises(FileNotFoundError, read_config, self.mktemp())
        self.assertIn("not a regular file", str(self.assertRaises(OSError, read_config, os.curdir)))

    def test_a_pipe_does_not_block(self) -> None:
        """Opening a pipe that nobody writes would wait for ever; it is refused instead."""
        path = self.mktemp()
        os.mkfifo(path)
        self.assertIn("not a regular file", str(self.assertRaises(OSError, read_text, path, 10)))

    if not hasattr(os, "mkfifo"):
        test_a_pipe_does_not_block.skip = "this platform has no named pipes"  # type: ignore[attr-defined]  # trial's
