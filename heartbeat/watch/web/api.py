"""``/api``: peers and failures as JSON."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from heartbeat.watch.web import query
from heartbeat.watch.web.answers import Answer, Page, json_answer, json_list, nothing_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.web.server import Request

    from heartbeat.watch.failures import Failure, Failures
    from heartbeat.watch.registry import Registry
    from heartbeat.watch.web.slices import Turns

__all__ = ["FailureList", "Peers"]

#: Failures told in one go: with 64 events each, ten of them are about 4 ms, and no beat should wait longer for a page.
SLICE: Final = 10


class Peers(Page):
    """``/api/peers`` (``?state= &reason= &q= &after=ID &limit=N``): a list, by id; ``/api/peers/ID``: one peer.

    An id may hold any character, the slash too; it is percent-encoded, and in UTF-8.
    """

    below = True

    def __init__(self, turns: Turns, registry: Registry) -> None:
        super().__init__(turns)
        self._registry = registry

    def answer(self, request: Request) -> Answer:
        """The list, or the peer that the rest of the path names."""
        named = b"/".join(request.postpath or ())
        if named:
            return self._one(request, named)
        return json_list(
            self._registry.slices(
                query.state(request),
                query.text(request, "q"),
                query.text(request, "after"),
                query.limit(request),
                query.cause(request),
            )
        )

    def _one(self, request: Request, named: bytes) -> Answer:
        id = named.decode("utf-8", "replace")
        peer = self._registry.get(id)
        return nothing_here(request, f"no peer {id!r}") if peer is None else json_answer(peer.details())


class FailureList(Page):
    """``/api/failures`` (``?since=ID &limit=N &reason= &peer=``): a list, newest first."""

    def __init__(self, turns: Turns, failures: Failures) -> None:
        super().__init__(turns)
        self._failures = failures

    def answer(self, request: Request) -> Answer:
        """The list."""
        found = self._failures.since(
            query.failure_id(request),
            query.limit(request),
            peer=query.text(request, "peer"),
            reason=query.cause(request),
        )
        return json_list(_slices(found))


def _slices(found: Iterator[Failure]) -> Iterator[list[Failure]]:
    while part := list(islice(found, SLICE)):
        yield part
