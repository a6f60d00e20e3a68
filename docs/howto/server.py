"""A server of your own: who is connected, and who died of what."""

from __future__ import annotations

from twisted.application.internet import StreamServerEndpointService
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

from heartbeat import Dead, Event, HeartbeatConfig, HeartbeatListener, Peer
from heartbeat.net import HeartbeatFactory


class Board(HeartbeatListener):  # a base that does nothing: override what you need
    def changed(self, peer: Peer, event: Event) -> None:
        if isinstance(event, Dead):
            print(f"{peer.id}: {event.cause}, last heard {event.silent:.1f} s ago")


factory = HeartbeatFactory(HeartbeatConfig(interval=0.5, multiplier=3), listener=Board())
service = StreamServerEndpointService(serverFromString(reactor, "tcp:7600"), factory)
