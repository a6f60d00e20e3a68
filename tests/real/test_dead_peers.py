"""Dead peers are found in time, and what they died of is said rightly: each fault for real, between two hosts."""

from __future__ import annotations

import functools
import os

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from heartbeat.net.kernel import ENABLED
from tests.real.dead_peers import run
from tests.real.findings import Report, matrix
from tests.real.namespaces import missing

#: Another one draws other moments: HEARTBEAT_SEED=7 python -m twisted.trial tests.real.test_dead_peers
SEED = int(os.environ.get("HEARTBEAT_SEED", "1"))


@functools.cache
def reports() -> dict[str, Report]:
    """What came of each fault. All happen at once, when the first is asked for; the matrix is printed then."""
    found = run(SEED)
    print(f"\nseed {SEED}", *matrix(found), sep="\n")
    return {report.fault: report for report in found}


class DeadPeerTests(SynchronousTestCase):
    """Four connections for each fault; both ends beat every half second, so D is 1.5 s.

    Each end that can see the fault finds it within D + 0.1 s of it (and of what this machine kept that end from
    running), not before it, and calls it by its right name; ``unattributed`` is wrong.
    """

    def setUp(self) -> None:
        """Two hosts and what stands between them are needed, and a kernel that is asked."""
        why = missing()
        if why is not None:
            raise SkipTest(why)
        if not ENABLED:
            raise SkipTest("causes are proved by the kernel, which HEARTBEAT_NO_KERNEL hides")

    def _report(self, fault: str) -> Report:
        report = reports()[fault]
        if report.impossible is not None:
            raise SkipTest(report.impossible)
        return report

    def _found(self, fault: str) -> None:
        report = self._report(fault)
        wrong = report.wrong()
        self.assertFalse(wrong, "\n" + "\n".join(wrong))
        self.assertTrue(report.findings)

    def _made_exact(self, fault: str) -> None:
        report = self._report(fault)
        wrong = report.wrong_later()
        self.assertFalse(wrong, "\n" + "\n".join(wrong))
        self.assertTrue(report.later)

    def test_server_stopped(self) -> None:
        """SIGSTOP of the server: its kernel acknowledges what nobody answers: peer_stalled."""
        self._found("server stopped")

    def test_client_stopped(self) -> None:
        """SIGSTOP of the client: the server says peer_stalled."""
        self._found("client stopped")

    def test_server_stopped_tls(self) -> None:
        """The same is seen through TLS."""
        self._found("server stopped, TLS")

    def test_dropped_there(self) -> None:
        """A silent drop of what the client sends: path_dead, or the reset by which the server ended it."""
        self._found("dropped, client to server")

    def test_dropped_back(self) -> None:
        """A silent drop of what the server sends: path_dead, or the reset by which the client ended it."""
        self._found("dropped, server to client")

    def test_dropped_both(self) -> None:
        """A silent drop both ways: path_dead at both ends."""
        self._found("dropped, both ways")

    def test_dropped_both_and_healed(self) -> None:
        """Who comes back only when the path was mended, seconds later, has lost no mapping: it stays path_dead."""
        self._made_exact("dropped, both ways")

    def test_nat_lost(self) -> None:
        """A NAT mapping is lost in silence: path_dead at both ends, until they meet again."""
        self._found("NAT mapping lost")

    def test_nat_expired(self) -> None:
        """A new connection passes at once: the records of both ends say nat_expired then."""
        self._made_exact("NAT mapping lost")

    def test_unreachable(self) -> None:
        """The router answers with ICMP: path_dead at both ends."""
        self._found("ICMP unreachable")

    def test_egress_blocked(self) -> None:
        """The client's packet filter blocks it: local_egress there, path_dead at the server."""
        self._found("own egress blocked")

    def test_link_down(self) -> None:
        """The client's cable is pulled: local_link there, path_dead at the server."""
        self._found("own link down")

    def test_window_closed(self) -> None:
        """The server takes no more of an application's data: the client says that it does not read."""
        self._found("window closed")

    def test_server_killed(self) -> None:
        """SIGKILL of the server: peer_closed within 0.1 s."""
        self._found("server killed")

    def test_client_killed(self) -> None:
        """SIGKILL of the client: peer_closed within 0.1 s."""
        self._found("client killed")

    def test_server_restarted(self) -> None:
        """The server comes back as another process: the client's record of the old one says peer_restarted."""
        self._made_exact("server killed")

    def test_client_restarted(self) -> None:
        """A client comes back as another process: the server's record of the old one says peer_restarted."""
        self._made_exact("client killed")

    def test_server_aborts(self) -> None:
        """A reset out of the blue is the peer's: peer_reset within 0.1 s.

        Just after an exchange it may be the answer to our acknowledgement, and be called middlebox_reset.
        """
        self._found("server aborts")

    def test_reset(self) -> None:
        """A reset in answer to data is a middlebox's, as far as is known before the peer's next HELLO.

        One that answers no more than an acknowledgement, just after an exchange, may be called peer_reset.
        """
        self._found("reset by a middlebox")
