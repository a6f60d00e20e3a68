"""The view of a peer that only its kernel speaks for."""

from __future__ import annotations

import itertools
from typing import Any

from heartbeat.liveness.layers import HOST_ONLY_KNOWN, NOTHING_KNOWN, Layers
from heartbeat.liveness.peer import Peer
from heartbeat.liveness.states import State
from heartbeat.net.address import shown

__all__ = ["ObservedPeer"]

# Those on UNIX sockets have no address.
_numbers = itertools.count(1)


class ObservedPeer(Peer):
    """Nothing is known of its loop, and nobody asks it.

    :ivar blind: nothing can be seen of its host, either
    """

    __slots__ = ("blind",)

    blind: bool

    def locate(self, address: Any) -> None:
        """Where it is, as its transport says now; it is called by that."""
        text = shown(address)
        if not self.id or text != self.address:
            self.id = f"~{text}" if text else f"unix#{next(_numbers)}"
        self.address = text

    @property
    def interval(self) -> float:
        """0.0: no question of ours is ever put."""
        return 0.0

    @property
    def layers(self) -> Layers:
        """Its host lives as long as its kernel answers; of its loop and its work nothing is known."""
        if self.state in (State.ALIVE, State.STUCK):
            return NOTHING_KNOWN if self.blind else HOST_ONLY_KNOWN
        return super().layers
