"""Two judges of one connection, and what comes of comparing them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from heartbeat.liveness.signs import newest_sign
from heartbeat.liveness.states import State
from heartbeat.net.pathpulse import SAME, silence_left

if TYPE_CHECKING:
    from heartbeat.net.heartbeat import Heartbeat
    from heartbeat.net.observation import Observation
    from heartbeat.net.shadow import Shadow

__all__ = ["Handled", "Hooked", "Pair", "ShadowReport", "Watched"]

log = Logger()


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What came of it so far.

    :ivar connections: that were watched
    :ivar kills: peers that the other heartbeat gave up
    :ivar spared: of these, those that our judge held alive
    :ivar earlier: dead peers that our judge found before the other heartbeat did, or before the connection ended where
        that never did
    :ivar earlier_by: by how many seconds, all together
    :ivar later: kills of peers that were suspect to our judge, which still waited
    :ivar later_by: for how many seconds more it would have, all together
    :ivar mistaken: verdicts of ours after which the peer was heard
    :ivar unknown: kills of peers of whom our judge could see nothing (no TCP, no Linux)
    """

    connections: int = 0
    kills: int = 0
    spared: int = 0
    earlier: int = 0
    earlier_by: float = 0.0
    later: int = 0
    later_by: float = 0.0
    mistaken: int = 0
    unknown: int = 0

    def as_json(self) -> dict[str, int | float]:
        """By name."""
        return asdict(self)


class Pair:
    """Two judges of one connection.

    :ivar protocol: the user's, None where only a handle is known, and when it is gone
    """

    def __init__(self, shadow: Shadow, watched: Watched, protocol: Any) -> None:
        self._shadow = shadow
        self._watched = watched
        self.protocol = protocol
        self._settled = False
        self._counts: dict[str, int | float] = {"connections": 1}

    def report(self) -> ShadowReport:
        """What came of this one so far."""
        return ShadowReport(**self._counts)  # type: ignore[arg-type]  # whole numbers but for two

    def is_of(self, protocol: Any) -> bool:
        """Whether it is the connection of this protocol, or of this transport."""
        transport = getattr(self.protocol, "transport", None)
        return protocol is not None and protocol in (self.protocol, transport)

    def killed(self) -> None:
        """The other heartbeat gives the peer up. Once: a second kill of the same is none."""
        if self._settled:
            return
        self._settled = True
        self._count("kills")
        watched = self._watched
        watched.listen()
        found, left = watched.found_before, watched.left
        if found is not None and watched.revived:
            self._tell("mistaken", "both gave it up, and it lives")
        elif found is not None:
            self._tell("earlier", f"we had found it dead {found:.1f} s before", found)
        elif watched.blind:
            self._tell("unknown", "nothing can be seen of it")
        elif left is not None:
            self._tell("later", f"it was suspect, and had {left:.1f} s left", left)
        else:
            self._tell("spared", "we hold it alive")

    def ended(self) -> None:
        """The connection is gone. A verdict of ours that nobody shared was right if nothing came after it."""
        if not self._settled and self._watched.alone is not None:
            self._settled = True
            if self._watched.revived:
                self._tell("mistaken", "we had given it up, and it was heard again")
            else:
                found = self._watched.alone
                self._tell("earlier", f"we had found it dead {found:.1f} s before", found)
        self._shadow.forget(self)
        protocol, self.protocol = self.protocol, None
        for name in [name for name, there in getattr(protocol, "__dict__", {}).items() if isinstance(there, Hooked)]:
            delattr(protocol, name)

    def _tell(self, name: str, why: str, seconds: float | None = None) -> None:
        self._count(name)
        if seconds is not None:
            self._count(f"{name}_by", seconds)
        log.info("shadow: {peer}: {name}: {why}", peer=self._watched.name, name=name, why=why)

    def _count(self, name: str, more: float = 1) -> None:
        self._counts[name] = self._counts.get(name, 0) + more
        self._shadow.count(name, more)


class Watched:
    """What is asked of our judge of one connection: here of one that is observed.

    :ivar blind: it sees nothing
    """

    def __init__(self, observation: Observation) -> None:
        self._observation = observation
        self.blind = observation.peer.blind

    @property
    def name(self) -> str:
        """Of the peer."""
        return self._observation.peer.id

    def listen(self) -> None:
        """Bring the judge up to now."""
        self._observation.listen()

    @property
    def found_before(self) -> float | None:
        """For how many seconds the verdict has stood; None: there is none."""
        seen = self._observation
        return seen.seconds() - seen.decided_at if seen.decided else None

    @property
    def alone(self) -> float | None:
        """The same, when the connection has ended and nobody but us gave the peer up."""
        return self.found_before

    @property
    def revived(self) -> bool:
        """Whether the peer gave a sign of life after the verdict, which was wrong then."""
        seen = self._observation
        if seen.heard_again:
            return True
        evidence = seen.beats.evidence
        sign = None if evidence is None else newest_sign(evidence.tcp, seen.look())
        return seen.decided and sign is not None and sign > seen.decided_at + SAME

    @property
    def left(self) -> float | None:
        """How many seconds a peer that is doubtful now had left; None: it is well."""
        seen = self._observation
        left, tcp = seen.left(), seen.look().tcp
        if left is None and tcp is not None and (tcp.probes or tcp.retransmits):
            return silence_left(seen.beats, seen.seconds())  # an answer is missing, for less than half of the time yet
        return left


class Handled(Watched):
    """... and of one with a heartbeat of any other kind, that acts for itself."""

    def __init__(self, handle: Heartbeat) -> None:
        self._handle = handle
        self.blind = False

    @property
    def name(self) -> str:
        """Of the peer."""
        return self._handle.peer.id

    def listen(self) -> None:
        """It listens by itself."""

    @property
    def found_before(self) -> float | None:
        """Since the verdict."""
        handle = self._handle
        return handle.now - handle.since if handle.state is State.DEAD else None

    @property
    def alone(self) -> float | None:
        """It has acted: nobody else could find anything any more."""
        return None

    @property
    def revived(self) -> bool:
        """After its verdict nobody is heard."""
        return False

    @property
    def left(self) -> float | None:
        """While it is suspect."""
        handle = self._handle
        silent = handle.now - handle.peer.heard_at
        return max(0.0, handle.peer.detect - silent) if handle.state is State.SUSPECT else None


class Hooked:
    """In the place of a method of one instance."""

    __slots__ = ("_killed", "_method")

    def __init__(self, method: Callable[..., Any], killed: Callable[[], None]) -> None:
        self._method = method
        self._killed = killed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The other heartbeat gives up; what goes wrong here must not keep it from that."""
        with log.failuresHandled("a shadow could not count"):
            self._killed()
        return self._method(*args, **kwargs)
