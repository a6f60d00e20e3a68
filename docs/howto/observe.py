"""A service that exists, whose clients are watched and do not know."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from heartbeat import Dead, Event, HeartbeatListener, Peer
from heartbeat.net import observe_server


class Board(HeartbeatListener):
    def changed(self, peer: Peer, event: Event) -> None:
        if isinstance(event, Dead):
            print(f"{peer.address}: {event.cause}, last heard {event.silent:.0f} s ago")


def in_code(reactor: Any) -> IStreamServerEndpoint:
    inner = TCP4ServerEndpoint(reactor, 5432)
    return observe_server(inner, detect=30.0, idle=600.0, listener=Board(), reactor=reactor)


def in_a_string(reactor: Any) -> IStreamServerEndpoint:
    text = "heartbeat:tcp:5432:beatMode=observe:beatDetect=30:beatIdle=600"
    endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    return endpoint
