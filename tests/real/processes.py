"""Servers and agents as real processes: on free ports of the loopback, watched by their output and their HTTP API.

Every process runs the interpreter of the tests with the package that the tests import, be it the checkout or an
installed wheel. What is still running when the tests end is killed.
"""

from __future__ import annotations

import atexit
import functools
import http.client
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import quote

import tests

__all__ = ["Agent", "Server", "environment", "poll", "shared_server"]

_T = TypeVar("_T")

#: Seconds for an interpreter to start and say that it listens, on a machine that does other things too.
_START = 30.0
#: Seconds for a process to end after SIGTERM: a drain (10 s) and some.
_STOP = 15.0
_FREE = "tcp:0:interface=127.0.0.1"


def poll(ask: Callable[[], _T | None], timeout: float, what: str, pause: float = 0.02) -> _T:
    """Ask until the answer is true, and return it; an AssertionError that names what was awaited when time is up."""
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what} (last answer: {answer!r})")
        time.sleep(pause)
    return answer


def environment(*, with_tests: bool = False) -> dict[str, str]:
    """Ours, with the directory of the package first when it is a checkout: ``-m twisted`` finds the dropins there.

    :param with_tests: the process runs a module of these tests
    """
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    spec = importlib.util.find_spec("heartbeat")
    assert spec is not None and spec.submodule_search_locations, "the package heartbeat is not there"
    root = Path(next(iter(spec.submodule_search_locations))).resolve().parent
    if "site-packages" not in root.parts:
        paths = [str(root), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    if with_tests:
        paths = [*filter(None, [environment.get("PYTHONPATH")]), str(Path(tests.__file__).absolute().parent.parent)]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


#: Hands a descriptor over as systemd does: as number 3, to a process that knows its own id, and becomes the command.
_ADOPTED: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(sys.argv[2], sys.argv[2:])
"""


class _Process:
    """One ``python -m twisted ...`` with its output collected by a thread.

    :param inherits: the descriptor of a listening socket, which it gets as systemd would hand it over
    :param module: another module than Twisted's
    :param variables: of its environment, besides ours
    """

    def __init__(
        self,
        *arguments: str,
        inherits: int | None = None,
        module: str = "twisted",
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.arguments = arguments
        self.lines: list[str] = []
        self._home = tempfile.TemporaryDirectory(prefix="heartbeat-real-")
        command = [sys.executable, "-m", module, *arguments]
        if inherits is not None:
            command = [sys.executable, "-c", _ADOPTED, str(inherits), *command]
        self._process = subprocess.Popen(
            command,
            pass_fds=() if inherits is None else (inherits,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self._home.name,
            env={**environment(with_tests=module != "twisted"), **variables},
        )
        atexit.register(self.kill)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; returns the time of day just before it."""
        at = time.time()
        self._process.send_signal(number)
        return at

    def wait(self, timeout: float = _STOP) -> int:
        """The exit status, once the process ended and all its output was read."""
        status = self._process.wait(timeout)
        self._reader.join(5.0)
        return status

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> float:
        """SIGKILL, if it still runs; returns the time of day just before it."""
        atexit.unregister(self.kill)
        at = time.time()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(5.0)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()
        self._home.cleanup()
        return at

    def complaints(self, since: int = 0) -> list[str]:
        """The lines of output, from the given one on, that tell of a fault of the program itself."""
        return [line for line in self.lines[since:] if re.search(r"Traceback|Unhandled|critical", line)]

    def find(self, pattern: str, timeout: float = _START) -> re.Match[str]:
        """The first line of output that has the pattern; waits for it as long as the process runs."""

        def look() -> re.Match[str] | None:
            ended = self._process.poll() is not None
            if ended:
                self._reader.join(5.0)
            found = next((match for line in list(self.lines) if (match := re.search(pattern, line))), None)
            assert found or not ended, f"{self.arguments} ended with {self._process.returncode}: {self.lines[-20:]}"
            return found

        try:
            return poll(look, timeout, f"{pattern} in the output of {self.arguments}")
        except AssertionError as error:
            raise AssertionError(f"{error}; its output: {self.lines[-20:]}") from None


class Agent(_Process):
    """A ``heartbeat-agent`` that connects to a port of 127.0.0.1."""

    def __init__(self, port: int, *options: str, **more: Any) -> None:
        super().__init__("heartbeat-agent", "--connect", f"127.0.0.1:{port}", *options, **more)


class Server(_Process):
    """A ``heartbeat-server`` with its API, ready when constructed.

    :ivar port: where peers connect
    :ivar web: where the API is asked
    :ivar node: its name, for whoever gave it one
    """

    node = ""

    def __init__(self, *options: str, port: int = 0, web: str = _FREE, **more: Any) -> None:
        listen = f"tcp:{port}:interface=127.0.0.1"
        super().__init__("heartbeat-server", "--listen", listen, "--web", web, *options, **more)
        try:
            self.port = int(self.find(r"listening heartbeat tcp 127\.0\.0\.1:(\d+)")[1])
            self.web = int(self.find(r"listening web https?://127\.0\.0\.1:(\d+)/")[1])
        except AssertionError:
            self.kill()
            raise

    def get(self, path: str) -> tuple[int, str]:
        """GET of a path: the status and the text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.web, timeout=10.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8")
        finally:
            connection.close()

    def peers(self) -> list[dict[str, Any]]:
        """``/api/peers``."""
        status, text = self.get("/api/peers?limit=1000")
        assert status == 200, f"/api/peers: {status} {text}"
        whole = json.loads(text)
        assert isinstance(whole, list), f"/api/peers is a list of peers, not {text[:200]}"
        return whole

    def peer(self, name: str) -> dict[str, Any] | None:
        """``/api/peers/ID``, or None when nobody is known by that id."""
        status, text = self.get(f"/api/peers/{quote(name, safe='')}")
        whole = json.loads(text)
        assert isinstance(whole, dict)
        if status == 404:
            assert "error" in whole, f"a 404 says why: {text}"
            return None
        assert status == 200, f"/api/peers/{name}: {status} {text}"
        assert whole["id"] == name
        return whole

    def in_state(self, name: str, wanted: str, timeout: float = 3.0) -> dict[str, Any]:
        """The peer, once it is in that state."""

        def look() -> dict[str, Any] | None:
            peer = self.peer(name)
            return peer if peer is not None and peer["state"] == wanted else None

        return poll(look, timeout, f"{name} {wanted}")

    def failures(self, name: str | None = None) -> list[dict[str, Any]]:
        """``/api/failures``, newest first; those of one peer if asked."""
        status, text = self.get("/api/failures?limit=1000")
        assert status == 200, f"/api/failures: {status} {text}"
        whole = json.loads(text)
        assert isinstance(whole, list), f"/api/failures is a list, not {text[:200]}"
        return [one for one in whole if name is None or one["peer"] == name]

    def failure(self, name: str, timeout: float = 3.0) -> dict[str, Any]:
        """The newest failure of the peer, once there is one."""
        return poll(lambda: self.failures(name), timeout, f"a failure of {name}")[0]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of a metric that have these labels; 0.0 when there are none."""
        status, text = self.get("/metrics")
        assert status == 200, f"/metrics: {status} {text}"
        total = 0.0
        for line in text.splitlines():
            found = re.match(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name:
                have = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
                total += float(found[3]) if labels.items() <= have.items() else 0.0
        return total


@functools.cache
def shared_server(*options: str) -> Server:
    """A server with these options for all tests that ask for the same; it runs until the tests end."""
    return Server(*options)
