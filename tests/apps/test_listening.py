"""Tests of listening: the line when it works, and the end of the process when it does not."""

from __future__ import annotations

import io
import os
import shutil
import socket
import sys
import tempfile
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from heartbeat.apps.listening import Listening, told


class Endpoint:
    """An endpoint whose answer is given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def listen(self, factory: Factory) -> Deferred[Any]:
        """The answer."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return cast("Deferred[Any]", self.answer)


class Printed(SynchronousTestCase):
    """Tests that look at what a process prints."""

    def setUp(self) -> None:
        """Catch it."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "__stderr__", self.err)

    def listening(self, endpoint: Any, text: str = "tcp:0", kind: str = "heartbeat", on: Any = reactor) -> Listening:
        """A service for the endpoint."""
        return Listening(on, endpoint, Factory(), kind=kind, name=f"heartbeat-server: --listen {text}", text=text)


class AddressTests(SynchronousTestCase):
    """How addresses are written."""

    def test_addresses(self) -> None:
        """As people write them."""
        for address, text in (
            (IPv4Address("TCP", "0.0.0.0", 7600), "0.0.0.0:7600"),
            (IPv6Address("TCP", "::", 7600), "[::]:7600"),
            (UNIXAddress("/run/x"), "/run/x"),
            (UNIXAddress("\0abstract"), "@abstract"),
        ):
            self.assertEqual(told(address), text)


class FailureTests(Printed):
    """Endpoints that cannot be opened."""

    def ended(self, answer: Any, status: int) -> str:
        """Starting ends the process with this status and the returned line."""
        service = self.listening(Endpoint(answer))
        error = self.assertRaises(SystemExit, service.startService)
        self.assertEqual(error.code, status)
        self.assertEqual(self.out.getvalue(), "")
        line = self.err.getvalue()
        self.assertEqual(line.count("\n"), 1, line)
        self.assertIn("--listen tcp:0: ", line)
        self.successResultOf(service.stopService())
        return line

    def test_a_port_in_use(self) -> None:
        """Status 1, and a line with what the system said."""
        line = self.ended(fail(CannotListenError("", 7600, OSError(98, "Address already in use"))), 1)
        self.assertIn("7600", line)
        self.assertIn("Address already in use", line)

    def test_an_oserror(self) -> None:
        """Status 1."""
        self.assertIn("Permission denied", self.ended(fail(PermissionError(13, "Permission denied")), 1))

    def test_a_value_that_only_listening_finds_wrong(self) -> None:
        """Status 64: it was the option."""
        self.ended(fail(OverflowError("port must be 0-65535.")), 64)

    def test_a_listen_that_raises(self) -> None:
        """An endpoint that raises is as one that fails."""
        self.ended(ValueError("what\nis this"), 64)

    def test_no_listener(self) -> None:
        """An endpoint that gives something else than a port (``stdio:``) is a wrong value."""
        self.ended(succeed(object()), 64)

    def test_a_late_failure(self) -> None:
        """An endpoint that fails when the reactor runs stops it, with a line, and the process ends with status 1."""
        clock = MemoryReactorClock()
        clock.hasStopped = False
        ended: list[int] = []
        self.patch(os, "_exit", ended.append)
        waiting: Deferred[Any] = Deferred()
        service = self.listening(Endpoint(waiting), on=clock)
        service.startService()
        waiting.errback(CannotListenError("", 1, OSError(98, "Address already in use")))
        self.assertIn("Address already in use", self.err.getvalue())
        self.assertTrue(clock.hasStopped)
        for function, args, kwargs in clock.triggers["after"]["shutdown"]:
            function(*args, **kwargs)
        self.assertEqual(ended, [1])

    def test_stopped_while_waiting(self) -> None:
        """An endpoint that is still trying is cancelled, without a word."""
        waiting: Deferred[Any] = Deferred()
        service = self.listening(Endpoint(waiting))
        service.startService()
        self.successResultOf(service.stopService())
        self.assertEqual(self.err.getvalue(), "")


class RealTests(Printed, TestCase):
    """Real sockets on the loopback."""

    async def lines(self, *services: Listening) -> list[str]:
        """What is printed when they start; they are stopped again."""
        for service in services:
            service.startService()
        ports = [service.port for service in services]
        for service in services:
            await service.stopService()
        self.assertNotIn(None, ports)
        return self.out.getvalue().splitlines()

    async def test_lines(self) -> None:
        """One line per listener, with the real port where 0 was asked."""
        tcp, web = (
            self.listening(serverFromString(reactor, text), text, kind)
            for text, kind in (("tcp:0:interface=127.0.0.1", "heartbeat"), ("tcp:0:interface=127.0.0.1", "web"))
        )
        lines = await self.lines(tcp, web)
        self.assertRegex(lines[0], r"^listening heartbeat tcp 127\.0\.0\.1:[1-9]\d*$")
        self.assertRegex(lines[1], r"^listening web http://127\.0\.0\.1:[1-9]\d*/$")

    async def test_unix(self) -> None:
        """A socket in the file system is told by its path."""
        folder = tempfile.mkdtemp(prefix="hb-")  # sun_path has room for 107 bytes: trial's own are too long
        self.addCleanup(shutil.rmtree, folder)
        short = f"{folder}/s"
        service = self.listening(serverFromString(reactor, f"unix:{short}"), f"unix:{short}")
        self.assertEqual(await self.lines(service), [f"listening heartbeat unix {short}"])

    async def test_a_real_port_in_use(self) -> None:
        """The second on a port gets status 1; what the first has stays."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            text = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            service = self.listening(serverFromString(reactor, text), text)
            self.assertEqual(self.assertRaises(SystemExit, service.startService).code, 1)
            self.assertIn("Address already in use", self.err.getvalue())
            await service.stopService()
