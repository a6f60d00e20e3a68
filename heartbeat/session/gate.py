"""The gate: what is remembered and checked until HELLO was exchanged (``wire.md`` §4). Gone when it has opened."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from heartbeat.errors import PeerViolation
from heartbeat.liveness.terms import Terms
from heartbeat.session.channel import PLAIN
from heartbeat.session.greeting import Hello, hello_frame, milliseconds
from heartbeat.session.terms import agree
from heartbeat.wire import frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.config import HeartbeatConfig
    from heartbeat.keys import SharedKey
    from heartbeat.session.channel import Channel

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
    answer = frames.SIGNED_ACK if "signed-ack" in caps else frames.ACK
    magics = [frames.BYE, frames.PING, answer, frames.SYNC, frames.SYNC_ACK]
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

    :ivar channel: what the transport has proved
    :ivar hello: the peer's, once it may take effect; on an acceptor it is an application until it was admitted
    :ivar agreement: what the two HELLOs agreed on
    :ivar key: the shared key in use; None: none is
    :ivar said_at: when a connector sent what it waits for an answer to
    :ivar late: what it is called when this takes too long: ``tls_timeout`` while the shell waits for TLS
    """

    __slots__ = ("agreement", "caps", "channel", "config", "hello", "key", "late", "nonce", "said_at")

    def __init__(self, config: HeartbeatConfig, nonce: str, caps: tuple[str, ...]) -> None:
        self.config = config
        self.nonce = nonce
        self.caps = caps
        self.channel: Channel = PLAIN
        self.hello: Hello | None = None
        self.key: SharedKey | None = None
        self.agreement: Agreement | None = None
        self.said_at: float | None = None
        self.late = "hello_timeout"

    def speak(
        self, now: float, resume: str | None, last: Mapping[str, Any] | None, traceparent: str | None = None
    ) -> bytes:
        """The connector's HELLO; ``last`` says how its previous connection ended, ``resume`` is its token."""
        self.said_at = now
        return hello_frame(self.config, self.nonce, self.caps, last=last, resume=resume, traceparent=traceparent)

    def read(self, hello: Hello) -> Agreement:
        """The peer's HELLO: its terms and its nonce. Raises PeerViolation with code 4 or 5."""
        agreement = self.agree(hello)
        if hello.nonce is not None and hello.nonce.lower() == self.nonce:
            raise PeerViolation("HELLO: my own nonce came back", IDENTITY_REFUSED)
        self.agreement = agreement
        return agreement

    @property
    def bound(self) -> bool:
        """Whether no token that is shown here was read on a path: it is TLS, or who shows it has proved a key, too."""
        return self.channel.tls or self.key is not None

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

    def prove(self, frame: frames.Hello, hello: Hello, now: float) -> bytes:
        """What the peer must be told so that this HELLO can be proved; ``b""``: it takes effect as it is.

        :raises PeerViolation: code 5, without what this end wants proved
        """
        if self.said_at is None:
            self.certify()
        elif hello.kid is not None:
            raise PeerViolation("HELLO: a kid that was not offered", IDENTITY_REFUSED)
        return b""

    def certify(self) -> None:
        """Raises PeerViolation with code 5, where a client certificate is wanted and there is none."""
        if self.config.wants_certificate and not self.channel.names:
            raise PeerViolation("a client certificate is required here", IDENTITY_REFUSED)

    def in_force(self, agreement: Agreement) -> frozenset[str]:
        """The capabilities that are in force behind this gate."""
        return agreement.caps

    def answer(
        self, agreement: Agreement, session: str, resumed: bool, resume: str | None, traceparent: str | None = None
    ) -> bytes:
        """The acceptor's HELLO. A peer without an id has no session and no token."""
        named = self.hello is not None and self.hello.id is not None
        answer = {"session": session, "resumed": resumed, "resume": resume} if named else {}
        return hello_frame(
            self.config, self.nonce, self.caps, answer=answer, agreed=agreement.theirs, traceparent=traceparent
        )
