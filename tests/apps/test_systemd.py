"""heartbeat.apps.systemd and reuseport: what is told, over a real socket, and when."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from heartbeat.apps.reload import Reload
from heartbeat.apps.reuseport import SharedPorts, handed_on
from heartbeat.apps.systemd import Systemd, notify, watchdog_interval
from heartbeat.errors import ConfigError


class Running(Clock):
    """A clock whose reactor runs."""

    def callWhenRunning(self, call: Any) -> None:
        self.callLater(0, call)

    def callFromThread(self, call: Any) -> None:
        self.callLater(0, call)


class NotifyCase(SynchronousTestCase):
    """With a socket as systemd has one."""

    if not hasattr(socket, "AF_UNIX"):
        skip = "this platform has no UNIX sockets"

    def setUp(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="hb-"))
        self.addCleanup(shutil.rmtree, folder)
        self.environ = {"NOTIFY_SOCKET": str(folder / "notify")}
        self.socket = self.bound(self.environ["NOTIFY_SOCKET"])

    def bound(self, address: str) -> socket.socket:
        """A socket that listens there."""
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(bound.close)
        bound.bind(address)
        bound.setblocking(False)
        return bound

    def told(self) -> list[str]:
        """What came, one text for each datagram."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


class NotifyTests(NotifyCase):
    """One datagram."""

    def test_lines(self) -> None:
        """All lines are in one datagram: systemd takes RELOADING and its time only together."""
        self.assertTrue(notify("A=1", "B=2", environ=self.environ))
        self.assertEqual(self.told(), ["A=1\nB=2"])

    def test_abstract(self) -> None:
        """A name that begins with @ is of the abstract kind."""
        name = f"heartbeat-test-{os.getpid()}"
        try:
            self.socket = self.bound("\0" + name)
        except OSError:
            self.skipTest("no abstract UNIX sockets here")
        self.assertTrue(notify("A=1", environ={"NOTIFY_SOCKET": "@" + name}))
        self.assertEqual(self.told(), ["A=1"])

    def test_nobody_listens(self) -> None:
        """Without a systemd, or with one that is gone, nothing happens."""
        self.assertFalse(notify("A=1", environ={}))
        self.assertFalse(notify("A=1", environ={"NOTIFY_SOCKET": "/nonexistent"}))

    def test_the_watchdog(self) -> None:
        """Half of what is allowed, and only if it is meant for this process."""
        ours = str(os.getpid())
        for environ, expected in (
            ({}, None),
            ({"WATCHDOG_USEC": "30000000"}, 15.0),
            ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": ours}, 1.5),
            ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({"WATCHDOG_USEC": "soon"}, None),
        ):
            self.assertEqual(watchdog_interval(environ), expected, environ)


class ServiceTests(NotifyCase):
    """The life of a service."""

    def setUp(self) -> None:
        super().setUp()
        self.environ["WATCHDOG_USEC"] = "4000000"
        self.clock = Running()
        self.status = "1 alive"
        self.systemd = Systemd(self.clock, lambda: self.status, self.environ)

    def test_its_life(self) -> None:
        """Ready when the reactor runs, a sign of life in half of the time, the status when it changes, and the end."""
        self.systemd.startService()
        self.assertEqual(self.told(), [])
        self.clock.advance(0)
        self.assertEqual(self.told(), ["READY=1\nSTATUS=1 alive"])
        self.clock.pump([2.0] * 4)
        self.assertEqual(self.told(), ["WATCHDOG=1"] * 4)
        self.status = "2 alive"
        self.clock.advance(2.0)
        self.assertEqual(sorted(self.told()), ["STATUS=2 alive", "WATCHDOG=1"])
        self.systemd.stopping()
        self.assertEqual(self.told(), ["STOPPING=1\nSTATUS=stopping"])
        self.systemd.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stalled_loop_gives_no_sign_of_life(self) -> None:
        """After a stall there is one sign, not one for each that was missed; during it there is none."""
        self.systemd.startService()
        self.clock.advance(0)
        self.told()
        self.clock.advance(9.0)
        self.assertEqual(self.told(), ["WATCHDOG=1"])
        self.systemd.stopService()

    def test_reload(self) -> None:
        """RELOADING with the monotonic time, then READY, also when the file is wrong."""

        def wrong() -> None:
            raise ConfigError("x", "is wrong")

        reload: Reload[None] = Reload(self.clock, (), None, wrong, lambda _: None, systemd=self.systemd)  # type: ignore[arg-type]
        reload._hung_up()
        begins, ends = self.told()
        self.assertRegex(begins, r"\ARELOADING=1\nMONOTONIC_USEC=\d+\Z")
        self.assertEqual(ends, "READY=1")

    def test_without_systemd(self) -> None:
        """Nothing is scheduled."""
        systemd = Systemd(self.clock, environ={"WATCHDOG_USEC": "4000000"})
        systemd.startService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        systemd.stopService()

    def test_stopped_before_it_was_ready(self) -> None:
        """Who is told to stop at once was never ready."""
        self.systemd.startService()
        self.systemd.stopService()
        self.clock.advance(0)
        self.assertEqual(self.told(), [])


class ReusePortTests(TestCase):
    """``--reuse-port``."""

    if not hasattr(socket, "SO_REUSEPORT"):
        skip = "this platform has no SO_REUSEPORT"

    async def test_two_listen_on_one_port(self) -> None:
        """Two endpoints take the same port, of either family, and of a prefix before tcp."""
        for text in ("tcp:{}:interface=127.0.0.1", "haproxy:tcp:{}:interface=127.0.0.1"):
            one = await serverFromString(SharedPorts(reactor), text.format(0)).listen(Factory())
            self.addCleanup(one.stopListening)
            number = one.getHost().port
            two = await serverFromString(SharedPorts(reactor), text.format(number)).listen(Factory())
            self.addCleanup(two.stopListening)
            self.assertEqual(two.getHost().port, number)

    def test_who_takes_over(self) -> None:
        """A socket of systemd's is always somebody else's, too; a path in the file system is not shared."""
        for text, reuse, expected in (
            ("systemd:domain=INET:name=x", False, True),
            ("tcp:7600", False, False),
            ("tcp:7600", True, True),
            ("unix:/run/x", True, False),
        ):
            self.assertIs(handed_on(text, reuse), expected, text)
