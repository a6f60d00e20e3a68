"""What peers are told when their server drains."""

from __future__ import annotations

import re

from heartbeat.wire.frames import Bye
from tests.net.cases import HandCase
from tests.net.hand import HandTransport, hello


class SpreadTests(HandCase):
    """``drain`` of a factory."""

    def told(self, transport: HandTransport) -> str:
        """The reason of its BYE 1."""
        (bye,) = [frame for frame in transport.said() if isinstance(frame, Bye)]
        self.assertEqual(bye.code, 1)
        return bye.reason

    def test_together(self) -> None:
        """Without a spread all are told the same, or nothing."""
        for after, reason in ((None, "draining"), (1500, "after=1500 draining")):
            factory = self.make_factory()
            peers = [self.connect(hello(f"p{number}"), factory=factory) for number in range(3)]
            factory.drain(5.0, after)
            self.assertEqual({self.told(peer) for peer in peers}, {reason})
            for peer in peers:
                peer.lose()

    def test_spread(self) -> None:
        """With one each is told a time of its own, of which the doubled is within it; whoever comes later, too."""
        peers = [self.connect(hello(f"p{number}")) for number in range(40)]
        drained = self.factory.drain(5.0, spread=20.0)
        late = self.connect()
        times = []
        for peer in (*peers, late):
            found = re.fullmatch(r"after=(\d+) draining", self.told(peer))
            assert found is not None
            times.append(int(found[1]))
        self.assertLessEqual(max(times), 10_000)
        self.assertGreater(len(set(times)), 30)
        self.assertGreater(max(times) - min(times), 5_000)
        for peer in (*peers, late):
            peer.lose()
        self.successResultOf(drained)
