"""Peers of other libraries, which never heard of us: ``python -m tests.real.strangers LIBRARY client|server [PORT]``.

Each speaks WebSocket as its library does by default: a server echoes, a client says ``hello`` once and waits for more.
Prints JSON lines: ``listening`` with the port, ``got`` with a message, ``closed`` with the code.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

__all__: list[str] = []

#: More than one frame's worth for most libraries, and over 64 KiB, where lengths have eight bytes.
LONG = "x" * 100_000


def say(what: str, value: Any) -> None:
    """One line."""
    print(json.dumps({"what": what, "value": value}), flush=True)


async def websockets_server() -> None:
    """``websockets``."""
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            say("got", len(message))
            await connection.send(message)
        say("closed", connection.close_code)

    async with serve(echo, "127.0.0.1", 0) as server:
        say("listening", next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


async def websockets_client(port: int) -> None:
    """``websockets``."""
    from websockets.asyncio.client import connect

    async with connect(f"ws://127.0.0.1:{port}/") as connection:
        await connection.send("hello")
        await connection.send(LONG)
        async for message in connection:
            say("got", len(message))
        say("closed", connection.close_code)


async def aiohttp_server() -> None:
    """``aiohttp``."""
    from aiohttp import web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            say("got", len(message.data))
            await response.send_str(message.data)
        say("closed", response.close_code)
        return response

    application = web.Application()
    application.router.add_get("/", echo)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    say("listening", runner.addresses[0][1])
    await asyncio.Event().wait()


async def aiohttp_client(port: int) -> None:
    """``aiohttp``."""
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://127.0.0.1:{port}/") as connection:
        await connection.send_str("hello")
        await connection.send_str(LONG)
        async for message in connection:
            say("got", len(message.data))
        say("closed", connection.close_code)


if __name__ == "__main__":
    library, role, *rest = sys.argv[1:]
    asyncio.run(globals()[f"{library}_{role}"](*map(int, rest)))
