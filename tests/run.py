"""Everything that must hold before a change goes in: ``python3 -m tests.run``.

Makes the environment ``.venv`` if need be, installs this checkout into it as a wheel, and runs the checks and the
tests against that wheel, not against the checkout: a file that the wheel lost is found here. The last lines say what
was skipped and why, and how many passed. Exit code 1 when anything failed, 2 when the environment cannot be made.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.environment import CHECKOUT, Impossible, debian, install, program

#: What some tests need besides Python, as Debian packages. Tests that miss theirs are skipped and say so.
DEBIAN_PACKAGES: tuple[str, ...] = ("iproute2", "iptables", "conntrack", "redis-server")
#: The rooms whose every decision is tested, and how much of them a run must reach, in per cent of lines and branches.
MEASURED_ROOMS = ("wire", "liveness", "session")
LEAST_COVERAGE = 95
#: Real sockets, processes and clocks: not measured, and pointless without the kernel.
REAL = ("tests.real", "tests.benchmarks")
#: Has no connection in it, so the kernel makes no difference to it.
WITHOUT_CONNECTIONS = ("tests.packaging",)

#: Seconds after which a pass of trial hangs: far above what the longest one takes on two slow cores.
LONGEST_PASS = 900.0
#: Seconds between two looks at what a pass has printed.
_LOOK = 0.2
#: Signs of a reason in the summary; trial has printed all of it above.
_LONGEST_REASON = 200

_SUMMARY = re.compile(r"^Ran \d+ tests in [\d.]+s\n\n(?:PASSED|FAILED) \((.*)\)$", re.MULTILINE)
# Trial's report: a line of 79 signs between the sections and before the last lines.
_SECTION = re.compile(r"^={79}\n\[([A-Z!?]+)\]\n(.*?)(?=^(?:={79}|-{79})\n)", re.MULTILINE | re.DOTALL)
_TEST_NAME = re.compile(r"^tests(\.\w+)+$")
_SKIPS = {"SKIPPED": "skips", "TODO": "expectedFailures"}
_FAILS = {"FAIL": "failures", "ERROR": "errors", "SUCCESS!?!": "unexpectedSuccesses"}


@dataclass
class Outcome:
    """What has been seen so far: numbers, and a line for each thing that did not simply pass."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)

    def check(self, name: str, command: list[str], cwd: Path = CHECKOUT) -> None:
        """Run one check, which passes with exit code 0; its output is shown."""
        _headline(name)
        code = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, check=False).returncode
        if code == 0:
            self.passed += 1
        else:
            self._fail(f"{name}: {Path(command[0]).name} ended with {code}")

    def trial(self, name: str, command: list[str], cwd: Path, **environment: str) -> None:
        """Run trial, show what it prints, and count."""
        _headline(name)
        code, text = _shown(command, cwd, environment)
        counts = _counts(text)
        for kind, test, why in _told(text):
            (self.skips if kind in _SKIPS else self.failures).append(f"{test} ({name}): {why}")
        failed = sum(counts.get(one, 0) for one in _FAILS.values())
        self.passed += counts.get("successes", 0)
        self.skipped += sum(counts.get(one, 0) for one in _SKIPS.values())
        self.failed += failed
        if not sum(counts.values()):
            self._fail(f"{name}: no test ran, trial ended with {code}")
        elif code != 0 and not failed:
            self._fail(f"{name}: trial ended with {code}")

    def close(self) -> int:
        """The last lines. The exit code."""
        _headline("summary")
        for title, lines in (("failed", self.failures), ("skipped", self.skips)):
            for line in lines:
                print(f"{title}: {line}")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return 1 if self.failed else 0

    def _fail(self, line: str) -> None:
        self.failed += 1
        self.failures.append(line)


def main() -> int:
    """Install, check, test."""
    debian(*DEBIAN_PACKAGES)
    try:
        python = install("test")
    except Impossible as missing:
        print(missing, file=sys.stderr)
        return 2
    outcome = Outcome()
    outcome.check("ruff check", [program("ruff"), "check"])
    outcome.check("ruff format", [program("ruff"), "format", "--check"])
    outcome.check("mypy", [program("mypy")])
    with tempfile.TemporaryDirectory(prefix="txheartbeat-") as name:
        apart = Path(name)  # a folder in which `import heartbeat` can only mean the installed wheel
        (apart / "tests").symlink_to(CHECKOUT / "tests", target_is_directory=True)
        outcome.check("dropins", [python, "-I", str(CHECKOUT / "tests/packaging/check_dropins.py")], cwd=apart)
        _tests(outcome, python, apart)
    return outcome.close()


def _tests(outcome: Outcome, python: str, apart: Path) -> None:
    trial = ["-m", "twisted.trial", "--reporter=text", "--temp-directory=trial"]
    folder = CHECKOUT / "tests"
    names = [one.parent.name for one in folder.glob("*/__init__.py")] + [one.stem for one in folder.glob("test_*.py")]
    every = sorted(f"tests.{name}" for name in names)
    units = [one for one in every if one not in (*REAL, "tests.typing")]
    settings = f"--rcfile={CHECKOUT / 'pyproject.toml'}"
    data = f"--data-file={apart / '.coverage'}"
    outcome.trial("units", [python, "-m", "coverage", "run", settings, data, *trial, *units], apart)
    outcome.check("coverage", [python, "-m", "coverage", "combine", "--quiet", data, str(apart)])
    for room in MEASURED_ROOMS:
        report = ["report", data, f"--include=heartbeat/{room}/*", f"--fail-under={LEAST_COVERAGE}"]
        outcome.check(f"coverage of {room}", [python, "-m", "coverage", *report])
    without = [one for one in units if one not in WITHOUT_CONNECTIONS]
    outcome.trial("units without the kernel", [python, *trial, *without], apart, HEARTBEAT_NO_KERNEL="1")
    outcome.trial("real", [python, *trial, *REAL], apart)


def _shown(command: list[str], cwd: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run, show the output as it comes, and keep it.

    Through a file, not a pipe: a process that a test left behind would hold the pipe open, and us with it.
    """
    ends = time.monotonic() + LONGEST_PASS
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        taken = b""
        running = True
        while running:
            try:
                process.wait(_LOOK)
            except subprocess.TimeoutExpired:
                if time.monotonic() > ends:
                    process.kill()
            else:
                running = False
            piece = os.pread(output.fileno(), 2**30, len(taken))
            taken += piece
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    return process.returncode, taken.decode(errors="replace")


def _counts(text: str) -> dict[str, int]:
    """The numbers of trial's last line, ``PASSED (skips=1, successes=11)``, by name."""
    summaries = _SUMMARY.findall(text)
    pairs = (one.split("=") for one in summaries[-1].split(", ")) if summaries else ()
    return {name: int(number) for name, number in pairs}


def _told(text: str) -> list[tuple[str, str, str]]:
    """(kind, test, reason) of each test that did not simply pass.

    Trial prints a section for those that share kind and reason: the reason or traceback first, then their names.
    """
    told: list[tuple[str, str, str]] = []
    for kind, body in _SECTION.findall(text):
        lines = body.strip().splitlines()
        names: list[str] = []
        while lines and _TEST_NAME.match(lines[-1]):
            names.append(lines.pop())
        reason = [line for line in lines if line and not line.startswith((" ", "Traceback "))]
        why = " ".join(reason if kind in _SKIPS else reason[:1])[:_LONGEST_REASON]
        told.extend((kind, name, why) for name in reversed(names))
    return told


def _headline(text: str) -> None:
    print(f"\n--- {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
