"""Why a handshake failed: by real handshakes of both ends, and by the words of each error there is."""

from __future__ import annotations

import errno
from typing import Any

from OpenSSL import SSL
from OpenSSL.SSL import Error
from service_identity import CertificateError, VerificationError
from twisted.internet import error, ssl
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat.errors import BadCertificate, CertificateNotReady
from heartbeat.liveness.causes import CONNECT_REASONS, FAILURE_REASONS
from heartbeat.net.causes import name_connect, name_tls, tls_text, x509_trouble
from heartbeat.net.reasons import RefusedConnection, reason_for
from heartbeat.net.tls.pins import Pins, pin_of
from tests.net.tls.cases import IN_FUTURE, LONG_AGO, Ends, TlsCase, Unchecked, authority, pem

TLS_1_2 = {"raiseMinimumTo": ssl.TLSVersion.TLSv1_2, "lowerMaximumSecurityTo": ssl.TLSVersion.TLSv1_2}


class HandshakeTests(TlsCase):
    """Two ends of ours: what each of them calls it, with the words of OpenSSL."""

    def told(self, server: Any, client: Any) -> tuple[tuple[str, str], tuple[str, str]]:
        """(reason, detail) of the server and of the client."""
        self.meet(self.server(server)[1], self.client(client)[1])
        found = []
        for notes in (self.notes, self.client_notes):
            self.assertEqual(notes.deaths(), [])
            self.assertEqual(len(notes.refusals), 1, notes.lines)
            event = notes.refusals.pop()
            self.assertIsNotNone(event.evidence)
            assert event.evidence is not None
            self.assertTrue(event.evidence.error, event)
            found.append((event.cause, event.evidence.detail or ""))
        return found[0], found[1]

    def test_that_it_can_work(self) -> None:
        """With a good pair on both ends both are up, and nobody is refused."""
        self.meet(
            self.server(self.certificates(pem("localhost")))[1], self.client(self.check(own=pem("a", "10.0.0.7")))[1]
        )
        told = [notes.lines[0] for notes in (self.notes, self.client_notes)]
        self.assertEqual(told, [("joined", "a"), ("joined", "~192.0.2.1:50001")])
        self.assertEqual(self.notes.peers[0].transport, "tls")

    def test_a_client_that_trusts_others(self) -> None:
        """An unknown authority: both ends call it tls_verify."""
        server, client = self.told(
            self.certificates(pem("localhost", trusts=None)), self.check(own=pem(trusts="others"))
        )
        self.assertEqual((server, client), (("tls_verify", "alert"), ("tls_verify", "certificate")))

    def test_a_server_that_has_expired(self) -> None:
        """An expired certificate: both ends say so."""
        given = Unchecked(pem("localhost", trusts=None, valid=LONG_AGO))
        server, client = self.told(self.certificates(given), self.check())
        self.assertEqual((server, client), (("tls_expired", "alert"), ("tls_expired", "certificate")))

    def test_a_server_that_is_not_valid_yet(self) -> None:
        """The other end of its time is the same reason, for whoever looked."""
        given = Unchecked(pem("localhost", trusts=None, valid=IN_FUTURE))
        _, client = self.told(self.certificates(given), self.check())
        self.assertEqual(client, ("tls_expired", "certificate"))

    def test_a_wrong_name(self) -> None:
        """A certificate for another name, or for no address: the client knows that it is the name."""
        for name in ("db.example", "127.0.0.2"):
            server, client = self.told(self.certificates(pem("localhost", "127.0.0.1", trusts=None)), self.check(name))
            self.assertEqual(client, ("tls_hostname", "name"))
            self.assertEqual(server, ("tls_handshake", "alert"))  # OpenSSL has no alert for what a callback dislikes

    def test_the_right_address(self) -> None:
        """An address is looked for among the addresses of the certificate."""
        for name in ("127.0.0.1", "::1"):
            check = self.check(name)
            self.meet(self.server(self.certificates(pem("127.0.0.1", "::1", trusts=None)))[1], self.client(check)[1])
        self.assertEqual(len(self.client_notes.peers), 2)

    def test_a_client_without_certificate(self) -> None:
        """TLS 1.3 tells the client late, when its own handshake is done: both ends call it tls_verify still."""
        server, client = self.told(self.certificates(pem("localhost")), self.check())
        self.assertEqual((server, client), (("tls_verify", "no_certificate"), ("tls_verify", "no_certificate")))

    def test_a_client_of_another_authority(self) -> None:
        """The same for a certificate that the server does not take."""
        server, client = self.told(self.certificates(pem("localhost")), self.check(own=pem("a", by="others")))
        self.assertEqual((server, client), (("tls_verify", "certificate"), ("tls_verify", "alert")))

    def test_a_client_that_has_expired(self) -> None:
        """... or that has expired."""
        given = self.certificates(Unchecked(pem("a", valid=LONG_AGO)))
        check = self.check()
        check._certificates = given
        server, client = self.told(self.certificates(pem("localhost")), check)
        self.assertEqual((server, client), (("tls_expired", "certificate"), ("tls_expired", "alert")))

    def test_the_same_with_tls_1_2(self) -> None:
        """An older TLS, where it is allowed, has the same reasons; there the client hears in time."""
        check = self.check()
        check._certificates = self.certificates(pem(), minimum="1.2")
        server = self.certificates(pem("localhost"), minimum="1.2")
        found = self.told(server, _Capped(check))
        self.assertEqual(found[0], ("tls_verify", "no_certificate"))
        self.assertEqual(found[1][0], "tls_handshake")  # TLS 1.2 has no alert for it: "handshake failure"

    def test_no_common_version(self) -> None:
        """A client that speaks TLS 1.2 only, and a server that does not: both ends say that it is the version."""
        roots = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority().cert_pem.bytes())])
        old = ssl.optionsForClientTLS("localhost", trustRoot=roots, extraCertificateOptions=TLS_1_2)
        server, client = self.told(self.certificates(pem("localhost", trusts=None)), old)
        self.assertEqual((server, client), (("tls_handshake", "version"), ("tls_handshake", "version")))

    def test_tls_of_the_application(self) -> None:
        """Contexts of Twisted's own give what their errors say: a name, or a certificate."""
        pair = self.certificates(pem("localhost", trusts=None))
        for by, name, reason in (("ours", "db.example", "tls_hostname"), ("others", "localhost", "tls_verify")):
            roots = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority(by).cert_pem.bytes())])
            self.meet(self.server(pair)[1], self.client(ssl.optionsForClientTLS(name, trustRoot=roots))[1])
            self.assertEqual(self.client_notes.refusals.pop().cause, reason)

    def test_a_key_that_is_not_pinned(self) -> None:
        """A pin that refuses is looked at within the handshake, so that the server hears an alert."""
        pins = Pins((pin_of(pem("x").read().chain[0]),))
        server, client = self.told(self.certificates(pem("localhost", trusts=None)), self.check(pins=pins))
        self.assertEqual((server, client), (("tls_handshake", "alert"), ("tls_pin", "key")))

    def test_the_reason_reaches_who_waits(self) -> None:
        """Who asked for the connection gets a RefusedConnection with the reason, and OpenSSL's words."""
        server = self.server(self.certificates(pem("localhost", trusts=None)))[1]
        ends = Ends(server.buildProtocol(None), self.client(self.check("db.example"))[1].buildProtocol(None))
        ours = ends.protocols[False].wrappedProtocol
        ends.start()
        ends.settle(self.clock)
        refused: Any = reason_for(ours.driver.session).value
        self.assertIsInstance(refused, RefusedConnection)
        self.assertEqual(refused.cause, "tls_hostname")
        self.assertIn("db.example", refused.reason)


@implementer(IOpenSSLClientConnectionCreator)
class _Capped:
    """A check whose connections speak TLS 1.2 at most."""

    def __init__(self, check: Any) -> None:
        self._check = check

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        connection = self._check.clientConnectionForTLS(protocol)
        connection.set_options(SSL.OP_NO_TLSv1_3)
        return connection


class OneSidedTests(TlsCase):
    """A server that meets what is no TLS at all."""

    def meets(self, said: bytes) -> tuple[str, str | None, str | None]:
        """What the server calls it: reason, detail, and OpenSSL's words."""
        factory, secure = self.server(self.certificates(pem("localhost", trusts=None)))
        ends = Ends(secure.buildProtocol(None), None)
        ends.open[True] = True
        ends.protocols[True].makeConnection(ends.wires[True])
        if said:
            ends.protocols[True].dataReceived(said)
        ends.close(True, error.ConnectionDone())
        self.assertEqual(factory.connections, 0)
        event = self.notes.refusals.pop()
        seen = event.evidence
        return event.cause, None if seen is None else seen.detail, None if seen is None else seen.error

    def test_plain_http(self) -> None:
        """A browser that was told http://."""
        self.assertEqual(self.meets(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ("tls_handshake", "http", "http request"))

    def test_plain_heartbeats(self) -> None:
        """An agent that was told --connect in the place of --connect-tls."""
        self.assertEqual(self.meets(b'HELO\0\0\0\x20{"v":1}')[:2], ("tls_handshake", "not_tls"))
        self.assertEqual(self.meets(b"HEAR\0\1\0\1")[:2], ("tls_handshake", "not_tls"))

    def test_nothing(self) -> None:
        """Who connects and goes, as a balancer's check does, has no fault of TLS."""
        self.assertEqual(self.meets(b"")[0], "unattributed")  # that it was a FIN is seen on a socket only


class TableTests(SynchronousTestCase):
    """The function itself."""

    def test_words(self) -> None:
        """Each of OpenSSL's words that says more than "failed" has its reason and its detail."""
        for words, reason, detail in (
            ("tlsv1 alert unknown ca", "tls_verify", "alert"),
            ("tlsv13 alert certificate required", "tls_verify", "no_certificate"),
            ("sslv3 alert certificate expired", "tls_expired", "alert"),
            ("ssl/tls alert certificate expired", "tls_expired", "alert"),
            ("sslv3 alert bad certificate", "tls_verify", "alert"),
            ("ssl/tls alert certificate unknown", "tls_verify", "alert"),
            ("tlsv1 unrecognized name", "tls_hostname", "alert"),
            ("sslv3 alert handshake failure", "tls_handshake", "alert"),
            ("tlsv1 alert protocol version", "tls_handshake", "version"),
            ("unsupported protocol", "tls_handshake", "version"),
            ("wrong version number", "tls_handshake", "not_tls"),
            ("https proxy request", "tls_handshake", "http"),
            ("no shared cipher", "tls_handshake", "cipher"),
            ("certificate verify failed", "tls_verify", "certificate"),
            ("something that nobody has seen", "tls_handshake", "error"),
        ):
            failed = Error([("SSL routines", "", words)])
            self.assertEqual(name_tls(failed), (reason, detail), words)
            self.assertEqual(tls_text(failed), words)

    def test_empty_errors(self) -> None:
        """An error of OpenSSL without words is one of the handshake still."""
        for failed in (Error(), Error([])):
            self.assertEqual(name_tls(failed), ("tls_handshake", "error"))
            self.assertTrue(tls_text(failed))

    def test_names(self) -> None:
        """Both errors of service-identity are about the name."""
        for failed in (VerificationError([]), CertificateError("no names")):
            self.assertEqual(name_tls(failed), ("tls_hostname", "name"))

    def test_what_is_not_of_tls(self) -> None:
        """All else has another name, which others find."""
        for failed in (error.ConnectionLost(), error.ConnectionDone(), ValueError()):
            self.assertIsNone(name_tls(failed))

    def test_certificates(self) -> None:
        """Out of its time is expired; all else does not verify, the unknown included."""
        self.assertEqual(
            [x509_trouble(code)[0] for code in (9, 10, 20, 18, 12345)], ["tls_expired"] * 2 + ["tls_verify"] * 3
        )
        self.assertIn("12345", x509_trouble(12345)[1])

    def test_connecting(self) -> None:
        """What Twisted's endpoints fail with, as it is raised."""
        for failed, reason, detail in (
            (error.DNSLookupError("no results"), "dns_fail", "lookup"),
            (error.UnknownHostError(), "dns_fail", "lookup"),
            (error.ConnectionRefusedError(), "tcp_refused", "refused"),
            (error.getConnectError((errno.ECONNREFUSED, "refused")), "tcp_refused", "ECONNREFUSED"),
            (error.TimeoutError(), "tcp_timeout", "timeout"),
            (error.getConnectError((errno.ETIMEDOUT, "timed out")), "tcp_timeout", "ETIMEDOUT"),
            (WaitedTooLong(10.0, "Deferred"), "tcp_timeout", "timeout"),
            (error.getConnectError((errno.ENETUNREACH, "no route")), "tcp_unreachable", "ENETUNREACH"),
            (error.getConnectError((errno.EHOSTUNREACH, "no route")), "tcp_unreachable", "EHOSTUNREACH"),
            (error.getConnectError((errno.ENOENT, "no such file")), "tcp_unreachable", "ENOENT"),
            (error.ConnectBindError(), "tcp_unreachable", "unreachable"),
            (OSError(errno.ENETUNREACH, "no route"), "tcp_unreachable", "ENETUNREACH"),
            (BadCertificate("a.pem", "has expired"), "tls_handshake", "own_certificate"),
            (CertificateNotReady(), "tls_timeout", "own_certificate"),
            (VerificationError([]), "tls_hostname", "name"),
            (LookupError("whatever"), "unattributed", "LookupError"),
        ):
            self.assertEqual(name_connect(failed), (reason, detail), failed)

    def test_all_are_on_the_list(self) -> None:
        """No reason is given that is not on the closed list; those of TCP have the phase connect."""
        self.assertLessEqual({"tls_verify", "tls_hostname", "tls_expired", "tls_handshake"}, FAILURE_REASONS)
        for name in ("dns_fail", "tcp_refused", "tcp_timeout", "tcp_unreachable"):
            self.assertIn(name, CONNECT_REASONS)
