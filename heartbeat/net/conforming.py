"""How a transport that is not ours gives the handle of its heartbeat: ``IHeartbeat(transport)``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from heartbeat.interfaces import IHeartbeat

if TYPE_CHECKING:
    from heartbeat.net.heartbeat import Heartbeat

__all__ = ["Conforming"]


class Conforming:
    """In the place of ``transport.__conform__``, if that is free. A transport that takes no attributes stays as it is.

    :param handle: gives the handle when it is first asked for
    """

    __slots__ = ("_handle",)

    def __init__(self, transport: Any, handle: Callable[[], Heartbeat]) -> None:
        self._handle = handle
        with suppress(AttributeError, TypeError):
            if IHeartbeat(transport, None) is None:
                transport.__conform__ = self

    def __call__(self, interface: Any) -> Heartbeat | None:
        """What zope.interface asks."""
        return self._handle() if interface is IHeartbeat else None

    def settle(self, handle: Heartbeat) -> None:
        """The connection has ended: whoever asks in ``connectionLost`` still finds it, and no cycle is left."""
        self._handle = lambda: handle
