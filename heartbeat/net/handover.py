"""When the kernel has what a transport of Twisted's was given: its producer slot knows, which is public and exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from heartbeat.net.turns import Turns

__all__ = ["tell_when_empty"]


@implementer(IPullProducer)
class _Told:
    """A pull producer that produces nothing: it is asked for more exactly when user space is empty."""

    __slots__ = ("_callback", "_first", "_transport")

    def __init__(self, transport: Any, callback: Callable[[], None]) -> None:
        self._transport = transport
        self._callback: Callable[[], None] | None = callback
        self._first = True

    def resumeProducing(self) -> None:
        """The first call is the registration itself."""
        if self._first:
            self._first = False
            return
        self._transport.unregisterProducer()
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def stopProducing(self) -> None:
        """The connection is gone; nobody needs to be told."""
        self._callback = None


def tell_when_empty(transport: Any, callback: Callable[[], None], turns: Turns) -> None:
    """Call ``callback`` once the kernel has all of it: exactly then, or two turns later where the slot is taken."""
    try:
        transport.registerProducer(_Told(transport, callback), False)
    except RuntimeError:  # the application owns the producer slot
        turns.after_two(callback)
    else:
        if transport.connected:
            transport.startWriting()  # it may be empty already: then the next poll says so
