"""Tests of the server as a whole."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher

from heartbeat.apps.server import keeping, service
from heartbeat.apps.server.demo import AGENTS
from heartbeat.apps.server.settings import Options
from heartbeat.watch.listeners import Listeners
from tests.apps.server.cases import FREE, Joins, ServerTestCase

PING = b"HEAR\x00\x01\x00\x02"


class CompositionTests(ServerTestCase):
    """Everything is connected with everything else, and nothing remains of it."""

    async def test_a_bare_peer_is_listed(self) -> None:
        """Who pings is answered, listed, counted, and gone when it is gone."""
        server = self.start("--node", "node-1", "--service", "s1", "--region", "r1", "--cluster", "c1")
        peer = await self.connect(server)
        assert peer.transport is not None
        peer.transport.write(PING)
        await peer.until(b"HACK\x00\x01\x00\x02")
        status, text = await self.get(server, "/api/peers")
        (listed,) = json.loads(text)
        self.assertEqual((status, listed["bare"], listed["state"], listed["node"]), (200, True, "alive", "node-1"))
        _, metrics = await self.get(server, "/metrics")
        self.assertIn('heartbeat_beats_total{direction="in"} 1.0', metrics)
        self.assertIn('heartbeat_health_check_total{cluster="c1",region="r1",service="s1",status="ok"}', metrics)
        self.assertIn("heartbeat_connections 1.0", metrics)
        peer.transport.loseConnection()
        await peer.closed
        _, text = await self.get(server, "/api/failures")
        (failure,) = json.loads(text)
        self.assertEqual((failure["failure_reason"], failure["node"]), ("peer_closed", "node-1"))

    async def test_lines(self) -> None:
        """One line per listener, in the order of the options, the web last."""
        server = self.start("--listen", FREE)
        ports = [one.port.getHost().port for one in (*server.listening, server.web)]  # type: ignore[union-attr]
        self.assertEqual(
            self.out.getvalue().splitlines(),
            [
                f"listening heartbeat tcp 127.0.0.1:{ports[0]}",
                f"listening heartbeat tcp 127.0.0.1:{ports[1]}",
                f"listening web http://127.0.0.1:{ports[2]}/",
            ],
        )

    async def test_a_store(self) -> None:
        """What a server with a file knew, the next one on that file knows; and it is in the file when it has ended."""
        path = self.mktemp()
        server = self.make("--web", FREE, "--node", "node-1", "--store", f"sqlite:{path}")
        server.startService()
        self.addCleanup(lambda: server.stopService() if server.running else None)
        await self.until(server, "/readyz", "ok\n")
        peer = await self.connect(server)
        assert peer.transport is not None
        peer.transport.write(PING)
        await peer.until(b"HACK\x00\x01\x00\x02")
        peer.transport.loseConnection()
        await peer.closed
        _, failures = await self.get(server, "/api/failures")
        await server.stopService()
        again = self.start("--node", "node-1", "--store", f"sqlite:{path}")
        await self.until(again, "/readyz", "ok\n")
        self.assertEqual((await self.get(again, "/api/failures"))[1], failures)
        server = again
        _, text = await self.get(server, "/api/peers")
        (listed,) = json.loads(text)
        self.assertEqual((listed["bare"], listed["state"], listed["node"]), (True, "dead", "node-1"))
        _, metrics = await self.get(server, "/metrics")
        self.assertIn('heartbeat_store_up{backend="sqlite"} 1.0', metrics)
        self.assertIn('heartbeat_peers{state="dead"} 0.0', metrics)

    async def until(self, server: service.Server, path: str, wanted: str) -> None:
        """Ask until this is the answer."""
        deadline = time.monotonic() + 5.0
        while (answer := (await self.get(server, path))[1]) != wanted:
            self.assertLess(time.monotonic(), deadline, answer)
            await deferLater(reactor, 0.02, lambda: None)

    async def test_a_store_that_cannot_be(self) -> None:
        """A file in a folder that is not there ends the process with status 1 and one line."""
        server = self.make("--web", "none", "--store", "sqlite:/nonexistent/hb.db")
        ended: list[str] = []
        self.patch(keeping, "stop_reactor", lambda reactor, message: ended.append(message))
        self.addCleanup(server.stopService)
        server.startService()
        await deferLater(reactor, 0.01, lambda: None)
        self.assertEqual(ended, ["heartbeat-server: --store: the folder of /nonexistent/hb.db is not there"])

    async def test_without_web(self) -> None:
        """With --web none nothing but heartbeats is listened for."""
        server = self.make("--web", "none")
        self.addCleanup(server.stopService)
        server.startService()
        self.assertIsNone(server.web)
        self.assertEqual(len(self.out.getvalue().splitlines()), 1)

    async def test_a_port_in_use(self) -> None:
        """The process ends with status 1 and one line that names option and value; nothing stays open."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            text = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            server = self.make("--web", text)
            error = self.assertRaises(SystemExit, server.startService)
            self.assertEqual(error.code, 1)  # type: ignore[attr-defined]  # it is a SystemExit
            self.assertIn(f"heartbeat-server: --web {text}: ", self.err.getvalue())
            self.assertEqual(self.err.getvalue().count("\n"), 1)
            await server.stopService()

    async def test_limits(self) -> None:
        """The limits of the options are those of the factory: one too many hears BYE 10."""
        server = self.start("--max-per-address", "1", "--min-interval", "0")
        await (await self.connect(server)).until(b"")
        second = await self.connect(server)
        await second.until(b"HBYE\x00\x0a")


class DemoTests(ServerTestCase):
    """``--demo``."""

    async def test_agents(self) -> None:
        """All agents of the demo are listed, alive, with their services, and where to look is printed."""
        server = self.make("--web", FREE, "--demo")
        joins = Joins(len(AGENTS))
        server.factory.listener = Listeners(server.factory.listener, joins)
        self.addCleanup(server.stopService)
        server.startService()
        await joins.done
        self.assertEqual({peer.id for peer in server.registry.peers()}, {name for name, *_ in AGENTS})
        listening, web, demo = self.out.getvalue().splitlines()
        self.assertTrue(listening.startswith("listening heartbeat"))
        self.assertIn(web.removeprefix("listening web "), demo)
        status, text = await self.get(server, "/api/peers?state=alive")
        self.assertEqual((status, len(json.loads(text))), (200, len(AGENTS)))

    async def test_without_web(self) -> None:
        """Without a page the line says so."""
        server = self.make("--web", "none", "--demo")
        self.addCleanup(server.stopService)
        server.startService()
        self.assertIn("no page", self.out.getvalue())

    async def test_nowhere_to_connect(self) -> None:
        """Where every listener expects a balancer in front there are no agents, and the line says why."""
        server = self.make("--web", "none", "--demo")
        server.listening[0].text = "haproxy:" + server.listening[0].text
        self.addCleanup(server.stopService)
        server.startService()
        self.assertIn("no agents", self.out.getvalue())


class DrainTests(ServerTestCase):
    """SIGTERM."""

    async def test_bye(self) -> None:
        """Peers hear BYE 1; meanwhile the server is not ready and says why, and newcomers hear BYE 1, too."""
        server = self.start()
        peer = await self.connect(server)
        assert peer.transport is not None
        peer.transport.write(PING)
        await peer.until(b"HACK")
        self.assertEqual(await self.get(server, "/readyz"), (200, "ok\n"))
        stopped = server.stopService()
        await peer.until(b"HBYE\x00\x01")
        self.assertEqual(await self.get(server, "/readyz"), (503, "draining\n"))
        late = await self.connect(server)
        await late.until(b"HBYE\x00\x01")
        for one in (peer, late):
            assert one.transport is not None
            one.transport.loseConnection()
        await stopped
        self.assertEqual(server.factory.connections, 0)

    async def test_a_second_signal(self) -> None:
        """Told to stop again the server waits no more for peers that do not go."""
        server = self.start()
        peer = await self.connect(server)
        assert peer.transport is not None
        peer.transport.write(PING)
        await peer.until(b"HACK")
        begun = time.monotonic()
        stopped = server.stopService()
        await peer.until(b"HBYE\x00\x01")
        server.drain._cut()
        await stopped
        self.assertLess(time.monotonic() - begun, 0.9)  # a BYE lingers for a second

    async def test_nobody_there(self) -> None:
        """Without peers a server stops at once."""
        begun = time.monotonic()
        server = self.make("--web", FREE)
        server.startService()
        await server.stopService()
        self.assertLess(time.monotonic() - begun, 0.9)


class ReloadTests(ServerTestCase):
    """SIGHUP."""

    async def test_what_may_change(self) -> None:
        """Limits, labels, log level and memory change at once, terms for new connections; the rest stays."""
        path = self.file("ping-interval = 0.5\n")
        server = self.start("--config", path, "--node", "n")
        (reload,) = [one for one in server if hasattr(one, "reload")]
        self.write(
            path,
            "ping-interval = 2\nmultiplier = 4\nmin-interval = 0\nmax-connections = 7\nmax-per-address = 2\n"
            "keep = 5\nkeep-peers = 6\nkeep-failures = 8\nservice = 's'\nregion = 'r'\ncluster = 'c'\n"
            "log-level = 'debug'\ndrain-timeout = 1\nno-bare = true\nnode = 'm'\ndemo = true\n",
        )
        said: list[str] = []
        observer = lambda event: said.append(event.get("what", ""))  # noqa: E731  # it must be the same object to be removed
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        reload.reload()
        config = server.factory.config
        self.assertEqual((config.interval, config.multiplier, config.min_interval), (2.0, 4, 0.0))
        self.assertEqual((config.bare, config.id), ("refuse", "n"))
        self.assertEqual((server.factory.max_connections, server.factory.max_per_address), (7, 2))
        self.assertEqual((server.registry.keep, server.registry.keep_bare), (5.0, 5.0))
        self.assertEqual((server.registry.keep_peers, server.failures.keep), (6, 8))
        self.assertEqual(tuple(server.sources.labels), ("s", "r", "c"))
        self.assertEqual(server.drain.timeout, 1.0)
        self.assertEqual(said[-1], "demo")  # --node beats the file, so nothing has changed there


class MakeServiceTests(ServerTestCase):
    """``makeService``, as twist calls it."""

    def options(self, *arguments: str) -> Options:
        """Parsed options; the clock of the reactor is put back after the test."""
        options = Options()
        options.parseOptions(["--listen", FREE, "--web", "none", *arguments])
        self.addCleanup(lambda: vars(reactor).pop("seconds", None))
        return options

    def test_monotonic_timers(self) -> None:
        """The timers of the process do not follow the wall clock."""
        made = service.makeService(self.options())
        self.assertTrue(IService.providedBy(made))
        self.assertIs(reactor.seconds, time.monotonic)  # type: ignore[attr-defined]  # set by the command

    def test_what_went_wrong_since(self) -> None:
        """A file that vanished between parsing and making is status 1 and one line."""
        options = self.options()
        options.settings = replace(options.settings, listen=("ssl:0:privateKey=/nonexistent.pem",))
        error = self.assertRaises(SystemExit, service.makeService, options)
        self.assertEqual(error.code, 1)  # type: ignore[attr-defined]  # it is a SystemExit
        self.assertIn("/nonexistent.pem", self.err.getvalue())
        self.assertEqual(self.err.getvalue().count("\n"), 1)
