"""One end of a connection in the hands of a test: what it reads is written here, what it sends comes out as frames."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from heartbeat.config import HeartbeatConfig
from heartbeat.interfaces import IStateSource
from heartbeat.liveness.attention import Attention
from heartbeat.liveness.events import Event
from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.need import Need
from heartbeat.liveness.report import Report
from heartbeat.liveness.states import FINAL
from heartbeat.session.keyed import KeyedSession
from heartbeat.session.parting import Parting
from heartbeat.session.session import CAPS, Session
from heartbeat.wire import frames as f
from heartbeat.wire.codec import Decoder
from heartbeat.wire.profile import dump_object
from tests.liveness.loops import START, TimedTestCase

__all__ = ["ALL_CAPS", "NONCE", "START", "End", "SessionTestCase", "Source", "decoded", "hello", "ping"]

NONCE = "00112233445566778899aabbccddeeff"
OTHER_NONCE = "ffeeddccbbaa99887766554433221100"
ALL_CAPS = ("state", "stalled", "data")
_ANYWHERE = dict(f.BODY_LIMITS)


@implementer(IStateSource)
class Source:
    """An account that a test sets."""

    def __init__(self, **members: Any) -> None:
        self.told = Report(**members)
        self.asked = 0

    def report(self) -> Report:
        """The account as it was set."""
        self.asked += 1
        return self.told


class Clocks:
    """The clocks of the view that others have."""

    def seconds(self) -> float:
        """Monotonic."""
        return START

    def wall(self) -> float:
        """Since the epoch."""
        return 0.0


def hello(**members: Any) -> bytes:
    """A HELLO frame: in order, but for the members given; None takes one out."""
    usual: dict[str, Any] = {"v": 1, "id": "peer-1", "caps": list(CAPS), "nonce": OTHER_NONCE, **members}
    return f.Hello(dump_object({name: value for name, value in usual.items() if value is not None})).encode()


def ping(seq: int, ts: int = 7) -> bytes:
    """A PING."""
    return f.Ping(seq, ts).encode()


def decoded(data: bytes) -> list[f.Frame]:
    """The frames in a stream, which must end behind a whole one."""
    decoder = Decoder()
    decoder.feed(data)
    found: list[f.Frame] = []
    while (frame := decoder.next(_ANYWHERE)) is not None:
        found.append(frame)
    assert decoder.pending == 0, f"half a frame: {data!r}"
    return found


class End:
    """A session and the loop that drives it.

    :ivar log: all events so far
    """

    def __init__(
        self,
        *,
        connector: bool = False,
        caps: tuple[str, ...] = CAPS,
        source: Any = None,
        now: float = START,
        nonce: str = NONCE,
        attention: Attention | None = None,
        draw: Any = lambda: 0.5,
        **settings: Any,
    ) -> None:
        self.now = now
        self.attention = Attention(now) if attention is None else attention
        self.source = Source() if source is None else source
        self.config = HeartbeatConfig(**{"interval": 0.5, "id": "me", **settings})
        self.session = (KeyedSession if self.config.keys else Session)(
            self.config,
            self.attention,
            now,
            connector=connector,
            nonce=nonce,
            draw=draw,
            clocks=Clocks(),
            source=self.source,
            name="~192.0.2.7:4000",
            address="192.0.2.7:4000",
            caps=caps,
        )
        self._sent: list[bytes] = []
        self.log: list[Event] = []

    @property
    def sent(self) -> bytes:
        """All bytes so far."""
        return b"".join(self._sent)

    def to(self, at: float) -> None:
        """Listen until then; nothing is served."""
        self.attention.expect(at)
        self.now = at
        self.attention.looked(at)

    def stall(self, seconds: float) -> None:
        """Be unable to run for so long; nothing is served."""
        self.attention.expect(self.now)
        self.now += seconds
        self.attention.looked(self.now)

    def take(self, data: bytes = b"") -> bytes:
        """Read ``data`` in one go and admit whoever applies. What was sent in return."""
        self.session.receive_data(data, self.now)
        self.admit()
        return self.out()

    def admit(self) -> None:
        """Let an applicant in."""
        if self.session.applicant is not None:
            self.session.admit(self.now, "s-1")

    def out(self) -> bytes:
        """What it has to send now; the kernel takes it."""
        data = self.session.data_to_send()
        if data:
            self.session.beats.handed_over(self.now)
        self._sent.append(data)
        self.log += self.session.beats.events()
        return data

    def read(self, *parts: bytes | f.Frame) -> list[f.Frame]:
        """Read frames in one segment; the frames in return."""
        return decoded(self.take(b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)))

    def serve(self) -> list[f.Frame]:
        """Do what is due; the frames that it sends."""
        need = self.session.handle_timer(self.now)
        sent = self.out()
        if need & Need.LOOK:
            self.session.beats.observe(Evidence(self.now), self.now)
        self.log += self.session.beats.events()
        return decoded(sent)

    def run(self, until: float) -> list[f.Frame]:
        """Serve until then, reading nothing; the frames that it sends."""
        sent: list[f.Frame] = []
        while (at := self.session.next_timer()) is not None and at <= until:
            self.to(max(at, self.now))
            sent += self.serve()
            if self.session.beats.state in FINAL and self.session.parting is Parting.STAY:
                break
        if self.now < until:
            self.to(until)
        return sent

    def events(self, kind: type[Event]) -> list[Any]:
        """The events of one kind so far."""
        self.log += self.session.beats.events()
        return [event for event in self.log if type(event) is kind]


class SessionTestCase(TimedTestCase):
    """What the tests of a session have in common."""

    def acceptor(self, members: dict[str, Any] | None = None, **settings: Any) -> End:
        """An acceptor behind its gate, with a peer that said a HELLO; its answer is gone."""
        end = End(**settings)
        answer = end.read(hello(**(members or {})))
        self.assertEqual([type(frame) for frame in answer], [f.Hello])
        self.assertIsNone(end.session.gate)
        return end

    def connector(self, members: dict[str, Any] | None = None, **settings: Any) -> End:
        """A connector behind its gate: its HELLO was answered."""
        end = End(connector=True, **settings)
        end.session.start(end.now)
        self.assertEqual([type(frame) for frame in decoded(end.out())], [f.Hello])
        self.assertEqual(end.read(hello(**{"id": "server", **(members or {})})), [])
        self.assertIsNone(end.session.gate)
        return end

    def bare(self, **settings: Any) -> End:
        """An acceptor behind its gate with a bare peer; its first PING was answered and the SYNC of both is done."""
        end = End(**settings)
        end.read(ping(0))
        self.assertTrue(end.session.peer.bare)
        return end

    def assert_said(self, end: End, code: int, reason: str | None = None) -> None:
        """It said this BYE, as its last frame, once, and waits for the other end to close."""
        said = [frame for frame in decoded(end.sent) if isinstance(frame, f.Bye)]
        self.assertEqual([bye.code for bye in said], [code])
        self.assertIsInstance(decoded(end.sent)[-1], f.Bye)
        self.assertEqual(end.session.said, said[0])
        self.assertIs(end.session.parting, Parting.LINGER)
        if reason is not None:
            self.assertIn(reason, said[0].reason)

    def assert_stays(self, end: End) -> None:
        """It said no BYE and goes on."""
        self.assertIsNone(end.session.said)
        self.assertIs(end.session.parting, Parting.STAY)
