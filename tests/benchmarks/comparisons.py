"""The servers beside which ours is measured: each answers a small question, with nothing else configured.

Run by path, in a process of its own: ``python -P comparisons.py NAME``. Prints ``listening comparison HOST:PORT``.
This file imports nothing of the project: what it measures must not depend on it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

__all__ = ["SECURE", "SERVERS", "missing"]

_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 4096  # thousands of connections are opened in one go


def _ready(port: int) -> None:
    print(f"listening comparison {_HOST}:{port}", flush=True)


def _twisted(factory: Any) -> None:
    from twisted.internet import reactor

    factory.noisy = False
    listening: Any = reactor.listenTCP(0, factory, interface=_HOST, backlog=_BACKLOG)
    _ready(listening.getHost().port)
    reactor.run()


def echo() -> None:
    """Twisted, and nothing on top of it: what comes in goes out."""
    from twisted.internet import protocol
    from twisted.internet.interfaces import ITransport

    class Echo(protocol.Protocol):
        transport: ITransport

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    _twisted(protocol.Factory.forProtocol(Echo))


def echo_tls() -> None:
    """The same over TLS 1.3, as Twisted does it."""
    from twisted.internet import endpoints, protocol, reactor, ssl
    from twisted.internet.interfaces import ITransport

    class Echo(protocol.Protocol):
        transport: ITransport

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    pair = ssl.PrivateCertificate.loadPEM(_certificate() + _key())
    options = ssl.CertificateOptions(
        privateKey=pair.privateKey.original, certificate=pair.original, raiseMinimumTo=ssl.TLSVersion.TLSv1_3
    )
    factory = protocol.Factory.forProtocol(Echo)
    factory.noisy = False
    plain = endpoints.TCP4ServerEndpoint(reactor, 0, _BACKLOG, _HOST)
    listening: Any = endpoints.wrapServerTLS(options, plain).listen(factory)
    listening.addCallback(lambda port: _ready(port.getHost().port))
    reactor.run()  # type: ignore[attr-defined]  # the module is the reactor


def _certificate() -> bytes:
    return Path(sys.argv[2]).read_bytes()


def _key() -> bytes:
    return Path(sys.argv[3]).read_bytes()


def autobahn() -> None:
    """Autobahn on Twisted: answers WebSocket pings by itself."""
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

    factory = WebSocketServerFactory()
    factory.protocol = WebSocketServerProtocol
    _twisted(factory)


def websockets_tls() -> None:
    """The websockets library over TLS 1.3, as asyncio does it."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    websockets(context)


def websockets(context: Any = None) -> None:
    """The websockets library on asyncio: answers pings by itself, and pings every 20 s."""
    from websockets.asyncio.server import ServerConnection, serve

    async def handler(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    async def main() -> None:
        async with serve(handler, _HOST, 0, backlog=_BACKLOG, ssl=context) as server:
            _ready(next(iter(server.sockets)).getsockname()[1])
            await asyncio.get_running_loop().create_future()

    asyncio.run(main())


def aiohttp() -> None:
    """aiohttp on asyncio: answers pings by itself."""
    from aiohttp import web

    async def handler(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for _ in response:
            pass
        return response

    async def main() -> None:
        application = web.Application()
        application.router.add_get("/", handler)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, _HOST, 0, backlog=_BACKLOG)
        await site.start()
        _ready(runner.addresses[0][1])
        await asyncio.get_running_loop().create_future()

    asyncio.run(main())


#: By name: the server, and the package that it needs.
SERVERS: Final[dict[str, tuple[Callable[[], None], str]]] = {
    "Twisted echo": (echo, "twisted"),
    "autobahn": (autobahn, "autobahn"),
    "websockets": (websockets, "websockets"),
    "aiohttp": (aiohttp, "aiohttp"),
}


#: The same over TLS; run with the files of a certificate and of its key behind the name.
SECURE: Final[dict[str, tuple[Callable[[], None], str]]] = {
    "Twisted TLS echo": (echo_tls, "OpenSSL"),
    "websockets, TLS": (websockets_tls, "websockets"),
}


def missing(name: str) -> str:
    """Why this comparison cannot run here; empty if it can."""
    package = {**SERVERS, **SECURE}[name][1]
    return "" if find_spec(package) else f"{package} is not installed"


if __name__ == "__main__":
    {**SERVERS, **SECURE}[sys.argv[1]][0]()
