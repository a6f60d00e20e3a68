"""A store in a Redis (or Valkey): any number of servers share one register. See docs/reference/stores.md.

Needs txredisapi (the extra ``redis``). What is written in one step is in :mod:`heartbeat.watch.stores.lua`; connections
are those of :mod:`heartbeat.watch.stores.redislink`.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from heartbeat.errors import StoreUnavailable
from heartbeat.interfaces import IPeerStore
from heartbeat.watch.stores import lua
from heartbeat.watch.stores.memory import ID_BYTES
from heartbeat.watch.stores.records import Changes, PeerRecord, Register, StoredFailure, readable
from heartbeat.watch.stores.redislink import Greeting, RedisLink

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from twisted.internet.interfaces import IStreamClientEndpoint

    from heartbeat.watch.stores.records import Settlement

__all__ = ["RedisStore"]

T = TypeVar("T")
#: A lease that lapsed so many milliseconds ago is forgotten: its peers are settled, or were never written.
FORGET_MS: Final = 3_600_000
#: What is no peer's is kept for so many milliseconds after the last server was there: a week, then the fleet is gone.
KEEP_MS: Final = 7 * 86_400_000


@implementer(IPeerStore)
class RedisStore:
    """A store for a fleet.

    :param endpoint: of the Redis, TLS included
    :param database: its number
    :param cluster: the name of the fleet: servers with the same one share a register
    :param node: the name of this server, for ``CLIENT LIST``
    :param keep_failures: how many deaths at most; the oldest go first
    """

    backend = "redis"
    shared = True

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        *,
        username: str | None = None,
        password: str | None = None,
        database: int = 0,
        cluster: str = "",
        node: str = "",
        keep_failures: int = 1000,
    ) -> None:
        # Only what is between braces decides where a Redis Cluster keeps a key; so no brace may be in the name.
        self._prefix = f"hb:{{{quote(cluster, safe='') or 'default'}}}:"
        self._keep_failures = keep_failures
        self._writer = secrets.token_hex(ID_BYTES)
        self._nudge: Callable[[], object] | None = None
        greeting = Greeting(username, password, database, f"heartbeat/{quote(node, safe='')}")
        self._link = RedisLink(reactor, endpoint, greeting, self._prefix + "news", self._heard)

    def open(self, nudge: Callable[[], object]) -> Deferred[None]:
        """See IPeerStore. Connecting may take longer than this; until then calls fail."""
        self._nudge = nudge
        return self._link.start()

    def close(self) -> Deferred[None]:
        """See IPeerStore."""
        if self._nudge is None:
            return succeed(None)
        self._nudge = None
        return self._link.stop()

    def renew(self, holder: str, lasts: float) -> Deferred[Register]:
        """See IPeerStore."""
        keys = self._keys("id", "seq", "leases", "order", "failures", "knocks", "entries", "key")
        arguments = [holder, round(lasts * 1000), secrets.token_hex(ID_BYTES), FORGET_MS, KEEP_MS]

        async def renewed() -> Register:
            id, upto, *leases = await self._link.run(lua.RENEW, keys, arguments)
            left = zip(leases[::2], leases[1::2], strict=True)
            return Register(id, int(upto), {one: float(milliseconds) / 1000.0 for one, milliseconds in left})

        return self._do(renewed)

    def release(self, holder: str) -> Deferred[None]:
        """See IPeerStore."""

        async def released() -> None:
            await self._link.command("ZREM", *self._keys("leases"), holder)

        return self._do(released)

    def token_key(self, proposal: bytes) -> Deferred[bytes]:
        """See IPeerStore."""

        async def kept() -> bytes:
            key: str = await self._link.run(lua.SEALING_KEY, self._keys("key"), [proposal.decode("ascii")])
            return key.encode("ascii")

        return self._do(kept)

    def write(self, records: Sequence[PeerRecord], failures: Sequence[StoredFailure]) -> Deferred[list[str]]:
        """See IPeerStore."""
        arguments = self._preface()
        for record in records:
            arguments += _plain(record)
        for failure in failures:
            arguments += _noted(failure)
        return self._write(lua.WRITE, records, arguments)

    def settle(self, settlements: Sequence[Settlement]) -> Deferred[list[str]]:
        """See IPeerStore."""
        arguments = self._preface()
        for seen, record, failure in settlements:
            arguments += [*seen, *_plain(record), *(("", "", "", "") if failure is None else _noted(failure))]
        return self._write(lua.SETTLE, [one.record for one in settlements], arguments)

    def changes(self, after: int, limit: int, but: str = "") -> Deferred[Changes]:
        """See IPeerStore."""

        async def changed() -> Changes:
            upto, found = await self._link.run(lua.CHANGES, self._keys("seq", "order"), [after, limit + 1])
            members, numbers = found[: 2 * limit : 2], found[1 : 2 * limit : 2]
            more = len(found) > 2 * limit
            peers = [one for one in members if one.startswith("p:")]
            others = [one for one in members if not one.startswith("p:")]
            texts: list[str] = []
            if members:
                keys = [*self._keys("order", "entries"), *(self._peer(one[2:]) for one in peers)]
                texts = await self._link.run(lua.READ, keys, [but, *peers, *others])
            failed = zip(others, texts[len(peers) :], strict=True)
            return Changes(
                upto=int(float(numbers[-1])) if more else int(upto),
                peers=readable(text for text in texts[: len(peers)] if text),
                failures=[_failure(member, text) for member, text in failed if text],
                more=more,
            )

        return self._do(changed)

    def recall(self, peer: str) -> Deferred[PeerRecord | None]:
        """See IPeerStore."""

        async def recalled() -> PeerRecord | None:
            text = await self._link.command("HGET", self._peer(peer), "record")
            return next(iter(readable([] if text is None else [text])), None)

        return self._do(recalled)

    # -- inside

    def _heard(self, writer: str) -> None:
        if writer != self._writer and self._nudge is not None:
            self._nudge()

    def _keys(self, *names: str) -> list[str]:
        return [self._prefix + name for name in names]

    def _peer(self, id: str) -> str:
        return f"{self._prefix}peer:{id}"

    def _preface(self) -> list[Any]:
        return [self._prefix + "news", self._writer, self._keep_failures]

    def _write(self, script: str, records: Sequence[PeerRecord], arguments: list[Any]) -> Deferred[list[str]]:
        keys = [*self._keys("seq", "order", "failures", "entries", "knocks"), *(self._peer(one.id) for one in records)]

        async def written() -> list[str]:
            ids: list[str] = await self._link.run(script, keys, arguments)
            return ids or []

        return self._do(written)

    def _do(self, what: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        if self._nudge is None:
            return fail(StoreUnavailable("the store is closed"))
        return Deferred.fromCoroutine(what())


def _plain(record: PeerRecord) -> list[Any]:
    living = "1" if record.living else "0"
    return [record.id, *record.fence, living, max(1, round(record.lasts * 1000)), record.to_text()]


def _noted(failure: StoredFailure) -> list[Any]:
    return [failure.id, f"{failure.id}:{failure.node}", failure.text, "1" if failure.knock else "0"]


def _failure(member: str, text: str) -> StoredFailure:
    number, _, node = member[2:].partition(":")
    return StoredFailure(int(number), node, text)  # on which board it is is told by its text, too
