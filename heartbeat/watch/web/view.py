"""What the page shows, as its address says it: every filter is in there, so it can be sent to somebody."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from heartbeat.errors import ConfigError
from heartbeat.watch.web import query

if TYPE_CHECKING:
    from twisted.web.server import Request

    from heartbeat.watch.failures import Failure

__all__ = ["PARTS", "View"]

#: The sections of the page, in their order; ``part`` asks for some of them.
PARTS: Final = ("strip", "filters", "peer", "failures", "peers")
_PAGING: Final = frozenset({"after", "before", "failure"})


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The filters; None: all.

    :ivar state: of peers; says nothing about failures
    :ivar reason: of failures, and of peers that are dead of it
    :ivar service: that a peer announces, or had when it failed
    :ivar region: of a failure; of a peer, by its meta
    :ivar q: text in a peer; in the peer or the address of a failure
    :ivar peer: the peer that is shown in full, with its failures only
    :ivar failure: the id of the failure that is shown first, and open
    :ivar after: peers behind this id
    :ivar before: failures older than this id
    """

    state: str | None = None
    reason: str | None = None
    service: str | None = None
    region: str | None = None
    q: str | None = None
    peer: str | None = None
    failure: str | None = None
    after: str | None = None
    before: str | None = None

    @classmethod
    def of(cls, request: Request) -> View:
        """That of a request. Raises ConfigError that names the parameter."""
        state = query.state(request)
        for name in ("failure", "before"):
            query.failure_id(request, name)
        query.cause(request)
        told = {one.name: query.text(request, one.name) for one in fields(cls)}
        return cls(**{**told, "state": None if state is None else state.value})

    def href(self, **changes: str | None) -> str:
        """The address of another view: this one with changes. It begins with its first page."""
        kept = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in _PAGING}
        wanted = {name: value for name, value in {**kept, **changes}.items() if value is not None}
        return "?" + urlencode(wanted)

    @property
    def chosen(self) -> dict[str, str]:
        """The filters that are set."""
        names = ("state", "reason", "service", "region", "q")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def has(self, failure: Failure) -> bool:
        """The failure is among those that are shown, whatever page of them."""
        wanted = None if self.q is None else self.q.casefold()
        return (
            (self.reason is None or failure.reason == self.reason)
            and (self.service is None or self.service in failure.services)
            and (self.region is None or failure.region == self.region)
            and (self.peer is None or failure.peer == self.peer)
            and (wanted is None or any(wanted in one.casefold() for one in (failure.peer, failure.address)))
        )


def parts(request: Request) -> tuple[str, ...]:
    """``part``: the sections that are asked for, by commas; none: the whole page. Raises ConfigError."""
    value: Any = query.text(request, "part")
    wanted = tuple(value.split(",")) if value else ()
    for one in wanted:
        if one not in PARTS:
            raise ConfigError("part", f"must be among {', '.join(PARTS)}, not {one[:60]!r}")
    return wanted
