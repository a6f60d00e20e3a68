"""Framings without numbers, whose answers come in the order of the questions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.net.adapters.framing import FramingHeartbeat

__all__ = ["Answer", "InOrder", "check_unit"]

#: By what an answer is known: its beginning, a function, or None for whatever comes next.
Answer: TypeAlias = bytes | Callable[[bytes], bool] | None


class InOrder(FramingHeartbeat):
    """Puts one unit of the framing as a question, and takes the first that may be its answer.

    :param question: the unit; it must be one that the peer answers, if only with an error
    :param answer: by what its answer is known. None: whatever comes next, for peers that answer each unit and say
        nothing by themselves; its round trip may then be that of another unit, and a sign of life it is in any case
    :param swallow: True: the application does not see answers; with ``answer=None`` it sees them in any case
    :param settings: as of :class:`.FramingHeartbeat`
    :raises ConfigError: no question, or an answer that is neither of the three
    """

    def __init__(
        self,
        protocol: Any,
        config: HeartbeatConfig | None = None,
        *,
        question: bytes,
        answer: Answer = None,
        swallow: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(protocol, config, **settings)
        check_unit("question", question)
        if answer is not None and not callable(answer):
            check_unit("answer", answer)
        self.question = question
        self._answer = answer
        self._swallow = swallow and answer is not None
        self._asked: deque[int] = deque()  # no more than may be open: MOST_OUTSTANDING of the judge

    def put(self, number: int) -> None:
        """The question was written: its answer is expected behind those of the others."""
        self._asked.append(number)

    def forget(self) -> None:
        """The answers of the questions so far may have passed unseen: what comes from now on answers later ones."""
        self._asked.clear()

    def came(self, unit: bytes) -> bool:
        """A whole unit was read. True: it is an answer that the application is not to see."""
        if self._asked and self._is_answer(unit):
            self.answered(self._asked.popleft())
            return self._swallow
        self.heard()
        return False

    def _is_answer(self, unit: bytes) -> bool:
        answer = self._answer
        if answer is None:
            return True
        return unit.startswith(answer) if isinstance(answer, bytes) else bool(answer(unit))


def check_unit(name: str, value: Any) -> None:
    """Refuse what is no unit of a framing. Raises ConfigError."""
    if not isinstance(value, bytes) or not value:
        raise ConfigError(name, f"must be bytes, at least one: {value!r:.80}")
