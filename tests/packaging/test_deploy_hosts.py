"""docs/deploy works with this version: the units of systemd, and the container file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.configfile import ConfigFile
from heartbeat.apps.options import gather
from tests.environment import CHECKOUT
from tests.packaging.deployed import DEPLOY, command_of, options_in, options_of, units

HADOLINT = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))


def hadolint(text: str) -> str:
    """What hadolint says of a container file."""
    command = [str(HADOLINT), "--no-color", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60).stdout


class SystemdTests(SynchronousTestCase):
    """The units."""

    def test_commands(self) -> None:
        """Every option exists, the values are in order, and so are the configuration files."""
        seen = set()
        for name, unit in units():
            if not name.endswith(".service"):
                continue
            program, given = options_in(command_of(unit))
            seen.add(program)
            self.assertEqual(unit["Service"]["Type"], "notify-reload")
            self.assertIn("WatchdogSec", unit["Service"])
            self.assertNotIn("MemoryDenyWriteExecute", unit["Service"])  # there would be no TLS
            path = DEPLOY / "systemd" / Path(given.pop("config")).name
            gather(options_of(program).table, {}, ConfigFile(path.name, path.read_text()))
            words = [word for option, value in given.items() for word in (f"--{option}", value)]
            if "listen" in given:  # nobody passes us its socket here
                words[words.index("--listen") + 1] = "tcp:0"
            options_of(program).parseOptions(words)
        self.assertEqual(seen, {"heartbeat-server", "heartbeat-agent"})

    def test_the_socket(self) -> None:
        """The service takes the socket by the name that the socket unit gives it, and in its family."""
        found = dict(units())
        service, sock = found["heartbeat-server.service"], found["heartbeat-server.socket"]
        _, given = options_in(command_of(service))
        _, domain, name = given["listen"].split(":")
        self.assertEqual(name, f"name={sock['Socket']['FileDescriptorName']}")
        self.assertEqual((domain, sock["Socket"]["ListenStream"][:4]), ("domain=INET6", "[::]"))
        self.assertEqual(service["Service"]["Sockets"], "heartbeat-server.socket")
        self.assertEqual(service["Unit"]["Requires"], "heartbeat-server.socket")

    def test_the_drain_has_its_time(self) -> None:
        """systemd kills only after the drain is over."""
        service = dict(units())["heartbeat-server.service"]
        _, given = options_in(command_of(service))
        self.assertGreater(float(service["Service"]["TimeoutStopSec"].rstrip("s")), float(given["drain-timeout"]) + 5)

    @skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_systemd_reads_them(self) -> None:
        """systemd itself finds no key that it does not know."""
        files = [str(DEPLOY / "systemd" / name) for name, _ in units()]
        run = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False, timeout=60
        )
        wrong = [line for line in run.stderr.splitlines() if "Unknown" in line or "Failed to parse" in line]
        # systemd 253 and later have that type; the page says what to write before.
        self.assertEqual([line for line in wrong if "notify-reload" not in line], [])


class ContainerTests(SynchronousTestCase):
    """The container file."""

    def setUp(self) -> None:
        text = (DEPLOY / "container/Dockerfile").read_text()
        joined = re.sub(r"\\\n(\s*#.*\n)*", " ", text)
        self.steps = [line.split(maxsplit=1) for line in joined.splitlines() if line and not line.startswith("#")]

    def step(self, name: str) -> list[str]:
        """What all instructions of this name say."""
        return [rest for word, rest in self.steps if word == name]

    @skipUnless(HADOLINT, "hadolint is not installed: pip install 'txheartbeat[test]'")
    def test_hadolint(self) -> None:
        """Nothing that is known to be a mistake; one that is would be found."""
        self.assertEqual(hadolint((DEPLOY / "container/Dockerfile").read_text()), "")
        self.assertIn("DL3006", hadolint("FROM python\n"))

    def test_what_it_starts(self) -> None:
        """In exec form, so that signals arrive; every option exists and its value is in order; its ports are named."""
        (entry,), (command,) = self.step("ENTRYPOINT"), self.step("CMD")
        self.assertEqual(json.loads(entry), ["twist"])
        program, given = options_in(json.loads(command))
        options_of(program).parseOptions([word for name in given for word in (f"--{name}", given[name]) if word])
        ports = set(self.step("EXPOSE")[0].split())
        self.assertLessEqual({given["listen"].split(":")[1], given["web"].split(":")[1]}, ports)

    def test_nobody_is_root(self) -> None:
        """By number: a name cannot be checked by who runs it."""
        (user,) = self.step("USER")
        self.assertRegex(user, r"^[1-9]\d*:[1-9]\d*$")

    def test_what_it_installs(self) -> None:
        """The extras exist, all that is copied is there, and the cache of the plugins is made while it can be."""
        settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
        (run,) = self.step("RUN")
        found = re.search(r'"\.\[([a-z,]+)\]"', run)
        assert found is not None
        self.assertLessEqual(set(found[1].split(",")), set(settings["project"]["optional-dependencies"]))
        self.assertIn("getPlugins", run)
        for copied in self.step("COPY"):
            if not copied.startswith("--from"):
                for name in copied.split()[:-1]:
                    self.assertTrue((CHECKOUT / name).exists(), name)
        ignored = (DEPLOY / "container/Dockerfile.dockerignore").read_text()
        for name in ("heartbeat", "twisted", "pyproject.toml", "README.md", "LICENSE"):
            self.assertIn(f"!{name}\n", ignored)

    def test_dropin_cache_command_works(self) -> None:
        """The line that warms the cache of the plugins is Python that runs."""
        (run,) = self.step("RUN")
        found = re.search(r'python -c "([^"]+)"', run)
        assert found is not None
        compile(found[1], "Dockerfile", "exec")
