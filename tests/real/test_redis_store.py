"""The store in a real Redis: the contract of all stores, and what only a Redis can show."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any, ClassVar

import trustme
from twisted.internet import defer, reactor
from twisted.internet.task import deferLater

from heartbeat.errors import StoreUnavailable
from heartbeat.interfaces import IPeerStore
from heartbeat.net.clocks import clocks_for
from heartbeat.watch.stores import MOST_AT_ONCE, make_store, store_address
from heartbeat.watch.stores.timed import CALL_TIMEOUT, Timed
from tests.environment import CHECKOUT
from tests.real.redisserver import WITHOUT_REDIS, shared_redis
from tests.watch.stores import contract
from tests.watch.stores.contract import KEPT, StoreCase, failure, record

#: What our user may do, as in docs/howto/fleet.md.
MAY = (
    "resetchannels &hb:* ~hb:* -@all "
    "+@connection +@hash +@keyspace +@pubsub +@scripting +@sortedset +@string +time -@dangerous"
)

_numbers = itertools.count()


def pause(seconds: float) -> defer.Deferred[None]:
    """Let the reactor run for a while."""
    return deferLater(reactor, seconds, lambda: None)


@functools.cache
def certificates() -> dict[str, Path]:
    """Files: of a Redis on localhost, of who signed it, and of somebody else."""
    folder = Path("redis-certificates").absolute()
    folder.mkdir(exist_ok=True)
    paths = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key", "other")}
    ca = trustme.CA()
    cert = ca.issue_cert("localhost")
    ca.cert_pem.write_to_path(str(paths["ca"]))
    trustme.CA().cert_pem.write_to_path(str(paths["other"]))
    cert.cert_chain_pems[0].write_to_path(str(paths["cert"]))
    cert.private_key_pem.write_to_path(str(paths["key"]))
    return paths


class RedisCase(StoreCase):
    """Stores in one Redis, with a register for each test."""

    options: ClassVar[tuple[str, ...]] = ()
    tls = False
    url = "redis://127.0.0.1:{port}/3"

    if WITHOUT_REDIS:
        skip = WITHOUT_REDIS

    def setUp(self) -> None:
        """Find the Redis, and a register of its own."""
        self.redis = shared_redis(*self.options, tls=self.tls)
        self.cluster = f"t{next(_numbers)}"

    def make(self, url: str = "") -> Any:
        """One that shares the register of this test."""
        address = store_address("--store", (url or self.url).format(port=self.redis.port))
        clocks = clocks_for(reactor)
        store = make_store(address, clocks, reactor=reactor, cluster=self.cluster, node="n 1", keep_failures=KEPT)
        return Timed(store, reactor, clocks.seconds)

    async def settled(self, store: Any) -> None:
        """Wait until it is connected."""
        for _ in range(200):
            try:
                await store.recall("nobody")
            except StoreUnavailable:
                await pause(0.02)
            else:
                return
        raise AssertionError("it does not connect")

    async def forget(self) -> None:
        """Wait."""
        await pause(0.1)


class RedisTests(RedisCase, contract.Contract):
    """The contract, and what is its own."""

    def test_interface(self) -> None:
        """It is what it says, and for many servers."""
        store = self.make()
        self.assertTrue(IPeerStore.providedBy(store))
        self.assertEqual((store.backend, store.shared), ("redis", True))

    async def test_keys(self) -> None:
        """Every key has the prefix of its fleet, braces around its name, and a time to live; the connection has a
        name."""
        self.cluster = "a b}{c*"
        store = await self.store()
        await store.renew("h", 1.0)
        await store.token_key(b"k")
        await store.write([record("p1")], [])
        await store.renew("h", 1.0)
        link = store._store._link
        keys = await link.command("KEYS", "hb:{a%20b%7D%7Bc%2A}:*")
        self.assertEqual(len(keys), len(await link.command("KEYS", "hb:{a%20*")))
        self.assertEqual({key.partition("}:")[2] for key in keys}, {"id", "seq", "leases", "order", "key", "peer:p1"})
        for key in keys:
            self.assertGreater(int(await link.command("PTTL", key)), 0, key)
        clients = await link.command("CLIENT", "LIST")
        self.assertEqual(clients.count("name=heartbeat/n%201"), 2, clients)

    async def test_nudges(self) -> None:
        """Another server hears at once that something was written; who wrote does not."""
        heard: list[str] = []
        one = await self.store(lambda: heard.append("one"))
        await self.store(lambda: heard.append("other"))
        version = 1
        while not heard and version < 200:  # until they listen
            await one.write([record(version=version)], [])
            await pause(0.02)
            version += 1
        await pause(0.2)
        heard.clear()
        await one.write([record(version=version)], [])
        await one.write([record(version=version)], [])  # not newer: no news
        await one.write([], [failure(1)])
        for _ in range(200):
            await pause(0.02)
            if len(heard) > 1:
                break
        self.assertEqual(heard, ["other", "other"])

    async def test_leases_of_others(self) -> None:
        """Each sees the leases of all, by the clock of the Redis, the lapsed ones with less than nothing left."""
        one, other = await self.store(), await self.store()
        await one.renew("h1", 0.05)
        await pause(0.1)
        leases = (await other.renew("h2", 3.0)).leases
        self.assertTrue(leases["h1"] < 0.0 < leases["h2"] <= 3.0, leases)
        await one.release("h1")
        self.assertEqual(list((await other.renew("h2", 3.0)).leases), ["h2"])

    async def test_scripts_are_flushed(self) -> None:
        """A Redis that forgets its scripts is taught them again."""
        store = await self.store()
        await store.write([record()], [])
        await store._store._link.command("SCRIPT", "FLUSH")
        self.assertEqual(await store.write([record(version=2)], []), [])

    async def test_many_at_once(self) -> None:
        """A call with as much as is allowed is taken, and read back in steps."""
        store = await self.store()
        await store.write([record(f"p{number:03d}") for number in range(MOST_AT_ONCE)], [])
        peers, _, _ = await self.all_of(store, limit=20)
        self.assertEqual(len(peers), MOST_AT_ONCE)


class AwayTests(RedisCase):
    """A Redis that is not there, or does not answer."""

    url = "redis://127.0.0.1:{port}"

    async def test_nobody_there(self) -> None:
        """Every call fails at once, with the reason; closing leaves nothing behind."""
        store = self.make("redis://127.0.0.1:1/0")
        await store.open(lambda: None)
        self.addCleanup(store.close)
        for _ in range(100):
            error = await self.assertFailure(store.recall("a"), StoreUnavailable)
            if "refused" in str(error):
                break
            await pause(0.02)
        else:
            self.fail(f"the reason is missing: {error}")
        self.assertEqual(list(store.durations), [("open", "ok"), ("recall", "error")])

    async def test_frozen(self) -> None:
        """A call fails within its timeout; when the Redis goes on, so does the store."""
        store = await self.store()
        self.redis.freeze()
        self.addCleanup(self.redis.thaw)
        begun = reactor.seconds()  # type: ignore[attr-defined]
        await self.assertFailure(store.write([record()], []), StoreUnavailable)
        self.assertLess(reactor.seconds() - begun, CALL_TIMEOUT + 1.0)  # type: ignore[attr-defined]
        self.redis.thaw()
        await self.settled(store)
        await store.write([record()], [])
        self.assertEqual(await store.recall("a"), record())

    async def test_killed(self) -> None:
        """A Redis that comes back empty is found again, and known as another one."""
        store = await self.store()
        before = (await store.renew("h", 1.0)).id
        self.redis.kill()
        await self.assertFailure(store.recall("a"), StoreUnavailable)
        self.redis.start()
        await self.settled(store)
        self.assertNotEqual((await store.renew("h", 1.0)).id, before)


class AclTests(RedisCase, contract.Contract):
    """A user who may only do what the how-to says."""

    options = ("user default off", f"user heartbeat on >secret%40/1 {MAY}")
    url = "redis://heartbeat:secret%2540%2F1@127.0.0.1:{port}/0"

    async def test_keys_of_others(self) -> None:
        """Nothing else is allowed to it."""
        store = await self.store()
        await self.assertFailure(store._store._link.command("SET", "x", "1"), StoreUnavailable)

    def test_as_documented(self) -> None:
        """That is what the page says."""
        page = (CHECKOUT / "docs/howto/fleet.md").read_text(encoding="utf-8")
        self.assertIn(f"user heartbeat on >PASSWORD {MAY}\n", page)

    async def test_wrong_password(self) -> None:
        """It is said, and tried again: the password may be put right on the other side."""
        store = self.make("redis://heartbeat:wrong@127.0.0.1:{port}/0")
        await store.open(lambda: None)
        self.addCleanup(store.close)
        for _ in range(100):
            error = await self.assertFailure(store.recall("a"), StoreUnavailable)
            if "WRONGPASS" in str(error):
                break
            await pause(0.02)
        else:
            self.fail(f"the reason is missing: {error}")


class TlsTests(RedisCase, contract.Contract):
    """``rediss://``, with a certificate that must be right."""

    tls = True

    def setUp(self) -> None:
        """A Redis with a certificate for localhost."""
        self.paths = certificates()
        paths = self.paths
        files = (f"tls-cert-file {paths['cert']}", f"tls-key-file {paths['key']}", f"tls-ca-cert-file {paths['ca']}")
        self.options = (*files, "tls-auth-clients no")  # type: ignore[misc]  # of this one, which is as the class's
        super().setUp()

    def make(self, url: str = "") -> Any:
        """With the right authority."""
        return super().make(url or f"rediss://localhost:{{port}}/0?ca={self.paths['ca']}")

    async def test_another_authority(self) -> None:
        """A certificate that nobody signed whom we trust: no connection, and no call."""
        store = self.make(f"rediss://localhost:{{port}}/0?ca={self.paths['other']}")
        await store.open(lambda: None)
        self.addCleanup(store.close)
        for _ in range(30):
            error = await self.assertFailure(store.recall("a"), StoreUnavailable)
            await pause(0.02)
        self.assertIn("not connected", str(error))
