"""The gate: what is remembered and checked until HELLO was exchanged (``wire.md`` §4). Gone when it has opened."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from heartbeat.errors import PeerViolation
from heartbeat.liveness.terms import Terms
from heartbeat.session.greeting import Hello, hello_frame, milliseconds
from heartbeat.session.terms import agree
from heartbeat.wire import frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.config import HeartbeatConfig

__all__ = ["BEFORE_ACCEPTOR", "BEFORE_CONNECTOR", "Agreement", "Gate", "behind"]

IDENTITY_REFUSED: Final = 5


def _may(*magics: bytes) -> Mapping[bytes, int]:
    return {magic: frames.BODY_LIMITS[magic] for magic in magics}


#: What may reach an acceptor first.
BEFORE_ACCEPTOR: Final = _may(frames.BYE, frames.HELLO, frames.PING)
#: What may reach a connector before its gate.
BEFORE_CONNECTOR: Final = _may(frames.BYE, frames.HELLO)


@lru_cache(maxsize=32)
def seconds_of(milliseconds: int) -> float:
    """In seconds: one object for all connections of a kind."""
    return milliseconds / 1000.0


@lru_cache(maxsize=32)
def in_force(theirs: frozenset[str], ours: tuple[str, ...]) -> frozenset[str]:
    """The capabilities that both list: one object for all connections of a kind, for there may be 50,000 of them."""
    return theirs.intersection(ours)


@lru_cache(maxsize=32)
def behind(caps: frozenset[str], expects_state: bool) -> Mapping[bytes, int]:
    """What may stand behind the gate with these capabilities in force. DATA is added by whoever knows the credit."""
    magics = [frames.BYE, frames.PING, frames.ACK, frames.SYNC, frames.SYNC_ACK]
    if "state" in caps and expects_state:
        magics.append(frames.STATE)
    if "stalled" in caps:
        magics.append(frames.STALLED)
    if "data" in caps:
        magics.append(frames.WINDOW)
    return _may(*magics)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two HELLOs agreed on, or a HELLO that never came and our own configuration in its place.

    :ivar theirs: the terms that we judge by
    :ivar ours: the terms that we are judged by; its interval is our pace
    :ivar floor: never ping faster, seconds
    :ivar sync: the sync interval, seconds
    :ivar caps: in force
    :ivar max_data: the credit that the peer gives us first
    """

    theirs: Terms
    ours: Terms
    floor: float
    sync: float
    caps: frozenset[str]
    max_data: int = 0


class Gate:
    """One end's side of the handshake.

    :param config: this end's settings
    :param nonce: 32 hex digits, new for this connection
    :param caps: that this end offers

    :ivar hello: the peer's, once it was read; on an acceptor it is an application until it was admitted
    :ivar agreement: what the two HELLOs agreed on
    :ivar said_at: when a connector sent its HELLO
    """

    __slots__ = ("agreement", "caps", "config", "hello", "nonce", "said_at")

    def __init__(self, config: HeartbeatConfig, nonce: str, caps: tuple[str, ...]) -> None:
        self.config = config
        self.nonce = nonce
        self.caps = caps
        self.hello: Hello | None = None
        self.agreement: Agreement | None = None
        self.said_at: float | None = None

    def speak(
        self, now: float, resume: str | None, last: Mapping[str, Any] | None, traceparent: str | None = None
    ) -> bytes:
        """The connector's HELLO; ``last`` says how its previous connection ended, ``resume`` is its token."""
        self.said_at = now
        return hello_frame(self.config, self.nonce, self.caps, last=last, resume=resume, traceparent=traceparent)

    def read(self, hello: Hello) -> Agreement:
        """The peer's HELLO: its terms and its nonce. Raises PeerViolation with code 4 or 5."""
        agreement = self.agree(hello)
        if self.said_at is not None and hello.kid is not None:
            raise PeerViolation("HELLO: a kid that was not offered", IDENTITY_REFUSED)
        if hello.nonce is not None and hello.nonce.lower() == self.nonce:
            raise PeerViolation("HELLO: my own nonce came back", IDENTITY_REFUSED)
        self.hello = hello
        self.agreement = agreement
        return agreement

    def agree(self, hello: Hello | None) -> Agreement:
        """The agreement with a HELLO; with None, that of a bare peer. Raises PeerViolation with code 4."""
        config = self.config
        want, floor = max(1, milliseconds(config.interval)), milliseconds(config.min_interval)
        most = config.max_detection * 1000.0
        if hello is None:
            own = agree(want, config.multiplier, floor, most)
            return Agreement(own, own, config.min_interval, config.sync_interval, frozenset())
        return Agreement(
            theirs=agree(hello.want_ping_ms, hello.mult, floor, most),
            ours=agree(want, config.multiplier, hello.min_rx_ms, most),
            floor=seconds_of(hello.min_rx_ms),
            sync=max(config.sync_interval, hello.sync_ms / 1000.0),
            caps=in_force(hello.caps, self.caps),
            max_data=hello.max_data,
        )

    def answer(
        self, agreement: Agreement, session: str, resumed: bool, resume: str | None, traceparent: str | None = None
    ) -> bytes:
        """The acceptor's HELLO. A peer without an id has no session and no token."""
        named = self.hello is not None and self.hello.id is not None
        answer = {"session": session, "resumed": resumed, "resume": resume} if named else {}
        return hello_frame(
            self.config, self.nonce, self.caps, answer=answer, agreed=agreement.theirs, traceparent=traceparent
        )
