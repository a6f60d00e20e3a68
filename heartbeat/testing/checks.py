"""What tests want to know at their end: is anything left over, and which seed was it."""

from __future__ import annotations

import gc
import inspect
import unittest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heartbeat.testing.reactors import SimulatedReactor

__all__ = ["find_testcase", "leftovers", "show_seed"]

#: Frames that are looked at for the test case that makes a network: itself, its setUp, a helper or two.
FRAMES = 10


def leftovers(reactors: Iterable[tuple[str, SimulatedReactor]], held: Iterable[object] = ()) -> list[str]:
    """A line for each timer, open socket and living transport or protocol of these reactors, by the name of its host.

    :param held: protocols or transports that may live; their transport may, too
    """
    kept: set[int] = set()
    for one in held:
        kept.update((id(one), id(getattr(one, "transport", None))))
    left = []
    collected = False
    for name, reactor in reactors:
        left += [f"{name}: timer {call}" for call in reactor.getDelayedCalls()]
        left += [f"{name}: a timerfd" for _ in reactor.ticks]
        left += [f"{name}: open {socket}" for socket in reactor.open_sockets()]
        living = reactor.watch.living()
        if living and not collected:
            del living
            gc.collect()
            collected = True
            living = reactor.watch.living()
        left += [f"{name}: {_describe(made, living)}" for made in living if id(made) not in kept]
    return left


def find_testcase() -> unittest.TestCase | None:
    """The test case in whose method this was called, None if there is none nearby."""
    frame = inspect.currentframe()
    for _ in range(FRAMES):
        if frame is None:
            return None
        found = frame.f_locals.get("self")
        if isinstance(found, unittest.TestCase):
            return found
        frame = frame.f_back
    return None


def show_seed(testcase: unittest.TestCase, seed: str) -> None:
    """Let the failed assertions of ``testcase`` end with ``seed``, which replaces one that was shown before."""
    original = type(testcase).failureException

    class Failed(original):  # type: ignore[misc,valid-type]  # the class is the test case's own
        def __str__(self) -> str:
            return f"{super().__str__()} ({seed})"

    Failed.__name__ = Failed.__qualname__ = original.__name__
    Failed.__module__ = original.__module__
    testcase.failureException = Failed


def _describe(made: object, living: list[object]) -> str:
    """An object, and the kinds of those that refer to it."""
    others = [one for one in gc.get_referrers(made) if one is not living and not inspect.isframe(one)]
    kinds = sorted({_kind(one) for one in others})
    return f"{_kind(made)} is still referred to, by {', '.join(kinds) or 'nobody that can be told'}"


def _kind(thing: object) -> str:
    kind = type(thing)
    if kind is dict:
        owners = [type(one).__name__ for one in gc.get_referrers(thing) if getattr(one, "__dict__", None) is thing]
        return f"{owners[0]}'s attributes" if owners else "a dict"
    return f"{kind.__module__}.{kind.__qualname__}"
