"""Both ends prove that they hold a key: the configurations of a server and of a gateway."""

from __future__ import annotations

from heartbeat import HeartbeatConfig
from heartbeat.keys import read_keys


def server(key_file: str) -> HeartbeatConfig:
    """Lets in who holds one of these keys; in this file an id may stand in front of its own."""
    return HeartbeatConfig(id="node-1", keys=read_keys(key_file, ids=True))


def gateway(key_file: str) -> HeartbeatConfig:
    """Stays with no server that does not hold its key."""
    return HeartbeatConfig(id="gateway-7", keys=read_keys(key_file))
