"""Three protections of the judge, switched off one at a time: what the seeds are worth is shown by those that fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from heartbeat.liveness.attention import Attention
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.suspicion import Suspicion

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["MUTATIONS"]


@contextmanager
def no_drain() -> Iterator[None]:
    """Input that lies unread at the deadline interests nobody."""
    with patch.object(Suspicion, "undrained", lambda self, evidence: False):
        yield


@contextmanager
def no_attention() -> Iterator[None]:
    """Silence is the time that has gone by, whether we listened or not."""
    with patch.object(Attention, "awake", lambda self, since, now, cap: max(0.0, now - since)):
        yield


@contextmanager
def no_confirm() -> Iterator[None]:
    """Nothing is asked at half time, and nobody's answer is waited for."""
    real: Any = Liveness.__init__

    def listening(self: Liveness, *arguments: Any, **settings: Any) -> None:
        real(self, *arguments, **{**settings, "can_ask": False})

    with patch.object(Liveness, "__init__", listening):
        yield


MUTATIONS: Final[dict[str, Callable[[], AbstractContextManager[None]]]] = {
    "no drain": no_drain,
    "no attentive clock": no_attention,
    "no confirm ping": no_confirm,
}
