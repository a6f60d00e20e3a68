"""Tests of the log lines about peers."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogPublisher, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from heartbeat.apps.peerlog import PeerLog
from heartbeat.interfaces import IHeartbeatListener
from heartbeat.liveness.events import Alive, Dead, Left, Refused, Spared, Stuck, Suspect, Synced, Unpinned
from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.peer import Peer
from heartbeat.liveness.report import EMPTY_REPORT


class Named:
    """As much of a peer as a log line tells."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.address = "192.0.2.1:9"
        self.session = ""
        self.trace_id: str | None = None


def peer(id: str = "a") -> Peer:
    """A peer of that name."""
    return cast(Peer, Named(id))


class PeerLogTests(SynchronousTestCase):
    """Lines, levels, fields and limits."""

    def setUp(self) -> None:
        """A log whose events are kept."""
        self.clock = Clock()
        self.events: list[LogEvent] = []
        publisher = LogPublisher()
        publisher.addObserver(self.events.append)  # type: ignore[arg-type]  # any callable will do
        self.log = PeerLog(self.clock, Logger("heartbeat.peer", observer=publisher))
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def told(self) -> list[tuple[str, str]]:
        """(level, text) of all lines so far, which are forgotten."""
        lines = [(event["log_level"].name, formatEvent(event)) for event in self.events]
        self.events.clear()
        return lines

    def test_it_is_a_listener(self) -> None:
        """It can be given to a factory."""
        self.assertTrue(verifyObject(IHeartbeatListener, self.log))

    def test_levels(self) -> None:
        """Changes of state are told at info, our own faults at warn, news of a peer that is well at debug."""
        someone = peer()
        for event, level in (
            (Suspect(1.0, 1.04), "info"),
            (Alive(1.0), "info"),
            (Stuck(1.0), "info"),
            (Alive(1.0), "info"),
            (Spared(1.0, "local_stall", 3.0), "warn"),
            (Synced(1.0, EMPTY_REPORT), "debug"),
        ):
            self.log.changed(someone, event)
            ((found, text),) = self.told()
            self.assertEqual(found, level, text)
            self.assertIn("a ", text)

    def test_given_up(self) -> None:
        """Who closed after a stall of ours is not called dead, and the line says whose fault it may be."""
        blamed = Evidence(1.0, detail="own_stall", lag=9.8)
        self.log.gone(peer(), Dead(1.0, "peer_reset", 0.0, blamed))
        text = "a has closed, peer_reset: we did not run for 9.8 s, and it has given us up, or is dead"
        self.assertEqual(self.told(), [("warn", text)])

    def test_who_joins_is_alive(self) -> None:
        """That somebody is alive is news only after it was not well."""
        someone = peer()
        self.log.joined(someone)
        self.log.changed(someone, Alive(1.0))
        self.assertEqual(self.told(), [("info", "a joined from 192.0.2.1:9")])

    def test_an_end_is_told_once(self) -> None:
        """Dead and Left come twice, as a change and as the end; the end is what is told."""
        for event in (Dead(1.0, "path_dead", 1.5), Left(1.0, "leaving")):
            self.log.changed(peer(), event)
            self.log.gone(peer(), event)
        self.assertEqual(
            self.told(), [("info", "a is dead: path_dead, last heard 1.5 s ago"), ("info", "a has left: leaving")]
        )

    def test_fields(self) -> None:
        """Ids and reasons are fields of the event, not only part of its text."""
        self.log.gone(peer("b"), Dead(1.0, "peer_closed", 0.25))
        (event,) = self.events
        found = {name: event[name] for name in ("peer", "reason", "phase", "address", "silent", "log_namespace")}
        self.assertEqual(
            found,
            {
                "peer": "b",
                "reason": "peer_closed",
                "phase": "live",
                "address": "192.0.2.1:9",
                "silent": 0.25,
                "log_namespace": "heartbeat.peer",
            },
        )

    def test_refused(self) -> None:
        """Who was refused is told with the reason and what was said."""
        self.log.refused(peer(), Refused(1.0, "hello_timeout"))
        self.log.refused(peer(), Refused(1.0, "terms_refused", "too slow"))
        self.assertEqual(
            [text for _, text in self.told()], ["a was refused: hello_timeout", "a was refused: terms_refused too slow"]
        )

    def test_what_tls_says(self) -> None:
        """The words of OpenSSL stand in the line where nobody else has said anything."""
        self.log.refused(peer(), Refused(1.0, "tls_verify", "", Evidence(1.0, error="unknown ca", detail="alert")))
        (event,) = self.events
        self.assertEqual(self.told(), [("info", "a was refused: tls_verify unknown ca")])
        self.assertEqual((event["reason"], event["phase"], event["detail"]), ("tls_verify", "handshake", "unknown ca"))

    def test_who_cannot_be_reached(self) -> None:
        """A connection that never came about has the phase connect."""
        self.log.refused(peer(), Refused(1.0, "tcp_refused", "", Evidence(1.0, error="refused", detail="ECONNREFUSED")))
        (event,) = self.events
        self.assertEqual(self.told(), [("info", "a cannot be reached: tcp_refused refused")])
        self.assertEqual((event["reason"], event["phase"]), ("tcp_refused", "connect"))

    def test_a_key_that_is_not_pinned(self) -> None:
        """Is a warning, with what was found and what is done about it."""
        self.log.changed(peer(), Unpinned(1.0, "sha256/x", "alarm"))
        (event,) = self.events
        ((level, text),) = self.told()
        self.assertEqual(level, "warn")
        self.assertIn("sha256/x", text)
        self.assertEqual((event["reason"], event["policy"], event["found"]), ("tls_pin", "alarm", "sha256/x"))

    def test_a_thousand_deaths(self) -> None:
        """A thousand deaths at once are ten lines, and one more ten seconds later, though nothing else happens."""
        for number in range(1000):
            self.log.gone(peer(f"p{number}"), Dead(0.0, "path_dead", 1.5))
        self.assertEqual(len(self.told()), 10)
        self.clock.advance(9.9)
        self.assertEqual(self.told(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.told(), [("info", "… and 990 more path_dead in 10 s")])

    def test_two_windows(self) -> None:
        """Windows of two reasons end each at its own time."""
        for at, reason in ((0.0, "path_dead"), (4.0, "peer_reset")):
            self.clock.advance(at)
            for _ in range(11):
                self.log.gone(peer(), Dead(0.0, reason, 1.5))
        self.told()
        self.clock.advance(6.0)
        self.assertEqual(self.told(), [("info", "… and 1 more path_dead in 10 s")])
        self.clock.advance(4.0)
        self.assertEqual(self.told(), [("info", "… and 1 more peer_reset in 10 s")])

    def test_stop(self) -> None:
        """At the end the sum is told at once, and no timer is left."""
        for _ in range(12):
            self.log.joined(peer())
        self.told()
        self.log.stop()
        self.assertEqual(self.told(), [("info", "… and 2 more joined in 10 s")])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.log.stop()
        self.assertEqual(self.told(), [])

    def test_anything_else(self) -> None:
        """An event that is none of a peer's changes writes nothing."""
        self.log.changed(peer(), cast(Any, object()))
        self.log.gone(peer(), Alive(0.0))
        self.assertEqual(self.told(), [])
