"""A process at one end of some connections (:mod:`tests.real.end`), as whoever starts it sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Final, Literal

from tests.real.namespaces import Place, Topology
from tests.real.processes import environment

__all__ = ["SERVER_NAME", "EndProcess", "Order"]

#: What the certificate of a server is for.
SERVER_NAME: Final = "server.test"


@dataclass(frozen=True)
class Order:
    """What a process is to be.

    :ivar role: who connects, and who accepts
    :ivar host: where to listen or to connect to
    :ivar interval: of both ends, seconds
    :ivar names: the ids of the connections; one each
    :ivar data: they carry an application's data
    :ivar pem: of the server's certificate with its key, for TLS
    :ivar authority: of the authority that the client trusts, for TLS
    """

    role: Literal["client", "server"]
    host: str
    interval: float
    names: tuple[str, ...]
    data: bool = False
    pem: str | None = None
    authority: str | None = None


class EndProcess:
    """One end, started in its namespace. A context manager: it has ended afterwards.

    :ivar lines: all that it told, in order
    """

    def __init__(self, topology: Topology, place: Place, order: Order) -> None:
        self.lines: list[dict[str, Any]] = []
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  closed by end()
        self._process = topology.start(
            place,
            [sys.executable, "-m", "tests.real.end", json.dumps(asdict(order))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(with_tests=True),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> EndProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

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
            raise AssertionError(f"an end has ended with {self._process.returncode}: {self.output()}")
        return [line for line in list(self.lines) if line["what"] == what]

    def connected(self) -> set[str]:
        """The connections that are open, by name, as far as it has told."""
        last = {line["peer"]: line["what"] for line in list(self.lines) if "peer" in line}
        return {name for name, what in last.items() if what not in ("Dead", "Left", "Refused")}

    def complaints(self) -> str:
        """What it wrote to its error output, if it looks like a fault of its own."""
        text = self.output()
        # Whoever connects in vain says so with a failure that has no frames.
        return text if "Traceback (most recent" in text or "Unhandled" in text else ""

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

    def output(self) -> str:
        """What it wrote to its error output."""
        # By its own offset: the process goes on writing with the one that it shares with us.
        return os.pread(self._errors.fileno(), 2**20, 0).decode(errors="replace")
