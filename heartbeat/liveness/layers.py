"""Split liveness: what is known of the host, of the event loop on it, and of the work that it is there for.

A heartbeat that is answered proves three things at once, and one that is not disproves none of them by itself. What can
be told apart: the kernel of the **host** acknowledges what it was sent; the **loop** answers pings; the **work** moves
(SYNC says STUCK where it is queued and does not). Behind a proxy that ends TCP the host is that of the proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from heartbeat.liveness.oversleep import OWN_STALL
from heartbeat.liveness.states import State

if TYPE_CHECKING:
    from heartbeat.liveness.evidence import Evidence

__all__ = ["HOST_ONLY_KNOWN", "NOTHING_KNOWN", "Layer", "Layers", "layers"]

#: What is known of one layer. Nothing is guessed: what is not proved is ``unknown``.
Layer = Literal["alive", "dead", "unknown"]


class Layers(NamedTuple):
    """The three layers of one peer.

    :ivar host: its kernel acknowledges
    :ivar loop: its event loop answers, on this connection
    :ivar work: its progress counter moves, or nothing waits; ``unknown`` where it does not count any work
    """

    host: Layer = "unknown"
    loop: Layer = "unknown"
    work: Layer = "unknown"

    def as_json(self) -> dict[str, Layer]:
        """By name."""
        return {"host": self.host, "loop": self.loop, "work": self.work}


NOTHING_KNOWN: Final = Layers()
ANSWERS: Final = Layers("alive", "alive")
WORKS: Final = Layers("alive", "alive", "alive")
STANDS_STILL: Final = Layers("alive", "alive", "dead")
HOST_ONLY: Final = Layers("alive", "dead")
#: Of a peer that is only observed: its kernel answers, and nobody asks its loop.
HOST_ONLY_KNOWN: Final = Layers("alive")

# Of the dead. What is not here says nothing about any layer: a path that is dead hides all of them.
_BY_CAUSE: Final[dict[str, Layers]] = {
    "peer_stalled": HOST_ONLY,  # the question was acknowledged by its kernel, and not answered
    "peer_closed": HOST_ONLY,  # its kernel sent the FIN; whoever would have said BYE did not
    "peer_reset": HOST_ONLY,
    "peer_restarted": HOST_ONLY,
    "peer_stuck": STANDS_STILL,
    "ping_flood": ANSWERS,  # these said something that we did not like
    "protocol_error": ANSWERS,
}


def layers(state: State, cause: str | None = None, evidence: Evidence | None = None, *, counts: bool = False) -> Layers:
    """What is known of each layer.

    :param cause: why it is dead
    :param evidence: of the verdict
    :param counts: the peer tells a progress counter
    """
    if state is State.STUCK:
        return STANDS_STILL
    if state is State.ALIVE:
        return WORKS if counts else ANSWERS
    if state is not State.DEAD or cause is None:
        return NOTHING_KNOWN
    if evidence is not None and evidence.detail == OWN_STALL:
        return HOST_ONLY_KNOWN if cause in {"peer_closed", "peer_reset"} else NOTHING_KNOWN
    if cause == "peer_not_reading":
        # Only an acknowledgement shows that a closed window is the peer's, and not a path that swallows everything.
        return HOST_ONLY if _acknowledged(evidence) else NOTHING_KNOWN
    return _BY_CAUSE.get(cause, NOTHING_KNOWN)


def _acknowledged(evidence: Evidence | None) -> bool:
    """Its kernel has acknowledged all that it was offered, and keeps its window closed."""
    tcp = None if evidence is None else evidence.tcp
    return tcp is not None and tcp.snd_wnd == 0 and not tcp.unacked
