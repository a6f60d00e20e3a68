"""A client that stays connected, to the first of several servers that answers."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import react

from heartbeat import HeartbeatConfig
from heartbeat.net import HeartbeatClientService

service = HeartbeatClientService(
    ["eu.example.net:7600", "us.example.net:7600"],  # fails over in this order
    HeartbeatConfig(id="gateway-7", services=("auth", "billing")),
)


async def main(reactor: IReactorCore) -> None:
    service.startService()
    heartbeat = await service.when_alive()  # gate open, HELLO answered: not merely "TCP is up"
    print(await heartbeat.ping())  # round trip in seconds; cancel it or give timeout=
    await service.stopService()  # BYE 0, then bounded: it never hangs on a dead path


if __name__ == "__main__":
    react(main)
