"""The examples of docs/howto on real sockets: what has a ``main`` runs as a process, as the pages say."""

from __future__ import annotations

import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

import treq
from twisted.internet import reactor
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from heartbeat import HeartbeatConfig
from heartbeat.net import HeartbeatClientService
from tests.environment import CHECKOUT
from tests.real.processes import poll
from tests.real.wrapping import Through, asynchronous, sleep

#: Seconds for one example: an interpreter, a connection, a round trip and a farewell, on a busy machine.
MOST: Final = 30.0
ROUND_TRIP: Final = r"^round trip: \d+\.\d ms$"


class ScriptTests(SynchronousTestCase):
    """Each connects two ends, measures a round trip, and ends by itself, without a word of complaint."""

    def runs(self, name: str, *arguments: str, needs: str = "twisted") -> list[str]:
        """What the example prints."""
        if find_spec(needs) is None:
            raise SkipTest(f"needs {needs}")
        command = [sys.executable, f"docs/howto/{name}.py", *arguments]
        done = subprocess.run(
            command, check=False, cwd=CHECKOUT, env={"PYTHONPATH": "."}, capture_output=True, text=True, timeout=MOST
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def test_twisted_websocket(self) -> None:
        """Twisted's own WebSockets, at both ends."""
        printed = self.runs("websocket", needs="wsproto")
        self.assertRegex(printed[0], ROUND_TRIP)
        self.assertEqual(printed[1:], ["lost: Connection was closed cleanly."] * 2)

    def test_autobahn(self) -> None:
        """Autobahn's, at both ends."""
        printed = self.runs("autobahn_ping", needs="autobahn")
        self.assertRegex(printed[0], ROUND_TRIP)
        self.assertEqual(printed[1:], ["closed: 1000"])

    def test_amp(self) -> None:
        """A worker with a heartbeat, a server without."""
        printed = self.runs("amp_worker")
        self.assertEqual(printed[0], "the double of 21: 42")
        self.assertRegex(printed[1], ROUND_TRIP)

    def test_lines(self) -> None:
        """A client that is watched from outside, a server that answers with an error."""
        printed = self.runs("line_client")
        self.assertEqual(printed[0], "250 hello")
        self.assertRegex(printed[1], ROUND_TRIP)

    def test_netstrings(self) -> None:
        """Both ends ask."""
        printed = self.runs("netstrings")
        self.assertEqual(printed[0], "said: hello")
        self.assertEqual(len(printed), 3)
        for line in printed[1:]:
            self.assertRegex(line, ROUND_TRIP)

    def test_broker(self) -> None:
        """A client that is watched from outside, a broker that knows no such object."""
        printed = self.runs("broker")
        self.assertEqual(printed[0], "the double of 21: 42")
        self.assertRegex(printed[1], ROUND_TRIP)

    def test_endpoint_string(self) -> None:
        """A site and an Agent, by two strings."""
        self.assertEqual(self.runs("endpoint_string"), ["alive"])

    def test_a_stand_in_of_redis(self) -> None:
        """The framing of one's own, against a server that answers as Redis does."""
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Respond) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                self.speaks_redis(server.server_address[1])
            finally:
                server.shutdown()
                thread.join()

    def test_redis(self) -> None:
        """... and against Redis itself."""
        program = shutil.which("redis-server")
        if program is None:
            raise SkipTest("needs redis-server")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, cwd="/")
        try:
            poll(lambda: self.listens(port), 10.0, "Redis listens")
            self.speaks_redis(port)
        finally:
            server.terminate()
            server.wait(10.0)

    def listens(self, port: int) -> bool:
        """Whether somebody does there."""
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    def speaks_redis(self, port: int) -> None:
        """A command, and a round trip."""
        printed = self.runs("redis_ping", str(port))
        self.assertEqual(printed[0], "SET: OK")
        self.assertRegex(printed[1], ROUND_TRIP)


class Respond(socketserver.StreamRequestHandler):
    """Answers arrays of strings in RESP: PING, and whatever else with OK."""

    def handle(self) -> None:
        """Until the client goes."""
        while head := self.rfile.readline():
            words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]
            self.wfile.write(b"+PONG\r\n" if words == [b"PING"] else b"+OK\r\n")


def loaded(name: str, *changes: tuple[str, str]) -> Any:
    """A file of docs/howto with other addresses in it, loaded."""
    source = (CHECKOUT / f"docs/howto/{name}.py").read_text()
    for old, new in changes:
        assert source.count(old) == 1, f"{name}.py has no {old!r}, or several"
        source = source.replace(old, new)
    module = ModuleType(name)
    exec(compile(source, f"docs/howto/{name}.py", "exec"), vars(module))
    return module


class ShortTests(TestCase):
    """Those without a ``main`` of their own, with free ports in the place of theirs."""

    timeout = 30

    @asynchronous
    async def test_server_and_client(self) -> None:
        """The server's board tells of a client that went without a word; the client of the page finds the server."""
        server = loaded("server", ('"tcp:7600"', '"tcp:0:interface=127.0.0.1"'))
        printed: list[str] = []
        server.print = printed.append
        server.service.startService()
        self.addCleanup(server.service.stopService)
        port = (await server.service._waitingForPort).getHost().port
        client = loaded("client", ('["eu.example.net:7600", "us.example.net:7600"]', f'["127.0.0.1:{port}"]'))
        client.print = lambda seconds: printed.append("a round trip" if 0.0 < seconds < 5.0 else seconds)
        await client.main(reactor)
        self.assertEqual(printed, ["a round trip"])
        victim = HeartbeatClientService([f"tcp:127.0.0.1:{port}"], HeartbeatConfig(id="gateway-8", interval=0.5))
        victim.startService()
        (await victim.when_alive()).abort()
        await victim.stopService()
        while len(printed) < 2:
            await sleep(0.02)
        self.assertRegex(printed[1], r"^gateway-8: peer_(closed|reset), last heard 0\.\d s ago$")

    @asynchronous
    async def test_wrap(self) -> None:
        """Whoever asks over a heartbeat is told by what it is known; a plain client gets no page."""
        wrap = loaded("wrap", ("reactor.listenTCP(8080, ", "port = reactor.listenTCP(0, "))
        self.addCleanup(wrap.port.stopListening)
        port = wrap.port.getHost().port
        pool = HTTPConnectionPool(reactor)
        agent = Agent.usingEndpointFactory(reactor, Through(f"heartbeat:tcp:127.0.0.1:{port}:beatId=me"), pool)
        response: Any = await agent.request(b"GET", b"http://site/")
        self.assertEqual(await treq.content(response), b"me\n")
        await pool.closeCachedConnections()
