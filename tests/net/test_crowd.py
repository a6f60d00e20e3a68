"""Too many peers due in one turn: we suspect ourselves first, and ask all of them once more."""

from __future__ import annotations

from heartbeat import Dead, Spared
from heartbeat.wire.frames import Ping
from tests.net.cases import DETECT, INTERVAL, HandCase
from tests.net.hand import HandTransport, hello, ping

#: The wheel's resolution, and a step of the loop.
LATE = 0.05
#: What an asked peer has to answer, and half of it: the wait for the one more question.
TIMEOUT = DETECT - INTERVAL


class CrowdTests(HandCase):
    """More than 8, and more than a tenth of those watched (``architecture.md``, "The verdict", 5)."""

    def peers(self, count: int) -> list[HandTransport]:
        """So many peers, each heard at this very moment."""
        transports = [self.connect(hello(f"p{number}") + ping()) for number in range(count)]
        self.advance(2.0, *transports)
        for transport in transports:
            transport.say(ping())
            transport.said()
        self.notes.events.clear()
        return transports

    def died_at(self) -> list[float]:
        """When each of the dead died."""
        return [at for at, _, event in self.notes.events if isinstance(event, Dead)]

    def test_a_crowd_is_asked_once_more(self) -> None:
        """All twenty fall silent at once: each is asked once more, spared once, and dead half a timeout later."""
        transports = self.peers(20)
        began = self.clock.seconds()
        self.advance(DETECT + LATE)
        self.assertEqual(self.died_at(), [])
        spared = [event.reason for _, event in self.notes.of(Spared) if isinstance(event, Spared)]
        self.assertEqual(spared, ["mass_timeout"] * 20)
        for transport in transports:
            self.assertGreaterEqual(sum(isinstance(frame, Ping) for frame in transport.said()), 2)
        self.advance(TIMEOUT / 2 + 2 * LATE)
        self.assertEqual(len(self.died_at()), 20)
        for died in self.died_at():
            self.assertTrue(DETECT + TIMEOUT / 2 - LATE <= died - began <= DETECT + TIMEOUT / 2 + 2 * LATE)
        self.advance(5.0)
        self.assertEqual(len(self.notes.of(Spared)), 20)

    def test_who_answers_lives(self) -> None:
        """The one more question is a fair one: who answers it is alive, the rest are dead."""
        transports = self.peers(20)
        self.advance(DETECT + LATE)
        for transport in transports[:12]:
            self.answer(transport)
        self.advance(TIMEOUT / 2 + 2 * LATE, *transports[:12])
        self.assertEqual(sorted(name for name, _ in self.notes.deaths()), [f"p{number}" for number in range(12, 20)])
        self.advance(5.0, *transports[:12])
        self.assertEqual(len(self.notes.deaths()), 8)

    def test_a_few_are_judged(self) -> None:
        """Eight of eight are no crowd: they are dead in the agreed time."""
        self.peers(8)
        self.advance(DETECT + LATE)
        self.assertEqual(len(self.died_at()), 8)
        self.assertEqual(self.notes.of(Spared), [])

    def test_a_small_share_is_judged(self) -> None:
        """Nine of a hundred are more than eight and less than a tenth: nothing is wrong with us."""
        transports = self.peers(100)
        self.advance(DETECT + LATE, *transports[9:])
        self.assertEqual(sorted(name for name, _ in self.notes.deaths()), [f"p{number}" for number in range(9)])
        self.assertEqual(self.notes.of(Spared), [])

    def test_other_factories_count(self) -> None:
        """A process is one: the connections of all its factories are watched together, whoever made them."""
        other = self.make_factory()
        transports = [self.connect(hello(f"o{number}") + ping(), factory=other) for number in range(100)]
        few = self.peers(9)
        self.advance(DETECT + LATE, *transports)
        self.assertEqual(len([1 for transport in few if transport.gone]), 9)
        for transport in transports:
            transport.lose()
        self.assertEqual(other.connections, 0)
