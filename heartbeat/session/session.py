"""One connection of ``wire.md``: takes bytes and time, gives bytes and events, and dispatches each frame to its owner.

Theory of operation. A session is a Beats (who judges), a Gate until HELLO was exchanged, Syncs for phase two and,
where it was agreed, a Stream. It never reads a clock, draws a number or touches a socket; the shell drives it as
``architecture.md`` says, and after each call reads what it has to send. When a session wants the connection to end
it says so in :attr:`Session.parting`; the shell acts.
"""

from __future__ import annotations

import math
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from heartbeat.errors import ConfigError, PeerViolation
from heartbeat.liveness.beats import Beats
from heartbeat.liveness.need import ASK, ASK_AND_LOOK, LOOK, NOTHING, Need
from heartbeat.liveness.peer import Clocks, Peer
from heartbeat.session.byes import BYE_DETAILS, cause_of
from heartbeat.session.dispatch import acknowledge, take
from heartbeat.session.flood import Flood
from heartbeat.session.gate import BEFORE_ACCEPTOR, BEFORE_CONNECTOR, Agreement, Gate, behind
from heartbeat.session.handshake import opened
from heartbeat.session.parting import Parting
from heartbeat.session.stream import Stream
from heartbeat.session.sync import Syncs
from heartbeat.wire import frames
from heartbeat.wire.codec import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from heartbeat.config import HeartbeatConfig
    from heartbeat.interfaces import IStateSource
    from heartbeat.liveness.attention import Attention
    from heartbeat.liveness.counters import Counters
    from heartbeat.liveness.evidence import Ending, Evidence
    from heartbeat.session.channel import Channel
    from heartbeat.session.greeting import Hello
    from heartbeat.session.sealing import ProvedDecoder

__all__ = ["CAPS", "Session"]

NEVER: Final = math.inf
#: The capabilities of a heartbeat-only connection.
CAPS: Final = ("state", "stalled")
# After our BYE we read and discard for this long at most, so that no RST overtakes it (wire.md §6).
LINGER: Final = 1.0
# BYE codes, and what they say to people.
IDENTITY_REFUSED: Final = 5
FLOOD: Final = 9
CALM_DOWN: Final = "calm down: too many frames"
NOT_READING: Final = 11
# STALLED is sent after a stall of more than this share of our interval (wire.md §6).
STALL_SHARE: Final = 0.5
# What is kept of a connector that does not wait for the answer to its HELLO: as much as one read brings.
MOST_BEHIND: Final = 64 * 1024

HEADER: Final = frames.HEADER_SIZE
SYNC_SIZE: Final = HEADER + frames.BODY_LIMITS[frames.SYNC]
PING: Final = frames.PING
ACK: Final = frames.ACK
SYNC: Final = frames.SYNC
DATA: Final = frames.DATA
_PING: Final = Struct(">4sHH").pack
_U16S: Final = Struct(">4xHH").unpack


class Session:
    """Drives one peer over frames; with shared keys a :class:`~heartbeat.session.keyed.KeyedSession` does.

    :param config: this end's settings
    :param attention: of the reactor
    :param now: monotonic seconds
    :param connector: True for the end that opened the transport; it speaks first, with :meth:`start`
    :param nonce: 16 bytes as 32 hex digits, from the system's random source, new for each connection
    :param draw: randomness for the jitter, 0 ≤ x < 1
    :param clocks: for the view that others have of the peer
    :param source: our own account of ourselves
    :param name: what the peer is called until its HELLO gives an id: ``~host:port``
    :param address: of the peer, ``host:port``
    :param caps: capabilities that we offer

    An acceptor's session that read a HELLO waits, with :attr:`applicant` set, for :meth:`admit` or :meth:`bye`.
    The rest of the judge's face (``observe``, ``doubt``, ``handed_over``, ``events``, ``state``) is :attr:`beats`.

    :ivar beats: the judge
    :ivar peer: the view that others have
    :ivar caps: in force
    :ivar parting: what is to be done with the connection
    :ivar farewell: the BYE that the peer said, None if it said none
    :ivar said: the BYE that we said
    :ivar epoch: how many tokens were given out for this session, on an acceptor
    :ivar token: what a connector resumes its session with next time, None if it was given none
    """

    __slots__ = (
        "_allowed", "_deadline", "_decoder", "_flood", "_out", "_stall_seen", "_swift", "beats", "caps", "connector",
        "epoch", "farewell", "gate", "liveness", "parting", "peer", "said", "stream", "syncs", "tally", "token",
    )  # fmt: skip

    def __init__(
        self,
        config: HeartbeatConfig,
        attention: Attention,
        now: float,
        *,
        connector: bool,
        nonce: str,
        draw: Callable[[], float],
        clocks: Clocks,
        source: IStateSource,
        name: str = "",
        address: str = "",
        transport: str = "tcp",
        node: str = "",
        caps: tuple[str, ...] = CAPS,
        rtt_counts: Counters | None = None,
    ) -> None:
        self.connector = connector
        self.beats = Beats(
            config.detect, attention, now, interval=config.interval, draw=draw, adaptive=config.adaptive,
            detector=config.detector, gated=True, rtt_counts=rtt_counts,
        )  # fmt: skip
        self.liveness = self.beats.liveness
        self.tally = self.beats.tally
        self.peer = Peer(self.beats, clocks, id=name, address=address, transport=transport, node=node)
        self.gate: Gate | None = self.make_gate(config, nonce, caps)
        self.syncs = Syncs(source)
        self.caps: frozenset[str] = frozenset()
        self.stream: Stream | None = None
        self.parting = Parting.STAY
        self.farewell: frames.Bye | None = None
        self.said: frames.Bye | None = None
        self.token: str | None = None
        self.epoch = 0
        self._flood = Flood(config.min_interval, now) if config.min_interval > 0.0 else None
        self._decoder: Decoder | ProvedDecoder | None = None  # none while nothing is pending
        self._allowed: Mapping[bytes, int] = BEFORE_CONNECTOR if connector else BEFORE_ACCEPTOR
        self._out = b""
        self._deadline = now + config.handshake_timeout
        self._stall_seen = now
        self._swift = False  # the usual read may be taken without the decoder

    # -- what it is made of: a session with shared keys has parts of its own

    def make_gate(self, config: HeartbeatConfig, nonce: str, caps: tuple[str, ...]) -> Gate:
        """The gate. Raises ConfigError for keys: they need a :class:`~heartbeat.session.keyed.KeyedSession`."""
        if config.keys:
            raise ConfigError("keys", "a session with shared keys is a KeyedSession")
        return Gate(config, nonce, caps)

    def make_decoder(self) -> Decoder | ProvedDecoder:
        """A decoder, while there is something to decode."""
        return Decoder()

    def make_stream(self, ours: int, theirs: int) -> Stream:
        """The stream of application bytes, from the gate on."""
        return Stream(ours, theirs)

    # -- the handshake

    def secured(self, channel: Channel) -> None:
        """The handshake of TLS is complete, and this is what it has proved. Before :meth:`start` and any bytes."""
        if self.gate is not None:
            self.gate.channel = channel

    def start(self, now: float, resume: str | None = None, last: Mapping[str, Any] | None = None) -> None:
        """A connector's first word. Next: :meth:`data_to_send`.

        :param resume: the :attr:`token` of our previous connection, if it had one
        :param last: how that connection ended
        """
        if self.gate is not None and self.connector:
            self._out += self.gate.speak(now, resume, last, self.peer.traceparent)

    @property
    def applicant(self) -> Hello | None:
        """The HELLO that waits for :meth:`admit`; None if none does."""
        gate = self.gate
        return gate.hello if gate is not None and self.parting is Parting.STAY else None

    def admit(self, now: float, session: str, resumed: bool = False, resume: str | None = None) -> None:
        """The applicant may come in, as this session, with this token for next time. What stands behind its HELLO is
        taken now."""
        gate, applicant = self.gate, self.applicant
        if gate is None or gate.agreement is None or applicant is None:
            return
        self._out += gate.answer(gate.agreement, session, resumed, resume, self.peer.traceparent)
        self.peer.session = session if applicant.id is not None else ""
        opened(self, gate, gate.agreement, now)
        self._receive(b"", now, None)

    def judge_from(self, now: float, agreement: Agreement) -> None:
        """The gate is open: from here on there is no handshake to time out, and the peer is judged."""
        self.gate = None
        self._deadline = NEVER
        self.beats.pace(agreement.ours.interval, agreement.floor)
        self.beats.opened(now, agreement.theirs, at_once=self.connector)
        self.place()

    # -- bytes

    def receive_data(self, data: bytes, now: float, arrived: float | None = None) -> bool:
        """Take what was read. ``arrived``: when the kernel got it, given when we were late to read it.

        Next: :meth:`data_to_send`, and :attr:`stream` where there is one. True: look at :meth:`events`,
        :attr:`applicant`, :attr:`parting`, :attr:`state` and :meth:`next_timer`, too; on the hot path it is False.
        """
        if self._swift and len(data) == HEADER:  # one PING or one ACK, whole: the usual read
            magic = data[:4]
            if magic == PING:
                liveness = self.liveness
                liveness.heard_at = now
                if liveness.suspicion is not None:
                    liveness.refute(now)
                self.tally.pings_in += 1
                self._out += ACK + data[4:]
                if now >= self.syncs.due:
                    self._out += self.syncs.compose(now)
                if self._flood is not None and self._flood.spend(now):
                    self.bye(FLOOD, CALM_DOWN, now)
                return liveness.news is not None
            if magic == ACK:
                seq, ts = _U16S(data)
                acknowledge(self, seq, ts, now, arrived)
                return self.liveness.news is not None
        elif self._swift and len(data) == SYNC_SIZE and data[:4] == SYNC:
            answer = self.syncs.again(data, self.peer)
            if answer:
                self._out += answer
                self.liveness.heard(now, beat=False)
                self.spend(now)
                return self.liveness.news is not None
        elif self._swift and data[:4] == DATA and self.stream is not None and self.stream.whole(data):
            self.liveness.heard(now, beat=False)
            return self.liveness.news is not None
        return self._receive(data, now, arrived)

    def _receive(self, data: bytes, now: float, arrived: float | None) -> bool:
        if self.parting is not Parting.STAY:
            return False  # after a BYE of either side everything is discarded
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = self.make_decoder()
        self._swift = False
        decoder.feed(data)
        try:
            while self._takes_more():
                if self.stream is not None and (payload := decoder.run(self.stream.credit_in)):
                    self.stream.received(payload)
                    self.liveness.heard(now, beat=False)
                if (frame := decoder.next(self._allowed)) is None:
                    break
                # The kernel knows of its newest byte only: that is when the last frame of them came.
                take(self, frame, now, None if arrived is None or decoder.pending else arrived)
            if self.applicant is not None and decoder.pending > MOST_BEHIND:
                raise PeerViolation(f"more than {MOST_BEHIND} bytes behind a HELLO that waits for its answer")
        except PeerViolation as violation:
            self.bye(violation.code, violation.reason, now)
        self._quicken()
        news = self.liveness.news is not None or self.parting is not Parting.STAY
        return news or self.gate is not None

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return 0 if self._decoder is None else self._decoder.pending

    def _takes_more(self) -> bool:
        return self.parting is Parting.STAY and (self.gate is None or self.applicant is None)

    def _quicken(self) -> None:
        """Whether the next read may be taken without the decoder."""
        if self.pending == 0:
            self._decoder = None
        stays = self.parting is Parting.STAY and self.gate is None
        self._swift = stays and self._decoder is None and self.liveness.detector is None

    def spend(self, now: float) -> None:
        """One frame that flood control counts; the second strike within a minute is a BYE."""
        if self._flood is not None and self._flood.spend(now):
            self.bye(FLOOD, CALM_DOWN, now)

    def reply(self, data: bytes) -> None:
        """Queue control bytes."""
        self._out += data

    def place(self) -> None:
        """Work out anew which frames may stand here."""
        allowed = behind(self.caps, self.syncs.expects)
        self._allowed = allowed if self.stream is None else self.stream.beside(allowed)

    def data_to_send(self) -> bytes:
        """Control bytes for the peer, in order. DATA is asked for at :attr:`stream`, when these are gone."""
        out = self._out
        self._out = b""
        return out

    def ping(self, now: float) -> int:
        """Put one question now; returns its number. After a stall of ours, STALLED goes before it."""
        attention = self.liveness.attention
        if attention.stalled_at > self._stall_seen:
            stalled = attention.longest(self._stall_seen)
            self._stall_seen = now
            if "stalled" in self.caps and stalled > STALL_SHARE * self.beats.interval:
                self._out += frames.Stalled(int(stalled * 1000.0)).encode()
        number = self.beats.number
        self._out += _PING(PING, number & 0xFFFF, int(now * 1000.0) & 0xFFFF)
        self.beats.asked(now)
        return number

    # -- ends

    def bye(self, code: int, reason: str, now: float) -> None:
        """Say BYE, once and as the last word; :attr:`parting` then says what to do."""
        if self.parting is not Parting.STAY:
            return
        self._part(Parting.LINGER, now + LINGER)
        self.said = frames.Bye.of(code, reason)
        self._out += self.said.encode()
        self._record(code, reason, now)

    def parted(self, farewell: frames.Bye, now: float) -> None:
        """The peer said BYE. What was read before it is answered; then nothing more is sent."""
        self.farewell = farewell
        self._part(Parting.CLOSE, NEVER)
        self._record(farewell.code, farewell.reason, now)

    def refuse(self, cause: str, reason: str, now: float, evidence: Evidence | None = None) -> None:
        """Before the gate: close without a word to the peer, and record why; ``reason`` is one line for people."""
        self._part(Parting.CLOSE, NEVER)
        self.liveness.condemn(cause, now, evidence, reason)

    def ended(self, ending: Ending, now: float) -> None:
        """The transport is gone."""
        self._part(Parting.ABORT, NEVER)
        self.beats.ended(ending, now)

    def _part(self, parting: Parting, deadline: float) -> None:
        self.parting = parting
        self._swift = False
        self._deadline = deadline

    def _record(self, code: int, reason: str, now: float) -> None:
        if code in BYE_DETAILS:
            self.liveness.leave(BYE_DETAILS[code], now, reason)
        else:
            self.liveness.condemn(cause_of(code), now, reason=reason)

    # -- time

    def blocked(self, now: float) -> None:
        """64 KiB of ours are unsent: the shell reads nothing until :meth:`unblocked`; after D of that it is BYE 11."""
        self.beats.deaf(now)
        if self.parting is Parting.STAY and self.gate is None and self._deadline == NEVER:
            self._deadline = now + self.liveness.terms.detect

    def unblocked(self, now: float) -> None:
        """They are gone; the shell reads again."""
        self.beats.hearing(now)
        if self.parting is Parting.STAY and self.gate is None:
            self._deadline = NEVER

    def next_timer(self) -> float | None:
        """When to call :meth:`handle_timer`: monotonic seconds, or None."""
        due = self.beats.next_timer() if self.parting is Parting.STAY else None
        if due is None or self._deadline < due:
            return None if self._deadline == NEVER else self._deadline
        return due

    def handle_timer(self, now: float) -> Need:
        """The moment of :meth:`next_timer` has come or passed. Questions are put here; LOOK and JUDGE are returned."""
        if now >= self._deadline:
            self._overdue(now)
            return NOTHING
        if self.parting is not Parting.STAY:
            return NOTHING
        need = self.beats.handle_timer(now)
        if need is NOTHING:
            return need
        if need is ASK or need is ASK_AND_LOOK:
            self.ping(now)
            return NOTHING if need is ASK else LOOK
        return need

    def _overdue(self, now: float) -> None:
        if self.parting is not Parting.STAY:
            self._part(Parting.ABORT, NEVER)
        elif self.gate is not None:
            self.refuse(self.gate.late, "the handshake took too long", now)
        else:
            self.bye(NOT_READING, "you do not read", now)
            self._part(Parting.ABORT, NEVER)
