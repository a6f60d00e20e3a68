"""Host names of the simulated network."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat.testing import SimulatedNetwork


@implementer(IResolutionReceiver)
class Receiver:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.began: list[IHostResolution] = []
        self.addresses: list[object] = []
        self.done = 0

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """It began."""
        self.began.append(resolutionInProgress)

    def addressResolved(self, address: object) -> None:
        """One address."""
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        """No more."""
        self.done += 1


class NameTests(SynchronousTestCase):
    """Looking up."""

    def setUp(self) -> None:
        """Two hosts."""
        self.net = SimulatedNetwork(seed=1)
        self.reactor = self.net.host("a").reactor
        self.other = self.net.host("b")

    def ask(self, name: str, **options: object) -> Receiver:
        """What is known of a name."""
        receiver = Receiver()
        resolver = self.reactor.nameResolver
        resolver.resolveHostName(receiver, name, 80, **options)
        self.assertEqual((len(receiver.began), receiver.done), (1, 0))
        self.net.run(0.1)
        self.assertEqual(receiver.done, 1)
        return receiver

    def test_hosts(self) -> None:
        """A host has its address, and an address is itself."""
        for name in ("b", "10.0.0.2"):
            self.assertEqual(self.ask(name).addresses, [IPv4Address("TCP", "10.0.0.2", 80)])
        self.assertEqual(self.ask("localhost").addresses, [IPv4Address("TCP", "127.0.0.1", 80)])

    def test_unknown(self) -> None:
        """No host, no address; nor has a host an IPv6 address."""
        self.assertEqual(self.ask("nobody").addresses, [])
        self.assertEqual(self.ask("b", addressTypes=[IPv6Address]).addresses, [])

    def test_cancelled(self) -> None:
        """Who does not want it any more is told no address."""
        receiver = Receiver()
        self.reactor.nameResolver.resolveHostName(receiver, "b").cancel()
        self.net.run(0.1)
        self.assertEqual((receiver.addresses, receiver.done), ([], 1))

    def test_the_old_interface(self) -> None:
        """reactor.resolve works, and fails as Twisted's does."""
        self.assertEqual(self.net.result(self.reactor.resolve("b")), "10.0.0.2")
        self.assertRaises(DNSLookupError, self.net.result, self.reactor.resolve("nobody"))
