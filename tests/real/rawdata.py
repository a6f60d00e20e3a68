"""DATA and WINDOW of the independent peer (``wire.md`` §7): :mod:`tests.real.rawpeer` with an application's bytes."""

from __future__ import annotations

import time
from typing import Any

from tests.real.rawpeer import (
    BYE,
    DATA,
    HELLO,
    PING,
    SYNC,
    WINDOW,
    Frame,
    RawPeer,
    Silence,
    framed,
    hello,
    short,
    strict_object,
)

__all__ = ["DataPeer"]


class DataPeer(RawPeer):
    """One end of a wrapped connection. It answers beats while it waits, and keeps the account of both credits.

    :ivar received: what the other end's application has said
    :ivar ended: ... and that it says no more
    :ivar credit: bytes of DATA that we may send
    :ivar given: bytes of DATA that the other end may send
    """

    def enter(self, max_data: int = 65_536, **members: Any) -> dict[str, Any]:
        """HELLO with the capability, and the acceptor's."""
        answer = self.greet(caps=["data"], max_data=max_data, **members)
        self._begin(answer, max_data)
        return answer

    def welcome(self, max_data: int = 65_536, **members: Any) -> dict[str, Any]:
        """The connector's HELLO, answered with one that has the capability, as an acceptor."""
        frame = self.frame()
        assert frame.magic == HELLO, frame
        said = strict_object(frame.body)
        ping_ms = max(said["want_ping_ms"], members.get("min_rx_ms", 100))
        agreed = {"ping_ms": ping_ms, "detect_ms": said["mult"] * ping_ms}
        self.send(hello(caps=["data"], max_data=max_data, agreed=agreed, **members))
        self._begin(said, max_data)
        return said

    def _begin(self, other: dict[str, Any], max_data: int) -> None:
        assert "data" in other["caps"], other
        self.received = bytearray()
        self.ended = False
        self.given = max_data
        self.credit = int(other.get("max_data", 1_048_576))
        self.windows: list[int] = []

    def say(self, payload: bytes) -> None:
        """DATA in pieces, within the credit: where that is used up, wait for more."""
        while payload:
            while not self.credit:
                self.take()
            piece, payload = payload[: min(self.credit, 16_384)], payload[min(self.credit, 16_384) :]
            self.credit -= len(piece)
            self.send(framed(DATA, piece))

    def give(self, count: int) -> None:
        """WINDOW."""
        self.given += count
        self.send(short(WINDOW, count))

    def take(self, timeout: float = 3.0) -> Frame:
        """The next frame, entered in the account, beats answered."""
        frame = self.frame(timeout)
        if frame.magic in (PING, SYNC):
            self.answer(frame)
        elif frame.magic == DATA:
            assert not self.ended, "DATA behind the end of the stream"
            assert len(frame.body) <= min(self.given, 16_384), f"DATA of {len(frame.body)}, credit {self.given}"
            self.given -= len(frame.body)
            self.ended = not frame.body
            self.received += frame.body
        elif frame.magic == WINDOW:
            self.windows.append(frame.word)
            self.credit += frame.word
        else:
            assert frame.magic == BYE or frame.magic[:2] == b"HA" or frame.magic == b"HSAK", frame
        return frame

    def heard(self, count: int, timeout: float = 5.0) -> bytes:
        """Wait for so many bytes in all."""
        deadline = time.monotonic() + timeout
        while len(self.received) < count:
            self.take(deadline - time.monotonic())
        return bytes(self.received)

    def during(self, seconds: float) -> list[Frame]:
        """All frames of so many seconds."""
        frames = []
        deadline = time.monotonic() + seconds
        try:
            while True:
                frames.append(self.take(deadline - time.monotonic()))
        except Silence:
            return frames
