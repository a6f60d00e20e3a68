"""Two sessions that talk to each other over a path in the hands of a test: bytes are seen, changed, lost and added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heartbeat.keys import SharedKey
from heartbeat.session.channel import Channel
from tests.session.ends import NONCE, OTHER_NONCE, End, SessionTestCase

__all__ = ["EXPORTER", "KEY", "OTHER_KEY", "TLS", "Pair", "PairTestCase"]

#: The key of wire.md §8.
KEY = SharedKey(bytes(range(32)))
OTHER_KEY = SharedKey(bytes(range(100, 132)))
EXPORTER = b"\xee" * 32
TLS = Channel(True, EXPORTER)

Meddle = Callable[[str, bytes], bytes]


class Pair:
    """A connector and an acceptor.

    :param meddle: what is on the path: told who speaks (``connector``, ``acceptor``) and its bytes; gives what arrives
    :param channels: what the transport tells each of them, the connector first; None: there is no TLS
    :param acceptor: settings of that end, and likewise

    :ivar said: by speaker, all that it sent, as it was sent
    """

    def __init__(
        self,
        *,
        connector: dict[str, Any] | None = None,
        acceptor: dict[str, Any] | None = None,
        channels: tuple[Channel | None, Channel | None] = (None, None),
        meddle: Meddle | None = None,
        resume: str | None = None,
    ) -> None:
        self.connector = End(connector=True, **{"id": "gateway-7", "nonce": OTHER_NONCE, **(connector or {})})
        self.acceptor = End(**{"id": "node-1", "nonce": NONCE, **(acceptor or {})})
        for end, channel in zip((self.connector, self.acceptor), channels, strict=True):
            if channel is not None:
                end.session.secured(channel)
        self.meddle: Meddle = meddle if meddle is not None else lambda _, data: data
        self.said = {"connector": b"", "acceptor": b""}
        self.connector.session.start(self.connector.now, resume)

    @property
    def ends(self) -> tuple[tuple[str, End, End], ...]:
        """Who speaks, and to whom."""
        return ("connector", self.connector, self.acceptor), ("acceptor", self.acceptor, self.connector)

    def flow(self) -> None:
        """Bytes go to and fro until both are silent."""
        moved = True
        while moved:
            moved = False
            for name, speaker, hearer in self.ends:
                data = speaker.out()
                self.said[name] += data
                arriving = self.meddle(name, data) if data else b""
                moved = moved or bool(data)
                if arriving:
                    hearer.session.receive_data(arriving, hearer.now)
                    hearer.admit()

    def run(self, seconds: float, step: float = 0.05) -> None:
        """Time passes at both ends."""
        until = self.connector.now + seconds
        while self.connector.now < until:
            for _, speaker, _ in self.ends:
                speaker.to(speaker.now + step)
                due = speaker.session.next_timer()
                if due is not None and due <= speaker.now:
                    speaker.session.handle_timer(speaker.now)
            self.flow()

    @property
    def open(self) -> bool:
        """Both gates are."""
        return self.connector.session.gate is None and self.acceptor.session.gate is None


class PairTestCase(SessionTestCase):
    """What the tests of two sessions have in common."""

    def pair(self, **settings: Any) -> Pair:
        """Two ends with the usual key, after their handshake."""
        for end in ("connector", "acceptor"):
            settings[end] = {"keys": (KEY,), **settings.get(end, {})}
        pair = Pair(**settings)
        pair.flow()
        return pair

    def assert_open(self, pair: Pair) -> None:
        """Both gates are open, and nobody said BYE."""
        self.assertTrue(pair.open)
        for _, end, _ in pair.ends:
            self.assert_stays(end)
