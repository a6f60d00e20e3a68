"""The two commands as their users meet them: exit statuses, lines, signals, logs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from heartbeat import __version__
from tests.real import processes
from tests.real.processes import Agent, Server, poll
from tests.real.rawpeer import BYE, connect

_STOPPED = (0, -signal.SIGTERM)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "twisted", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=processes.environment(),
        check=False,
    )


class FolderTestCase(SynchronousTestCase):
    """Tests with a folder whose path is short enough for a socket."""

    def setUp(self) -> None:
        """Make the folder."""
        self.folder = Path(tempfile.mkdtemp(prefix="hb-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def file(self, text: str, name: str = "c.toml") -> Path:
        """A file in it."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def server(self, *options: str) -> Server:
        """A server; killed after the test."""
        server = Server(*options)
        self.addCleanup(lambda: self.assertEqual(server.complaints(), []))
        self.addCleanup(server.kill)
        return server

    def agent(self, port: int, *options: str) -> Agent:
        """An agent; killed after the test."""
        agent = Agent(port, *options)
        self.addCleanup(lambda: self.assertEqual(agent.complaints(), []))
        self.addCleanup(agent.kill)
        return agent


class RefusalTests(FolderTestCase):
    """Commands that cannot do what they are asked."""

    def refused(self, status: int, *arguments: str) -> str:
        """The one line on standard error with which the command ends; nothing else is printed."""
        ended = command(*arguments)
        self.assertEqual(ended.returncode, status, ended.stderr)
        self.assertEqual(ended.stdout, "")
        self.assertEqual(ended.stderr.count("\n"), 1, ended.stderr)
        return ended.stderr

    def test_wrong_options(self) -> None:
        """A wrong option is status 64 and one line that names option and value."""
        for arguments in (
            ("heartbeat-server", "--listen", "nowhere:7600"),
            ("heartbeat-server", "--store", "mysql://localhost/0"),
            ("heartbeat-agent", "--connect", "localhost:port"),
            ("heartbeat-probe", "--url", "gopher://example.net/"),
            ("heartbeat-server", "--trace-beats", "2"),
        ):
            line = self.refused(64, *arguments)
            self.assertIn(arguments[-2], line)
            self.assertIn(arguments[-1], line)
        line = self.refused(64, "heartbeat-server", "--store", "redis://u:hunter2@h/x")
        self.assertIn("--store", line)
        self.assertNotIn("hunter2", line)
        self.assertIn("--bogus", self.refused(64, "heartbeat-server", "--bogus"))
        self.assertIn("--connect", self.refused(64, "heartbeat-agent"))

    def test_wrong_keys(self) -> None:
        """A wrong key or value of the config file is status 64, with file and line."""
        path = self.file('listen = "tcp:0"\n\nbogus = 1\n')
        self.assertIn(f'{path}:3: unknown key "bogus"', self.refused(64, "heartbeat-server", "--config", str(path)))
        path = self.file('[meta]\nrack = "r1"\n\n[services]\n')
        line = self.refused(64, "heartbeat-agent", "--connect", "localhost:1", "--config", str(path))
        self.assertIn(f"{path}:4: services", line)

    def test_what_cannot_be_read(self) -> None:
        """A file that cannot be read is status 1."""
        self.assertIn("/nonexistent.toml", self.refused(1, "heartbeat-server", "--config", "/nonexistent.toml"))

    def test_a_port_in_use(self) -> None:
        """A port in use is status 1, whichever listener it is; a socket path that is none, too."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            text = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            line = self.refused(1, "heartbeat-server", "--listen", text, "--web", "none")
            self.assertIn(f"--listen {text}", line)
            ended = command("heartbeat-server", "--listen", "tcp:0", "--web", text)
            self.assertEqual((ended.returncode, ended.stderr.count("\n")), (1, 1), ended.stderr)
            self.assertIn(f"--web {text}", ended.stderr)
        self.refused(1, "heartbeat-server", "--listen", "unix:/nonexistent/socket", "--web", "none")

    def test_version_and_help(self) -> None:
        """``--version`` prints ours; ``--help`` has the options."""
        for name, option in (
            ("heartbeat-server", "--listen="),
            ("heartbeat-agent", "--connect="),
            ("heartbeat-probe", "--url="),
        ):
            ended = command(name, "--version")
            self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, f"{__version__}\n", ""))
            ended = command(name, "--help")
            self.assertEqual(ended.returncode, 0)
            self.assertIn(option, ended.stdout)


class ServerTests(FolderTestCase):
    """A server that runs."""

    def test_demo(self) -> None:
        """``--demo`` shows peers within 3 s of being ready, and says where to look."""
        server = self.server("--demo")
        look = server.find(r"demo: (\d+) agents .*http://127\.0\.0\.1:\d+/")
        wanted = int(look[1])
        self.assertGreaterEqual(wanted, 3)

        def alive() -> bool:
            return sum(peer["state"] == "alive" and peer["services"] != [] for peer in server.peers()) >= wanted - 1

        poll(alive, 3.0, "the agents of the demo with their services")
        self.assertEqual(len({peer["id"] for peer in server.peers()}), wanted)
        self.assertEqual(server.get("/")[0], 200)
        self.assertIn(server.stop(), _STOPPED)

    def test_listeners(self) -> None:
        """Several listeners, a UNIX socket and both families among them, each with its line and its peers."""
        path = self.folder / "s"
        server = self.server("--listen", f"unix:{path}", "--listen", "tcp6:0")
        server.find(f"^listening heartbeat unix {path}$")
        port = int(server.find(r"^listening heartbeat tcp \[::\]:(\d+)$")[1])
        for name, where in (("u", f"unix:{path}"), ("v6", f"[::1]:{port}"), ("mapped", f"127.0.0.1:{port}")):
            agent = processes._Process("heartbeat-agent", "--connect", where, "--id", name)
            self.addCleanup(agent.kill)
        address = server.in_state("mapped", "alive", 20.0)["address"]
        self.assertTrue(address.startswith("127.0.0.1:"), address)
        self.assertTrue(server.in_state("v6", "alive", 20.0)["address"].startswith("[::1]:"))
        self.assertEqual(server.in_state("u", "alive", 20.0)["transport"], "unix")

    def test_sighup(self) -> None:
        """SIGHUP reads the config file again; a bad one keeps the old settings; without a file nothing happens."""
        path = self.file("max-per-address = 1\n")
        server = self.server("--config", str(path))
        first, second = connect(server.port), connect(server.port)
        self.assertEqual(second.farewell().code, 10)
        first.close()
        self.file("max-per-address = 2\nweb = 'none'\n")
        server.signal(signal.SIGHUP)
        server.find("reloaded: max-per-address")
        self.file("max-per-address = 3\nbogus = 1\n")
        server.signal(signal.SIGHUP)
        server.find("not reloaded.*c.toml:2: unknown key")
        path.unlink()
        server.signal(signal.SIGHUP)
        server.find("not reloaded.*No such file")
        first, second, third = (connect(server.port) for _ in range(3))
        self.assertEqual(third.farewell().code, 10)
        for peer in (first, second, third):
            peer.close()
        plain = self.server()
        plain.signal(signal.SIGHUP)
        plain.find("reloaded: nothing has changed")
        self.assertEqual(plain.get("/livez")[0], 200)

    def test_drain(self) -> None:
        """SIGTERM: peers hear BYE 1, /readyz is 503 meanwhile; a second one stops at once."""
        server = self.server()
        self.assertEqual(server.get("/readyz")[0], 200)
        peer = connect(server.port)
        self.addCleanup(peer.close)
        peer.greet(want_ping_ms=60_000, min_rx_ms=60_000)
        server.signal(signal.SIGTERM)
        self.assertEqual(peer.expect(BYE).seq, 1)
        self.assertEqual(server.get("/readyz")[0], 503)
        again = server.signal(signal.SIGTERM)
        self.assertIn(server.wait(), _STOPPED)
        self.assertLess(time.time() - again, 0.9)  # whoever says BYE reads on for a second otherwise

    def test_drain_timeout(self) -> None:
        """A peer that neither reads nor goes is cut off when the time is up."""
        server = self.server("--drain-timeout", "0.3")
        peer = connect(server.port)
        self.addCleanup(peer.close)
        peer.greet(want_ping_ms=60_000, min_rx_ms=60_000)
        begun = server.signal(signal.SIGTERM)
        self.assertIn(server.wait(), _STOPPED)
        self.assertLess(time.time() - begun, 0.9)


class LogTests(FolderTestCase):
    """What is logged."""

    def records(self, lines: list[str]) -> list[dict[str, Any]]:
        """The JSON lines among the output: all that the command did not print before its log began."""
        return [json.loads(line) for line in lines if not line.startswith("listening ")]

    def test_json(self) -> None:
        """``--log-json``: each line is one object, nothing is there twice, ids are fields, and tracebacks are none."""
        server = self.server("--log-json")
        agent = self.agent(server.port, "--id", "a1", "--log-json")
        server.in_state("a1", "alive", 20.0)
        agent.stop()
        server.in_state("a1", "left")
        server.stop()
        records = self.records(server.lines)
        for record in records:
            self.assertLessEqual({"ts", "level", "logger", "msg"}, record.keys())
        ours = [one for one in records if one.get("peer") == "a1"]
        self.assertEqual([one["msg"].split(" from ")[0] for one in ours], ["a1 joined", "a1 has left: leaving"])
        self.assertEqual({one["logger"] for one in ours}, {"heartbeat.peer"})
        self.assertEqual(sum("Starting reactor" in one["msg"] for one in records), 1)
        self.assertEqual(sum("HeartbeatFactory starting" in one["msg"] for one in records), 1)
        self.assertGreater(len(self.records(agent.lines)), 1)

    def test_level(self) -> None:
        """``--log-level`` leaves out what is below it, for our lines and for Twisted's."""
        server = self.server("--log-json", "--log-level", "error")
        peer = connect(server.port)
        peer.greet(id="a1")
        server.in_state("a1", "alive")
        peer.close()
        server.in_state("a1", "dead")
        server.stop()
        self.assertEqual(self.records(server.lines), [])

    def test_a_crowd_that_dies(self) -> None:
        """Thirty peers that are gone at once are ten lines."""
        server = self.server("--log-json", "--log-level", "info")
        peers = [connect(server.port) for _ in range(30)]
        for number, peer in enumerate(peers):
            peer.greet(id=f"a{number}")
        poll(lambda: server.metric("heartbeat_peers", state="alive") == 30.0, 5.0, "thirty peers")
        for peer in peers:
            peer.close()
        poll(lambda: server.metric("heartbeat_peers", state="dead") == 30.0, 5.0, "thirty deaths")
        server.stop()
        records = self.records(server.lines)
        dead = [one for one in records if one.get("reason") == "peer_closed" and "peer" in one]
        self.assertEqual(len(dead), 10)
        (total,) = [one for one in records if one.get("reason") == "peer_closed" and "peer" not in one]
        self.assertEqual((total["msg"], total["count"]), ("… and 20 more peer_closed in 10 s", 20))


class AgentTests(FolderTestCase):
    """An agent that runs."""

    def test_stuck(self) -> None:
        """A progress file that does not move while work is queued makes the peer stuck; one that moves again, well."""
        progress = self.file("5 2\n", "progress")
        server = self.server("--sync-interval", "0.5")
        self.agent(server.port, "--id", "a1", "--progress-file", str(progress))
        server.in_state("a1", "stuck", 25.0)
        progress.write_text("6 2\n", encoding="utf-8")
        server.in_state("a1", "alive", 10.0)

    def test_fail_over(self) -> None:
        """With the first server gone the agent beats to the second."""
        first, second = self.server(), self.server()
        self.agent(first.port, "--connect", f"localhost:{second.port}", "--id", "a1")
        first.in_state("a1", "alive", 20.0)
        first.kill()
        second.in_state("a1", "alive", 10.0)

    def test_sighup(self) -> None:
        """SIGHUP changes what the agent tells of its host."""
        path = self.file('services = ["auth"]\n')
        server = self.server()
        agent = self.agent(server.port, "--id", "a1", "--config", str(path))
        poll(lambda: (one := server.peer("a1")) and one["services"] == ["auth"], 20.0, "its services")
        self.file('services = ["auth", "billing"]\n')
        agent.signal(signal.SIGHUP)
        poll(lambda: (one := server.peer("a1")) and one["services"] == ["auth", "billing"], 10.0, "its new services")

    def test_nobody_there(self) -> None:
        """An agent whose server is not there goes on trying, and stops at once when it is told to."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        agent = self.agent(port, "--id", "a1", "--log-json")
        agent.find("Starting reactor")
        begun = time.time()
        self.assertIn(agent.stop(), _STOPPED)
        self.assertLess(time.time() - begun, 2.0)


if not hasattr(signal, "SIGHUP") or os.name != "posix":
    for case in (ServerTests, LogTests, AgentTests):
        case.skip = "signals of POSIX"  # type: ignore[attr-defined]  # trial's
