"""``/api/events`` and passwords over real sockets, in clear and in TLS."""

from __future__ import annotations

import contextlib  # trial has a meaning of its own for a `suppress` in a module of tests
import http.client
import json
import re
import shutil
import socket
import ssl
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import trustme
from twisted.trial.unittest import SynchronousTestCase

from tests.real.processes import Server, poll
from tests.real.rawpeer import connect


class Following:
    """A connection to ``/api/events``, read line by line."""

    def __init__(self, connection: http.client.HTTPConnection, last: str = "", **headers: str) -> None:
        self._connection = connection
        connection.request("GET", "/api/events", headers={**headers, **({"Last-Event-ID": last} if last else {})})
        self.answer = connection.getresponse()

    def event(self) -> tuple[str, str, Any]:
        """The next one that has a name: the name, its id and its data."""
        fields: dict[str, str] = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line:
                key, _, value = line.partition(": ")
                fields[key] = value
            elif "event" in fields:
                return fields["event"], fields["id"], json.loads(fields["data"])
            else:
                fields = {}

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class EventsTests(SynchronousTestCase):
    """The stream."""

    def setUp(self) -> None:
        self.server = Server("--ping-interval", "0.5")
        self.addCleanup(lambda: self.assertEqual(self.server.complaints(), []))
        self.addCleanup(self.server.kill)

    def follow(self, last: str = "") -> Following:
        """One that follows."""
        following = Following(http.client.HTTPConnection("127.0.0.1", self.server.web, timeout=10.0), last)
        self.addCleanup(following.close)
        return following

    def come_and_go(self, name: str) -> None:
        """A peer that joins, and is gone without a word."""
        peer = connect(self.server.port)
        peer.greet(id=name, want_ping_ms=60_000, min_rx_ms=60_000)
        peer.close()
        self.server.in_state(name, "dead")

    def test_a_death(self) -> None:
        """It is told at once: joined, dead, and the failure as the board has it; also to who lost the connection."""
        following = self.follow()
        self.come_and_go("a")
        events = [following.event() for _ in range(3)]
        told = [(kind, data.get("state") or data["failure_reason"]) for kind, _, data in events]
        (failure,) = self.server.failures("a")
        self.assertEqual(told, [("peer", "alive"), ("peer", "dead"), ("failure", failure["failure_reason"])])
        self.assertEqual(events[2][2], failure)
        following.close()
        self.come_and_go("b")
        again = self.follow(events[1][1])
        names = [
            (data.get("id") if kind == "peer" else data["peer"]) for kind, _, data in (again.event(), again.event())
        ]
        self.assertEqual(names, ["a", "b"])

    def test_a_reader_that_stops(self) -> None:
        """Others are not held up by it, and when it reads again it gets everything, or a gap that says how much not."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(10.0)
        sock.connect(("127.0.0.1", self.server.web))
        sock.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        other = self.follow()
        for number in range(60):
            self.come_and_go(f"p{number:02}")
        seen = 0
        while seen < 180:
            kind, _, data = other.event()
            seen += data["missed"] if kind == "gap" else 1
        read, until = b"", time.monotonic() + 10.0
        while b'"peer":"p59"' not in read and time.monotonic() < until:
            read += sock.recv(65_536)
        missed = sum(map(int, re.findall(rb'event: gap\n[^\n]*\ndata: \{"missed":(\d+)', read)))
        self.assertEqual(len(re.findall(rb"event: (?:peer|failure)\n", read)) + missed, 180)

    def test_the_server_stops(self) -> None:
        """A drain is not held up by who follows, and the connection comes to its end."""
        following = self.follow()
        self.come_and_go("a")
        began = time.monotonic()
        self.server.stop()
        with contextlib.suppress(http.client.IncompleteRead):  # no turn was left to send the end in
            following.answer.read()
        self.assertLess(time.monotonic() - began, 5.0)


class TlsTests(SynchronousTestCase):
    """The pages over TLS, with a password."""

    def setUp(self) -> None:
        """A server with a certificate and a file of passwords."""
        folder = Path(tempfile.mkdtemp(prefix="hb-"))
        self.addCleanup(shutil.rmtree, folder)
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        secret = folder / "passwords"
        secret.touch(0o600)
        secret.write_text("ann:sesame\n")
        web = f"ssl:0:interface=127.0.0.1:privateKey={folder}/key.pem:certKey={folder}/cert.pem"
        self.server = Server("--ping-interval", "0.5", "--web-password-file", str(secret), web=web)
        self.addCleanup(lambda: self.assertEqual(self.server.complaints(), []))
        self.addCleanup(self.server.kill)
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)

    def connection(self) -> http.client.HTTPSConnection:
        """A connection that trusts the server."""
        made = http.client.HTTPSConnection("127.0.0.1", self.server.web, timeout=10.0, context=self.context)
        self.addCleanup(made.close)
        return made

    def test_all_of_it(self) -> None:
        """Without the password nothing but the probes; with it the page, and events as they come."""
        given = {"Authorization": "Basic " + b64encode(b"ann:sesame").decode()}
        wrong = {"Authorization": "Basic " + b64encode(b"ann:open").decode()}
        for path, headers, status in (
            ("/", {}, 401),
            ("/", wrong, 401),
            ("/api/events", {}, 401),
            ("/livez", {}, 200),
            ("/readyz", {}, 200),
            ("/", given, 200),
            ("/metrics", given, 200),
        ):
            connection = self.connection()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            self.assertEqual(answer.status, status, path)
        following = Following(self.connection(), **given)
        peer = connect(self.server.port)
        peer.greet(id="a", want_ping_ms=60_000, min_rx_ms=60_000)
        peer.close()
        found = poll(lambda: (event := following.event())[0] == "failure" and event, 10.0, "the failure")
        self.assertEqual(found[2]["peer"], "a")
