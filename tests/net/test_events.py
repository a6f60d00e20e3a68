"""``async for event in heartbeat.events()``: changes, as they come, for as many readers as there are."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from heartbeat import Alive, Dead, Dropped, Event, Left, RoundTrip, Suspect, Synced
from heartbeat.liveness.events import Refused
from heartbeat.net import Heartbeat
from tests.net.cases import DETECT, HandCase
from tests.net.hand import HandTransport, bye, hello, ping

#: The wheel's resolution, and a step of the loop.
LATE = 0.05
#: So many wait for a slow reader.
MOST = 256


class EventCase(HandCase):
    """A connection, and readers of its events."""

    def setUp(self) -> None:
        """A connection behind its gate."""
        super().setUp()
        self.transport, self.heartbeat = self.open()
        self.read: list[Event] = []

    def open(self) -> tuple[HandTransport, Heartbeat]:
        """One more."""
        transport = self.connect(hello(f"p{len(self.transports)}"))
        heartbeat: Heartbeat = transport.protocol.heartbeat
        return transport, heartbeat

    def follow(self, stop: Callable[[Event], bool] = lambda event: False) -> Deferred[None]:
        """Read until the end, or until told to stop."""
        return Deferred.fromCoroutine(self.reader(self.heartbeat, self.read, stop))

    async def reader(self, heartbeat: Heartbeat, read: list[Event], stop: Callable[[Event], bool]) -> None:
        """As an application does it."""
        async for event in heartbeat.events():
            read.append(event)
            if stop(event):
                break

    def note(self, count: int, kind: Callable[[float], Event] = lambda at: Suspect(at, 0.0)) -> None:
        """So many events happen."""
        driver = self.transport.protocol.driver
        for number in range(count):
            driver.session.liveness.note(kind(float(number)))
        driver.attend(self.clock.seconds())

    def kinds(self, read: list[Event] | None = None) -> list[Any]:
        """Their types."""
        return [type(event) for event in (self.read if read is None else read)]


class FollowTests(EventCase):
    """An ordinary reader."""

    def test_changes_as_they_come(self) -> None:
        """Events are read in the turn in which they happen; beats are none; it ends by itself after the last one."""
        done = self.follow()
        self.advance(1.0 + LATE)
        self.assertEqual(self.kinds(), [Suspect])
        self.transport.say(ping())
        self.assertEqual(self.kinds(), [Suspect, Alive])
        self.advance(1.0, self.transport)
        self.assertEqual(self.kinds(), [Suspect, Alive])
        self.assertNoResult(done)
        self.transport.say(bye(0, "done"))
        self.successResultOf(done)
        self.assertEqual(self.kinds(), [Suspect, Alive, Left])
        self.assertEqual(self.read[-1].reason, "done")  # type: ignore[attr-defined]

    def test_after_a_death(self) -> None:
        """Dead is the last one, with its cause; the end of the transport adds nothing."""
        done = self.follow()
        self.transport.lose()
        self.successResultOf(done)
        self.assertEqual(self.kinds(), [Dead])

    def test_after_a_refusal(self) -> None:
        """So is Refused."""
        self.transport = self.connect()
        self.heartbeat = self.transport.protocol.heartbeat
        done = self.follow()
        self.transport.say(b"rubbish!")
        self.successResultOf(done)
        self.assertEqual(self.kinds(), [Refused])

    def test_from_now_on(self) -> None:
        """What happened before somebody listens is not told; after the end there is nothing to wait for."""
        self.note(3)
        done = self.follow()
        self.assertEqual(self.read, [])
        self.transport.lose()
        self.successResultOf(done)
        self.read.clear()
        self.successResultOf(self.follow())
        self.assertEqual(self.read, [])

    def test_while_we_linger(self) -> None:
        """Between our BYE and the end of the transport nothing happens any more, and the end ends it."""
        self.heartbeat.leave()
        done = self.follow()
        self.assertNoResult(done)
        self.advance(1.0 + LATE)
        self.successResultOf(done)
        self.assertEqual(self.read, [])

    def test_no_round_trips(self) -> None:
        """Answers to questions of the application are its Deferreds' business, not events."""
        done = self.follow()
        waiting = self.heartbeat.ping()
        self.answer(self.transport)
        self.successResultOf(waiting)
        self.assertNotIn(RoundTrip, self.kinds())
        self.transport.lose()
        self.successResultOf(done)

    def test_by_hand(self) -> None:
        """An iterator can also be asked for one at a time."""
        stream = self.heartbeat.events()
        self.assertIs(aiter(stream), stream)
        first = Deferred.fromCoroutine(anext(stream))  # type: ignore[arg-type]
        self.assertNoResult(first)
        self.note(1)
        self.assertIsInstance(self.successResultOf(first), Suspect)


class ReadersTests(EventCase):
    """More than one reader."""

    def test_each_reads_all(self) -> None:
        """Each call of ``events()`` is a reader of its own."""
        reads: list[list[Event]] = [[], [], []]
        done = [Deferred.fromCoroutine(self.reader(self.heartbeat, one, lambda _: False)) for one in reads]
        self.note(2)
        self.transport.say(bye())
        for one, read in zip(done, reads, strict=True):
            self.successResultOf(one)
            self.assertEqual(self.kinds(read), [Suspect, Suspect, Left])

    def test_two_on_one_stream(self) -> None:
        """Two tasks on one stream share it: each event goes to one of them, and both end."""
        stream = self.heartbeat.events()
        reads: list[list[Event]] = [[], []]

        async def share(read: list[Event]) -> None:
            read.extend([event async for event in stream])

        done = [Deferred.fromCoroutine(share(one)) for one in reads]
        for _ in range(4):
            self.note(1)
        self.transport.say(bye())
        for one in done:
            self.successResultOf(one)
        self.assertEqual(sum(len(read) for read in reads), 5)

    def test_one_that_raises(self) -> None:
        """A reader's own error ends that reader, and no other."""

        def broken(event: Event) -> bool:
            raise ZeroDivisionError

        bad, good = self.follow(broken), self.follow()
        self.note(1)
        self.failureResultOf(bad, ZeroDivisionError)
        self.note(1)
        self.transport.lose()
        self.successResultOf(good)

    def test_one_that_acts(self) -> None:
        """A reader may end the connection that it reads about."""

        def end(event: Event) -> bool:
            self.heartbeat.abort()
            return False

        done = self.follow(end)
        self.note(1)
        self.advance(LATE)
        self.successResultOf(done)
        self.assertEqual(self.kinds(), [Suspect, Left])


class LettingGoTests(EventCase):
    """Readers that stop."""

    def test_break(self) -> None:
        """``break`` lets go at once: nobody keeps the stream, and nothing is collected for it any more."""
        done = self.follow(lambda _: True)
        self.note(1)
        self.successResultOf(done)
        self.assertEqual(len(self.heartbeat._streams) + len(self.heartbeat._readers), 0)
        self.note(300)
        self.assertEqual(len(self.read), 1)

    def test_a_thousand_breaks(self) -> None:
        """An application that looks for one event at a time, again and again, leaves nothing behind."""
        for _ in range(1000):
            done = self.follow(lambda _: True)
            self.note(1)
            self.successResultOf(done)
        self.assertEqual(len(self.heartbeat._streams) + len(self.heartbeat._readers), 0)

    def test_cancelled(self) -> None:
        """A reader that is cancelled while it waits is gone; the others read on."""
        one, other = self.follow(), self.follow()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertEqual(len(self.heartbeat._readers), 1)
        self.note(1)
        self.assertEqual(len(self.read), 1)
        self.transport.lose()
        self.successResultOf(other)
        self.assertEqual(len(self.heartbeat._readers), 0)

    def test_one_of_two_is_cancelled(self) -> None:
        """Of two tasks on one stream the other one reads on."""
        stream = self.heartbeat.events()
        one, other = (Deferred.fromCoroutine(anext(stream)) for _ in range(2))  # type: ignore[arg-type]
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.note(1)
        self.assertIsInstance(self.successResultOf(other), Suspect)

    def test_a_waiting_reader_is_kept(self) -> None:
        """A task that nobody refers to, and that waits for an event, is not collected: it is told."""
        told = []
        self.follow().addCallback(told.append)
        gc.collect()
        self.transport.lose()
        self.assertEqual((self.kinds(), told), ([Dead], [None]))

    def test_an_unused_stream(self) -> None:
        """A stream that is never read is not kept by the connection."""
        gone = weakref.ref(self.heartbeat.events())
        self.assertIsNone(gone())


class SlowTests(EventCase):
    """Readers that do not keep up."""

    async def slowly(self, stream: Any, count: int) -> list[Event]:
        """Take so many."""
        return [await anext(stream) for _ in range(count)]

    def take(self, stream: Any, count: int) -> list[Event]:
        """Take so many that are there."""
        events: list[Event] = self.successResultOf(Deferred.fromCoroutine(self.slowly(stream, count)))
        return events

    def test_bounded(self) -> None:
        """256 wait; what comes then is counted in one Dropped, which stands where they are missing."""
        stream = self.heartbeat.events()
        self.note(MOST + 44)
        read = self.take(stream, MOST + 1)
        self.assertEqual(self.kinds(read[:-1]), [Suspect] * MOST)
        self.assertEqual([event.at for event in read[:3]], [0.0, 1.0, 2.0])
        self.assertEqual(read[-1], Dropped(float(MOST + 43), 44))

    def test_at_the_limit(self) -> None:
        """256 are not too many."""
        stream = self.heartbeat.events()
        self.note(MOST)
        self.assertEqual(self.kinds(self.take(stream, MOST)), [Suspect] * MOST)
        self.note(1)
        self.assertEqual(self.kinds(self.take(stream, 1)), [Suspect])

    def test_it_catches_up(self) -> None:
        """Events that come after a gap stand behind it; the count begins anew."""
        stream = self.heartbeat.events()
        self.note(MOST + 2)
        self.take(stream, 10)
        self.note(1, Alive)
        self.note(MOST)
        read = self.take(stream, MOST - 10)
        read += self.take(stream, 2)
        self.assertEqual(self.kinds(read[-2:]), [Dropped, Alive])
        self.assertEqual(read[-2].count, 2)  # type: ignore[attr-defined]
        self.assertEqual(self.kinds(self.take(stream, 9))[-1], Dropped)

    def test_the_last_word_is_never_dropped(self) -> None:
        """How it ended is told to the slowest reader, behind the gap; and then it ends."""
        stream = self.heartbeat.events()
        self.note(MOST + 5)
        self.transport.lose()
        read = self.take(stream, MOST + 2)
        self.assertEqual(self.kinds(read[-2:]), [Dropped, Dead])
        self.assertEqual(read[-2].count, 5)  # type: ignore[attr-defined]
        self.failureResultOf(Deferred.fromCoroutine(anext(stream)), StopAsyncIteration)  # type: ignore[arg-type]

    def test_news_of_the_peer(self) -> None:
        """What a peer says about itself is an event, and it can be told from the others."""
        done = self.follow(lambda event: isinstance(event, Synced))
        self.note(1)
        self.transport.say(b"HSYN" + bytes(4) + bytes(16) + bytes(8))
        self.successResultOf(done)
        self.assertEqual(self.kinds(), [Suspect, Synced])


class BoundTests(EventCase):
    """The last event comes in time."""

    def test_a_silent_peer(self) -> None:
        """A reader learns of a death within the agreed time."""
        done = self.follow()
        self.advance(3.0, self.transport)
        self.transport.say(ping())
        began = self.clock.seconds()
        self.advance(DETECT + 2 * LATE)
        self.successResultOf(done)
        self.assertApproximates(self.read[-1].at - began, DETECT, LATE)
