"""The ground of the tests of a whole server in the process of the tests, over the loopback."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, readBody

from heartbeat.apps.logs import LogLevels
from heartbeat.apps.server.service import Server
from heartbeat.apps.server.settings import Options
from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.peer import Peer

FREE = "tcp:0:interface=127.0.0.1"


class Raw(Protocol):
    """A peer made of bytes.

    :ivar read: what came
    :ivar came: called with all of it whenever more has come
    :ivar closed: fires when the connection is gone
    """

    def __init__(self) -> None:
        self.read = b""
        self.came: Callable[[bytes], object] = lambda data: None
        self.closed: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.read += data
        self.came(self.read)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell of it."""
        self.closed.callback(None)

    def until(self, part: bytes) -> Deferred[None]:
        """Fires when this has been read."""
        found: Deferred[None] = Deferred()

        def look(data: bytes) -> None:
            if part in data and not found.called:
                found.callback(None)

        self.came = look
        look(self.read)
        return found


class Joins(HeartbeatListener):
    """Counts who joins."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.done: Deferred[None] = Deferred()

    def joined(self, peer: Peer) -> None:
        """One more."""
        self.wanted -= 1
        if self.wanted == 0:
            self.done.callback(None)


class ServerTestCase(TestCase):
    """Tests of a server that is made of options."""

    timeout = 20

    def setUp(self) -> None:
        """Catch what the server prints."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "__stderr__", self.err)

    def make(self, *arguments: str) -> Server:
        """A server with these options, not started."""
        options = Options()
        options.parseOptions(["--listen", FREE, *arguments])
        self.levels = LogLevels(LogLevel.info)
        return Server(reactor, options.settings, read=options.read, levels=self.levels)

    def start(self, *arguments: str) -> Server:
        """A server that runs until the test ends."""
        server = self.make("--web", FREE, *arguments)
        self.addCleanup(server.stopService)
        server.startService()
        return server

    def file(self, text: str) -> str:
        """A config file."""
        path = self.mktemp()
        self.write(path, text)
        return path

    def write(self, path: str, text: str) -> None:
        """Write a file anew."""
        Path(path).write_text(text, encoding="utf-8")

    async def get(self, server: Server, path: str) -> tuple[int, str]:
        """GET of a path."""
        assert server.web is not None and server.web.port is not None
        port = server.web.port.getHost().port  # type: ignore[attr-defined]  # of TCP
        agent = Agent(reactor)  # without a pool nothing is kept open
        answer: Any = await agent.request(b"GET", f"http://127.0.0.1:{port}{path}".encode())
        body: bytes = await readBody(answer)
        return answer.code, body.decode()

    async def connect(self, server: Server) -> Raw:
        """A peer of bytes that is connected."""
        assert server.listening[0].port is not None
        port = server.listening[0].port.getHost().port  # type: ignore[attr-defined]  # of TCP
        peer: Raw = await connectProtocol(clientFromString(reactor, f"tcp:127.0.0.1:{port}"), Raw())
        self.addCleanup(lambda: peer.closed)
        assert peer.transport is not None
        self.addCleanup(peer.transport.loseConnection)
        return peer
