"""The processes: a cell in a process of its own, its peers in others, and how each of them is told apart and ended."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import tests

__all__ = ["REACTORS", "Peers", "install", "missing", "run", "run_all"]

#: Twisted's reactors, as a cell installs them.
REACTORS: Final = ("epoll", "poll", "select", "asyncio", "uvloop")
#: Seconds for peers to connect and be greeted, while other cells use the same cores.
_START: Final = 30.0


def missing(reactor: str) -> str:
    """Why there can be no such reactor here; empty if there can."""
    if reactor in ("epoll", "poll") and not hasattr(select, reactor):
        return f"this platform has no {reactor}"
    if reactor == "uvloop" and importlib.util.find_spec("uvloop") is None:
        return "uvloop is not installed"
    return ""


def install(name: str) -> Any:
    """Install one of :data:`REACTORS` and return it."""
    if name == "epoll":
        from twisted.internet import epollreactor

        epollreactor.install()
    elif name == "poll":
        from twisted.internet import pollreactor

        pollreactor.install()
    elif name == "select":
        from twisted.internet import selectreactor

        selectreactor.install()
    else:
        from twisted.internet import asyncioreactor

        asyncioreactor.install(new_loop(name))
    from twisted.internet import reactor

    return reactor


def new_loop(name: str) -> Any:
    """An event loop of asyncio's own or of uvloop."""
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    import asyncio

    return asyncio.SelectorEventLoop()


def run(module: str, *options: str, timeout: float = 60.0) -> dict[str, Any]:
    """Run ``tests.real.stalls.<module>`` in a process of its own and return the JSON of its last line.

    :raises AssertionError: it did not end well, or not in time
    """
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(_roots()))
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.real.stalls.{module}", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        out, err = "", f"not done within {timeout:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):  # of stopped peers nothing else gets rid
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    if process.returncode != 0 or not out.strip():
        raise AssertionError(
            f"{module} {' '.join(options)} ended with {process.returncode}: {out[-1000:]} {err[-2000:]}"
        )
    result = json.loads(out.strip().splitlines()[-1])
    assert isinstance(result, dict)
    return result


def run_all(cells: Sequence[Sequence[str]], at_once: int = 4) -> list[dict[str, Any] | AssertionError]:
    """Run many, some of them at once, and return what each gave, or how it failed, in their order."""

    def one(cell: Sequence[str]) -> dict[str, Any] | AssertionError:
        try:
            return run(*cell)
        except AssertionError as error:
            return error

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, cells))


def _roots() -> list[str]:
    """Where a child finds these tests, and the package that this process imports: the checkout's or the installed."""
    assert tests.__file__ is not None
    roots = [str(Path(tests.__file__).absolute().parent.parent)]
    spec = importlib.util.find_spec("heartbeat")
    assert spec is not None and spec.submodule_search_locations, "the package heartbeat is not there"
    package = Path(next(iter(spec.submodule_search_locations))).resolve().parent
    if "site-packages" not in package.parts:
        roots.insert(0, str(package))
    return [*roots, *filter(None, [os.environ.get("PYTHONPATH")])]


class Peers:
    """One process of :mod:`tests.real.stalls.peers`, started and greeted when constructed.

    Used from a thread beside the loop's.
    """

    def __init__(self, dialect: str, port: int, count: int, *options: str) -> None:
        self._asked = threading.Event()
        self._ready = threading.Event()
        self._report: dict[str, Any] | None = None
        command = [sys.executable, "-m", "tests.real.stalls.peers"]
        self._process = subprocess.Popen(
            [*command, "--dialect", dialect, "--port", str(port), "--count", str(count), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(_START) or self._process.poll() is not None:
            self.kill()
            raise AssertionError(f"{dialect} peers did not get ready")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == "ready\n":
                self._ready.set()
            elif line == "asked\n":
                self._asked.set()
            else:
                self._report = json.loads(line)
        self._ready.set()

    def wait_asked(self, timeout: float = 10.0) -> None:
        """Return at the next moment at which every one of them has a question that it has not answered yet."""
        self._asked.clear()
        assert self._asked.wait(timeout), "the peers were not all asked at one time"

    def stop(self) -> None:
        """SIGSTOP: from now on only their kernel answers."""
        self._process.send_signal(signal.SIGSTOP)

    def report(self) -> int:
        """End them; how many connections were still open."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join(10.0)
        self.kill()
        assert self._report is not None, "the peers ended without a word"
        return int(self._report["open"])

    def kill(self) -> None:
        """End them now."""
        self._process.kill()
        self._process.wait()
        self._reader.join(5.0)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
