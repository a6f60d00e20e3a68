"""Stopping that takes its time, and a second signal that does not wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from heartbeat.apps.signals import STOP, Signals

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorFromThreads

__all__ = ["unless_hurried"]

_log = Logger(namespace="heartbeat.apps")


def unless_hurried(
    reactor: IReactorFromThreads, work: Deferred[Any], hurry: Callable[[], object] = lambda: None
) -> Deferred[None]:
    """Fires when ``work`` is done, or at once when the process is told to stop again meanwhile.

    The first SIGTERM has begun the shutdown; Twisted would answer a second one with an error and wait on.

    :param hurry: called at that second signal, before the Deferred fires
    """
    done: Deferred[None] = Deferred()

    def finish(_: object = None) -> None:
        signals.close()
        if not done.called:
            done.callback(None)

    def at_once() -> None:
        hurry()
        finish()

    signals = Signals(reactor, STOP, at_once)
    signals.listen()
    work.addErrback(lambda failure: _log.failure("stopping went wrong", failure))
    work.addBoth(finish)
    return done
