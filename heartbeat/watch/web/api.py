"""``/api``: peers and failures as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from heartbeat.watch.web import query
from heartbeat.watch.web.answers import Answer, Page, json_answer, json_list, nothing_here, text_of
from heartbeat.watch.web.peertext import peer_text
from heartbeat.watch.web.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.web.server import Request

    from heartbeat.liveness.peer import Peer
    from heartbeat.watch.failures import Failure, Failures
    from heartbeat.watch.registry import Registry
    from heartbeat.watch.web.slices import Turns

__all__ = ["FailureList", "Peers"]

#: Failures told in one go: with 64 events each, ten of them are about 4 ms, and no beat should wait longer for a page.
SLICE: Final = 10
#: Failures looked at in one go: about 1 ms.
LOOKED_AT: Final = 1000


class Peers(Page):
    """``/api/peers``: a list, by id; ``/api/peers/ID``: one peer.

    ``?state= &reason= &service= &region= &q= &after=ID &limit=N``.

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
            self._told(
                self._registry.slices(
                    query.state(request),
                    query.text(request, "q"),
                    query.text(request, "after"),
                    query.limit(request),
                    query.cause(request),
                    service=query.text(request, "service"),
                    region=query.text(request, "region"),
                )
            )
        )

    def _told(self, slices: Iterator[list[Peer]]) -> Iterator[list[str]]:
        clocks = self._registry.clocks
        for part in slices:
            now, wall = clocks.seconds(), clocks.wall()
            yield [peer_text(peer, now, wall) for peer in part]

    def _one(self, request: Request, named: bytes) -> Answer:
        id = named.decode("utf-8", "replace")
        peer = self._registry.get(id)
        return nothing_here(request, f"no peer {id!r}") if peer is None else json_answer(peer.details())


class FailureList(Page):
    """``/api/failures``: a list, newest first.

    ``?since=ID &before=ID &limit=N &reason= &service= &region= &peer= &q=``.
    """

    def __init__(self, turns: Turns, failures: Failures) -> None:
        super().__init__(turns)
        self._failures = failures

    def answer(self, request: Request) -> Answer:
        """The list."""
        shown, since, limit = View.of(request), query.failure_id(request), query.limit(request)
        found = _slices(self._failures.newest(), shown, since, limit)
        return json_list([text_of(one.as_json()) for one in part] for part in found)


def _slices(newest: list[Failure], shown: View, since: int, limit: int | None) -> Iterator[list[Failure]]:
    """At most :data:`SLICE` failures that fit, and :data:`LOOKED_AT` that do not, in one go."""
    part: list[Failure] = []
    left = len(newest) if limit is None else limit
    before = int(shown.before or 0)
    for index, one in enumerate(newest):
        if one.id <= since or not left:
            break
        if (not before or one.id < before) and shown.has(one):
            part.append(one)
            left -= 1
        if len(part) >= SLICE or index % LOOKED_AT == LOOKED_AT - 1:
            yield part
            part = []
    if part:
        yield part
