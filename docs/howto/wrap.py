"""A web server whose connections run under a heartbeat. Not a line of the site knows, but it may ask."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from heartbeat import HeartbeatConfig
from heartbeat.net import IHeartbeat, heartbeat_factory


class WhoAmI(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        heartbeat = IHeartbeat(request.channel.transport, None)  # None: this connection has none
        return b"%s\n" % (heartbeat.peer.id.encode() if heartbeat is not None else b"?")


reactor.listenTCP(8080, heartbeat_factory(Site(WhoAmI()), HeartbeatConfig()))
