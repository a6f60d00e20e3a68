"""A session of an end that has shared keys. An end without pays nothing for it: this is a class of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from heartbeat.errors import PeerViolation
from heartbeat.session.dispatch import acknowledge
from heartbeat.session.proving import BEFORE_CONFIRM, FALSE_TAG, SIGNED_ACK, KeyedGate
from heartbeat.session.sealing import SEAL_SIZE, ProvedDecoder, SealedStream, Signed
from heartbeat.session.session import Session
from heartbeat.wire import frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.config import HeartbeatConfig
    from heartbeat.session.gate import Gate
    from heartbeat.session.greeting import Hello
    from heartbeat.session.stream import Stream

__all__ = ["KeyedSession"]

HEADER: Final = frames.HEADER_SIZE
ONE_SEALED: Final = HEADER + SEAL_SIZE  # a PING and its SEAL


class KeyedSession(Session):
    """Drives one peer over frames, with a shared key if both ends have one (``wire.md`` §5).

    It has the face of :class:`Session`. What it reads is checked, and what it sends is signed, at its two ends; between
    them it is the same session.
    """

    __slots__ = ("_proved", "_signed")

    def __init__(self, *args: Any, **settings: Any) -> None:
        self._proved = ProvedDecoder()
        self._signed: Signed | None = None
        super().__init__(*args, **settings)

    def make_gate(self, config: HeartbeatConfig, nonce: str, caps: tuple[str, ...]) -> Gate:
        """The gate of an end with keys."""
        return KeyedGate(config, nonce, caps)

    def make_decoder(self) -> ProvedDecoder:
        """The decoder, which checks tags."""
        return self._proved

    def make_stream(self, ours: int, theirs: int) -> Stream:
        """The stream of application bytes, sealed where frames are."""
        if self._signed is None or not self._proved.sealed:
            return super().make_stream(ours, theirs)
        return SealedStream(ours, theirs, self._signed)

    def start(self, now: float, resume: str | None = None, last: Mapping[str, Any] | None = None) -> None:
        """A connector's first word; on a TLS that binds no key it is BYE 5. Next: :meth:`data_to_send`."""
        try:
            super().start(now, resume, last)
        except PeerViolation as violation:
            self.bye(violation.code, violation.reason, now)

    def prove(self, proof: bytes) -> None:
        """A key is used: this is the next that the peer must see, and its CONFIRM must be the next that we see."""
        self._allowed = BEFORE_CONFIRM[self.connector]
        if self.connector:
            self._sign()
        self.reply(proof)

    def confirm(self, frame: frames.Confirm) -> Hello:
        """The peer's CONFIRM came: its HELLO, which is proved now. What stands behind it has tags, too.

        :raises PeerViolation: code 8, it is false
        """
        gate = self.gate
        assert isinstance(gate, KeyedGate)
        hello = gate.confirmed(frame)
        assert gate.theirs is not None  # it was just compared with
        self._proved.begin(gate.theirs, sealed=not gate.channel.tls)
        return hello

    def admit(self, now: float, session: str, resumed: bool = False, resume: str | None = None) -> None:
        """The applicant may come in. Behind our CONFIRM all that we send is signed."""
        if self.applicant is not None:
            self._sign()
        super().admit(now, session, resumed, resume)

    def _sign(self) -> None:
        """From our CONFIRM on; if a key is used."""
        gate = self.gate
        if isinstance(gate, KeyedGate) and gate.ours is not None and gate.agreement is not None:
            self._signed = Signed(gate.ours, signs=SIGNED_ACK in gate.agreement.caps, seals=not gate.channel.tls)

    # -- bytes

    def receive_data(self, data: bytes, now: float, arrived: float | None = None) -> bool:
        """As for any session; the usual frames, whole, are taken without the decoder here, too."""
        proved = self._proved
        if not self._swift or not proved.begun:
            return super().receive_data(data, now, arrived)
        magic = data[:4]
        size = len(data)
        try:
            if size == SEAL_SIZE and magic == frames.SIGNED_ACK and SIGNED_ACK in self.caps:
                ack = proved.signed(data)
                acknowledge(self, ack.seq, ack.ts, now, arrived)
                return self.liveness.news is not None
            if proved.sealed:
                if size == ONE_SEALED and magic == frames.PING and data[8:12] == frames.SEAL:
                    proved.check(data[:HEADER], data[HEADER:])
                    return super().receive_data(data[:HEADER], now, arrived)
            elif magic in (frames.PING, frames.SYNC):
                return super().receive_data(data, now, arrived)
        except PeerViolation as violation:
            self.bye(FALSE_TAG, violation.reason, now)
            return True
        return self._receive(data, now, arrived)

    def data_to_send(self) -> bytes:
        """Control bytes for the peer, in order, each with its tag."""
        out = self._out
        self._out = b""
        return self._signed.out(out) if out and self._signed is not None else out
