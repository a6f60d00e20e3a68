"""Commands of Twisted's own with ``heartbeat:`` in their command line, spoken to by clients of Twisted's."""

from __future__ import annotations

import hashlib
import socket
import tempfile
from pathlib import Path
from typing import Final

from twisted.internet import defer, reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.words.protocols.irc import IRCClient

from tests.real.processes import _Process
from tests.real.wrapping import FAST, Echo, Lines, Through, WrappedCase, asynchronous

BODY: Final = hashlib.sha256(b"five megabytes").digest() * (5 * 2**20 // 32)
ANY_PORT: Final = f"heartbeat:tcp:0:interface=127.0.0.1:{FAST}"


class CommandCase(WrappedCase):
    """Starts commands, and ends them after the test."""

    def setUp(self) -> None:
        """A directory for what they serve."""
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)

    def command(self, *arguments: str, inherits: int | None = None) -> _Process:
        """One; it may have printed no complaint in the end."""
        process = _Process(*arguments, inherits=inherits)
        self.addCleanup(lambda: self.assertEqual(process.complaints(), []))
        self.addCleanup(process.kill)
        return process

    def port(self, process: _Process, what: str) -> int:
        """Where it listens with this factory."""
        return int(process.find(rf"{what} \(heartbeat\) starting on (\d+)")[1])

    def through(self, port: int) -> str:
        """How it is reached."""
        return f"heartbeat:tcp:127.0.0.1:{port}:{FAST}"

    async def fetched(self, port: int) -> bytes:
        """The file ``body``, by an Agent."""
        pool = HTTPConnectionPool(reactor)
        agent = Agent.usingEndpointFactory(reactor, Through(self.through(port)), pool)
        body: bytes = await readBody(await agent.request(b"GET", b"http://site/body"))
        await pool.closeCachedConnections()
        return body


class WebTests(CommandCase):
    """``twist web``."""

    def setUp(self) -> None:
        """A file to serve."""
        super().setUp()
        (self.home / "body").write_bytes(BODY)

    @asynchronous
    async def test_files(self) -> None:
        """``--listen heartbeat:tcp:0…`` serves files, with nothing installed but the dropin."""
        server = self.command("web", "--listen", ANY_PORT, "--path", str(self.home))
        self.assertEqual(await self.fetched(self.port(server, "Site")), BODY)

    @asynchronous
    async def test_a_socket_of_systemds(self) -> None:
        """``--listen heartbeat:systemd:…`` takes the socket that it inherits, as ``LISTEN_FDS`` says."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            string = f"heartbeat:systemd:domain=INET:index=0:{FAST}"
            arguments = ("web", "--listen", string, "--path", str(self.home))
            server = self.command(*arguments, inherits=listening.fileno())
            port = listening.getsockname()[1]
            self.assertEqual(self.port(server, "Site"), port)
            self.assertEqual(await self.fetched(port), BODY)


class OtherTests(CommandCase):
    """Other commands."""

    @asynchronous
    async def test_a_port_forwarder(self) -> None:
        """``twist portforward`` puts a heartbeat before a server that has none."""
        behind = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Factory.forProtocol(Echo))
        self.addCleanup(behind.stopListening)
        goal = ("--host", "127.0.0.1", "--dest_port", str(behind.getHost().port))
        forwarder = self.command("portforward", "--port", ANY_PORT, *goal)
        through = self.through(self.port(forwarder, "ProxyFactory"))
        lines = await self.connect(through, Factory.forProtocol(Lines))
        await self.echoed(lines)
        lines.transport.loseConnection()
        self.assertEqual((await lines.ended).detail, "leaving")

    @asynchronous
    async def test_a_chat(self) -> None:
        """``twist words``: two clients of IRC log in and talk to each other."""
        server = self.command("words", "--irc-port", ANY_PORT, "--auth", "memory:ann:one:joe:two")
        through = self.through(self.port(server, "IRCFactory"))
        ann = await self.connect(through, Factory.forProtocol(lambda: Talker("ann", "one")))
        joe = await self.connect(through, Factory.forProtocol(lambda: Talker("joe", "two")))
        await defer.gatherResults([ann.ready, joe.ready])
        ann.msg("joe", "still there?")
        self.assertEqual(await joe.heard.get(), "still there?")
        joe.msg("ann", "alive")
        self.assertEqual(await ann.heard.get(), "alive")


class Talker(IRCClient):  # type: ignore[misc]  # has no types
    """A client of IRC."""

    def __init__(self, name: str, password: str) -> None:
        self.nickname, self.password = name, password
        self.ready: defer.Deferred[None] = defer.Deferred()
        self.heard: defer.DeferredQueue[str] = defer.DeferredQueue()

    def signedOn(self) -> None:
        """It is welcome."""
        self.ready.callback(None)

    def privmsg(self, user: str, channel: str, message: str) -> None:
        """Somebody said something."""
        self.heard.put(message)
