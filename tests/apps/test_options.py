"""Tests of the options of the commands: the command line, the config file, and who beats whom."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from heartbeat import __version__
from heartbeat.apps import agent
from heartbeat.apps.options import SettingOptions
from heartbeat.apps.server import settings
from heartbeat.errors import ConfigError
from heartbeat.keys import new_key


class Parent(dict[str, Any]):
    """Stands for the options of twist: that there is a parent is all that counts."""


class OptionsTestCase(SynchronousTestCase):
    """Options that are parsed."""

    options: type[SettingOptions[Any]] = settings.Options
    needed: tuple[str, ...] = ()

    def parse(self, *arguments: str) -> Any:
        """What the arguments come to."""
        options = self.options()
        options.parseOptions([*self.needed, *arguments])
        return options.settings

    def file(self, text: str) -> str:
        """A config file."""
        path = self.mktemp()
        Path(path).write_text(text, encoding="utf-8")
        return path

    def refused(self, *arguments: str) -> str:
        """The one line that refuses the arguments."""
        message = str(self.assertRaises(UsageError, self.parse, *arguments))
        self.assertNotIn("\n", message)
        return message

    def under_twist(self, *arguments: str) -> tuple[int, str, str]:
        """The status with which the process would end under twist, and what it printed on stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "__stderr__", err)
        options = self.options()
        options.parent = Parent()  # type: ignore[assignment]  # the real one needs a command line of its own
        error = self.assertRaises(SystemExit, options.parseOptions, [*self.needed, *arguments])
        return error.code, out.getvalue(), err.getvalue()  # type: ignore[attr-defined]  # it is a SystemExit


class ServerOptionsTests(OptionsTestCase):
    """``twist heartbeat-server``."""

    def test_defaults(self) -> None:
        """Without options the server is what surface.md says."""
        found = self.parse()
        self.assertEqual(found.listen, ("tcp:7600",))
        self.assertEqual(found.web, "tcp:7680:interface=127.0.0.1")
        self.assertEqual((found.keep, found.keep_peers, found.keep_failures), (3600.0, 10_000, 1000))
        self.assertEqual((found.drain_timeout, found.max_per_address), (10.0, None))
        config = found.heartbeat
        self.assertEqual((config.interval, config.multiplier, config.sync_interval), (0.5, 3, 5.0))
        self.assertEqual((config.min_interval, config.max_detection, config.handshake_timeout), (0.1, 300.0, 10.0))
        self.assertEqual(config.bare, "accept")
        self.assertEqual(config.id, found.node)

    def test_all_of_them(self) -> None:
        """Every option arrives where it belongs."""
        found = self.parse(
            *("--listen", "tcp:0", "--listen", "unix:/tmp/x", "--web", "none", "--store", "memory:", "--no-bare"),
            *("--max-detection", "100", "--ping-interval", "2", "--multiplier", "5", "--sync-interval", "7"),
            *("--min-interval", "0", "--max-connections", "9", "--max-per-address", "3", "--handshake-timeout", "4"),
            *("--drain-timeout", "0", "--keep", "1", "--keep-peers", "2", "--keep-failures", "3", "--node", "n"),
            *("--service", "s", "--region", "r", "--cluster", "c", "--log-json", "--log-level", "warn", "--demo"),
        )
        self.assertEqual(found.listen, ("tcp:0", "unix:/tmp/x"))
        self.assertEqual((found.web, found.no_bare, found.log_json, found.log_level), ("none", True, True, "warn"))
        self.assertEqual((found.max_connections, found.max_per_address, found.drain_timeout), (9, 3, 0.0))
        self.assertEqual((found.service, found.region, found.cluster, found.demo), ("s", "r", "c", True))
        config = found.heartbeat
        self.assertEqual((config.interval, config.multiplier, config.sync_interval), (2.0, 5, 7.0))
        self.assertEqual((config.min_interval, config.max_detection, config.bare), (0.0, 100.0, "refuse"))
        self.assertEqual((config.id, config.handshake_timeout), ("n", 4.0))

    def test_wrong_values(self) -> None:
        """Each wrong value is refused in one line that names the option and the value."""
        for name, value in (
            ("listen", "7600"),
            ("listen", "tcp:99999"),
            ("listen", "tcp:x"),
            ("listen", "tcp:1:bogus=2"),
            ("web", "nowhere"),
            ("store", "mysql://localhost"),
            ("store", "sqlite:"),
            ("store", "redis://localhost:port/0"),
            ("store", "rediss://host/x"),
            ("drain-spread", "-1"),
            ("max-detection", "0"),
            ("ping-interval", "fast"),
            ("ping-interval", "0"),
            ("multiplier", "1"),
            ("sync-interval", "-5"),
            ("min-interval", "nan"),
            ("max-connections", "0"),
            ("max-per-address", "many"),
            ("handshake-timeout", "inf"),
            ("drain-timeout", "1h"),
            ("keep", "-1"),
            ("keep-peers", "1.5"),
            ("keep-failures", "0"),
            ("service", "a\nb"),
            ("node", "~me"),
            ("log-level", "loud"),
        ):
            message = self.refused(f"--{name}", value)
            self.assertIn(f"--{name}: ", message)
            self.assertIn(repr(value), message)

    def test_slips(self) -> None:
        """Unknown options, missing values and stray words are named."""
        self.assertIn("--bogus", self.refused("--bogus"))
        self.assertIn("--listen", self.refused("--listen"))
        self.assertIn("'stray'", self.refused("stray"))
        self.assertIn("--demo", self.refused("--demo=yes"))

    def test_values_that_do_not_fit_together(self) -> None:
        """A detection time over the limit is blamed on the interval, with all numbers in the line."""
        message = self.refused("--ping-interval", "200")
        for part in ("--ping-interval", "200 s", "multiplier 3", "max-detection 300 s"):
            self.assertIn(part, message)
        path = self.file("\n\nping-interval = 50\nmultiplier = 9\n")
        self.assertIn(f"{path}:3: ping-interval", self.refused("--config", path))

    def test_the_command_line_beats_the_file(self) -> None:
        """What is typed wins over the file, the file over the default; a list replaces a list."""
        path = self.file('ping-interval = 1\nmultiplier = 4\nlisten = ["tcp:1", "tcp:2"]\nno-bare = true\n')
        found = self.parse("--config", path, "--multiplier", "5", "--listen", "tcp:3")
        self.assertEqual((found.ping_interval, found.multiplier, found.listen), (1.0, 5, ("tcp:3",)))
        self.assertIs(found.no_bare, True)
        self.assertEqual(self.parse("--config", path).listen, ("tcp:1", "tcp:2"))

    def test_every_option_may_stand_in_the_file(self) -> None:
        """The keys of the file are the names of the options, as they are typed."""
        lines = {
            str: '"x"',
            bool: "true",
            float: "1",
            int: "3",
        }
        special = {
            "listen": '"tcp:1"',
            "web": '"none"',
            "store": '"memory:"',
            "log-level": '"warn"',
            "traces": '"none"',
            "push-metrics": '"none"',
            "user-timeout": "9",
            "auth": '"none"',
            "shared-key": f'"{self.secrets()}"',
            "token-key": f'"{self.secrets()}"',
            "web-password-file": f'"{self.password_file()}"',
            "web-host": '"heartbeat.example"',
            "tls-minimum": '"1.2"',
        }
        tls = {"listen-tls": '"tcp:1"', "tls-cert": '"c"', "tls-key": '"k"', "tls-client-ca": '"a"'}  # only together
        numbers = {
            "max-connections": "5",
            "max-per-address": "6",
            "max-detection": "9",
            "keepalive": "60",
            "rto-max": "2",
        }
        found = self.parse()
        for setting in settings.TABLE:
            if setting.in_file:
                value = getattr(found, setting.field)
                if setting.name in tls:
                    self.parse("--config", self.file("\n".join(f"{name} = {text}" for name, text in tls.items())))
                    continue
                text = special.get(setting.name) or numbers.get(setting.name) or lines[type(value)]
                self.parse("--config", self.file(f"{setting.name} = {text}\n"))

    def secrets(self) -> str:
        """A file of keys."""
        path = Path(self.file(f"{new_key()}\n"))
        path.chmod(0o600)
        return str(path)

    def password_file(self) -> str:
        """A file with a password, that nobody else can read."""
        path = Path(self.mktemp())
        path.write_text("open sesame\n")
        path.chmod(0o600)
        return str(path)

    def test_unknown_keys(self) -> None:
        """An unknown key is named with its file and line; so is an option written otherwise, and --config itself."""
        for key in ("bogus", "ping_interval", "config", "help", "Listen"):
            path = self.file(f"# one\nmultiplier = 3\n{key} = 1\n")
            self.assertEqual(self.refused("--config", path), f'{path}:3: unknown key "{key}"')

    def test_wrong_values_in_the_file(self) -> None:
        """A wrong value is named with its file, line and key."""
        for line, part in (
            ('ping-interval = "0.5"', "'0.5'"),
            ("multiplier = 2.5", "2.5"),
            ("no-bare = 1", "1"),
            ('listen = ["tcp:1", 5]', "5"),
            ('listen = ["tcp:x"]', "tcp:x"),
            ("node = 7", "7"),
            ("keep = 1979-05-27", "1979"),
        ):
            path = self.file(f"# one\n{line}\n")
            message = self.refused("--config", path)
            self.assertTrue(message.startswith(f"{path}:2: {line.split()[0]}: "), message)
            self.assertIn(part, message)

    def test_under_twist(self) -> None:
        """Under twist a wrong option ends the process: status 64, one line on stderr."""
        status, out, err = self.under_twist("--multiplier", "many")
        self.assertEqual((status, out), (64, ""))
        self.assertEqual(err, "heartbeat-server: --multiplier: must be a whole number, not 'many'\n")

    def test_files_that_cannot_be_read(self) -> None:
        """A file that cannot be read is not a wrong option: status 1, one line that names it."""
        for arguments in (("--config", "/nonexistent.toml"), ("--listen", "ssl:0:privateKey=/nonexistent.pem")):
            status, _, err = self.under_twist(*arguments)
            self.assertEqual(status, 1)
            self.assertEqual(err.count("\n"), 1)
            self.assertIn(arguments[0], err)
            self.assertIn("/nonexistent", err)
        self.assertRaises(FileNotFoundError, self.parse, "--config", "/nonexistent.toml")

    def test_a_certificate_that_is_none(self) -> None:
        """A file without certificate behind ``ssl:`` is status 1 and one line."""
        path = self.file("no certificate\n")
        status, _, err = self.under_twist("--listen", f"ssl:0:privateKey={path}")
        self.assertEqual((status, err.count("\n")), (1, 1))
        self.assertIn(path, err)

    def test_version(self) -> None:
        """``--version`` prints ours and nothing else, whatever else is wrong behind it."""
        self.assertEqual(self.under_twist("--version", "--bogus-value-of-nothing")[0], 64)
        self.assertEqual(self.under_twist("--version"), (0, f"{__version__}\n", ""))

    def test_help_names_every_option(self) -> None:
        """The help has every option with what it is for and its default."""
        text = " ".join(str(self.options()).split())
        for setting in settings.TABLE:
            self.assertIn(f"--{setting.name}", text)
        self.assertIn("default: tcp:7600", text)
        self.assertIn("default: 0.5", text)

    def test_reading_again(self) -> None:
        """A changed file is read anew with the same command line; a bad one raises and changes nothing."""
        path = self.file("multiplier = 4\nping-interval = 1\n")
        options = settings.Options()
        options.parseOptions(["--config", path, "--ping-interval", "2"])
        Path(path).write_text("multiplier = 6\nping-interval = 3\n", encoding="utf-8")
        found = options.read()
        self.assertEqual((found.multiplier, found.ping_interval), (6, 2.0))
        Path(path).write_text("multiplier = 600\n", encoding="utf-8")
        self.assertRaises(ConfigError, options.read)
        self.assertEqual(options.settings.multiplier, 4)


class AgentOptionsTests(OptionsTestCase):
    """``twist heartbeat-agent``."""

    options = agent.Options
    needed = ("--connect", "localhost:7600")

    def test_defaults(self) -> None:
        """Without further options the agent beats every 0.5 s and adapts."""
        found = self.parse()
        self.assertEqual(found.connect, ("localhost:7600",))
        self.assertEqual((found.services, dict(found.meta), found.progress_file), ((), {}, None))
        self.assertEqual((found.heartbeat.interval, found.heartbeat.adaptive), (0.5, True))
        self.assertEqual(found.heartbeat.id, found.id)

    def test_all_of_them(self) -> None:
        """Every option arrives where it belongs."""
        found = self.parse(
            *("--connect", "[::1]:7601", "--connect", "unix:/run/x", "--id", "a", "--services", "auth,billing"),
            *("--meta", "rack=r1", "--meta", "zone=z=1", "--progress-file", "/tmp/p", "--ping-interval", "2"),
            *("--no-adaptive", "--log-json"),
        )
        self.assertEqual(found.connect, ("localhost:7600", "[::1]:7601", "unix:/run/x"))
        self.assertEqual((found.id, found.services, found.progress_file), ("a", ("auth", "billing"), "/tmp/p"))
        self.assertEqual(dict(found.meta), {"rack": "r1", "zone": "z=1"})
        self.assertEqual((found.heartbeat.interval, found.heartbeat.adaptive, found.log_json), (2.0, False, True))
        self.assertIs(self.parse("--no-adaptive", "--adaptive").adaptive, True)

    def test_a_server_is_needed(self) -> None:
        """Without --connect there is nothing to do: the line names the option."""
        self.needed = ()
        self.assertIn("--connect", self.refused())
        self.assertEqual(self.under_twist()[0], 64)

    def test_wrong_values(self) -> None:
        """Each wrong value is refused in one line that names the option and the value."""
        for name, value in (
            ("connect", "localhost"),
            ("connect", "localhost:99999"),
            ("connect", "localhost:0"),
            ("connect", "::1:7600"),
            ("connect", "tcp:localhost"),
            ("connect", "tcp:localhost:x"),
            ("connect", "foo:bar:1"),
            ("id", "~me"),
            ("id", ""),
            ("services", "a,,b"),
            ("meta", "rack"),
            ("ping-interval", "0"),
            ("ping-interval", "101"),
        ):
            message = self.refused(f"--{name}", value)
            self.assertIn(f"--{name}: ", message)
            self.assertIn(value, message)

    def test_more_than_fits(self) -> None:
        """Services and meta that are too much for one STATE are blamed on the option, or on the line of the file."""
        services = [f"service-{number}-{'x' * 230}" for number in range(60)]
        meta = [f"m{number}={'y' * 1000}" for number in range(60)]
        pairs = [word for pair in meta for word in ("--meta", pair)]
        self.assertIn("--services: ", self.refused("--services", ",".join(services), *pairs))
        path = self.file(f"\nservices = {services!r}\n".replace("'", '"'))
        self.assertIn(f"{path}:2: services: ", self.refused("--config", path, *pairs))

    def test_config_file(self) -> None:
        """The agent has a config file, too; its meta are a table."""
        path = self.file('id = "b"\nservices = ["x", "y"]\nadaptive = false\n[meta]\nrack = "r2"\n')
        found = self.parse("--config", path)
        self.assertEqual((found.id, found.services, found.adaptive), ("b", ("x", "y"), False))
        self.assertEqual(dict(found.meta), {"rack": "r2"})
        path = self.file("id = 'b'\nmeta = 5\n")
        self.assertIn(f"{path}:2: meta", self.refused("--config", path))
