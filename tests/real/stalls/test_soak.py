"""A short soak; ``python -m tests.real.stalls.soak`` runs for five minutes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.real.stalls.children import REACTORS, missing, run
from tests.real.stalls.soak import PLAIN, STOPPED, TLS

#: Seconds of stalls; the seed's first ones are of each kind, some of them longer than a plain timer waits.
_SECONDS = "14"
_SEED = "17"


class SoakTests(SynchronousTestCase):
    """140 connections, one in seven of them TLS, under stalls of 0.3 to 4 s that cover about half of the time."""

    def test_a_short_one(self) -> None:
        """Nobody dies, where plain timers on the same connections end living peers; those stopped are found in time.

        The round trips that we learn from are those of the peers, although many were read seconds late.
        """
        reactor = next(one for one in REACTORS if not missing(one))
        result = run("soak", "--seconds", _SECONDS, "--seed", _SEED, "--reactor", reactor, timeout=90.0)
        self.assertEqual(result["false"], 0, result)
        self.assertGreater(result["naive_false"], 0, result)
        self.assertGreater(result["spared"], 0, result)
        self.assertGreater(result["stalled"], 0.3 * result["seconds"], result)
        self.assertGreater(result["rtt_p99_read"], 1.0, result)
        self.assertLess(result["rtt_p99_kept"], 0.6, result)
        self.assertEqual(result["found"], STOPPED, result)
        self.assertEqual(result["late"], 0, result)
        self.assertEqual(result["open"], PLAIN + TLS, result)
