"""The stall matrix, one kind of stall for each reactor; ``python -m tests.real.stalls.matrix`` runs all."""

from __future__ import annotations

import functools
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.real.stalls.cell import DETECT, LIVING, STALL, STOPPED
from tests.real.stalls.children import REACTORS, missing, run_all

#: Each reactor, each transport, each kind and each owner is there.
_CELLS = {
    "epoll": ("tls", "write", "foreign"),
    "poll": ("plain", "io", "ours"),
    "select": ("plain", "sigstop", "foreign"),
    "asyncio": ("tls", "thread", "ours"),
    "uvloop": ("plain", "timer", "foreign"),
}


@functools.cache
def measured() -> dict[str, dict[str, Any] | AssertionError]:
    """What each reactor gave. All cells at once: they sleep nearly all the time."""
    possible = [one for one in REACTORS if not missing(one)]
    cells = [("cell", one, *_CELLS[one]) for one in possible]
    return dict(zip(possible, run_all(cells, len(cells)), strict=True))


def cell(reactor: str) -> dict[str, Any]:
    """What one reactor gave."""
    if missing(reactor):
        raise SkipTest(missing(reactor))
    result = measured()[reactor]
    if isinstance(result, AssertionError):
        raise result
    return result


class MatrixTests(SynchronousTestCase):
    """50 peers that answer in 0.2 s, a detection time of 2 s, and a loop that stalls for 3 s."""

    def judge(self, reactor: str) -> None:
        """Nobody died of the stall; then those who stopped did, in time, and nobody else."""
        result = cell(reactor)
        self.assertEqual(result["false"], 0, result)
        self.assertEqual(result["found"], STOPPED, result)
        self.assertEqual(result["late"], 0, result)
        self.assertEqual(result["watched"], LIVING, result)
        self.assertEqual(result["open"], LIVING, result)

    def test_epoll(self) -> None:
        """TLS, and a stall right behind the write: the questions are still in user space."""
        self.judge("epoll")

    def test_poll(self) -> None:
        """A stall in the callback of a descriptor: timers run before the answers are read."""
        self.judge("poll")

    def test_select(self) -> None:
        """The process is stopped and goes on."""
        self.judge("select")

    def test_asyncio(self) -> None:
        """TLS, and a stall in a call from a thread."""
        self.judge("asyncio")

    def test_uvloop(self) -> None:
        """A stall in a timer."""
        self.judge("uvloop")

    def test_the_stalls_bite(self) -> None:
        """``TimeoutMixin`` with the same time ends all its living peers in the same stall, and we spared ours."""
        result = cell("poll")
        self.assertEqual(result["naive"], LIVING + STOPPED)
        self.assertGreater(result["spared"], LIVING)
        self.assertGreater(STALL, DETECT)
