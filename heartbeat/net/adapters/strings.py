"""Strings with a length before them: netstrings, and those of ``Int8``, ``Int16`` and ``Int32StringReceiver``."""

from __future__ import annotations

from typing import Any

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.net.adapters.inorder import Answer, InOrder, check_unit

__all__ = ["StringHeartbeat"]


class StringHeartbeat(InOrder):
    """The heartbeat of a protocol with ``sendString`` and ``stringReceived``.

    ::

        def connectionMade(self):
            self.heartbeat = StringHeartbeat(self, question=b"ping", answer=b"pong", reply=b"pong").start()

        def connectionLost(self, reason):
            reason = self.heartbeat.stop(reason)

    Each whole string is a sign of life.

    :param reply: what the peer's own question, the same as ours, is answered with; the application does not see it
        then. None: the application answers
    """

    def __init__(
        self,
        protocol: Any,
        config: HeartbeatConfig | None = None,
        *,
        question: bytes,
        answer: Answer = None,
        swallow: bool = True,
        reply: bytes | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(protocol, config, question=question, answer=answer, swallow=swallow, **settings)
        if reply is not None:
            check_unit("reply", reply)
            if reply == question:
                raise ConfigError("reply", f"must not be the question itself: {reply!r:.80}")
        self._reply = reply

    def ask(self, number: int) -> bool:
        """The string."""
        self.put(number)
        self.protocol.sendString(self.question)
        return True

    def attached(self) -> None:
        """Each string is heard."""
        received = self.protocol.stringReceived

        def string_received(string: bytes) -> None:
            if self._reply is not None and string == self.question:
                self.heard()
                self.protocol.sendString(self._reply)
            elif not self.came(string):
                received(string)

        self.protocol.stringReceived = string_received

    def detached(self) -> None:
        """As it was."""
        del self.protocol.stringReceived
