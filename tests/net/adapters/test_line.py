"""Lines: a question that the peer answers, if only with an error; raw mode; the application's own lines."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver, LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import ConfigError
from heartbeat.liveness.states import State
from heartbeat.net.adapters.line import LineHeartbeat
from heartbeat.net.reasons import UnresponsiveConnection
from tests.net.adapters.framed import CONFIG, DETECT, LATE, AdapterCase


class Talker(LineReceiver):
    """The application."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.raw = b""
        self.lost: Failure | None = None

    def lineReceived(self, line: bytes) -> None:
        """Remember it."""
        self.lines.append(line)

    def rawDataReceived(self, data: bytes) -> None:
        """Remember it."""
        self.raw += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember why."""
        self.lost = reason


class Server(LineOnlyReceiver):
    """A peer that has never heard of us: it knows ``NOOP``, and says so of everything else that it does not."""

    def lineReceived(self, line: bytes) -> None:
        """Answer."""
        self.sendLine(b"250 ok" if line == b"NOOP" else b"500 what?")


class LineCase(AdapterCase):
    """A talker with a heartbeat, and the server."""

    def talk(self, **settings: Any) -> tuple[Any, Any]:
        """Connected."""
        factory = LineHeartbeat.factory(Factory.forProtocol(Talker), CONFIG, reactor=self.client.reactor, **settings)
        return self.pair(Factory.forProtocol(Server), factory)


class LineTests(LineCase):
    """On one connection."""

    def test_a_question_that_it_knows(self) -> None:
        """Round trips; the application sees its own lines, and none of ours."""
        mine, _ = self.talk(question=b"NOOP", answer=b"250")
        self.net.run(10.0)
        self.assertGreater(mine.heartbeat.heartbeat.peer.tally.acks_in, 15)
        self.assertEqual(mine.heartbeat.heartbeat.peer.tally.lost, 0)
        mine.sendLine(b"HELLO")
        self.net.run(1.0)
        self.assertEqual(mine.lines, [b"500 what?"])

    def test_an_error_is_an_answer(self) -> None:
        """A peer that does not know the question answers it all the same; the application sees whatever comes."""
        mine, _ = self.talk(question=b"ARE YOU THERE")
        self.net.run(10.0)
        handle = mine.heartbeat.heartbeat
        self.assertIs(handle.state, State.ALIVE)
        self.assertGreater(handle.peer.tally.acks_in, 15)
        self.assertEqual(set(mine.lines), {b"500 what?"})

    def test_answers_that_are_shown(self) -> None:
        """Not swallowed, if that is wanted; and by a function of one's own."""
        mine, _ = self.talk(question=b"NOOP", answer=lambda line: line.endswith(b"ok"), swallow=False)
        self.net.run(3.0)
        self.assertEqual(set(mine.lines), {b"250 ok"})
        self.assertGreater(mine.heartbeat.heartbeat.peer.tally.acks_in, 3)

    def test_raw_mode(self) -> None:
        """What comes then is life, nothing is asked, and nobody is condemned; lines again, and it is asked."""
        mine, theirs = self.talk(question=b"NOOP", answer=b"250")
        self.net.run(2.2)
        mine.setRawMode()
        asked = mine.heartbeat.heartbeat.peer.tally.pings_out
        for _ in range(4):
            theirs.transport.write(b"bytes")
            self.net.run(0.9)
        self.assertIs(mine.heartbeat.heartbeat.state, State.ALIVE)
        self.net.run(10 * DETECT)
        self.assertIsNone(mine.lost)
        self.assertEqual(mine.heartbeat.heartbeat.peer.tally.pings_out, asked)
        self.assertEqual(mine.raw.replace(b"250 ok\r\n", b""), b"bytes" * 4)
        mine.setLineMode()
        self.net.run(1.0)
        self.assertIs(mine.heartbeat.heartbeat.state, State.ALIVE)

    def test_an_answer_in_raw_mode(self) -> None:
        """One that was read as raw data is answered by no later line: round trips are those of their own questions."""
        mine, _ = self.talk(question=b"NOOP", answer=b"250")
        self.net.run(2.2)
        asked = mine.heartbeat.heartbeat.peer.tally.pings_out
        self.net.run_until(lambda: mine.heartbeat.heartbeat.peer.tally.pings_out > asked, 5.0)
        mine.setRawMode()
        self.net.run(0.3)
        mine.setLineMode()
        self.net.run(10.0)
        self.assertIn(b"250 ok", mine.raw)
        self.assertLess(mine.heartbeat.heartbeat.rtt.p95, 0.1)
        self.assertLess(mine.heartbeat.heartbeat.rtt.smoothed, 0.1)

    def test_our_own_stall(self) -> None:
        """Kills nobody."""
        mine, _ = self.talk(question=b"NOOP", answer=b"250")
        for _ in range(3):
            self.net.run(2.2)
            self.client.stall(2 * DETECT)
            self.net.run(DETECT)
        self.assertIsNone(mine.lost)

    def test_a_stopped_peer(self) -> None:
        """Is found in time, and nothing of ours is left on the protocol."""
        mine, _ = self.talk(question=b"NOOP", answer=b"250")
        self.net.run(3.0)
        self.server.stall(60.0)
        self.assertLess(self.net.run_until(lambda: mine.lost is not None, 10.0), DETECT + LATE)
        self.assertIsInstance(mine.lost.value, UnresponsiveConnection)
        for name in ("lineReceived", "rawDataReceived", "connectionMade", "connectionLost"):
            self.assertNotIn(name, vars(mine))
        self.net.run(60.0)


class SettingTests(SynchronousTestCase):
    """Wrong ones are one clear line."""

    def test_named(self) -> None:
        """Which, and the value."""
        for name, wrong in (("question", b""), ("question", "NOOP"), ("answer", 7), ("answer", b"")):
            settings = {"question": b"NOOP", name: wrong}
            error = self.assertRaises(ConfigError, LineHeartbeat, Talker(), CONFIG, **settings)
            self.assertIn(name, str(error))
            self.assertIn(repr(wrong), str(error))
