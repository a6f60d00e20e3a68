"""The application face in a process on the reactor of one's choice: ``python -m tests.real.face REACTOR``.

A heartbeat-only connection, a wrapped one and one of an adapter, each used from ``async def`` and ``inlineCallbacks``,
and, on asyncio's reactors, from a coroutine of asyncio's own. Prints a line for each when all of it worked.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from typing import Any

from tests.real.stalls.children import install

__all__: list[str] = []


async def followed(handle: Any) -> list[str]:
    """The kinds of its events, to their end."""
    return [type(event).__name__ async for event in handle.events()]


async def of_asyncios_own(handle: Any, loop: Any) -> None:
    """A coroutine of asyncio's, in a task of its own."""
    seconds = await asyncio.wait_for(handle.ping().asFuture(loop), 5.0)
    assert 0.0 < seconds < 5.0, seconds


async def used(name: str, handle: Any) -> None:
    """All of the face, in both styles of Twisted's."""
    from twisted.internet.defer import Deferred, inlineCallbacks

    @inlineCallbacks
    def yields() -> Generator[Deferred[Any], Any, float]:
        alive = yield handle.when_alive()
        seconds: float = yield alive.ping(timeout=5.0)
        return seconds

    reading = Deferred.fromCoroutine(followed(handle))
    for seconds in (await handle.ping(), await yields()):
        assert 0.0 < seconds < 5.0, seconds
    assert handle.state.value == "alive", handle.state
    assert handle.rtt.last is not None
    if sys.argv[1] in ("asyncio", "uvloop"):
        loop = asyncio.get_running_loop()
        await Deferred.fromFuture(loop.create_task(of_asyncios_own(handle, loop)))
    await handle.leave("done")
    kinds = await reading
    assert kinds[-1] == "Left", kinds
    print(name, flush=True)


async def main(reactor: Any) -> None:
    """Three connections, one after the other."""
    from twisted.internet.endpoints import clientFromString, serverFromString
    from twisted.internet.protocol import Factory, Protocol
    from twisted.protocols.amp import AMP

    from heartbeat import HeartbeatConfig
    from heartbeat.net import HeartbeatClientService, HeartbeatFactory, IHeartbeat
    from heartbeat.net.adapters.amp import AMPHeartbeat

    config = HeartbeatConfig(interval=0.5)

    async def listening(string: str, factory: Any) -> str:
        port = await serverFromString(reactor, string).listen(factory)
        return f"tcp:127.0.0.1:{port.getHost().port}"

    string = "tcp:0:interface=127.0.0.1"
    service = HeartbeatClientService([await listening(string, HeartbeatFactory(config))], config)
    service.startService()
    await used("factory", await service.when_alive())
    await service.stopService()

    where = await listening(f"heartbeat:{string}", Factory.forProtocol(Protocol))
    wrapped: Any = await clientFromString(reactor, f"heartbeat:{where}").connect(Factory.forProtocol(Protocol))
    await used("wrapper", IHeartbeat(wrapped.transport))

    where = await listening(string, Factory.forProtocol(AMP))
    watched = AMPHeartbeat.factory(Factory.forProtocol(AMP), config)
    await used("adapter", (await clientFromString(reactor, where).connect(watched)).heartbeat)


if __name__ == "__main__":
    install(sys.argv[1])
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
