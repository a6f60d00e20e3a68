"""A simulated network for the tests of whatever uses heartbeats, or Twisted at all: no socket, no sleep, one seed.

See :class:`SimulatedNetwork`. Faults of paths: :class:`SilentDrop`, :class:`Partition`, :class:`OneWay`,
:class:`Delay`, :class:`Loss`, :class:`NatExpiry`. Faults of hosts: :class:`Stall`, :class:`ClockStep`.

Deadlines that a test asserts should allow for the time that a segment takes (``delay``), and for retransmission
where the path loses segments.
"""

from __future__ import annotations

from heartbeat.testing.faults import ClockStep, Delay, Loss, NatExpiry, OneWay, Partition, SilentDrop, Stall
from heartbeat.testing.simulation import SimulatedHost, SimulatedNetwork

__all__ = [
    "ClockStep",
    "Delay",
    "Loss",
    "NatExpiry",
    "OneWay",
    "Partition",
    "SilentDrop",
    "SimulatedHost",
    "SimulatedNetwork",
    "Stall",
]
