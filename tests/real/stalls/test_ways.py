"""The stall matrix of the other ways in, one cell for each; ``python -m tests.real.stalls.matrix --ways`` runs all."""

from __future__ import annotations

import functools
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.real.stalls.children import missing, run_all
from tests.real.stalls.matrix import right
from tests.real.stalls.ways import WAYS, lacking

#: Each reactor of the whole matrix, each transport, each kind and each owner is there.
_CELLS = {
    "wrapper": ("epoll", "plain", "write", "foreign"),
    "amp": ("asyncio", "plain", "io", "ours"),
    "line": ("epoll", "tls", "sigstop", "foreign"),
    "strings": ("asyncio", "tls", "timer", "foreign"),
    "pb": ("epoll", "plain", "thread", "ours"),
    "websocket": ("asyncio", "plain", "io", "foreign"),
    "autobahn": ("epoll", "tls", "write", "ours"),
}


@functools.cache
def measured() -> dict[str, dict[str, Any] | AssertionError]:
    """What each way gave. All cells at once: they sleep nearly all the time."""
    possible = [way for way, (reactor, *_) in _CELLS.items() if not lacking(way) and not missing(reactor)]
    results = run_all([("ways", way, *_CELLS[way]) for way in possible], len(possible))
    return dict(zip(possible, results, strict=True))


class WayTests(SynchronousTestCase):
    """50 peers that answer in 0.2 s as their protocol prescribes, a detection time of 2 s, a stall of 3 s."""

    def judge(self, way: str) -> None:
        """Nobody died of the stall; then those who stopped did, in time, and nobody else."""
        why = lacking(way) or missing(_CELLS[way][0])
        if why:
            raise SkipTest(why)
        result = measured()[way]
        if isinstance(result, AssertionError):
            raise result
        self.assertTrue(right(result), result)

    def test_all_are_there(self) -> None:
        """Each way has its cell here."""
        self.assertEqual(_CELLS.keys(), WAYS.keys())

    def test_wrapper(self) -> None:
        """A wrapped application that talks all the time, to peers that speak ``wire.md`` with DATA."""
        self.judge("wrapper")

    def test_amp(self) -> None:
        """Peers that answer ``UnhandledCommand``."""
        self.judge("amp")

    def test_line(self) -> None:
        """Peers that answer each line with an error."""
        self.judge("line")

    def test_strings(self) -> None:
        """Peers that answer each netstring with an error."""
        self.judge("strings")

    def test_pb(self) -> None:
        """Brokers that answer ``Invalid Object ID``."""
        self.judge("pb")

    def test_websocket(self) -> None:
        """Clients of Twisted's WebSockets that answer PING frames."""
        self.judge("websocket")

    def test_autobahn(self) -> None:
        """The same of Autobahn's."""
        self.judge("autobahn")
