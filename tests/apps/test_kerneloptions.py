"""The kernel options of both commands: on the command line, in the config file, and what they come to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps import agent
from heartbeat.apps.options import SettingOptions, When
from heartbeat.apps.server import settings
from heartbeat.config import KernelOptions

#: Each command, with what it cannot do without.
COMMANDS: tuple[tuple[type[SettingOptions[Any]], tuple[str, ...]], ...] = (
    (settings.Options, ()),
    (agent.Options, ("--connect", "server:7600")),
)
NAMES = ("keepalive", "user-timeout", "rto-max")


class KernelTests(SynchronousTestCase):
    """The same for the server and for the agent."""

    def each(self, *given: str) -> list[KernelOptions]:
        """What the commands make of these options."""
        found = []
        for kind, needed in COMMANDS:
            options: Any = kind()
            options.parseOptions([*needed, *given])
            found.append(options.settings.heartbeat.kernel)
        return found

    def complaints(self, *given: str) -> list[str]:
        """What the commands say of these options."""
        found = []
        for kind, needed in COMMANDS:
            found.append(str(self.assertRaises(UsageError, kind().parseOptions, [*needed, *given])))
        return found

    def file(self, text: str) -> str:
        """A config file."""
        path = Path(self.enterContext(tempfile.TemporaryDirectory()), "c.toml")
        path.write_text(text)
        return str(path)

    def test_defaults(self) -> None:
        """Without a word they are those of the library."""
        self.assertEqual(self.each(), [KernelOptions()] * 2)

    def test_all(self) -> None:
        """Each option arrives in its place."""
        wanted = KernelOptions(
            keepalive=True,
            keepalive_idle=60,
            keepalive_interval=10,
            keepalive_count=3,
            user_timeout=30.0,
            rto_max=1.5,
        )
        given = ("--keepalive", "60/10/3", "--user-timeout", "30", "--rto-max", "1.5")
        self.assertEqual(self.each(*given), [wanted] * 2)
        path = self.file('keepalive = "60/10/3"\nuser-timeout = 30\nrto-max = 1.5\n')
        self.assertEqual(self.each("--config", path), [wanted] * 2)

    def test_the_command_line_goes_first(self) -> None:
        """A word takes back what the file says."""
        path = self.file('keepalive = 60\nuser-timeout = "none"\n')
        self.assertEqual(
            self.each("--config", path), [KernelOptions(keepalive=True, keepalive_idle=60, user_timeout=None)] * 2
        )
        self.assertEqual(
            self.each("--config", path, "--keepalive", "none", "--user-timeout", "auto"), [KernelOptions()] * 2
        )

    def test_wrong(self) -> None:
        """One line that names the option and the value."""
        for option, value in (
            ("--keepalive", "often"),
            ("--keepalive", "0"),
            ("--keepalive", "60/40000"),
            ("--keepalive", "60/10/128"),
            ("--user-timeout", "soon"),
            ("--user-timeout", "0"),
            ("--rto-max", "0.5"),
            ("--rto-max", "auto"),
        ):
            for line in self.complaints(option, value):
                self.assertTrue(line.startswith(f"{option}: "), line)
                self.assertIn(value.rpartition("/")[2], line)
                self.assertNotIn("\n", line)

    def test_no_cap_alone(self) -> None:
        """--rto-max needs a user timeout, wherever the two were said."""
        for line in self.complaints("--rto-max", "1", "--user-timeout", "none"):
            self.assertTrue(line.startswith("--rto-max: needs a user_timeout"), line)
        path = self.file('\nrto-max = 2\nuser-timeout = "none"\n')
        for line in self.complaints("--config", path):
            self.assertTrue(line.startswith(f"{path}:2: rto-max: needs"), line)

    def test_a_wrong_value_in_a_file(self) -> None:
        """The line of the file is named, too."""
        for text, key in (
            ("keepalive = 40000", "keepalive"),
            ("keepalive = true", "keepalive"),
            ('user-timeout = "30"', "user-timeout"),
            ("rto-max = 1000", "rto-max"),
        ):
            path = self.file(f"# settings\n{text}\n")
            for line in self.complaints("--config", path):
                self.assertTrue(line.startswith(f"{path}:2: {key}: "), line)

    def test_when_a_change_counts(self) -> None:
        """The server's new connections have the new ones at once; an agent has one connection."""
        for table, when in ((settings.TABLE, When.NEXT), (agent.TABLE, When.RESTART)):
            self.assertEqual([one.when for one in table if one.name in NAMES], [when] * 3)
