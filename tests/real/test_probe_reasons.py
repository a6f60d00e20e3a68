"""heartbeat.probes.http against servers that fail in each way that a web server can, over the loopback."""

from __future__ import annotations

import datetime as dt
import socket
import struct
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor, ssl
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from heartbeat.probes.http import HttpProbe, Outcome
from heartbeat.probes.reasons import Expected, Progress, Trouble, trouble_with, wrong_answer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"
TIMEOUT = 0.4


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """An answer of a web server."""
    lines = (f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


class Rude(Protocol):
    """Says what it is told to say when a request has come, and then does what it is told to do."""

    def __init__(self, says: bytes | None, does: Callable[[Any], object] | None, asked: list[bytes]) -> None:
        self.says = says
        self.does = does
        self.asked = asked
        self.lost = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True

    def dataReceived(self, data: bytes) -> None:
        self.asked.append(data)
        assert self.transport is not None
        if self.says is not None:
            self.transport.write(self.says)
        if self.does is not None:
            self.does(self.transport)


def descriptors() -> set[str]:
    """The sockets that this process has open."""
    links = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    return {one for one in links if one.startswith("socket:")}


def reset(transport: Any) -> None:
    """End it with an RST."""
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abortConnection()


def close(transport: Any) -> None:
    """End it in good order."""
    transport.loseConnection()


class ProbeCase(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.asked: list[bytes] = []
        self.connections: list[Any] = []
        self.addCleanup(self.nothing_open)

    async def nothing_open(self) -> None:
        """A probe that is over holds no connection open."""
        for one in self.connections:
            if not one.lost:
                one.transport.abortConnection()
        await deferLater(reactor, 0.02)

    async def serve(
        self, says: bytes | None = None, does: Callable[[Any], object] | None = None, tls: Any = None
    ) -> int:
        """A server; its port."""
        case = self

        class Servers(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> Rude:
                protocol = Rude(says, does, case.asked)
                case.connections.append(protocol)
                return protocol

        if tls is None:
            port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Servers())
        else:
            port = reactor.listenSSL(0, Servers(), tls, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def probe(self, url: str, **more: Any) -> Outcome:
        """Ask once."""
        more.setdefault("timeout", TIMEOUT)
        return await HttpProbe(url, reactor, **more).ask({"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"})

    async def fails(self, url: str, reason: str, detail: str | None = None, **more: Any) -> None:
        """Ask once, and find this reason."""
        outcome = await self.probe(url, **more)
        assert outcome.trouble is not None, f"{url} is well, and should be {reason}"
        self.assertEqual(outcome.trouble.reason, reason, outcome)
        if detail is not None:
            self.assertIn(detail, outcome.trouble.detail)
        self.assertLess(outcome.seconds, more.get("timeout", TIMEOUT) + 1.0)


class ConnectTests(ProbeCase):
    """Before there is a connection."""

    async def test_unknown_host(self) -> None:
        """No such name (RFC 6761: ``.invalid`` never is one)."""
        await self.fails("http://nobody.invalid/", "dns_fail", timeout=5.0)

    async def test_refused(self) -> None:
        """Nobody listens."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        await self.fails(f"http://127.0.0.1:{port}/", "tcp_refused", timeout=2.0)

    @skipUnless(sys.platform == "linux", "a queue that is full swallows a SYN only on Linux")
    async def test_blackhole(self) -> None:
        """A path that swallows the SYN: a listener whose queue is full does the same."""
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting = []
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(full.getsockname())
                waiting.append(one)
            await self.fails(f"http://127.0.0.1:{full.getsockname()[1]}/", "tcp_timeout")
            for one in waiting:
                one.close()


class AnswerTests(ProbeCase):
    """Behind the connection."""

    async def test_well(self) -> None:
        """A right answer; the request carries our name and the traceparent."""
        port = await self.serve(OK)
        outcome = await self.probe(f"http://127.0.0.1:{port}/x?y=1", expected=Expected(200, b"ell"))
        self.assertEqual((outcome.trouble, outcome.status), (None, 200))
        (request,) = self.asked
        self.assertTrue(request.startswith(b"GET /x?y=1 HTTP/1.1\r\n"))
        headers = request.lower()
        for line in (b"user-agent: txheartbeat/", b"traceparent: 00-aaaa", b"connection: close"):
            self.assertIn(line, headers)

    async def test_head(self) -> None:
        """HEAD has no body to wait for."""
        port = await self.serve(b"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n")
        outcome = await self.probe(f"http://127.0.0.1:{port}/", method="HEAD")
        self.assertIsNone(outcome.trouble)

    async def test_table(self) -> None:
        """Each way to fail, and its reason."""
        large = b"x" * 5000
        away = "Location: /elsewhere"
        for what, says, does, reason, detail, more in (
            ("silent", None, None, "http_timeout", "no answer", {}),
            ("half a head", b"HTTP/1.1 200 OK\r\nContent-", None, "http_timeout", "no answer", {}),
            ("half a body", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", None, "http_timeout", "body", {}),
            ("reset", None, reset, "peer_reset", "", {}),
            ("reset in the body", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", reset, "peer_reset", "", {}),
            ("closed", None, close, "peer_closed", "", {}),
            ("not HTTP", b"220 mail.example.net ESMTP\r\n" * 9, None, "http_protocol", "", {}),
            ("binary", b"\x00\x01\x02\r\n\r\n", None, "http_protocol", "", {}),
            ("404", answer(404), None, "http_4xx", "status 404", {}),
            ("503", answer(503, b"busy"), None, "http_5xx", "status 503", {}),
            ("another status", answer(201), None, "http_protocol", "status 201", {"expected": Expected(200)}),
            ("another body", OK, None, "http_protocol", "another body", {"expected": Expected(None, b"sick")}),
            ("too large", answer(200, large), None, "http_protocol", "too large", {"most": 4096}),
            ("a redirect", answer(302, b"", away), None, "http_protocol", "status 302", {}),
            ("to nowhere", answer(302, b"", "Location: http://[::1/"), None, "http_protocol", "", {"redirects": 1}),
            ("redirects", answer(302, b"go", away), None, "http_protocol", "status 302", {"redirects": 3}),
        ):
            self.asked.clear()
            port = await self.serve(says, does)
            await self.fails(f"http://127.0.0.1:{port}/", reason, detail, **more)
            self.assertEqual(len(self.asked), 4 if what == "redirects" else 1, what)

    async def test_redirects_that_are_followed(self) -> None:
        """Up to the limit, with the status of the last answer; never to anything but HTTP."""
        well = await self.serve(OK)
        port = await self.serve(answer(307, b"there", f"Location: http://127.0.0.1:{well}/y"))
        outcome = await self.probe(f"http://127.0.0.1:{port}/", redirects=1, expected=Expected(None, b"well"))
        self.assertEqual((outcome.trouble, outcome.status), (None, 200))
        port = await self.serve(answer(301, b"", "Location: file:///etc/passwd"))
        await self.fails(f"http://127.0.0.1:{port}/", "http_protocol", "status 301", redirects=5)

    async def test_expected(self) -> None:
        """A status that is expected is right, whatever it is."""
        for status in (404, 302, 500):
            port = await self.serve(answer(status))
            outcome = await self.probe(f"http://127.0.0.1:{port}/", expected=Expected(status))
            self.assertIsNone(outcome.trouble, status)

    @skipUnless(sys.platform == "linux", "descriptors are counted in /proc")
    async def test_nothing_stays_open(self) -> None:
        """Neither a body that is too large nor one that never ends leaves a connection or a timer behind."""
        endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 9000
        port = await self.serve(endless)
        before = descriptors()
        for most in (4096, 100_000):
            await self.probe(f"http://127.0.0.1:{port}/", most=most, timeout=0.2)
        while not all(one.lost for one in self.connections):
            await deferLater(reactor, 0.01)
        self.assertEqual(descriptors() - before, set())


@skipUnless(find_spec("trustme"), "trustme is not installed: pip install 'txheartbeat[test]'")
class TlsTests(ProbeCase):
    """``https``."""

    def setUp(self) -> None:
        import trustme

        super().setUp()
        self.ca = trustme.CA()
        self.trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(self.ca.cert_pem.bytes())])

    def options(self, *names: str, ca: Any = None, **more: Any) -> Any:
        """A server's certificate."""
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        issued = (ca or self.ca).issue_cert(*names, **more)
        return ssl.CertificateOptions(
            privateKey=load_pem_private_key(issued.private_key_pem.bytes(), None),
            certificate=x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()),
        )

    async def test_well(self) -> None:
        """A name and an address that the certificate is for."""
        port = await self.serve(OK, tls=self.options("localhost", "127.0.0.1"))
        for host in ("localhost", "127.0.0.1"):
            outcome = await self.probe(f"https://{host}:{port}/", trust=self.trust, timeout=3.0)
            self.assertIsNone(outcome.trouble, host)

    async def test_certificates(self) -> None:
        """A wrong name, one that is over, one that is not yet, one of an issuer that nobody knows."""
        import trustme

        now = dt.datetime.now(dt.UTC)
        old = {"not_before": now - dt.timedelta(9), "not_after": now - dt.timedelta(1)}
        new = {"not_before": now + dt.timedelta(1), "not_after": now + dt.timedelta(9)}
        for what, options, reason in (
            ("wrong name", self.options("other.example"), "tls_hostname"),
            ("expired", self.options("127.0.0.1", **old), "tls_expired"),
            ("not yet", self.options("127.0.0.1", **new), "tls_expired"),
            ("untrusted", self.options("127.0.0.1", ca=trustme.CA()), "tls_verify"),
        ):
            port = await self.serve(OK, tls=options)
            self.asked.clear()
            await self.fails(f"https://127.0.0.1:{port}/", reason, trust=self.trust, timeout=3.0)
            self.assertEqual(self.asked, [], f"{what}: the request was sent all the same")

    async def test_handshakes(self) -> None:
        """Somebody who never shakes hands, one who speaks something else, one who hangs up."""
        for says, does, reason in (
            (None, None, "tls_timeout"),
            (answer(400), None, "tls_handshake"),
            (None, close, "tls_handshake"),
            (None, reset, "tls_handshake"),
        ):
            port = await self.serve(says, does)
            await self.fails(f"https://127.0.0.1:{port}/", reason, trust=self.trust)

    async def test_silent_behind_tls(self) -> None:
        """Behind the handshake silence is that of the web server."""
        port = await self.serve(tls=self.options("127.0.0.1"))
        await self.fails(f"https://127.0.0.1:{port}/", "http_timeout", trust=self.trust)


class PureTests(TestCase):
    """The functions by themselves."""

    def test_what_nobody_foresaw(self) -> None:
        """An exception that is on no list is unattributed, with its words."""
        self.assertEqual(trouble_with(RuntimeError("a\nb"), Progress()), Trouble("unattributed", "a b"))

    def test_unreachable(self) -> None:
        """What the kernel refuses to route."""
        from twisted.internet.error import ConnectError, NoRouteError

        for problem in (NoRouteError(), ConnectError(101, "Network is unreachable"), OSError(113, "No route")):
            self.assertEqual(trouble_with(problem, Progress()).reason, "tcp_unreachable")

    def test_any_success(self) -> None:
        """Without a wish every 2xx is right."""
        self.assertIsNone(wrong_answer(299, b"", Expected()))
        self.assertEqual(wrong_answer(199, b"", Expected()), Trouble("http_protocol", "status 199"))
