"""Steps of the wall clock: nobody dies of them, and who is dead is found in time, whatever ``callLater`` does."""

from __future__ import annotations

import functools
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.real.stalls.cell import LIVING, OWNERS, STOPPED
from tests.real.stalls.children import REACTORS, missing, run_all
from tests.real.stalls.clocks import STEPS

#: The reactor of nearly all: the first that this platform has.
_USUAL = next(one for one in REACTORS if not missing(one))
_CASES = [(step, owner, _USUAL) for step in STEPS for owner in OWNERS] + [("-1h", "foreign", "asyncio")]


@functools.cache
def measured() -> dict[tuple[str, str, str], dict[str, Any] | AssertionError]:
    """What each gave. All at once: they sleep nearly all the time."""
    return dict(zip(_CASES, run_all([("clocks", *one) for one in _CASES], len(_CASES)), strict=True))


def stepped(step: str, owner: str, reactor: str = _USUAL) -> dict[str, Any]:
    """What one gave."""
    result = measured()[step, owner, reactor]
    if isinstance(result, AssertionError):
        raise result
    return result


class ClockTests(SynchronousTestCase):
    """The clock of the process steps, or strobes, while 50 peers live; then 10 of them are stopped."""

    def judge(self, step: str, reactor: str = _USUAL) -> None:
        """In an application of ours and in one that never heard of us."""
        for owner in OWNERS if reactor == _USUAL else ("foreign",):
            result = stepped(step, owner, reactor)
            self.assertEqual(result["false"], 0, result)
            self.assertEqual(result["found"], STOPPED, result)
            self.assertEqual(result["late"], 0, result)
            self.assertEqual(result["watched"], LIVING, result)
            self.assertEqual(result["open"], LIVING, result)

    def test_an_hour_forward(self) -> None:
        """Every timer of the reactor fires at once; no verdict does."""
        self.judge("+1h")

    def test_an_hour_back(self) -> None:
        """Every timer of the reactor stands still for an hour; the judge does not."""
        self.judge("-1h")

    def test_an_hour_back_on_asyncio(self) -> None:
        """Twisted's asyncio reactor goes by the same clock."""
        if _USUAL == "asyncio":
            raise SkipTest("the other test has this reactor")
        self.judge("-1h", "asyncio")

    def test_forward(self) -> None:
        """262 s forward."""
        self.judge("+262s")

    def test_back(self) -> None:
        """262 s back."""
        self.judge("-262s")

    def test_strobe(self) -> None:
        """262 s forward and back, more than a hundred times a second."""
        self.judge("strobe")

    def test_the_steps_bite(self) -> None:
        """Where nobody set ``reactor.seconds`` timers fire early or stand still; where it is monotonic none does."""
        self.assertTrue(stepped("+1h", "foreign")["early"])
        self.assertTrue(stepped("-1h", "foreign")["frozen"])
        for step in STEPS:
            result = stepped(step, "ours")
            self.assertEqual((result["early"], result["frozen"]), (False, False), result)
