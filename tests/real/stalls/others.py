"""Libraries that send pings by themselves, under the same stall: how many of their living peers do they end?

``python -m tests.real.stalls.others LIBRARY LOOP KIND``. Prints one line of JSON. Each pings fifty peers and waits 2 s
for the pong, as the library's own settings have it; the peers answer in 0.2 s and count the connections that ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

from tests.real.stalls.blocking import AsyncioLoop, Stalls, TwistedLoop
from tests.real.stalls.cell import DETECT, LIVING, STALL, STOPPED
from tests.real.stalls.children import Peers, install, missing, new_loop

__all__ = ["LIBRARIES", "main", "unavailable"]

#: The loops that each library is measured on.
LIBRARIES: Final = {
    "websockets": ("asyncio", "uvloop"),
    "aiohttp": ("asyncio", "uvloop"),
    "autobahn": ("epoll", "asyncio"),
}
_PEERS: Final = LIVING + STOPPED
_INTERVAL: Final = 1.0


def unavailable(library: str, loop: str) -> str:
    """Why this cannot be measured here; empty if it can."""
    return missing(loop) or ("" if find_spec(library) else f"{library} is not installed")


class Pings:
    """Sees each ping that was written; when told to, stalls behind the one to the last peer of a round."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._over = threading.Event()

    def written(self) -> None:
        """One more."""
        if self._left is None:
            return
        self._left -= 1
        if not self._left:
            self._left = None
            time.sleep(STALL)
            self._over.set()

    def stall(self) -> None:
        """Let the next round stall; returns when that is over. Not for the loop's thread."""
        self._left = _PEERS
        assert self._over.wait(STALL + 20.0), "the pings of a round were not all written"


def script(port: int, stalls: Stalls, pings: Pings, kind: str) -> int:
    """Peers, one stall while they owe their answers, and how many connections ended."""
    peers = Peers("websocket", port, _PEERS)
    try:
        peers.wait_asked()
        if kind == "write":
            time.sleep(0.5)  # this round is answered
            pings.stall()
        else:
            stalls.make(kind, STALL)
        time.sleep(DETECT + 1.0)
        return _PEERS - peers.report()
    finally:
        peers.kill()


async def websockets_server(pings: Pings) -> int:
    """``ping_interval`` and ``ping_timeout``; returns the port."""
    from websockets.asyncio.server import ServerConnection, serve

    class Connection(ServerConnection):
        async def ping(self, data: Any = None) -> Any:
            waiting = await super().ping(data)
            pings.written()
            return waiting

    async def handler(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    server = await serve(
        handler, "127.0.0.1", 0, ping_interval=_INTERVAL, ping_timeout=DETECT, create_connection=Connection
    )
    return int(next(iter(server.sockets)).getsockname()[1])


async def aiohttp_server(pings: Pings) -> int:
    """``heartbeat`` of twice the time: half of it is what aiohttp waits for the pong; returns the port."""
    from aiohttp import web

    class Response(web.WebSocketResponse):
        def _send_heartbeat(self) -> None:  # the library has no public place at which a ping can be seen
            super()._send_heartbeat()
            pings.written()

    async def handler(request: web.Request) -> web.WebSocketResponse:
        response = Response(heartbeat=2 * DETECT)
        await response.prepare(request)
        async for _ in response:
            pass
        return response

    application = web.Application()
    application.router.add_get("/", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return int(runner.addresses[0][1])


def on_asyncio(server: Callable[[Pings], Any], loop_name: str, kind: str) -> int:
    """Run a server on a loop of asyncio's or uvloop's; returns how many connections ended."""

    async def whole() -> int:
        pings = Pings()
        port = await server(pings)
        stalls = Stalls(AsyncioLoop(asyncio.get_running_loop()))
        return await asyncio.to_thread(script, port, stalls, pings, kind)

    with asyncio.Runner(loop_factory=lambda: new_loop(loop_name)) as runner:
        return runner.run(whole())


def autobahn_server(reactor_name: str, kind: str) -> int:
    """``autoPingInterval`` and ``autoPingTimeout``; returns how many connections ended."""
    reactor = install(reactor_name)
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

    from tests.real.stalls.watching import control, listen

    pings = Pings()
    ended: list[int] = []

    class Server(WebSocketServerProtocol):
        def sendPing(self, payload: bytes | None = None) -> None:
            super().sendPing(payload)
            pings.written()

    factory = WebSocketServerFactory()
    factory.protocol = Server
    factory.setProtocolOptions(autoPingInterval=_INTERVAL, autoPingTimeout=DETECT)
    port = listen(reactor, factory, tls=False)
    control(reactor, lambda: ended.append(script(port, Stalls(TwistedLoop(reactor)), pings, kind)))
    return ended[0]


def main(library: str, loop: str, kind: str) -> None:
    """The process."""
    if library == "autobahn":
        ended = autobahn_server(loop, kind)
    else:
        ended = on_asyncio({"websockets": websockets_server, "aiohttp": aiohttp_server}[library], loop, kind)
    print(json.dumps({"library": library, "loop": loop, "stall": kind, "false": ended}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
