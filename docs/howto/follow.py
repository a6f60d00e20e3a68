"""The events of one connection, as they come."""

from __future__ import annotations

from heartbeat import Dead, Suspect
from heartbeat.net import Heartbeat


async def follow(heartbeat: Heartbeat) -> None:
    async for event in heartbeat.events():  # ends by itself after Dead, Left or Refused
        match event:
            case Suspect(silent=seconds):
                print(f"nothing for {seconds:.1f} s, asking again")
            case Dead(cause=cause, evidence=evidence):
                print(cause, evidence)
