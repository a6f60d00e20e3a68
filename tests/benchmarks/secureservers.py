"""The servers over TLS beside which ours is measured, and a plain echo. This file imports nothing of the project.

Run by path, in a process of its own: ``python -P secureservers.py NAME CERTIFICATE KEY``.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable
from typing import Any, Final

__all__ = ["SERVERS"]

_HOST: Final = "127.0.0.1"


def _ready(port: int) -> None:
    print(f"listening comparison {_HOST}:{port}", flush=True)


def _echo(endpoint: str) -> None:
    from twisted.internet import protocol, reactor
    from twisted.internet.endpoints import serverFromString
    from twisted.internet.interfaces import ITransport

    class Echo(protocol.Protocol):
        transport: ITransport

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    factory: Any = protocol.Factory.forProtocol(Echo)
    factory.noisy = False
    serverFromString(reactor, endpoint).listen(factory).addCallback(lambda port: _ready(port.getHost().port))
    run: Any = reactor
    run.run()


def echo(certificate: str, key: str) -> None:
    """Twisted, and nothing on top of it."""
    _echo(f"tcp:0:interface={_HOST}")


def tls_echo(certificate: str, key: str) -> None:
    """The same over Twisted's TLS."""
    _echo(f"ssl:0:interface={_HOST}:certKey={certificate}:privateKey={key}")


def websockets(certificate: str, key: str) -> None:
    """The websockets library on asyncio, over TLS."""
    from websockets.asyncio.server import ServerConnection, serve

    async def handler(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    async def main() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        context.num_tickets = 0
        async with serve(handler, _HOST, 0, ssl=context) as server:
            _ready(next(iter(server.sockets)).getsockname()[1])
            await asyncio.get_running_loop().create_future()

    asyncio.run(main())


SERVERS: Final[dict[str, Callable[[str, str], None]]] = {
    "Twisted echo": echo,
    "Twisted TLS echo": tls_echo,
    "websockets over TLS": websockets,
}


if __name__ == "__main__":
    SERVERS[sys.argv[1]](*sys.argv[2:4])
