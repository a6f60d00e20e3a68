"""The kernel options of connections: when they are set, and what is said of them."""

from __future__ import annotations

import operator
from typing import Any

from twisted.internet.interfaces import ITCPTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat import Attention, KernelOptions, Liveness
from heartbeat.liveness.detectors import detector_for
from heartbeat.liveness.rtt import RoundTrips
from heartbeat.net import kernel
from heartbeat.net.options import KernelReports, user_timeout
from tests.net.cases import HandCase
from tests.net.hand import hello
from tests.net.test_kernel import TCP, USER_TIMEOUT, Sock, load

LEARNING = ("phi", "2w")


@implementer(ITCPTransport)
class Wrapped:
    """A TCP transport into which nobody can see."""

    def __init__(self) -> None:
        self.nodelay: bool | None = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """The only option that it passes on."""
        self.nodelay = enabled


class OnSocket:
    """A link with a socket."""

    transport = None

    def __init__(self, sock: Sock | None) -> None:
        self.socket = sock


class Opaque:
    """A link without one."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport


def judge(detect: float = 1.5, detector: str = "fixed", rtt: float | None = 0.001) -> Liveness:
    """One that gives a peer up after this time, over a path with this round trip."""
    trips = RoundTrips()
    if rtt is not None:
        trips.sample(rtt)
    return Liveness(
        detect, Attention(0.0), 0.0, interval=detect / 3, rtt=trips, detector=detector_for(detector, detect / 3, detect)
    )


class ReportsCase(SynchronousTestCase):
    """With the kernel's features switched on, whatever the environment says."""

    def setUp(self) -> None:
        """Listen to the log."""
        self.patch(kernel, "ENABLED", load().ENABLED)
        self.reports = KernelReports()
        self.lines: list[tuple[LogLevel, str]] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        """Keep what the reports say."""
        if event["log_namespace"] == "heartbeat.net.options":
            self.lines.append((event["log_level"], event["option"]))

    def settle(self, link: Any, options: KernelOptions, peer: Liveness | None = None) -> Any:
        """Connect and open; the report."""
        so_far = self.reports.connected(link, options)
        return self.reports.opened(link, options, judge() if peer is None else peer, so_far)


class UserTimeoutTests(SynchronousTestCase):
    """The backstop of the kernel behind the verdict."""

    def test_automatic(self) -> None:
        """Three times the detection time by which we judge the peer."""
        for detect in (0.3, 1.5, 15.0, 3600.0):
            found = user_timeout(KernelOptions(), judge(detect, rtt=0.0))
            self.assertAlmostEqual(found or 0.0, 3.0 * max(detect, 0.4))

    def test_never_below_the_verdict(self) -> None:
        """A shorter time than that of the verdict counts as that time; a longer one as it is."""
        for seconds, found in ((0.001, 1.5), (1.5, 1.5), (2.0, 2.0), (100.0, 100.0)):
            self.assertEqual(user_timeout(KernelOptions(user_timeout=seconds), judge()), found)

    def test_a_slow_path(self) -> None:
        """Nobody is condemned before a round trip was possible, and the kernel does not come before that either."""
        for options in (KernelOptions(), KernelOptions(user_timeout=0.1)):
            slow, unknown = judge(0.3, rtt=2.0), judge(0.3, rtt=None)
            assert slow.rtt is not None
            self.assertGreaterEqual(user_timeout(options, slow) or 0.0, 4.0)
            self.assertGreaterEqual(user_timeout(options, unknown) or 0.0, 3.0)

    def test_a_patient_detector(self) -> None:
        """One that learns may wait up to four times as long; the kernel waits longer."""
        for name in LEARNING:
            self.assertEqual(user_timeout(KernelOptions(), judge(detector=name)), 18.0)
            self.assertEqual(user_timeout(KernelOptions(user_timeout=2.0), judge(detector=name)), 6.0)

    def test_none(self) -> None:
        """Where none is wanted the kernel keeps its own."""
        self.assertIsNone(user_timeout(KernelOptions(user_timeout=None), judge()))


class ReportTests(ReportsCase):
    """What became of each option."""

    def test_in_two_steps(self) -> None:
        """What needs no detection time is set at once, the timeouts when the gate opens."""
        sock = Sock()
        options = KernelOptions(rto_max=1.0)
        so_far = self.reports.connected(OnSocket(sock), options)  # type: ignore[arg-type]  # it stands in for a link
        self.assertEqual((dict(so_far), len(sock.options)), ({"nodelay": "applied"}, 1))
        report = self.reports.opened(OnSocket(sock), options, judge(), so_far)  # type: ignore[arg-type]  # the same
        self.assertEqual(dict(report), dict.fromkeys(("nodelay", "user_timeout", "rto_max"), "applied"))
        self.assertEqual((sock.options[TCP, USER_TIMEOUT], sock.options[TCP, 44]), (4500, 1000))
        self.assertEqual(self.lines, [])

    def test_no_timeout(self) -> None:
        """Where none is wanted, nothing happens at the gate."""
        for link in (OnSocket(Sock()), Opaque(Wrapped())):
            self.assertEqual(set(self.settle(link, KernelOptions(user_timeout=None))), {"nodelay"})

    def test_equal_reports_are_one_object(self) -> None:
        """However many connections there are; and nobody can change it."""
        options = KernelOptions(keepalive=True)
        reports = {id(self.settle(OnSocket(Sock()), options, judge(detect))) for detect in range(1, 100)}
        self.assertEqual(len(reports), 1)
        report = self.settle(OnSocket(Sock()), options)
        self.assertRaises(TypeError, operator.setitem, report, "nodelay", "refused")

    def test_a_wrapped_transport(self) -> None:
        """Where the socket cannot be seen, TCP_NODELAY goes through the wrapper; the rest is not available."""
        transport = Wrapped()
        report = self.settle(Opaque(transport), KernelOptions(keepalive=True, keepalive_idle=60, rto_max=1.0))
        lacking = ("keepalive", "keepalive_idle", "user_timeout", "rto_max")
        self.assertEqual(dict(report), {"nodelay": "applied", **dict.fromkeys(lacking, "not available")})
        self.assertEqual(transport.nodelay, True)
        transport = Wrapped()
        self.assertNotIn("nodelay", self.settle(Opaque(transport), KernelOptions(nodelay=False)))
        self.assertIsNone(transport.nodelay)

    def test_no_tcp(self) -> None:
        """What is not TCP has no options, and nothing is said of them."""
        for link in (Opaque(object()), OnSocket(None)):
            self.assertEqual(dict(self.settle(link, KernelOptions(keepalive=True))), {})

    def test_switched_off(self) -> None:
        """HEARTBEAT_NO_KERNEL=1: nothing is set, and all that was asked for is not available."""
        self.patch(kernel, "ENABLED", False)
        sock, transport = Sock(), Wrapped()
        for link in (OnSocket(sock), Opaque(transport)):
            report = self.settle(link, KernelOptions(rto_max=1.0))
            self.assertEqual(dict(report), dict.fromkeys(("nodelay", "user_timeout", "rto_max"), "not available"))
        self.assertEqual((sock.options, transport.nodelay), ({}, None))


class ComplaintTests(ReportsCase):
    """What is logged."""

    def test_once(self) -> None:
        """A refusal is a warning, a lack a word for who looks for it; each is said once and not per connection."""
        for _ in range(5):
            self.settle(OnSocket(Sock(refuses=(USER_TIMEOUT,))), KernelOptions(rto_max=1.0))
        self.assertEqual(self.lines, [(LogLevel.warn, "user_timeout"), (LogLevel.debug, "rto_max")])
        self.settle(OnSocket(Sock(refuses=(USER_TIMEOUT,))), KernelOptions(nodelay=False))
        self.assertEqual(len(self.lines), 2)

    def test_all_is_well(self) -> None:
        """Then nothing is said."""
        self.settle(OnSocket(Sock()), KernelOptions(keepalive=True, rto_max=1.0))
        self.assertEqual(self.lines, [])


class PeerTests(HandCase):
    """Where a page finds them."""

    def test_a_transport_without_options(self) -> None:
        """A peer on something that is no TCP shows none; its memory is that of all of them."""
        self.connect(hello("a"))
        self.connect(hello("b"))
        one, other = (self.notes.peers[index] for index in (0, 1))
        self.assertEqual((dict(one.options), one.details()["kernel"]), ({}, {}))
        self.assertIs(one.options, other.options)
