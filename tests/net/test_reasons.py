"""What reaches a ``connectionLost``: one of Twisted's reasons and one of ours, in one."""

from __future__ import annotations

import pickle
from typing import Any

from twisted.internet.error import ConnectionClosed, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import HeartbeatError, PeerRefused, PeerUnresponsive, TermsRefused
from heartbeat.liveness.evidence import Evidence
from heartbeat.net import Heartbeat, PeerLeft, RefusedConnection, UnresponsiveConnection
from heartbeat.net.reasons import RefusedTerms, reason_for, refusal, told
from tests.net.cases import HandCase
from tests.net.hand import bye, hello


class KindTests(SynchronousTestCase):
    """Each reason is caught by those who know Twisted, and by those who know us."""

    def test_dead(self) -> None:
        """A dead peer is a ConnectionLost, with the cause and the evidence."""
        evidence = Evidence(3.0, detail="silent")
        error = UnresponsiveConnection("path_dead", evidence)
        for kind in (ConnectionLost, ConnectionClosed, PeerUnresponsive, HeartbeatError):
            self.assertIsInstance(error, kind)
        self.assertNotIsInstance(error, ConnectionDone)
        self.assertEqual(
            (error.cause, error.evidence, str(error)), ("path_dead", evidence, "the peer is dead: path_dead")
        )

    def test_left(self) -> None:
        """A peer that left is a ConnectionDone."""
        error = PeerLeft("draining")
        for kind in (ConnectionDone, ConnectionClosed, HeartbeatError):
            self.assertIsInstance(error, kind)
        self.assertNotIsInstance(error, ConnectionLost)
        self.assertEqual((error.detail, str(error)), ("draining", "the connection was left: draining"))

    def test_refused(self) -> None:
        """A gate that never opened is a ConnectionLost, with the cause and the words of the BYE."""
        error = refusal("server_full", "come back later")
        for kind in (ConnectionLost, PeerRefused, RefusedConnection, HeartbeatError):
            self.assertIsInstance(error, kind)
        self.assertNotIsInstance(error, TermsRefused)
        self.assertEqual(str(error), "the connection was refused: server_full (come back later)")
        self.assertEqual(str(refusal("hello_timeout", "")), "the connection was refused: hello_timeout")

    def test_terms(self) -> None:
        """Refused terms are a kind of their own, for those who would offer others."""
        error = refusal("terms_refused", "too long")
        self.assertIsInstance(error, TermsRefused)
        self.assertIsInstance(error, RefusedTerms)
        self.assertIsInstance(error, ConnectionLost)

    def test_a_failure(self) -> None:
        """As a Failure each answers to ``check`` and ``trap`` of either world."""
        self.assertIs(Failure(UnresponsiveConnection("path_dead")).check(ConnectionLost), ConnectionLost)
        self.assertIs(Failure(PeerLeft("age")).trap(ConnectionDone), ConnectionDone)

    def test_plain(self) -> None:
        """They can be shown, and they go through pickle, as errors that cross processes do."""
        for error in (UnresponsiveConnection("path_dead"), PeerLeft("age"), refusal("terms_refused", "no")):
            self.assertIn(type(error).__name__, repr(error))
            again: Any = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), str(again)), (type(error), str(error)))


class ToldTests(SynchronousTestCase):
    """What a transport gives as its reason."""

    def test_none(self) -> None:
        """Whoever gives none has lost the connection; all else stays as it is."""
        self.assertIs(told(None).type, ConnectionLost)
        reason = Failure(ConnectionDone())
        self.assertIs(told(reason), reason)


class ReasonTests(HandCase):
    """Which end of a connection gives which reason."""

    def reason(self, *said: bytes, first: bytes | None = None) -> Any:
        """Of a connection on which the peer says this, and closes."""
        transport = self.connect(hello("a") if first is None else first)
        for data in said:
            transport.say(data)
        self.advance(0.01)
        transport.lose()
        return reason_for(transport.protocol.driver.session).value

    def test_byes_that_are_no_failure(self) -> None:
        """BYE 0, 1, 7 and 12: a ConnectionDone, with its detail."""
        for code, detail in {0: "leaving", 1: "draining", 7: "superseded", 12: "age"}.items():
            error = self.reason(bye(code))
            self.assertIsInstance(error, ConnectionDone)
            self.assertEqual(error.detail, detail)

    def test_byes_that_are(self) -> None:
        """All others: a ConnectionLost, with their cause; an unknown one is treated as 10."""
        causes = {
            2: "protocol_error", 3: "version_refused", 4: "terms_refused", 5: "identity_refused", 6: "id_in_use",
            8: "intercepted", 9: "ping_flood", 10: "server_full", 11: "peer_not_reading", 4711: "server_full",
        }  # fmt: skip
        for code, cause in causes.items():
            error = self.reason(bye(code))
            self.assertIsInstance(error, UnresponsiveConnection)
            self.assertEqual(error.cause, cause)
            refused = self.reason(bye(code, "why"), first=b"")
            self.assertIsInstance(refused, RefusedConnection)
            self.assertEqual((refused.cause, refused.reason), (cause, "why"))
            self.assertEqual(isinstance(refused, TermsRefused), code == 4)

    def test_our_own_byes(self) -> None:
        """What we said counts in the same way."""
        error = self.reason(b"rubbish!")
        self.assertIsInstance(error, UnresponsiveConnection)
        self.assertEqual(error.cause, "protocol_error")
        refused = self.reason(b"rubbish!", first=b"")
        self.assertEqual((refused.cause, refused.reason), ("protocol_error", "this port speaks txheartbeat frames"))

    def test_without_a_bye(self) -> None:
        """A FIN is no goodbye: a ConnectionLost, whatever Twisted called it."""
        self.assertEqual(self.reason().cause, "peer_closed")
        self.assertEqual(self.reason(first=b"").cause, "peer_closed")

    def test_left_before_the_gate(self) -> None:
        """A BYE that is no failure is still no connection."""
        refused = self.reason(bye(1, "after=100"), first=b"")
        self.assertIsInstance(refused, RefusedConnection)
        self.assertEqual(refused.reason, "after=100")

    def test_ours_alone(self) -> None:
        """An abort by our own application is no death of the peer: a ConnectionDone."""
        transport = self.connect(hello("a"))
        heartbeat: Heartbeat = transport.protocol.heartbeat
        heartbeat.abort()
        self.advance(0.01)
        error = reason_for(transport.protocol.driver.session).value
        self.assertIsInstance(error, PeerLeft)
        self.assertEqual(error.detail, "aborted")
