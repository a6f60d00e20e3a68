"""A server in a process of its own: started, pinned to a core, its CPU and memory read from the kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import heartbeat

__all__ = ["Server", "cores", "descriptors", "pinned"]

#: What a server says when it is ready: ours one line per listener, the comparisons one line.
READY: Final = re.compile(rb"^listening (\w+) [^\n]*:(\d+)/?$", re.MULTILINE)
_START: Final = 30.0  # seconds until it must be ready: a cold start on a busy machine takes some
_STOP: Final = 15.0  # seconds until it must have stopped: the server drains for at most 10
_WORDS: Final = 4000  # characters of its log that are shown when something went wrong
_TICK: Final = os.sysconf("SC_CLK_TCK")


class Server:
    """One server process.

    :ivar ports: the port of each listener that it announced (``heartbeat``, ``web``, ``comparison``)
    :ivar told: for whoever reads its log: how much of it was read
    """

    def __init__(self, arguments: Sequence[str], listeners: Sequence[str], core: int | None = None) -> None:
        """Start ``python *arguments`` and wait until it has announced ``listeners``.

        :param core: the core to pin it to, None: any
        :raises RuntimeError: it ended, or said nothing in time; has what it wrote
        """
        self._directory = tempfile.TemporaryDirectory(prefix="benchmark-")
        self._log = Path(self._directory.name, "log")
        # Where this process found the package, the other finds it too: an installed wheel, or the source tree.
        where = str(Path(heartbeat.__path__[0]).parent)
        path = os.pathsep.join(filter(None, [where, os.environ.get("PYTHONPATH")]))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory.name,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            )
        self.pid = self._process.pid
        if core is not None:
            os.sched_setaffinity(self.pid, {core})
        self.ports: dict[str, int] = {}
        self.told = 0
        try:
            self._wait(listeners)
        except BaseException:
            self.stop()
            raise

    def _wait(self, listeners: Sequence[str]) -> None:
        until = time.monotonic() + _START
        while not set(listeners) <= set(self.ports):
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self._process.args!r} did not get ready:\n{self.log()}")
            time.sleep(0.02)
            self.ports = {kind.decode(): int(port) for kind, port in READY.findall(self._log.read_bytes())}

    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it. What went wrong meanwhile is shown together with the last that the server wrote."""
        if error is not None:
            error.add_note(f"the server's last words:\n{self.log()[-_WORDS:]}")
        self.stop()

    def cpu(self) -> float:
        """Seconds of CPU that the kernel charged to it, user and system, all threads."""
        try:  # in nanoseconds, where the kernel keeps it
            return (
                sum(
                    int(Path(task.path, "schedstat").read_text().split()[0])
                    for task in os.scandir(f"/proc/{self.pid}/task")
                )
                / 1e9
            )
        except FileNotFoundError:
            user, system = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            return (int(user) + int(system)) / _TICK

    def memory(self) -> tuple[int, int]:
        """Bytes: resident, and of these private to it (what would be free without it)."""
        sizes = dict.fromkeys(("Rss", "Private_Clean", "Private_Dirty"), 0)
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in sizes:
                sizes[name] = int(value.split()[0]) * 1024
        return sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"]

    def stop(self) -> None:
        """End it, and wait for that: by SIGTERM, and by SIGKILL when it does not come to an end."""
        self._process.terminate()
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._directory.cleanup()


def cores() -> tuple[int | None, int | None]:
    """A core for the server and another for the load; (None, None) where there is only one."""
    free = sorted(os.sched_getaffinity(0))
    return (free[-1], free[0]) if len(free) > 1 else (None, None)


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """This process on that core, and afterwards where it was."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def descriptors(wanted: int) -> Iterator[None]:
    """Room for so many descriptors, here and in the processes started meanwhile.

    :raises RuntimeError: the hard limit is lower
    """
    import resource  # there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"needs {wanted} descriptors, the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
