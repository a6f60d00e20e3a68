"""Twisted's TLS, and nothing on top of it: what comes in goes out. This file imports nothing of the project.

Run by path, in a process of its own: ``python -P tlsecho.py CERTIFICATE KEY``.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import protocol, reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import ITransport

__all__ = ["Echo", "main"]


class Echo(protocol.Protocol):
    """Says what it hears."""

    transport: ITransport

    def dataReceived(self, data: bytes) -> None:
        """Say it."""
        self.transport.write(data)


def main(certificate: str, key: str) -> None:
    """Listen until the process is ended."""
    factory: Any = protocol.Factory.forProtocol(Echo)
    factory.noisy = False
    endpoint = serverFromString(reactor, f"ssl:0:interface=127.0.0.1:certKey={certificate}:privateKey={key}")
    listening = endpoint.listen(factory)
    listening.addCallback(lambda port: print(f"listening comparison 127.0.0.1:{port.getHost().port}", flush=True))
    run: Any = reactor
    run.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
