"""Whether the application reads, learned from the two public methods by which it says so."""

from __future__ import annotations

import weakref
from typing import Any

__all__ = ["Ears"]


class Ears:
    """Whether the application reads. Subclasses say what that is good for.

    :ivar paused: the transport was told to stop reading
    """

    __slots__ = ("__weakref__", "_transport", "paused")

    def __init__(self) -> None:
        self.paused = False
        self._transport: weakref.ref[Any] | None = None

    def watch_pauses(self, transport: Any) -> None:
        """Two instance attributes in front of two public methods of the transport, for as long as it lives. It stays
        as it is if it has no such methods, or lets nobody set attributes."""
        known = self._transport() if self._transport is not None else None
        if transport is None or transport is known:
            return
        try:
            transport.pauseProducing, transport.resumeProducing = (
                Ear(transport, "pauseProducing", self, paused=True),
                Ear(transport, "resumeProducing", self, paused=False),
            )
            self._transport = weakref.ref(transport)
        except (AttributeError, TypeError):
            return
        self.paused = False

    def told(self, paused: bool) -> None:
        """By the transport."""
        if paused is not self.paused:
            self.paused = paused
            if paused:
                self.deaf()
            else:
                self.hearing()

    def deaf(self) -> None:
        """We do not read."""

    def hearing(self) -> None:
        """We read again."""


class Ear:
    """In the place of ``transport.pauseProducing`` or ``resumeProducing``: does it, and tells. Keeps nobody alive."""

    __slots__ = ("_ears", "_method", "_paused", "_transport")

    def __init__(self, transport: Any, name: str, ears: Ears, paused: bool) -> None:
        # The method of the class: one bound to the transport, kept in it, would be a cycle for the collector.
        own = name not in getattr(transport, "__dict__", {}) and hasattr(type(transport), name)
        self._method = getattr(type(transport), name) if own else getattr(transport, name)
        self._transport = weakref.ref(transport) if own else None
        self._ears = weakref.ref(ears)
        self._paused = paused

    def __call__(self) -> None:
        """The application pauses or resumes."""
        if self._transport is None:
            self._method()
        else:
            self._method(self._transport())
        ears = self._ears()
        if ears is not None:
            ears.told(self._paused)
