"""A thousand handshakes that are late, renewals in between, records in parts: nobody is called dead for it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

from heartbeat.net.tls.endpoints import ServerCheck
from tests.net.tls.cases import Ends, TlsCase, pem

SEED: Final = 20261127
CONNECTIONS: Final = 1000
#: Each is up for so long behind its gate, a detection time and a half; then it leaves.
LIFE: Final = 3.0
INTERVAL: Final = 0.7
STEP: Final = 0.1
#: How long a handshake is held up, at most: almost three detection times, and less than the handshake timeout.
LATEST: Final = 6.0
#: New ones per step, so that most are on their way at the same time as many others.
ARRIVE: Final = 12
RENEWALS: Final = 10


@dataclass
class Meeting:
    """One connection, and when its ends may hear each other.

    :ivar held_until: nothing is carried before
    """

    ends: Ends
    held_until: float
    since: float
    left: bool = False


class StormTests(TlsCase):
    """Everything in random order, the same order each time."""

    def setUp(self) -> None:
        super().setUp()
        self.random = random.Random(SEED)
        self.pair = pem("localhost", trusts=None)
        self.held = self.certificates(lambda: self.pair)
        self.factory, self.secure = self.server(self.held, interval=INTERVAL)
        check = ServerCheck(self.certificates(pem()), "localhost")
        self.connectors, self.client_side = self.client(check, id=None, interval=INTERVAL)
        self.open: list[Meeting] = []

    def arrive(self, now: float) -> None:
        """TCP is up between two more."""
        ends = Ends(self.secure.buildProtocol(None), self.client_side.buildProtocol(None), 2 * len(self.ends))
        self.ends.append(ends)
        ends.start()
        self.open.append(Meeting(ends, now + self.random.uniform(0.0, LATEST), now))

    def carry(self, meeting: Meeting, now: float) -> None:
        """Bytes in parts of any size, a few at a time; in the handshake with pauses, behind it in time."""
        if now < meeting.held_until:
            return
        ends = meeting.ends
        for _ in range(8):
            moved = [ends.carry(end, self.random.choice((1, 7, 30, 200, None))) for end in (True, False)]
            if not any(moved):
                break
        else:
            while ends.carry(True) or ends.carry(False):
                pass
        driver: Any = self.driver(ends)
        if driver is None or driver.session.gate is not None:
            if now - meeting.since < LATEST and self.random.random() < 0.5:
                meeting.held_until = now + self.random.uniform(0.0, 0.5)
        elif not meeting.left and now - driver.session.liveness.since >= LIFE:
            meeting.left = True
            driver.session.bye(0, "", now)
            driver.attend(now)

    def driver(self, ends: Ends) -> Any:
        """Of the client."""
        wrapped = ends.protocols[False].wrappedProtocol
        return None if wrapped is None else wrapped.driver

    def test_nobody_dies(self) -> None:
        """0 of 1000, on both ends; each gate opened, each beat came behind its handshake, and all have left."""
        renewed_at = {round(number * CONNECTIONS / ARRIVE / RENEWALS) for number in range(1, RENEWALS + 1)}
        step = 0
        while len(self.ends) < CONNECTIONS or self.open:
            now = self.clock.seconds()
            if step in renewed_at:
                self.pair = pem("localhost", trusts=None)
                self.successResultOf(self.held.reload())
            for _ in range(min(ARRIVE, CONNECTIONS - len(self.ends))):
                self.arrive(now)
            for meeting in self.random.sample(self.open, len(self.open)):
                self.carry(meeting, now)
            self.open = [one for one in self.open if any(one.ends.open.values())]
            self.clock.advance(STEP)
            step += 1
            self.assertLess(step, 400, "connections that do not end")
        self.assertEqual((self.notes.deaths(), self.client_notes.deaths()), ([], []))
        self.assertEqual((self.notes.refusals, self.client_notes.refusals), ([], []))
        self.assertEqual((len(self.notes.peers), len(self.client_notes.peers)), (CONNECTIONS, CONNECTIONS))
        self.assertEqual(
            (len(self.notes.departures()), len(self.client_notes.departures())), (CONNECTIONS, CONNECTIONS)
        )
        self.assertEqual(self.held.reloads, {"ok": RENEWALS, "error": 0})
        for peer in (*self.notes.peers, *self.client_notes.peers):
            self.assertGreaterEqual(peer.tally.pings_out, 3)
            self.assertEqual(peer.tally.lost, 0)
