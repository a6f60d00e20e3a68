"""A process at one end of some connections (:mod:`tests.real.end`), as whoever started it sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import tests
from tests.real.end import Order, command
from tests.real.namespaces import Place, Topology
from tests.real.processes import environment

__all__ = ["EndProcess"]


class EndProcess:
    """One end, started in its namespace.

    :ivar lines: all that it told, in order
    """

    def __init__(self, topology: Topology, place: Place, order: Order) -> None:
        self.lines: list[dict[str, Any]] = []
        self._errors = tempfile.TemporaryFile(mode="w+")
        self._process = topology.start(
            place,
            command(order),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(json.loads(line))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def tell(self, word: str) -> None:
        """Say a word."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def told(self, what: str) -> list[dict[str, Any]]:
        """What it told of that kind, in order."""
        if self._process.returncode is None and self._process.poll() not in (None, -signal.SIGKILL):
            raise AssertionError(f"an end has ended with {self._process.returncode}: {self._output()}")
        return [line for line in list(self.lines) if line["what"] == what]

    def complaints(self) -> str:
        """What it wrote to its error output, if it looks like a fault of its own."""
        text = self._output()
        return text if "Traceback" in text or "Unhandled" in text else ""

    def end(self) -> None:
        """It is not needed any more."""
        self._process.kill()
        self._process.wait()
        self._reader.join(5.0)
        self._errors.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()

    def _output(self) -> str:
        # By its own offset: the process goes on writing with the one that it shares with us.
        return os.pread(self._errors.fileno(), 2**20, 0).decode(errors="replace")


def _environment() -> dict[str, str]:
    """That of every process of the tests, and the folder of the tests themselves, from which an end is run."""
    known = environment()
    paths = [*filter(None, [known.get("PYTHONPATH")]), str(Path(tests.__file__).absolute().parent.parent)]
    return {**known, "PYTHONPATH": os.pathsep.join(paths)}
