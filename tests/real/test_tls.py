"""TLS as users meet it: both commands, on real sockets, with peers that are slow, wrong, or in the middle."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import trustme
from twisted.application.internet import StreamServerEndpointService
from twisted.trial.unittest import SynchronousTestCase, TestCase

from heartbeat.net import HeartbeatClientService
from heartbeat.net.tls.material import pem_files
from heartbeat.net.tls.pins import pin_of
from tests.net.test_howto import example
from tests.net.tls.cases import LONG_AGO
from tests.real import processes
from tests.real.cases import QUIET
from tests.real.processes import Server, poll
from tests.real.rawpeer import HELLO, PING, RawPeer, connect, hello
from tests.real.renewal import renew_under_load
from tests.real.secured import Files, Middle, secure
from tests.real.test_commands import command

_ANY = "tcp:0:interface=127.0.0.1"
_PHASE_TWO = (b"HSYN", b"HSTA", b"HDAT")


class TlsTestCase(SynchronousTestCase):
    """Files, and processes that are killed after the test. A traceback in their output fails it."""

    def setUp(self) -> None:
        self.files = Files()
        self.addCleanup(self.files.close)
        self.pair = self.files.issue("s", "localhost", "127.0.0.1")

    def server(self, *options: str, pair: tuple[str, str] | None = None) -> Server:
        """A server that listens with TLS, too; its port for that is :attr:`port`."""
        certificate, key = self.pair if pair is None else pair
        server = Server("--listen-tls", _ANY, "--tls-cert", certificate, "--tls-key", key, *options)
        self.addCleanup(lambda: self.assertEqual(server.complaints(), []))
        self.addCleanup(server.kill)
        self.port = int(server.find(r"^listening heartbeat tls 127\.0\.0\.1:(\d+)$")[1])
        return server

    def agent(self, *options: str, host: str = "localhost", port: int | None = None, ca: str | None = None) -> Any:
        """An agent that connects with TLS."""
        where = f"{host}:{self.port if port is None else port}"
        arguments = ("--connect-tls", where, "--tls-ca", self.files.ca if ca is None else ca, *options)
        agent = processes._Process("heartbeat-agent", *arguments)
        self.addCleanup(lambda: self.assertEqual(agent.complaints(), []))
        self.addCleanup(agent.kill)
        return agent


class CommandTests(TlsTestCase):
    """The options."""

    def refused(self, status: int, *arguments: str) -> str:
        """The one line with which the command ends."""
        ended = command(*arguments)
        self.assertEqual((ended.returncode, ended.stderr.count("\n"), ended.stdout), (status, 1, ""), ended.stderr)
        return ended.stderr

    def test_wrong_combinations(self) -> None:
        """What does not fit together is status 64, and names what is missing."""
        line = self.refused(64, "heartbeat-server", "--listen-tls", _ANY, "--web", "none")
        self.assertIn("--listen-tls", line)
        self.assertIn("--tls-cert", line)
        line = self.refused(64, "heartbeat-agent", "--connect-tls", "localhost:1", "--pin", "sha256/AAAA")
        self.assertIn("--pin", line)

    def test_bad_certificates(self) -> None:
        """A file that is not there, a pair that is none, one that has expired: status 1 and one line."""
        certificate, key = self.pair
        _, other = self.files.issue("o", "localhost")
        old, old_key = self.files.issue("old", "localhost", valid=LONG_AGO)
        for cert, private, words in (
            ("/nonexistent.crt", key, "/nonexistent.crt cannot be read"),
            (certificate, other, "does not belong to the key"),
            (old, old_key, "has expired on 2020-01-01"),
        ):
            line = self.refused(
                1, "heartbeat-server", "--listen-tls", _ANY, "--web", "none", "--tls-cert", cert, "--tls-key", private
            )
            self.assertIn(words, line)

    def test_both_commands(self) -> None:
        """Mutual TLS by address: the server lists the agent as tls, with the days that its certificate has left; after
        SIGHUP both have new ones, and the connection has noticed nothing.
        """
        own = self.files.issue("a", "gateway-7")
        server = self.server("--tls-client-ca", self.files.ca)
        agent = self.agent("--id", "gateway-7", "--tls-cert", own[0], "--tls-key", own[1], host="127.0.0.1")
        peer = server.in_state("gateway-7", "alive", 20.0)
        self.assertEqual(peer["transport"], "tls")
        left = server.metric("heartbeat_certificate_not_after_timestamp_seconds") - time.time()
        self.assertLess(abs(peer["cert_expires_s"] - left), 86_400.0)
        soon = self.files.issue("a", "gateway-7", valid=(LONG_AGO[0], LONG_AGO[1].replace(year=2900)))
        self.assertEqual(soon, own)
        agent.signal(signal.SIGHUP)
        agent.find("certificate renewed: serial")
        self.files.issue("s", "localhost", "127.0.0.1")
        server.signal(signal.SIGHUP)
        server.find("certificate renewed: serial")

        def less() -> bool:
            now = server.peer("gateway-7")
            return now is not None and now["cert_expires_s"] < peer["cert_expires_s"] - 86_400

        poll(less, 15.0, "the new expiry of the agent's certificate")  # a SYNC of the agent is due every 5 s
        now = server.in_state("gateway-7", "alive")
        self.assertEqual((now["session"], now["since"]), (peer["session"], peer["since"]))
        self.assertEqual(server.failures(), [])


#: Does to descriptor 3 and to the environment what systemd does, and becomes the command that follows.
_AS_SYSTEMD = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3, True); "
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='heartbeat'); "
    "os.execv(sys.executable, sys.argv[2:])"
)


class EndpointTests(TlsTestCase):
    """TLS around what is no plain port."""

    def test_a_unix_socket(self) -> None:
        """``unix:``: the line says that it is TLS, and where."""
        path = self.files.path("socket")
        server = Server("--listen-tls", f"unix:{path}", "--tls-cert", self.pair[0], "--tls-key", self.pair[1])
        self.addCleanup(server.kill)
        server.find(f"^listening heartbeat tls {path}$")
        plain = socket.socket(socket.AF_UNIX)
        self.addCleanup(plain.close)
        plain.settimeout(10.0)
        plain.connect(path)
        with self.files.context().wrap_socket(plain, server_hostname="localhost") as secured:
            secured.sendall(hello(id="raw", **QUIET))
            self.assertEqual(secured.recv(4), HELLO)
            self.assertEqual(server.in_state("raw", "alive")["transport"], "tls")

    def test_no_resumption(self) -> None:
        """A client that shows a ticket of an older connection gets a full handshake all the same."""
        self.server()
        context = self.files.context()
        session: Any = None
        for number in range(2):
            plain = socket.create_connection(("127.0.0.1", self.port), 10.0)
            secured = context.wrap_socket(plain, server_hostname="localhost", session=session)
            peer = RawPeer(secured)
            self.addCleanup(peer.close)
            peer.greet(id=f"raw-{number}", **QUIET)
            self.assertEqual((secured.version(), secured.session_reused), ("TLSv1.3", False))
            session = secured.session

    def test_a_socket_of_systemd(self) -> None:
        """``systemd:``: the socket that was open before us is adopted, and who waited on it is served."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        early = socket.create_connection(listening.getsockname(), 30.0)
        self.addCleanup(early.close)
        options = ("--listen-tls", "systemd:domain=INET:name=heartbeat", "--web", "none")
        files = ("--tls-cert", self.pair[0], "--tls-key", self.pair[1])
        wanted = [sys.executable, "-m", "twisted", "heartbeat-server", *options, *files]
        process = subprocess.Popen(
            [sys.executable, "-c", _AS_SYSTEMD, str(listening.fileno()), *wanted],
            env=processes.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(listening.fileno(),),
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        peer = RawPeer(self.files.context().wrap_socket(early, server_hostname="localhost"))
        self.addCleanup(peer.close)
        peer.greet(id="raw", **QUIET)
        peer.ping()


class ReasonTests(TlsTestCase):
    """Handshakes that fail, on both ends."""

    def told(self, agent: Any, reason: str) -> None:
        """The agent's log has the reason."""
        agent.find(rf"(refused|cannot be reached): {reason}")

    def test_reasons(self) -> None:
        """The agent names what it found, the server what it saw, with OpenSSL's words: each in the phase handshake."""
        others = trustme.CA()
        own = self.files.issue("a", "a", by=others)
        server = self.server("--tls-client-ca", self.files.ca)
        plain = processes.Agent(self.port)
        self.addCleanup(plain.kill)
        pin = "sha256/" + "A" * 43 + "="
        bare, foreign = self.agent("--id", "bare"), self.agent("--tls-cert", own[0], "--tls-key", own[1])
        unpinned = self.agent("--pin", pin)
        unknown = self.agent(ca=own[0])
        self.told(bare, "tls_verify .*certificate required")
        self.told(foreign, "tls_verify .*unknown ca")
        self.told(unpinned, "tls_pin .*sha256/")
        self.told(unknown, "tls_verify certificate verify failed")
        with socket.create_connection(("127.0.0.1", self.port)) as browser:
            browser.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

            def seen() -> bool:
                found = {(one["failure_reason"], one["evidence"].get("detail")) for one in server.failures()}
                wanted = {("tls_verify", "no_certificate"), ("tls_verify", "certificate"), ("tls_handshake", "http")}
                return {*wanted, ("tls_handshake", "not_tls"), ("tls_verify", "alert")} <= found

            poll(seen, 10.0, "all reasons on the board of the server")
        for one in server.failures():
            self.assertEqual(one["phase"], "handshake")
            self.assertTrue(one["evidence"]["error"], one)

    def test_connecting(self) -> None:
        """Nobody there, and no such name: told by the agent with the phase connect's reasons."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.told(self.agent(port=port), "tcp_refused")
        self.told(self.agent(host="nobody.invalid", port=port), "dns_fail")


class SlowTests(TlsTestCase):
    """Peers that never finish a handshake."""

    def test_they_cost_nothing_afterwards(self) -> None:
        """Who sends no ClientHello, drips a byte at a time, or says nothing behind the handshake, is closed at the
        deadline with the cause of each, and no descriptor of theirs is left.
        """
        server = self.server("--handshake-timeout", "1")
        descriptors = self.descriptors(server)
        silent = [connect(self.port) for _ in range(5)]
        stalled = [secure(self.port, self.files.context()) for _ in range(5)]
        dripping = connect(self.port)
        begun = time.monotonic()
        record = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)
        for offset in range(len(record)):
            try:
                dripping.send(record[offset : offset + 1])
            except OSError:
                break
            time.sleep(0.1)
        self.assertLess(time.monotonic() - begun, 6.0)  # all of it would take 11 s
        poll(lambda: server.metric("heartbeat_connections") == 0, 3.0, "no connection is left")
        for peer in (*silent, *stalled):
            self.assertEqual(self.end_of(peer), b"")
            peer.close()
        dripping.close()
        self.assertEqual(server.metric("heartbeat_failures_total", reason="tls_timeout", phase="handshake"), 6)
        self.assertEqual(server.metric("heartbeat_failures_total", reason="hello_timeout", phase="handshake"), 5)
        poll(lambda: self.descriptors(server) <= descriptors, 3.0, "no descriptor is left")

    @staticmethod
    def descriptors(server: Server) -> int:
        """How many it has open; 0 where nobody can say."""
        folder = f"/proc/{server.pid}/fd"
        return len(os.listdir(folder)) if os.path.isdir(folder) else 0  # noqa: PTH208, PTH112  # links to sockets

    @staticmethod
    def end_of(peer: RawPeer) -> bytes:
        """What is read until the end: an orderly one, or a reset."""
        peer.sock.settimeout(3.0)
        try:
            return peer.sock.recv(100)
        except ConnectionError:
            return b""

    def test_a_server_that_sits_on_it(self) -> None:
        """Three seconds of a server's, with a detection of two: the first word comes behind the handshake, and nobody
        is dead.
        """
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        agent = self.agent("--ping-interval", "0.7", "--id", "a", port=listening.getsockname()[1])
        listening.settimeout(30.0)
        plain, _ = listening.accept()
        self.addCleanup(plain.close)
        time.sleep(3.0)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair)
        plain.settimeout(10.0)
        peer = RawPeer(context.wrap_socket(plain, server_side=True))
        self.addCleanup(peer.close)
        self.assertEqual(peer.frame().magic, HELLO)
        peer.send(hello(agreed={"ping_ms": 700, "detect_ms": 2100}, want_ping_ms=700, session="s"))
        self.assertEqual(peer.frame().magic, PING)
        self.assertEqual([line for line in agent.lines if "dead" in line or "refused" in line], [])


class RenewalTests(SynchronousTestCase):
    """A short one; ``python -m tests.real.renewal`` is the long one."""

    def test_under_load(self) -> None:
        """Connections stay open over every renewal, new ones are shown the new certificate, an expired one is
        refused and counted once.
        """
        result = renew_under_load(60, 4)
        self.assertGreaterEqual(result.opened, 60)
        self.assertEqual((result.lost, result.wrong), ([], []))
        self.assertEqual((len(result.serials), result.metrics), (5, (4.0, 1.0)))


class ExampleTests(TestCase):
    """docs/howto/tls.py."""

    async def test_it_works(self) -> None:
        """The server and the client of the page meet, with certificates on both ends and a pin."""
        with Files() as files:
            module = example("tls")
            # Of both ends: the name of the server, and the id of the client.
            certificate, key = files.issue("tls", "localhost", "gateway-7")
            pin = pin_of(pem_files(certificate, key)().read().chain[0])
            folder = str(Path(files.ca).parent)
            server = module.server(folder, _ANY)
            server.startService()
            (listening,) = [one for one in server if isinstance(one, StreamServerEndpointService)]
            port = (await listening._waitingForPort).getHost().port
            client = module.client(folder, "localhost", port, (pin,))
            client.startService()
            (beating,) = [one for one in client if isinstance(one, HeartbeatClientService)]
            heartbeat = await beating.when_alive()
            self.assertLess(await heartbeat.ping(), 5.0)
            self.assertEqual(heartbeat.peer.transport, "tls")
            await client.stopService()
            await server.stopService()


class MiddleTests(TlsTestCase):
    """A box that terminates TLS, with a certificate of an authority that the agent trusts."""

    def between(self, policy: str, *options: str) -> tuple[Server, Middle, Any]:
        """A server, a box before it, and an agent that has the pin of the server's own key."""
        server = self.server("--sync-interval", "0.2")
        middle = Middle(self.files.issue("m", "localhost"), self.port, self.files.ca)
        self.addCleanup(middle.close)
        pin = pin_of(pem_files(*self.pair)().read().chain[0])
        agent = self.agent(
            "--pin", pin, "--on-pin-mismatch", policy, "--id", "a", "--services", "auth", *options, port=middle.port
        )
        return server, middle, agent

    def test_refused(self) -> None:
        """Is found by the pin: the agent says so, and the box has heard no word."""
        server, middle, agent = self.between("refuse")
        agent.find("refused: tls_pin .*not pinned: sha256/")
        self.assertEqual(middle.heard, b"")
        self.assertIsNone(server.peer("a"))

    def test_degraded(self) -> None:
        """Goes on in phase one, with a warning; nothing of phase two was said to it."""
        server, middle, agent = self.between("degrade")
        agent.find(r"has a key that is not pinned, sha256/.*\(degrade\)")
        peer = server.in_state("a", "alive", 20.0)
        poll(lambda: middle.heard.count(b"HEAR") > 3, 10.0, "beats")
        self.assertEqual([one for one in _PHASE_TWO if one in middle.heard], [])
        self.assertEqual(peer["services"], [])

    def test_alarm(self) -> None:
        """Goes on as ever, with a warning."""
        server, _, agent = self.between("alarm")
        agent.find(r"has a key that is not pinned, sha256/.*\(alarm\)")
        poll(lambda: (one := server.peer("a")) and one["services"] == ["auth"], 10.0, "its services")


if os.name != "posix" or not sys.platform.startswith("linux"):
    for case in (CommandTests, EndpointTests, SlowTests, RenewalTests):
        case.skip = "signals of POSIX, and /proc"  # type: ignore[attr-defined]  # trial's
