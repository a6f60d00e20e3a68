"""What a connection holds while its link is busy: exact to the byte, control before DATA, and bounded."""

from __future__ import annotations

from typing import Final

__all__ = ["CLOGGED", "Outbox"]

#: With this much unsent (frames other than DATA and STATE, wire.md §2) we read nothing, so nothing more is owed.
CLOGGED: Final = 64 * 1024


class Outbox:
    """Exists only from a write that the kernel did not take until user space is empty again.

    :param given: bytes that the link holds already
    :ivar unsent: bytes of ours that the kernel does not have, as far as is known
    """

    __slots__ = ("_given", "_held", "clogged")

    def __init__(self, given: int) -> None:
        self._given = given
        self._held = bytearray()
        self.clogged = given >= CLOGGED

    @property
    def unsent(self) -> int:
        """Bytes that the kernel does not have."""
        return self._given + len(self._held)

    def hold(self, data: bytes) -> bool:
        """Keep it behind what is there. True: it is too much now, stop reading."""
        self._held += data
        if self.clogged or self.unsent < CLOGGED:
            return False
        self.clogged = True
        return True

    def take(self) -> bytes:
        """The link is empty: what to give it next, ``b""`` if there is nothing."""
        data = bytes(self._held)
        self._held.clear()
        self._given = len(data)
        return data
