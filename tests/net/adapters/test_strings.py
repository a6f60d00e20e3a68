"""Strings with a length: one end asks, or both do."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import Int16StringReceiver, Int32StringReceiver, NetstringReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import ConfigError
from heartbeat.liveness.states import State
from heartbeat.net.adapters.strings import StringHeartbeat
from heartbeat.net.reasons import UnresponsiveConnection
from tests.net.adapters.framed import CONFIG, DETECT, LATE, AdapterCase

KINDS = (NetstringReceiver, Int16StringReceiver, Int32StringReceiver)


def application(kind: Any) -> Any:
    """A class that remembers what it gets, and answers ``ping`` if nobody else does."""

    class Application(kind):  # type: ignore[misc]  # one for each kind
        """The application."""

        lost: Failure | None = None

        def __init__(self) -> None:
            self.got: list[bytes] = []

        def stringReceived(self, string: bytes) -> None:
            """Remember it."""
            self.got.append(string)
            if string == b"ping":
                self.sendString(b"pong")

        def connectionLost(self, reason: Failure = connectionDone) -> None:
            """Remember why."""
            self.lost = reason

    return Application


class StringCase(AdapterCase):
    """Two applications."""

    def strings(self, kind: Any, *, both: bool) -> tuple[Any, Any]:
        """Connected; the acceptor has a heartbeat of its own, or has never heard of us."""
        plain = Factory.forProtocol(application(kind))
        settings: dict[str, Any] = {"question": b"ping", "answer": b"pong", "reply": b"pong"}
        mine = StringHeartbeat.factory(plain, CONFIG, reactor=self.client.reactor, **settings)
        theirs = StringHeartbeat.factory(plain, CONFIG, reactor=self.server.reactor, **settings) if both else plain
        return self.pair(theirs if both else Factory.forProtocol(application(kind)), mine)


class StringTests(StringCase):
    """On one connection each."""

    def alive(self, kind: Any) -> None:
        """A peer that has never heard of us, and what the applications say to each other."""
        mine, theirs = self.strings(kind, both=False)
        self.net.run(10.0)
        handle = mine.heartbeat.heartbeat
        self.assertIs(handle.state, State.ALIVE)
        self.assertGreater(handle.peer.tally.acks_in, 15)
        mine.sendString(b"one")
        theirs.sendString(b"two")
        self.net.run(1.0)
        self.assertEqual((mine.got, [one for one in theirs.got if one != b"ping"]), ([b"two"], [b"one"]))

    def test_netstrings(self) -> None:
        """Netstrings."""
        self.alive(NetstringReceiver)

    def test_short_strings(self) -> None:
        """With 16 bits of length."""
        self.alive(Int16StringReceiver)

    def test_long_strings(self) -> None:
        """With 32 bits of length."""
        self.alive(Int32StringReceiver)

    def test_both_ends(self) -> None:
        """Each answers the other, and no application sees any of it."""
        mine, theirs = self.strings(NetstringReceiver, both=True)
        self.net.run(10.0)
        for one in (mine, theirs):
            self.assertGreater(one.heartbeat.heartbeat.peer.tally.acks_in, 15)
            self.assertEqual(one.got, [])

    def test_a_stopped_peer(self) -> None:
        """Is found in time, with the cause, after stalls of our own that killed nobody."""
        mine, _ = self.strings(Int32StringReceiver, both=False)
        self.net.run(2.2)
        self.client.stall(2 * DETECT)
        self.net.run(3.0)
        self.assertIsNone(mine.lost)
        self.server.stall(60.0)
        self.assertLess(self.net.run_until(lambda: mine.lost is not None, 10.0), DETECT + LATE)
        self.assertIsInstance(mine.lost.value, UnresponsiveConnection)
        self.assertNotIn("stringReceived", vars(mine))
        self.net.run(60.0)


class SettingTests(SynchronousTestCase):
    """Wrong ones are one clear line."""

    def test_a_reply_that_asks(self) -> None:
        """Two ends would go on for ever."""
        error = self.assertRaises(
            ConfigError, StringHeartbeat, None, CONFIG, question=b"ping", answer=b"pong", reply=b"ping"
        )
        self.assertIn("reply", str(error))
