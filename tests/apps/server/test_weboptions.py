"""heartbeat.apps.server.weboptions: who may see the pages."""

from __future__ import annotations

import os
import signal
import sys
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import skipIf

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import globalLogPublisher
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, readBody
from twisted.web.http_headers import Headers

from heartbeat.apps.server.service import Server
from heartbeat.apps.server.weboptions import exposure, passwords
from heartbeat.keys import SecretFileError
from tests.apps.server.cases import FREE, ServerTestCase

OPTION = "--web-password-file"


class FileCase:
    """Tests with a file of passwords."""

    def secret(self, text: str | bytes, mode: int = 0o600) -> str:
        """A file with that in it."""
        path = Path(self.mktemp())  # type: ignore[attr-defined]  # trial's
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return str(path)


class PasswordFileTests(FileCase, SynchronousTestCase):
    def test_what_it_says(self) -> None:
        """Lines of NAME:PASSWORD, or one password for any name; comments and blank lines say nothing."""
        known = passwords(self.secret("# people\nann:one\n\nbob:two:three\r\n"))
        self.assertTrue(known.admit(b"ann", b"one"))
        self.assertTrue(known.admit(b"bob", b"two:three"))
        self.assertFalse(known.admit(b"# people", b""))
        self.assertTrue(passwords(self.secret("open sesame\n")).admit(b"anybody", b"open sesame"))

    def test_wrong_files(self) -> None:
        """Each is one line that names option, file and line, and nothing of what is in it."""
        for text, message in (
            ("", "{}: has no password in it"),
            ("\n# none\n", "{}: has no password in it"),
            ("ann:one\nsecret\n", "{}:2: must be NAME:PASSWORD"),
            ("ann:secret\nbob:\n", "{}:2: must be NAME:PASSWORD"),
            (":secret\n", "{}:1: must be NAME:PASSWORD"),
            ("ann:secret\n\nann:secret2\n", "{}:3: this name is there twice"),
            (b"ann:\xff\n", "{}:1: is not UTF-8"),
        ):
            path = self.secret(text)
            error = self.assertRaises(SecretFileError, passwords, path)
            self.assertEqual(str(error), message.format(path))

    @skipIf(os.name != "posix", "modes of POSIX")
    def test_others_may_not_read_it(self) -> None:
        """A file that somebody else can read or write is refused, with what to type."""
        for mode in (0o640, 0o604, 0o620, 0o666):
            path = self.secret("secret", mode)
            error = self.assertRaises(SecretFileError, passwords, path)
            self.assertEqual(str(error), f"{path}: has mode {mode:04o}: others must not reach it, chmod 600")


class ServerWithPasswordTests(FileCase, ServerTestCase):
    """A server that asks for it."""

    async def status(self, server: Server, path: str, *, password: str | None = None) -> int:
        """The status of an answer."""
        assert server.web is not None and server.web.port is not None
        port = server.web.port.getHost().port  # type: ignore[attr-defined]  # of TCP
        headers = Headers()
        if password is not None:
            headers.addRawHeader("Authorization", "Basic " + b64encode(f"x:{password}".encode()).decode())
        url = f"http://127.0.0.1:{port}{path}".encode()
        answer: Any = await Agent(reactor).request(b"GET", url, headers)
        await readBody(answer)
        return int(answer.code)

    async def test_asked_and_changed(self) -> None:
        """The pages ask for it, the probes do not; SIGHUP reads the file again, and a wrong one changes nothing."""
        path = self.secret("sesame")
        config = self.file(f'web-password-file = "{path}"\n')
        server = self.start("--config", config)
        self.assertEqual(await self.status(server, "/api/peers"), 401)
        self.assertEqual(await self.status(server, "/readyz"), 200)
        self.assertEqual(await self.status(server, "/api/peers", password="sesame"), 200)
        reload: Any = next(one for one in server.services if hasattr(one, "reload"))
        self.write(path, "other")
        reload.reload()
        self.assertEqual(await self.status(server, "/api/peers", password="sesame"), 401)
        self.assertEqual(await self.status(server, "/api/peers", password="other"), 200)
        self.write(path, "")
        reload.reload()
        self.assertEqual(await self.status(server, "/api/peers", password="other"), 200)

    def test_no_file(self) -> None:
        """Which file cannot be read is said."""
        error = self.assertRaises(OSError, self.make, OPTION, "/nowhere/at-all")
        self.assertIn("--web-password-file /nowhere/at-all", str(error))

    def test_a_wrong_file_is_found_at_the_start(self) -> None:
        """Before anything listens."""
        self.assertRaises(UsageError, self.make, OPTION, self.secret(""))

    def warnings(self, *arguments: str) -> list[str]:
        """What a server warns of when it starts."""
        events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        server = self.make(*arguments)
        self.addCleanup(server.stopService)
        server.startService()
        return [event["exposed"] for event in events if "exposed" in event]

    def test_warned_of_others(self) -> None:
        """Open to other hosts without a password, or with one and without TLS: one line; on the loopback: none."""
        secret = (OPTION, self.secret("sesame"))
        everywhere = "tcp:0"
        self.assertEqual(self.warnings("--web", FREE), [])
        self.assertEqual(self.warnings("--web", FREE, *secret), [])
        self.assertEqual(self.warnings("--web", "none"), [])
        (line,) = self.warnings("--web", everywhere)
        self.assertEqual(
            line, "--web tcp:0 is open to other hosts without TLS or a password: anybody there can read the pages"
        )
        (line,) = self.warnings("--web", everywhere, *secret)
        self.assertEqual(line, "--web tcp:0 is open to other hosts without TLS: passwords cross the network in clear")


class ExposureTests(SynchronousTestCase):
    """What is warned of."""

    def warned(self, address: object, *, tls: bool, protected: bool) -> str:
        """The warning about a listener on that address."""
        port = SimpleNamespace(getHost=lambda: address)
        listening: Any = SimpleNamespace(port=port, text="X", tls=tls)
        return exposure(listening, protected=protected) or ""

    def test_with_tls(self) -> None:
        """With TLS only a password is missing, and with both nothing is."""
        for address in (
            IPv4Address("TCP", "0.0.0.0", 1),
            IPv4Address("TCP", "192.0.2.1", 1),
            IPv6Address("TCP", "::", 1),
        ):
            self.assertIn("without a password", self.warned(address, tls=True, protected=False))
            self.assertEqual(self.warned(address, tls=True, protected=True), "")
            self.assertIn("without TLS or a password", self.warned(address, tls=False, protected=False))

    def test_nobody_else(self) -> None:
        """The loopback and a UNIX socket are reached from this host only."""
        for address in (IPv4Address("TCP", "127.0.0.2", 1), IPv6Address("TCP", "::1", 1), UNIXAddress("/x")):
            self.assertEqual(self.warned(address, tls=False, protected=False), "")
        self.assertIsNone(exposure(None, protected=False))


if sys.platform == "win32" or not hasattr(signal, "SIGHUP"):
    ServerWithPasswordTests.skip = "signals of POSIX"  # type: ignore[attr-defined]  # trial's
