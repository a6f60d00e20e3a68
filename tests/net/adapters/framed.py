"""The ground of the tests of adapters: two hosts, a framing at both ends, and a heartbeat at one of them."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.config import HeartbeatConfig
from heartbeat.testing import SimulatedNetwork

__all__ = ["CONFIG", "DETECT", "LATE", "PORT", "AdapterCase"]

PORT = 7700
CONFIG = HeartbeatConfig(interval=0.5, multiplier=3)
DETECT = CONFIG.detect
#: What a verdict may come later than D: a slot or two, the two polls of a guess, and the way of a segment.
LATE = 0.15


class AdapterCase(SynchronousTestCase):
    """Two hosts."""

    def setUp(self) -> None:
        """The network; at the end of a test nothing may be left of it."""
        self.net = SimulatedNetwork(seed=11)
        self.server, self.client = self.net.host("server"), self.net.host("client")
        self.held: list[Any] = []
        self.addCleanup(lambda: self.net.assert_nothing_left(held=self.held))

    def pair(self, acceptor: Factory, connector: Factory) -> tuple[Any, Any]:
        """The two protocols, connected."""
        built: list[Any] = []
        build = acceptor.buildProtocol

        def remember(addr: Any) -> Any:
            built.append(build(addr))
            return built[-1]

        acceptor.buildProtocol = remember  # type: ignore[method-assign]  # of this one instance
        acceptor.noisy = False
        self.server.listen(PORT, acceptor)
        endpoint = TCP4ClientEndpoint(self.client.reactor, "server", PORT)
        mine = self.net.result(endpoint.connect(connector))
        self.net.run_until(lambda: bool(built) and built[0].transport is not None)
        theirs = built.pop()
        self.held += [mine, theirs]
        self.addCleanup(self.close, mine, theirs)
        return mine, theirs

    def close(self, *protocols: Any) -> None:
        """The end of a test."""
        for protocol in protocols:
            if protocol.transport is not None:  # AMP lets go of its transport by itself
                protocol.transport.abortConnection()
        self.net.run(1.0)
