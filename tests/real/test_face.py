"""The application face on a real reactor of each family, in a process of its own."""

from __future__ import annotations

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.real.processes import _Process
from tests.real.stalls.children import missing


class FaceTests(SynchronousTestCase):
    """``tests.real.face``: a factory, a wrapper and an adapter."""

    def works_on(self, reactor: str) -> None:
        """All of it worked, and the process ended by itself."""
        if missing(reactor):
            raise SkipTest(missing(reactor))
        process = _Process(reactor, module="tests.real.face")
        self.addCleanup(process.kill)
        self.assertEqual((process.wait(30.0), process.lines), (0, ["factory", "wrapper", "adapter"]))

    def test_epoll(self) -> None:
        """``async def`` and ``inlineCallbacks`` on Twisted's own reactor."""
        self.works_on("epoll")

    def test_asyncio(self) -> None:
        """... on asyncio's, and a task of asyncio's own beside them."""
        self.works_on("asyncio")

    def test_uvloop(self) -> None:
        """... and on uvloop."""
        self.works_on("uvloop")
