"""How a transport ended, from what was seen before its descriptor closed. (On real sockets: tests/real.)"""

from __future__ import annotations

import errno
from typing import Any, Literal

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.evidence import Ending, Evidence, TcpInfo
from heartbeat.net.endings import told

NOW = 7.0


def seen(**counters: int) -> Evidence:
    """The look that a hook took: its time is not known yet."""
    numbers: dict[str, Any] = {"state": 7, "retransmits": 0, "probes": 0, "backoff": 0, **counters}
    return Evidence(0.0, outq=0, tcp=TcpInfo(**numbers))


class ToldTests(SynchronousTestCase):
    """A FIN, a RST, a timeout of the kernel's own, or ourselves."""

    def how(
        self, how: Literal["eof", "error", "aborted"], look: Evidence | None, failed: int | None = None
    ) -> tuple[str, str | None]:
        """What is told, and the error in its evidence."""
        ending = told(how, look, failed, NOW)
        if ending.evidence is not None:
            self.assertEqual(ending.evidence.at, NOW)
        return ending.how, None if ending.evidence is None else ending.evidence.error

    def test_a_reset(self) -> None:
        """Closed at once, with nothing repeated before."""
        self.assertEqual(self.how("error", seen()), ("reset", None))

    def test_given_up(self) -> None:
        """The attempts are still counted, so it need not have been a reset."""
        self.assertEqual(self.how("error", seen(retransmits=3)), ("error", None))
        self.assertEqual(self.how("error", seen(probes=3)), ("error", None))

    def test_not_closed(self) -> None:
        """An error of another kind: the connection itself is open still."""
        self.assertEqual(self.how("error", seen(state=1)), ("error", None))

    def test_a_fin(self) -> None:
        """It is one, whatever became of the connection after it."""
        for state in (7, 8):
            self.assertEqual(self.how("eof", seen(state=state)), ("eof", None))
        for harmless in (errno.EPIPE, errno.EAGAIN, errno.EINTR):
            self.assertEqual(self.how("eof", seen(), harmless), ("eof", None))

    def test_our_write_met_the_error(self) -> None:
        """The kernel tells an error once: who reads afterwards finds an end of stream that nobody has sent."""
        self.assertEqual(self.how("eof", seen(), errno.ECONNRESET), ("reset", "ECONNRESET"))
        self.assertEqual(self.how("eof", seen(), errno.ETIMEDOUT), ("error", "ETIMEDOUT"))
        self.assertEqual(self.how("error", None, errno.EHOSTUNREACH), ("error", "EHOSTUNREACH"))
        self.assertEqual(self.how("error", None, 99_999), ("error", "99999"))

    def test_ourselves(self) -> None:
        """An abort is ours, whatever the kernel had to say before."""
        self.assertEqual(self.how("aborted", seen(), errno.ECONNRESET), ("aborted", None))

    def test_nothing_seen(self) -> None:
        """Without a look it is what Twisted says."""
        self.assertEqual(told("error", None, None, NOW), Ending("error"))
        self.assertEqual(self.how("error", Evidence(0.0)), ("error", None))
