"""``--shared-key``, ``--auth`` and ``--token-key``: what they come to, what is refused, and SIGHUP."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from heartbeat import HeartbeatConfig
from heartbeat.apps import agent
from heartbeat.apps.keyoptions import wanted
from heartbeat.apps.options import SettingOptions
from heartbeat.apps.reload import Reload
from heartbeat.apps.server import settings
from heartbeat.errors import ConfigError
from heartbeat.interfaces import HeartbeatListener
from heartbeat.keys import SharedKey, new_key
from heartbeat.liveness.peer import Peer
from heartbeat.net import HeartbeatClientService
from heartbeat.net.heartbeat import Heartbeat
from tests.apps.server.cases import ServerTestCase

HEX = bytes(range(32)).hex()
KID = "b0bf7ef350123eea"


class KeyCase(SynchronousTestCase):
    """Files of keys."""

    def secrets(self, text: str, mode: int = 0o600) -> str:
        """A file of keys."""
        path = Path(self.mktemp())
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def parse(self, kind: type[SettingOptions[Any]], *given: str) -> Any:
        """What the options come to."""
        options: Any = kind()
        needed = ("--connect", "server:7600") if kind is agent.Options else ()
        options.parseOptions([*needed, *given])
        return options.settings


class SharedKeyTests(KeyCase):
    """--shared-key, of both commands."""

    def test_nothing(self) -> None:
        """Without it nothing is proved and nothing is wanted."""
        for kind in (settings.Options, agent.Options):
            config = self.parse(kind).heartbeat
            self.assertEqual((config.keys, config.wants_key, config.wants_certificate), ((), False, False))

    def test_given(self) -> None:
        """With it the server wants one, and both have it; an id may stand in front at the server only."""
        path = self.secrets(f"{HEX}\n")
        for kind in (settings.Options, agent.Options):
            config = self.parse(kind, "--shared-key", path).heartbeat
            self.assertEqual((config.ring.kids, config.wants_key), ((KID,), True))
        path = self.secrets(f"gateway-7 {HEX}\n{new_key()}\n")
        self.assertEqual(self.parse(settings.Options, "--shared-key", path).heartbeat.ring.listed, {"gateway-7"})
        error = self.assertRaises(UsageError, self.parse, agent.Options, "--shared-key", path)
        self.assertEqual(
            str(error).partition(path)[2],
            ":1: has an id in front of its key: that belongs into the file of an acceptor",
        )

    def test_never_shown(self) -> None:
        """Nor are token keys, whoever prints the settings."""
        path = self.secrets(f"{HEX}\n")
        found = self.parse(settings.Options, "--shared-key", path, "--token-key", path)
        self.assertIn(KID, repr(found))
        self.assertEqual(len(found.token_key), 1)
        self.assertNotIn(found.token_key[0].decode(), repr(found))

    def test_wrong_files(self) -> None:
        """Under twist the process ends with status 1 and one line that names the option and the file."""
        for option in ("--shared-key", "--token-key"):
            for path in (self.secrets(HEX, 0o644), self.secrets("password\n"), "/nowhere/at/all"):
                err = io.StringIO()
                self.patch(sys, "__stderr__", err)
                options = settings.Options()
                options.parent = {}
                left = self.assertRaises(SystemExit, options.parseOptions, [option, path])
                self.assertEqual(left.code, 1)
                (line,) = err.getvalue().splitlines()
                self.assertTrue(line.startswith(f"heartbeat-server: {option}"), line)
                self.assertIn(path, line)
                self.assertNotIn("password", line)


class AuthTests(KeyCase):
    """--auth, of the server."""

    def test_what_was_given(self) -> None:
        """Is what is wanted, unless it is said."""
        for keys, certificates, auth in (
            (False, False, "none"),
            (True, False, "key"),
            (False, True, "mtls"),
            (True, True, "key+mtls"),
        ):
            self.assertEqual(wanted(None, keys, certificates), auth)
            self.assertEqual(wanted("none", keys, certificates), "none")

    def test_what_cannot_be_proved(self) -> None:
        """Is refused, and the option that lacks is named."""
        for auth, keys, certificates, lacks in (
            ("key", False, True, "--shared-key"),
            ("mtls", True, False, "--tls-client-ca"),
            ("key+mtls", True, False, "--tls-client-ca"),
            ("key+mtls", False, True, "--shared-key"),
        ):
            error = self.assertRaises(ConfigError, wanted, auth, keys, certificates)
            self.assertEqual(str(error), f"auth: {auth} needs {lacks}")

    def test_on_the_command_line(self) -> None:
        """A key without being wanted; and what is wrong is named as it was typed."""
        path = self.secrets(f"{HEX}\n")
        config = self.parse(settings.Options, "--shared-key", path, "--auth", "none").heartbeat
        self.assertEqual((len(config.ring), config.wants_key), (1, False))
        for auth, part in (("key", "--auth: key needs --shared-key"), ("password", "--auth: must be one of")):
            error = self.assertRaises(UsageError, self.parse, settings.Options, "--auth", auth)
            self.assertIn(part, str(error))


class Told(HeartbeatListener):
    """Waits for a peer."""

    def __init__(self) -> None:
        self.joins: Deferred[Peer] = Deferred()

    def joined(self, peer: Peer) -> None:
        """It is here."""
        joins, self.joins = self.joins, Deferred()
        joins.callback(peer)


class ServerKeyTests(ServerTestCase):
    """A server that runs."""

    def secrets(self, text: str) -> str:
        """A file of keys."""
        path = self.file(text)
        Path(path).chmod(0o600)
        return path

    def client(self, server: Any, key: str, name: str = "gateway-7") -> HeartbeatClientService:
        """An agent with this key."""
        port = server.listening[0].port.getHost().port
        config = HeartbeatConfig(id=name, interval=0.5, keys=[SharedKey(bytes.fromhex(key))])
        service = HeartbeatClientService([f"tcp:127.0.0.1:{port}"], config)
        self.addCleanup(service.stopService)
        service.startService()
        return service

    async def test_proved(self) -> None:
        """A peer with its key is listed with what it has proved; a bare one is refused."""
        server = self.start("--shared-key", self.secrets(f"gateway-7 {HEX}\n"))
        heartbeat: Heartbeat = await self.client(server, HEX).when_alive()
        self.assertEqual(heartbeat.peer.identity, "*")
        await heartbeat.ping(timeout=5)
        status, body = await self.get(server, "/api/peers/gateway-7")
        self.assertEqual((status, json.loads(body)["identity"]), (200, "gateway-7"))
        bare = await self.connect(server)
        assert bare.transport is not None
        bare.transport.write(b"HEAR\0\1\0\2")
        await bare.until(b"a HELLO is required here")

    async def test_rotation(self) -> None:
        """The file is read again with SIGHUP: connections live on, and new ones may use the new key; a wrong file
        changes nothing."""
        path = self.secrets(f"{HEX}\n")
        server = self.start("--shared-key", path)
        (reload,) = [part for part in server if isinstance(part, Reload)]
        first = await self.client(server, HEX, "one").when_alive()
        new = "ab" * 32
        self.write(path, f"{new}\n{HEX}\n")
        reload.reload()
        second = await self.client(server, new, "two").when_alive()
        third = await self.client(server, HEX, "three").when_alive()
        self.write(path, "no key\n")
        reload.reload()
        self.assertEqual(server.factory.config.ring.kids[0], SharedKey(bytes.fromhex(new)).kid)
        for heartbeat in (first, second, third):
            await heartbeat.ping(timeout=5)

    async def test_the_demo(self) -> None:
        """Its agents prove what the server wants, where they can."""
        for text, line in ((f"{HEX}\n", "beat in this process"), (f"gateway-7 {HEX}\n", "could not prove")):
            server = self.make("--web", "none", "--demo", "--shared-key", self.secrets(text))
            told = Told()
            server.factory.listener = told
            server.startService()
            if "beat" in line:
                peer = await told.joins
                self.assertEqual(peer.identity, "*")
            self.assertIn(line, self.out.getvalue())
            await server.stopService()
