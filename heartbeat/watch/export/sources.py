"""Where exported numbers come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from heartbeat.liveness.counters import Counters
    from heartbeat.net.tls.certificates import Certificates
    from heartbeat.watch.exemplars import SyncExamples
    from heartbeat.watch.failures import Failures
    from heartbeat.watch.registry import Registry
    from heartbeat.watch.tally import Totals

__all__ = ["Labels", "Sources", "StoreNumbers"]


class Labels(NamedTuple):
    """What this process is called in the metrics (``--service``, ``--region``, ``--cluster``)."""

    service: str = ""
    region: str = ""
    cluster: str = ""


class StoreNumbers(Protocol):
    """What is read of a store; see :class:`heartbeat.watch.stores.ledger.Ledger`."""

    @property
    def backend(self) -> str:
        """What it is called."""

    @property
    def away(self) -> bool:
        """It does not answer."""

    @property
    def durations(self) -> Mapping[tuple[str, str], Counters]:
        """Of its calls, by operation and outcome."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """By kind, what was never written because too much waited."""


@dataclass(slots=True)
class Sources:
    """Everything that is read when somebody asks for numbers.

    :ivar rtt: the round trips of all own questions of this process
    :ivar lag: how late its event loop came, once per wake
    :ivar connections: how many are open now, joined or not
    :ivar certificates: of this process; None without TLS
    :ivar store: where peers are kept beyond this process, None if nowhere
    :ivar labels: may be replaced at any time
    :ivar synced: examples of round trips, None where nobody keeps any
    """

    registry: Registry
    failures: Failures
    totals: Totals
    rtt: Counters
    lag: Counters
    connections: Callable[[], int]
    certificates: Certificates | None = None
    store: StoreNumbers | None = None
    labels: Labels = field(default_factory=Labels)
    synced: SyncExamples | None = None
