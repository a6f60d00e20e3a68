"""How an application ends what it sends: the half-close, and the close that is bounded but not impatient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IHalfCloseableProtocol

from heartbeat.liveness.states import State
from heartbeat.session.parting import Parting

if TYPE_CHECKING:
    from heartbeat.net.datadriver import DataDriver
    from heartbeat.net.guest import Guest
    from heartbeat.net.supply import Supply
    from heartbeat.session.stream import Stream

__all__ = ["Closing"]

LEAVING: Final = 0  # the BYE code
#: While a close waits for the path it is looked at this often.
GLANCE: Final = 0.02
#: A BYE has a second to arrive (wire.md §6); behind no more than this it does on any path worth the name.
LITTLE: Final = 16 * 1024


class Closing:
    """What waits is sent first: as long as anything moves a close goes on, and ``timeout`` after that it is given up.

    :param driver: of the connection
    :param supply: what waits
    :param guest: is told that its half-close was done
    :param timeout: seconds without any progress after which a close has failed

    :ivar half: the application will write no more
    :ivar begun: the application has closed, or its end has come otherwise: nothing more is delivered
    """

    __slots__ = ("_driver", "_guest", "_moved", "_supply", "_timeout", "_until", "begun", "half")

    def __init__(self, driver: DataDriver, supply: Supply, guest: Guest, timeout: float) -> None:
        self._driver = driver
        self._supply = supply
        self._guest = guest
        self._timeout = timeout
        self._moved: float = -math.inf  # how far the bytes had come when something last moved
        self._until = math.inf
        self.half = False
        self.begun = False

    def go_on(self, stream: Stream, read_over: bool, now: float) -> None:
        """Tell the peer what the application has ended, if all before that was sent.

        :param read_over: the application knows that the peer sends no more
        """
        driver, session, supply = self._driver, self._driver.session, self._supply
        empty = supply.producer is None and not stream.queued
        if self.half and empty and not stream.ended_out:
            stream.end()
            driver.push(now)
            if IHalfCloseableProtocol.providedBy(self._guest.protocol):
                self._guest.call(self._guest.protocol.writeConnectionLost)
        if stream.ended_out and read_over:
            self.begun = True
        if not self.begun or session.parting is not Parting.STAY:
            return
        if empty and not driver.busy and driver.unacknowledged(now) <= LITTLE:
            session.bye(LEAVING, "", now)
            driver.attend(now)
        else:
            self.is_stuck(stream, now)
            driver.look_by(min(now + GLANCE, self._until))

    def is_delivered(self, stream: Stream, paused: bool) -> bool:
        """Whether nothing is left that the application may still want, when the transport is gone."""
        if not stream.inbox or self.begun:
            return True
        return paused and self._driver.session.beats.state is State.DEAD

    def is_stuck(self, stream: Stream, now: float) -> bool:
        """Whether nothing has moved for too long; while our own producer has nothing for us, no time is counted."""
        moved = self._driver.given - self._driver.unacknowledged(now)
        idle = self._supply.producer is not None and not stream.queued
        if moved > self._moved or idle:
            self._moved = max(moved, self._moved)
            self._until = now + self._timeout
        return now >= self._until
