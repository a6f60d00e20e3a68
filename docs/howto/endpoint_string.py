"""A heartbeat by two endpoint strings: neither the site nor the Agent has a line for it. Run it to see an answer."""

from __future__ import annotations

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import implementer


class Page(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"alive"


@implementer(IAgentEndpointFactory)
class Through:
    """An Agent's connections, by an endpoint string. Whoever calls ``clientFromString`` already needs no such thing."""

    def __init__(self, string: str) -> None:
        self.string = string

    def endpointForURI(self, uri: object) -> IStreamClientEndpoint:
        return clientFromString(reactor, self.string)


async def main() -> None:
    server = serverFromString(reactor, "heartbeat:tcp:0:interface=127.0.0.1:beatInterval=2")
    listening = await server.listen(Site(Page()))

    port = listening.getHost().port
    through = Through(f"heartbeat:tcp:127.0.0.1:{port}:beatInterval=2:beatMultiplier=3")
    pool = HTTPConnectionPool(reactor)
    client = HTTPClient(Agent.usingEndpointFactory(reactor, through, pool))
    print(await treq.text_content(await client.get("http://example.net/")))

    await pool.closeCachedConnections()
    await listening.stopListening()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda _: Deferred.fromCoroutine(main()))
