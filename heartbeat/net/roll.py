"""Who is connected under which id: one live connection per id, in the order in which gates would open (wire.md §4)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from heartbeat.liveness.causes import name_silence
from heartbeat.liveness.states import FINAL, State
from heartbeat.session.identity import PROVED, strength
from heartbeat.session.parting import Parting
from heartbeat.session.past import Pasts, explained, remembered

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from heartbeat.net.driver import Driver
    from heartbeat.net.sessions import Sessions
    from heartbeat.net.wheel import Wheel
    from heartbeat.session.past import Past
    from heartbeat.session.session import Session

__all__ = ["Roll"]

ID_IN_USE: Final = 6  # BYE codes
SUPERSEDED: Final = 7
# The older connection has this long to show a sign of life, however slow its path is.
LONGEST_WAIT: Final = 2.0
# ... and is looked at this often, so that a newcomer hears soon.
GLANCE: Final = 0.05


class Roll:
    """The named connections of one factory, and their sessions."""

    def __init__(self, wheel: Wheel, sessions: Sessions) -> None:
        self._wheel = wheel
        self._sessions = sessions
        self._drivers: dict[str, Driver] = {}
        self._contests: dict[str, Contest] = {}
        self._waiting: dict[Driver, Deferred[object]] = {}  # until others have been asked for their session
        self._pasts = Pasts()

    def applies(self, driver: Driver, now: float) -> None:
        """A HELLO may take effect: admit it, or let it wait for what is known elsewhere of the session it names."""
        if driver.session.applicant is None or driver in self._waiting:
            return
        fetched = self._sessions.fetch(driver.session)
        if fetched is None:
            self._contend(driver, now)
            return
        self._waiting[driver] = fetched
        fetched.addBoth(lambda _: self._fetched(driver))

    def _fetched(self, driver: Driver) -> None:
        """Others were asked, or did not answer in time: it comes in, in any case."""
        if self._waiting.pop(driver, None) is not None:
            now = driver.seconds()
            self._contend(driver, now)
            driver.attend(now)

    def _contend(self, driver: Driver, now: float) -> None:
        """Admit it, or let it wait for the older connection of that id."""
        session = driver.session
        name = session.peer.id
        contest = self._contests.get(name)
        if session.applicant is None or (contest is not None and driver in contest.newcomers):
            return
        older = self._drivers.get(name)
        if contest is not None:
            older = contest.older  # whatever has become of it: those who wait came first
        elif older is driver or (older is not None and older.session.beats.state in FINAL):
            older = None
        if older is None:
            self.admit(driver, now)
        elif self._takes_over(session, older.session):
            self._supersede(older, contest, now)
            self.admit(driver, now, older)
        elif contest is not None:
            contest.newcomers.append(driver)
        else:
            self._contests[name] = contest = Contest(self, name, older, driver, now)
            self._wheel.put(contest, now + contest.glance)

    def _takes_over(self, newcomer: Session, older: Session) -> bool:
        """It has proved the id; or it shows the token of that session, on a path from which none can be stolen."""
        if strength(newcomer.peer.identity) == PROVED:
            return True
        gate, applicant = newcomer.gate, newcomer.applicant
        if gate is None or applicant is None or not gate.bound:
            return False
        claim = self._sessions.claim(applicant.resume, newcomer.peer)
        return claim is not None and claim.session == older.peer.session

    def _supersede(self, older: Driver, contest: Contest | None, now: float) -> None:
        """The older connection gives way; whoever waits for its end hears that the id lives."""
        older.session.bye(SUPERSEDED, "a newer connection has taken over", now)
        older.attend(now)
        if contest is not None:
            contest.settle(now, alive=True)

    def admit(self, driver: Driver, now: float, older: Driver | None = None) -> None:
        """The gate may open for it. That it is back may say how it was lost.

        :param older: the connection that gives way to this one
        """
        session = driver.session
        applicant = session.applicant
        if applicant is None:
            return
        past = self._past(session.peer.id, now)
        claim = self._sessions.claim(applicant.resume, session.peer)
        self._sessions.admit(session, claim, now, None if older is None else older.session)
        if past is not None and past.proof == session.peer.identity:
            event = explained(past, session, applicant.last, now)
            if event is not None:
                session.liveness.note(event)

    def _past(self, name: str, now: float) -> Past | None:
        """How the connection of this id before was lost, which may have been this very moment."""
        past = self._pasts.recall(name, now)
        older = self._drivers.get(name)
        if older is not None and older.session.beats.state is State.DEAD:
            return remembered(older.session, older.session.liveness.terms.detect)
        return past

    def opened(self, driver: Driver) -> None:
        """The gate of a connection opened."""
        if driver.session.peer.session:
            self._drivers[driver.session.peer.id] = driver

    def ended(self, driver: Driver, now: float) -> None:
        """A connection is gone."""
        fetched = self._waiting.pop(driver, None)
        if fetched is not None:
            fetched.cancel()
        self._sessions.ended(driver.session, now)
        name = driver.session.peer.id
        if self._drivers.get(name) is driver:
            del self._drivers[name]
            past = remembered(driver.session, driver.session.liveness.terms.detect)
            if past is not None:
                self._pasts.remember(past)
        contest = self._contests.get(name)
        if contest is None:
            return
        if driver in contest.newcomers:
            contest.newcomers.remove(driver)
        if contest.older is driver:
            contest.settle(now, alive=False)
        elif not contest.newcomers:
            self._close(contest)

    def _close(self, contest: Contest) -> None:
        self._contests.pop(contest.name, None)
        self._wheel.remove(contest)


class Contest:
    """Newcomers that wait while the older connection of their id shows whether it lives. One PING for all.

    :ivar glance: how often it is looked at, seconds
    """

    def __init__(self, roll: Roll, name: str, older: Driver, newcomer: Driver, now: float) -> None:
        self.name = name
        self.older = older
        self.newcomers = [newcomer]
        self.tick = self.place = -1
        self._roll = roll
        self._asked_at = now
        beats = older.session.beats
        self._wait = min(LONGEST_WAIT, beats.liveness.terms.answer_time(beats.rtt))
        # One contest after the other must not ask faster than the older peer allows: its flood control would end it.
        self.glance = min(max(GLANCE, beats.floor), self._wait)
        if not beats.full:
            older.session.ping(now)
            older.attend(now)
        self._seen = older.look(now)

    def wake(self, now: float) -> float | None:
        """The wheel's call: look whether anything was heard."""
        liveness = self.older.session.liveness
        if liveness.heard_at > self._asked_at:
            self.settle(now, alive=True)
        elif liveness.attention.awake(self._asked_at, now, self._wait / 8) >= self._wait:
            self.settle(now, alive=False)
        else:
            return now + self.glance
        return None

    def stepped(self, by: float, now: float) -> None:
        """A contest runs on no wall clock."""

    def settle(self, now: float, *, alive: bool) -> None:
        """The older one lives: the newcomers hear BYE 6. Else it is dead, and the first of them comes in."""
        self._roll._close(self)
        older, self.newcomers, waiting = self.older, [], self.newcomers
        if not alive and older.session.beats.state not in FINAL:
            seen = older.look(now)
            cause, detail = name_silence(self._seen, seen)
            if cause == "unattributed":
                detail = "no answer while another connection asked for its id"
            older.session.liveness.condemn(cause, now, replace(seen, detail=detail))
            older.attend(now)
        for newcomer in waiting:
            if newcomer.session.parting is not Parting.STAY:
                continue
            if alive:
                newcomer.session.bye(ID_IN_USE, "this id is connected", now)
            else:
                self._roll.admit(newcomer, now)
                alive = True
            newcomer.attend(now)
