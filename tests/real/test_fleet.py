"""Servers with a store, as real processes: a fleet on a real Redis, and one server on a file."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.real import fleet
from tests.real.processes import Agent, Server, poll
from tests.real.redisserver import WITHOUT_REDIS
from tests.real.test_commands import command

#: ``python -m tests.real.fleet`` plays the same scenes with 300.
AGENTS = 60


class FleetTests(SynchronousTestCase):
    """Three servers and their agents."""

    if WITHOUT_REDIS:
        skip = WITHOUT_REDIS

    def test_all_that_dies(self) -> None:
        """A server is killed, all are restarted in turn, the Redis is frozen, and is lost: no session is lost, nobody
        is dead who is not, and all servers tell the same. See each scene."""
        told = fleet.Fleet(AGENTS)
        self.addCleanup(told.close)
        for scene in fleet.SCENES:
            scene(told)
        self.assertEqual(told.complaints(), [])


class FileTests(SynchronousTestCase):
    """One server with ``--store sqlite:``."""

    def setUp(self) -> None:
        """A folder."""
        self.folder = Path(tempfile.mkdtemp(prefix="hb-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def server(self, port: int = 0) -> Server:
        """One that keeps what it knows in the file."""
        server = Server("--store", f"sqlite:{self.folder / 'hb.db'}", "--node", "n1", port=port)
        self.addCleanup(server.kill)
        self.addCleanup(lambda: self.assertEqual(server.complaints(), []))
        return server

    def agent(self, port: int, name: str) -> Agent:
        """One with a service."""
        agent = Agent(port, "--id", name, "--services", f"of-{name}", "--ping-interval", "0.2")
        self.addCleanup(agent.kill)
        return agent

    def kept(self) -> set[tuple[str, bool]]:
        """Who is in the file with its services, and whether it is connected."""
        with closing(sqlite3.connect(self.folder / "hb.db")) as connection:
            rows = connection.execute("SELECT id, living, record FROM peers").fetchall()
        return {(id, bool(living)) for id, living, record in rows if f"of-{id}" in record}

    def test_a_file_that_cannot_be(self) -> None:
        """A file in no folder, or one that is something else, ends the server with status 1 and one line."""
        other = self.folder / "other.db"
        other.write_text("no database " * 1000, encoding="ascii")
        for path in (self.folder / "missing" / "hb.db", other):
            ended = command("heartbeat-server", "--listen", "tcp:0", "--web", "none", "--store", f"sqlite:{path}")
            self.assertEqual(ended.returncode, 1, ended.stderr)
            self.assertRegex(ended.stderr, rf"^heartbeat-server: --store: .*{path}.*\n$")

    def test_a_restart(self) -> None:
        """After ``kill -9`` and a restart, the failures are there, and who returns goes on in its session; who does not
        is shown as it was, marked as stale."""
        server = self.server()
        lasting, victim = self.agent(server.port, "lasting"), self.agent(server.port, "victim")
        gone = self.agent(server.port, "gone")
        for name in ("lasting", "victim", "gone"):
            poll(lambda name=name: (server.peer(name) or {}).get("services"), 15.0, name)  # type: ignore[misc]
        victim.kill()
        failure = server.failure("victim")
        poll(
            lambda: self.kept() >= {("lasting", True), ("victim", False), ("gone", True)}, 10.0, "they are in the file"
        )
        before = server.in_state("lasting", "alive")
        server.kill()
        gone.kill()
        server = self.server(server.port)
        self.assertEqual(poll(lambda: server.failures("victim"), 5.0, "the failure")[0], failure)
        self.assertEqual(server.in_state("victim", "dead")["session"], failure["session"])

        def back() -> bool:
            peer = server.peer("lasting") or {}
            return peer.get("state") == "alive" and "stale" not in peer

        poll(back, 20.0, "lasting is back")
        after = server.in_state("lasting", "alive")
        self.assertEqual((after["session"], after["services"]), (before["session"], ["of-lasting"]))
        lost = server.in_state("gone", "alive")
        self.assertEqual((lost["stale"], lost["services"]), (True, ["of-gone"]))
        self.assertEqual([one["peer"] for one in server.failures()], ["victim"])
        status, text = server.get("/metrics")
        self.assertIn('heartbeat_store_up{backend="sqlite"} 1.0', text, status)
        self.assertEqual(server.metric("heartbeat_peers"), 1.0, "metrics are of our own peers")
        del lasting
