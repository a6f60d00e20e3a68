"""The gate of an end that has shared keys: HELLO, and then CONFIRM both ways (``wire.md`` §5)."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from heartbeat.errors import PeerViolation
from heartbeat.session.gate import IDENTITY_REFUSED, Agreement, Gate
from heartbeat.session.greeting import Hello, hello_frame
from heartbeat.session.signing import ACCEPTOR, CONNECTOR, Tags, binding, derived, transcript
from heartbeat.wire import frames
from heartbeat.wire.profile import dump_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.config import HeartbeatConfig
    from heartbeat.keys import SharedKey

__all__ = ["BEFORE_CONFIRM", "FALSE_TAG", "SIGNED_ACK", "KeyedGate"]

FALSE_TAG: Final = 8  # the BYE code
#: The capability of answers that prove the key. Offered by whoever has one, in force where one was confirmed.
SIGNED_ACK: Final = "signed-ack"
#: What may stand between HELLO and CONFIRM, at an acceptor (whose peer says no JSON there) and at a connector.
BEFORE_CONFIRM: Final[Mapping[bool, Mapping[bytes, int]]] = {
    False: {frames.BYE: frames.BYE_LIMIT, frames.CONFIRM: frames.TAG_SIZE},
    True: {frames.BYE: frames.BYE_LIMIT, frames.CONFIRM: frames.CONFIRM_LIMIT},
}
NO_KEY: Final = "a shared key is required here"

_CONFIRM_HEADER: Final = Struct(">4sI").pack


@lru_cache(maxsize=32)
def unsigned(caps: frozenset[str]) -> frozenset[str]:
    """Without the capability that needs a key: one object for all connections of a kind."""
    return caps - {SIGNED_ACK}


class KeyedGate(Gate):
    """As any gate; and where both ends have a common key, nothing of a HELLO takes effect before its tag was true.

    :ivar ours: the tags of what we send, None while no key is in use
    :ivar theirs: the tags of what the peer sends
    """

    __slots__ = ("_greeting", "_said", "ours", "theirs")

    def __init__(self, config: HeartbeatConfig, nonce: str, caps: tuple[str, ...]) -> None:
        super().__init__(config, nonce, (*caps, SIGNED_ACK))
        self.ours: Tags | None = None
        self.theirs: Tags | None = None
        self._said = b""  # a connector's own HELLO, as it is on the wire
        self._greeting: Hello | None = None  # the peer's, which is not proved yet

    def speak(
        self, now: float, resume: str | None, last: Mapping[str, Any] | None, traceparent: str | None = None
    ) -> bytes:
        """The connector's HELLO, with the names of its keys. Raises PeerViolation on a TLS that binds nothing."""
        self._bindable()
        self.said_at = now
        self._said = hello_frame(
            self.config,
            self.nonce,
            self.caps,
            last=last,
            resume=resume,
            kids=self.config.ring.kids,
            traceparent=traceparent,
        )
        return self._said

    def prove(self, frame: frames.Hello, hello: Hello, now: float) -> bytes:
        """The acceptor's HELLO, or the connector's CONFIRM; ``b""`` where no key is used and none is wanted.

        :raises PeerViolation: code 5, without what this end wants proved
        """
        self._greeting = hello
        if self.said_at is not None:
            return self._confirm(frame, hello, now)
        self.certify()
        config = self.config
        key = config.ring.pick(hello.kids)
        if key is None:
            if config.wants_key:
                raise PeerViolation(NO_KEY, IDENTITY_REFUSED)
            return b""
        self._bindable()
        agreed = None if self.agreement is None else self.agreement.theirs
        answer = hello_frame(config, self.nonce, self.caps, agreed=agreed, kid=key.kid)
        self.theirs, self.ours = self._tags(key, frame.encode(), answer)
        return answer

    def _confirm(self, frame: frames.Hello, hello: Hello, now: float) -> bytes:
        ring = self.config.ring
        key = None if hello.kid is None else ring.pick([hello.kid])
        if key is None or key.kid not in ring.kids:
            raise PeerViolation(NO_KEY, IDENTITY_REFUSED)
        self.ours, self.theirs = self._tags(key, self._said, frame.encode())
        self.said_at = now
        return _confirm_frame(self.ours, b"")

    def confirmed(self, frame: frames.Confirm) -> Hello:
        """The peer's CONFIRM came: its HELLO, which is proved now. Raises PeerViolation with code 8."""
        assert self.theirs is not None and self._greeting is not None  # its place was checked at its header
        header = _CONFIRM_HEADER(frames.CONFIRM, frames.TAG_SIZE + len(frame.body))
        if not self.theirs.match(frame.tag, header + frame.body):
            raise PeerViolation("the CONFIRM is false: another key, or somebody between us", FALSE_TAG)
        return self._greeting

    def answer(
        self, agreement: Agreement, session: str, resumed: bool, resume: str | None, traceparent: str | None = None
    ) -> bytes:
        """The acceptor's last word of the handshake: CONFIRM where a key is used, else its HELLO."""
        if self.ours is None:
            return super().answer(agreement, session, resumed, resume, traceparent)
        members = {"session": session, "resume": resume, "resumed": resumed}
        named = self.hello is not None and self.hello.id is not None
        said = {name: value for name, value in members.items() if value is not None} if named else None
        return _confirm_frame(self.ours, b"" if said is None else dump_object(said))

    def in_force(self, agreement: Agreement) -> frozenset[str]:
        """The capabilities that are in force behind this gate."""
        return agreement.caps if self.key is not None else unsigned(agreement.caps)

    def _tags(self, key: SharedKey, connector: bytes, acceptor: bytes) -> tuple[Tags, Tags]:
        """The tags of both directions, the connector's first, from both HELLO frames."""
        self.key = key
        digest = transcript(connector, acceptor)
        bound = binding(self.channel.exporter)
        return Tags(derived(key, CONNECTOR, digest, bound)), Tags(derived(key, ACCEPTOR, digest, bound))

    def _bindable(self) -> None:
        if self.channel.tls and self.channel.exporter is None:
            raise PeerViolation("a shared key needs TLS 1.3, or none", IDENTITY_REFUSED)


def _confirm_frame(tags: Tags, body: bytes) -> bytes:
    header = _CONFIRM_HEADER(frames.CONFIRM, frames.TAG_SIZE + len(body))
    return frames.Confirm(tags.tag(header + body), body).encode()
