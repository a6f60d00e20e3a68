"""Certificates that are renewed while connections are open; nothing that is wrong gets in force."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from twisted.internet import ssl
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.logger import globalLogPublisher
from zope.interface import verify

from heartbeat.errors import BadCertificate, CertificateNotReady, ConfigError
from heartbeat.net import protocol
from heartbeat.net.tls.certificates import POLL, Certificates
from heartbeat.net.tls.endpoints import ServerCheck
from heartbeat.net.tls.material import Pem
from heartbeat.session.channel import Channel
from heartbeat.session.session import Session
from tests.net.tls.cases import IN_FUTURE, LONG_AGO, TlsCase, pem


class CertificatesCase(TlsCase):
    """A provider that gives what the test says, and the log."""

    def setUp(self) -> None:
        super().setUp()
        self.given: Any = pem("localhost", trusts=None)
        self.asked = 0
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        """Keep the lines of ours."""
        if event.get("log_namespace") == "heartbeat.tls":
            self.logged.append(event["log_format"].format(**event))

    def provide(self) -> Any:
        """The provider."""
        self.asked += 1
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    def serial(self, certificates: Certificates) -> int:
        """Of what is in force."""
        assert certificates.material is not None
        return certificates.material.chain[0].serial_number


class ReloadTests(CertificatesCase):
    """A new one, looked for in each of three ways."""

    def setUp(self) -> None:
        super().setUp()
        self.held = self.certificates(self.provide)
        self.first = self.serial(self.held)

    def renew(self, given: Any) -> bool:
        """Look for a new one now; whether it is in force."""
        before = self.held.material
        self.given = given
        self.assertIs(self.successResultOf(self.held.reload()), self.held)
        return self.held.material is not before

    def test_it_is_what_endpoints_want(self) -> None:
        """It provides Twisted's interface for servers, its checks that for clients."""
        verify.verifyObject(IOpenSSLServerConnectionCreator, self.held)
        verify.verifyObject(IOpenSSLClientConnectionCreator, ServerCheck(self.held, "localhost"))

    def test_by_call(self) -> None:
        """A good one is in force at once, is counted and logged with its serial and its end."""
        self.assertTrue(self.renew(pem("localhost", trusts=None)))
        self.assertEqual(self.held.reloads, {"ok": 1, "error": 0})
        self.assertEqual(len(self.logged), 1)
        self.assertIn(f"{self.serial(self.held):x}", self.logged[0])

    def test_the_same_is_nothing_new(self) -> None:
        """Content that has not changed is neither counted nor logged."""
        self.assertFalse(self.renew(self.given))
        self.assertEqual((self.held.reloads, self.logged), ({"ok": 0, "error": 0}, []))

    def test_bad_ones(self) -> None:
        """Each kind of bad content keeps the old one, counts, and logs once, however often it is looked at."""
        good = pem("localhost", trusts=None)
        assert good.certificate is not None
        for number, bad in enumerate(
            (
                replace(good, key=self.given.key),
                replace(good, certificate=good.certificate[:-50]),
                pem("localhost", trusts=None, valid=LONG_AGO),
                pem("localhost", trusts=None, valid=IN_FUTURE),
                BadCertificate("a.pem", "cannot be read"),
                OSError("the disk is gone"),
                "no certificate at all",
            ),
            1,
        ):
            for _ in range(3):
                self.assertFalse(self.renew(bad))
            self.assertEqual(self.held.reloads, {"ok": 0, "error": number}, bad)
            self.assertEqual(len(self.logged), number)
            self.assertIn("the old one stays", self.logged[-1])
        self.assertEqual(self.serial(self.held), self.first)
        self.assertTrue(self.renew(good))

    def test_what_becomes_valid(self) -> None:
        """One that is not valid yet is taken when its time has come, though its content has not changed."""
        assert self.held.material is not None
        later = self.held.material.chain[0].not_valid_before_utc.timestamp()
        self.clock.rightNow, now = later - 10.0, self.clock.rightNow
        self.assertFalse(self.renew(pem("localhost", trusts=None)))
        self.clock.rightNow = now
        self.assertTrue(self.renew(self.given))
        self.assertEqual(self.held.reloads, {"ok": 1, "error": 1})

    def test_taken_back(self) -> None:
        """Whoever puts the old content back, and breaks it again, is told again."""
        good = self.given
        for number in (1, 2):
            self.renew(BadCertificate("a.pem", "cannot be read"))
            self.renew(good)
            self.assertEqual(self.held.reloads["error"], number)

    def test_by_polling(self) -> None:
        """While it runs as a service it looks every 30 s; after that no more, and leaves no timer."""
        self.held.startService()
        self.given = pem("localhost", trusts=None)
        self.clock.pump([0.5] * int(2 * POLL - 2))
        self.assertEqual(self.serial(self.held), self.first)
        self.clock.pump([0.5] * 6)
        self.assertNotEqual(self.serial(self.held), self.first)
        self.held.stopService()
        asked = self.asked
        self.clock.pump([1.0] * 100)
        self.assertEqual(self.asked, asked)

    def test_another_provider(self) -> None:
        """Other files, or another oldest version, are taken at once; if they are bad, the old ones stay."""
        self.held.use(lambda: pem("other", trusts=None), "1.2")
        self.assertNotEqual(self.serial(self.held), self.first)
        now = self.serial(self.held)
        self.held.use(lambda: BadCertificate("x", "y"), "1.2")  # type: ignore[arg-type,return-value]  # on purpose
        self.assertEqual(self.serial(self.held), now)

    def test_expiry(self) -> None:
        """The seconds until it expires go down, and below 0; a client without certificate has none."""
        assert self.held.not_after is not None
        self.assertEqual(self.held.expires_in(), int(self.held.not_after - self.clock.seconds()))
        self.clock.rightNow, now = self.held.not_after + 100.0, self.clock.rightNow
        self.assertEqual(self.held.expires_in(), -100)
        self.clock.rightNow = now
        self.assertIsNone(self.certificates(pem()).expires_in())

    def test_no_warnings(self) -> None:
        """Objects of cryptography go straight into Twisted's and pyOpenSSL's: nobody warns."""
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            held = self.certificates(pem("localhost"))
            self.meet(self.server(held)[1], self.client(self.check(own=pem("a.example")), id="a.example")[1])
        self.assertEqual([str(one.message) for one in warned], [])
        self.assertEqual(len(self.notes.peers), 1)


class ConnectionTests(CertificatesCase):
    """What open connections notice: nothing."""

    def test_open_ones_live_on(self) -> None:
        """A renewal leaves open connections as they are; new ones get the new certificate, on either end."""
        own: list[Pem] = [pem("a")]
        server, client = self.certificates(lambda: self.given), self.certificates(lambda: own[0])
        self.given = replace(self.given, authorities=pem().authorities)
        self.successResultOf(server.reload())
        check = ServerCheck(client, "localhost")
        serials = []
        factories = self.server(server)[1], self.client(check, id="a")[1]
        for number in range(3):
            ends = self.meet(*factories)
            seen = [ends.protocols[end].getHandle().get_peer_certificate(as_cryptography=True) for end in (True, False)]
            serials.append(tuple(one.serial_number for one in seen))
            self.given, own[0] = pem("localhost"), pem("a")
            for one in (server, client):
                self.successResultOf(one.reload())
            if number == 0:
                self.run_for(3.0)
        self.assertEqual(len({one for pair in serials for one in pair}), 6)
        self.assertEqual((self.notes.deaths(), self.client_notes.deaths()), ([], []))

    def test_the_names_of_a_client(self) -> None:
        """An acceptor's session is told the names that a verified client certificate proves, before any bytes of ours;
        a connector's is told none, and neither is one whose certificate nobody has verified.
        """

        class Knowing(Session):
            __slots__ = ("told",)

            def secured(self, channel: Channel) -> None:
                self.told = channel
                super().secured(channel)

        self.patch(protocol, "Session", Knowing)
        own = pem("Gateway-7.example", "*.example", "192.0.2.7")
        for server, names in (
            (self.certificates(pem("localhost")), ("gateway-7.example", "192.0.2.7")),
            (self.certificates(pem("localhost", trusts=None)), ()),
        ):
            ends = self.meet(self.server(server)[1], self.client(self.check(own=own), id="gateway-7.example")[1])
            found = [ends.protocols[end].wrappedProtocol.driver.session.told.names for end in (True, False)]
            self.assertEqual(found, [names, ()])

    def test_when_the_clients_expires(self) -> None:
        """A client's certificate says when it expires, also where its STATE says nothing; no certificate says None."""
        self.meet(self.server(self.certificates(pem("localhost")))[1], self.client(self.check(own=pem("a")))[1])
        shown = self.notes.peers[0].as_json()["cert_expires_s"]
        self.assertAlmostEqual(shown, self.certificates(pem("b")).expires_in() or 0, delta=2)
        self.assertIsNotNone(self.client_notes.peers[0].as_json()["cert_expires_s"])


class SlowProviderTests(CertificatesCase):
    """A provider that takes its time."""

    def test_nothing_begins_before(self) -> None:
        """A server does not listen, and a client does not connect, before the first certificate is there."""
        waiting: Deferred[Pem] = Deferred()
        held = Certificates(lambda: waiting, reactor=self.clock)
        first, second = held.ready(), held.ready()
        self.assertNoResult(first)
        self.assertRaises(CertificateNotReady, held.serverConnectionForTLS, None)
        self.assertRaises(CertificateNotReady, held.clientConnectionForTLS, None)
        waiting.callback(pem("localhost", trusts=None))
        self.assertIs(self.successResultOf(first), held)
        self.assertIs(self.successResultOf(second), held)

    def test_asked_once(self) -> None:
        """While it has not answered it is not asked again; the old one stays in force."""
        held = self.certificates(self.provide)
        self.given = waiting = Deferred()
        held.startService()
        self.clock.pump([1.0] * 100)
        self.assertEqual(self.asked, 2)
        waiting.callback(pem("localhost", trusts=None))
        self.assertEqual(held.reloads["ok"], 1)
        held.stopService()

    def test_stopped_while_it_is_asked(self) -> None:
        """Stopping cancels the question, and that is no fault of the provider's."""
        held = self.certificates(self.provide)
        cancelled: list[Any] = []
        self.given = Deferred(cancelled.append)
        held.startService()
        self.clock.pump([1.0] * 40)
        held.stopService()
        self.assertEqual((len(cancelled), held.reloads, self.logged), (1, {"ok": 0, "error": 0}, []))

    def test_another_provider_meanwhile(self) -> None:
        """A provider that is replaced while it is asked is not waited for, and what it gives late is not taken."""
        late: Deferred[Pem] = Deferred(lambda _: None)  # as one that cannot be cancelled
        held = self.certificates(self.provide)
        self.given = late
        first = held.reload()
        self.assertNoResult(first)
        other = pem("other", trusts=None)
        self.successResultOf(held.use(lambda: other, "1.3"))
        self.successResultOf(first)
        now = self.serial(held)
        if not late.called:
            late.callback(pem("late", trusts=None))
        self.assertEqual((self.serial(held), held.reloads), (now, {"ok": 1, "error": 0}))

    def test_the_first_fails(self) -> None:
        """Whoever waits is told; the next who asks has the provider asked again."""
        held = Certificates(self.provide, reactor=self.clock)
        self.given = fail(BadCertificate("vault", "is sealed"))
        self.assertIn("vault is sealed", str(self.failureResultOf(held.ready(), BadCertificate).value))
        self.given = pem("localhost", trusts=None)
        self.successResultOf(held.ready())
        self.assertEqual(held.reloads, {"ok": 0, "error": 0})

    def test_no_memory_for_callbacks(self) -> None:
        """Where a process may have no memory that is writable and executable there is no TLS, and one line says why."""
        self.patch(ssl.CertificateOptions, "getContext", lambda options: (_ for _ in ()).throw(MemoryError("ffi")))
        held = Certificates(self.provide, reactor=self.clock)
        failure = self.failureResultOf(held.ready(), BadCertificate)
        self.assertRegex(str(failure.value), "^certificate cannot be used: .*MemoryDenyWriteExecute= of systemd.*$")

    def test_a_caller_that_gives_up(self) -> None:
        """Cancelling the waiting of one leaves the others waiting, and the provider asked."""
        waiting: Deferred[Pem] = Deferred()
        held = Certificates(lambda: waiting, reactor=self.clock)
        first, second = held.ready(), held.ready()
        first.cancel()
        self.failureResultOf(first)
        waiting.callback(pem("localhost", trusts=None))
        self.successResultOf(second)


class CheckTests(CertificatesCase):
    """Whom a client asks for."""

    def test_hostnames(self) -> None:
        """Names as people have them, an underscore and umlauts included; an empty one is refused where it is given."""
        held = self.certificates(pem())
        for name in ("localhost", "my_service", "bücher.example", "192.0.2.1", "2001:db8::1"):
            ServerCheck(held, name)
        for name in ("", "a" * 64 + "ü.example", "ü..example"):
            self.assertRaises(ConfigError, ServerCheck, held, name)

    def test_a_name_with_umlauts(self) -> None:
        """Is compared as its certificate has it."""
        self.meet(
            self.server(self.certificates(pem("bücher.example", trusts=None)))[1],
            self.client(self.check("bücher.example"))[1],
        )
        self.assertEqual(len(self.client_notes.peers), 1)
