"""How many connections each address has, for the limit on them."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

__all__ = ["Addresses"]


class Located(Protocol):
    """A connection.

    :ivar address: that it counts under, ``""``: under none
    """

    address: str


class Addresses:
    """Of the connections of one factory. Addresses are as :func:`heartbeat.net.address.counted_as` gives them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def move(self, connection: Located, address: str) -> None:
        """The connection is (now) one of this address; ``""``: of none."""
        if connection.address:
            self._counts[connection.address] -= 1
            if self._counts[connection.address] <= 0:
                del self._counts[connection.address]
        connection.address = address
        if address:
            self._counts[address] += 1

    def over(self, address: str, most: int | None) -> bool:
        """Whether there are more than ``most`` of it; None: that is no matter."""
        return most is not None and address != "" and self._counts[address] > most
