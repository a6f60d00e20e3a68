"""A server is replaced, and no agent is lost: under a socket of systemd's, and by --reuse-port."""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.real import processes
from tests.real.processes import Agent, poll

WEB = "tcp:0:interface=127.0.0.1"
AGENTS = 5


class Knocker:
    """Connects to a port again and again, and counts what was refused."""

    def __init__(self, port: int) -> None:
        self.refused = 0
        self.connected = 0
        self._port = port
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._knock, daemon=True)
        self._thread.start()

    def _knock(self) -> None:
        while not self._ends.wait(0.01):
            try:
                socket.create_connection(("127.0.0.1", self._port), 2.0).close()
            except ConnectionRefusedError:
                self.refused += 1
            else:
                self.connected += 1

    def stop(self) -> None:
        """Knock no more."""
        self._ends.set()
        self._thread.join(5.0)


class Replaced(processes.Server):
    """A server that was started otherwise.

    :param port: where it listens
    """

    def __init__(self, port: int, *arguments: str, **more: Any) -> None:
        processes._Process.__init__(self, *arguments, **more)
        self.port = port
        try:
            self.find(rf"listening heartbeat tcp 127\.0\.0\.1:{port}$")
            self.web = int(self.find(r"listening web http://127\.0\.0\.1:(\d+)/")[1])
        except AssertionError:
            self.kill()
            raise


class RestartCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A folder for what systemd would have."""
        self.folder = Path(tempfile.mkdtemp(prefix="hb-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def agents(self, port: int) -> list[Agent]:
        """Some agents; killed after the test."""
        agents = [Agent(port, "--id", f"agent-{number}", "--ping-interval", "0.3") for number in range(AGENTS)]
        for agent in agents:
            self.addCleanup(agent.kill)
        return agents

    def all_alive(self, server: processes.Server) -> bool:
        """Every agent is alive, and nobody failed."""
        states = {peer["id"]: peer["state"] for peer in server.peers() if peer["id"].startswith("agent-")}
        return states == {f"agent-{number}": "alive" for number in range(AGENTS)}

    def no_failure(self, server: processes.Server) -> None:
        """None of the agents is on its board."""
        self.assertEqual([one for one in server.failures() if one["peer"].startswith("agent-")], [])


@skipUnless(sys.platform == "linux", "systemd is Linux's")
class SystemdTests(RestartCase):
    """A socket that outlives the server."""

    def server(self, fd: int, port: int) -> Replaced:
        """A server that adopts the socket, as systemd starts it."""
        notify = {"NOTIFY_SOCKET": str(self.folder / "notify"), "WATCHDOG_USEC": "1000000"}
        listen = ("--listen", "systemd:domain=INET:name=web", "--web", WEB, "--ping-interval", "0.3")
        server = Replaced(port, "heartbeat-server", *listen, inherits=fd, variables=notify)
        self.addCleanup(server.kill)
        return server

    def test_restart_under_the_socket(self) -> None:
        """SIGTERM and a new start: no connection is refused, every agent is back, no failure is recorded; systemd was
        told all of it."""
        told: list[str] = []
        with (
            socket.create_server(("127.0.0.1", 0)) as listening,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        ):
            systemd.bind(str(self.folder / "notify"))
            systemd.settimeout(0.0)

            def hear(wanted: str) -> bool:
                try:
                    while True:
                        told.append(systemd.recv(4096).decode())
                except BlockingIOError:
                    return any(wanted in text for text in told)

            port = listening.getsockname()[1]
            first = self.server(listening.fileno(), port)
            poll(lambda: hear("READY=1"), 5.0, "READY=1")
            poll(lambda: hear("WATCHDOG=1"), 5.0, "WATCHDOG=1")
            self.agents(port)
            poll(lambda: self.all_alive(first), 15.0, "all agents")
            first.signal(signal.SIGHUP)
            poll(lambda: hear("RELOADING=1\nMONOTONIC_USEC="), 5.0, "RELOADING=1")
            knocker = Knocker(port)
            self.addCleanup(knocker.stop)
            self.no_failure(first)
            first.stop()
            poll(lambda: hear("STOPPING=1"), 5.0, "STOPPING=1")
            time.sleep(0.3)  # nobody listens: who comes now waits in the kernel
            second = self.server(listening.fileno(), port)
            poll(lambda: self.all_alive(second), 15.0, "all agents at the second server")
            knocker.stop()
            self.assertEqual(knocker.refused, 0)
            self.assertGreater(knocker.connected, 20)
            self.no_failure(second)
            self.assertEqual(second.complaints(), [])


@skipUnless(hasattr(socket, "SO_REUSEPORT"), "this platform has no SO_REUSEPORT")
class ReusePortTests(RestartCase):
    """Two servers on one port for a while."""

    def server(self, port: int) -> Replaced:
        """A server that shares the port."""
        listen = ("--listen", f"tcp:{port}:interface=127.0.0.1", "--web", WEB, "--ping-interval", "0.3")
        server = Replaced(port, "heartbeat-server", "--reuse-port", *listen)
        self.addCleanup(server.kill)
        return server

    def test_takeover(self) -> None:
        """The new one listens before the old one drains: nobody is refused, and no failure is recorded by either."""
        with socket.socket() as free:  # a port that nobody has
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            old = self.server(port)
        self.agents(port)
        poll(lambda: self.all_alive(old), 15.0, "all agents")
        knocker = Knocker(port)
        self.addCleanup(knocker.stop)
        new = self.server(port)
        self.no_failure(old)
        old.stop()
        poll(lambda: self.all_alive(new), 15.0, "all agents at the new server")
        knocker.stop()
        self.assertEqual(knocker.refused, 0)
        self.assertGreater(knocker.connected, 20)
        self.no_failure(new)
        self.assertEqual(old.complaints() + new.complaints(), [])
