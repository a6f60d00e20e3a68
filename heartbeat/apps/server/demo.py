"""``--demo``: a few agents in the server's own process, over the loopback, so that there is something to look at."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from heartbeat.apps.host import HostState
from heartbeat.apps.listening import Listening
from heartbeat.config import HeartbeatConfig
from heartbeat.keys import ANYONE
from heartbeat.net import HeartbeatClientService

__all__ = ["Demo", "where_to_connect"]

#: Who takes part: an id, its services, the load that it tells, one after the other, and how it is otherwise described.
AGENTS: Final = (
    ("gateway-1", ("auth", "http"), (0.15, 0.2, 0.3), {"rack": "r1"}),
    ("gateway-2", ("auth", "http"), (0.4, 0.55, 0.5), {"rack": "r2"}),
    ("billing-1", ("billing",), (0.05, 0.1), {"rack": "r1"}),
    ("database-1", ("postgres", "backup"), (0.7, 0.8, 0.95, 1.2), {"rack": "r3"}),
    ("sensor-1", (), (0.01, 0.02), {"site": "roof"}),
)
#: Seconds between two PINGs of each of them, and between two accounts of themselves: often enough to watch it move.
INTERVAL: Final = 0.5
SYNC: Final = 1.0
#: All addresses of this host, and the one at which a browser on it finds them.
EVERYWHERE: Final = (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:"))


def where_to_connect(address: object) -> str:
    """What reaches a listener of this process: ``0.0.0.0`` and ``::`` are reached on the loopback."""
    if isinstance(address, IPv6Address):
        host = "::1" if address.host == "::" else address.host
        return f"[{host}]:{address.port}"
    if isinstance(address, IPv4Address):
        host = "127.0.0.1" if address.host == "0.0.0.0" else address.host  # noqa: S104  # compared, not bound
        return f"tcp:{host}:{address.port}"
    if isinstance(address, UNIXAddress) and address.name and not address.name.startswith(b"\0"):
        path = address.name.decode()
        return "unix:" + path.replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")
    return ""


class Demo(MultiService):
    """The agents, and a word about where to look.

    :param listeners: of this server; the agents connect to the first that takes plain connections
    :param web: where the page is, if anywhere
    :param config: of the server: what it wants proved the agents prove, as members
    """

    def __init__(
        self, reactor: Any, listeners: list[Listening], web: Listening | None, config: HeartbeatConfig
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._reactor = reactor
        self._listeners = listeners
        self._web = web
        self._keys = tuple(key for key in config.ring if key.id == ANYONE) if config.wants_key else ()
        self._barred = config.wants_certificate or (config.wants_key and not self._keys)

    def startService(self) -> None:
        """Start the agents, once the listeners are there, and print where to look."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        if self._barred:
            print("demo: no agents, since they could not prove what --auth wants", flush=True)
            return
        for listening in self._listeners:
            where = where_to_connect(listening.port.getHost()) if listening.port is not None else ""
            if where and listening.plain:
                for service in self._agents(where):
                    service.setServiceParent(self)  # type: ignore[no-untyped-call]  # Twisted's
                print(f"demo: {len(AGENTS)} agents beat in this process; {self._look()}", flush=True)
                break
        else:
            print("demo: no agents, since no --listen takes plain connections", flush=True)

    def _look(self) -> str:
        if self._web is None or self._web.port is None:
            return "with --web none there is no page to look at"
        where = self._web.line().split()[-1]
        for everywhere, here in EVERYWHERE:
            where = where.replace(everywhere, here)
        return f"look at {where}"

    def _agents(self, where: str) -> list[HeartbeatClientService]:
        return [
            HeartbeatClientService(
                [where],
                HeartbeatConfig(
                    id=name, interval=INTERVAL, sync_interval=SYNC, services=services, meta=meta, keys=self._keys
                ),
                reactor=self._reactor,
                state=HostState(services=services, meta=meta, load=_in_turn(loads), uptime=_since_now()),
            )
            for name, services, loads, meta in AGENTS
        ]


def _in_turn(loads: tuple[float, ...]) -> Callable[[], float]:
    endless = itertools.cycle(loads)
    return lambda: next(endless)


def _since_now() -> Callable[[], int]:
    started = time.monotonic()
    return lambda: int(time.monotonic() - started)
