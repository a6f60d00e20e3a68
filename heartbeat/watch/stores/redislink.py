"""Connections to a Redis: with who we are, bounded in every wait, and back as soon as it is. Needs txredisapi.

What txredisapi leaves to its user: a command that is issued while there is no connection waits without end, so here it
fails at once; a Redis that refuses the greeting (it still loads its data, say) would never be tried again, so here the
greeting is ours, and a refusal is one more failed attempt (facts T0.12).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater
from zope.interface import implementer

from heartbeat.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IProtocolFactory
    from twisted.python.failure import Failure

__all__ = ["REPLY_TIMEOUT", "Greeting", "RedisLink"]

#: Seconds for an answer. A Redis answers within milliseconds or is in trouble; then the connection is given up.
REPLY_TIMEOUT: Final = 2.0
#: Seconds between attempts to connect: soon at first, and never rarer than this, for each server of a fleet asks alone.
FIRST_RETRY: Final = 0.1
LONGEST_RETRY: Final = 2.0
#: Seconds for which a first connection is waited for.
FIRST_TIMEOUT: Final = 1.0
#: Seconds for a connection to close in good order.
CLOSE_TIMEOUT: Final = 1.0


class Greeting:
    """What is said first on each connection.

    :param username: of an ACL user, None: the default one
    :param password: None: there is none
    :param database: its number
    :param name: as which the connection is listed by ``CLIENT LIST``
    """

    def __init__(self, username: str | None, password: str | None, database: int, name: str) -> None:
        self._credentials = tuple(one for one in (username, password) if one is not None)
        self._commands: list[tuple[Any, ...]] = [("SELECT", database)] if database else []
        self._commands.append(("CLIENT", "SETNAME", name))

    async def say(self, protocol: Any) -> None:
        """Say it. Raises what the Redis answers if it does not like it."""
        if self._credentials:
            await protocol.execute_command("AUTH", *self._credentials)
        for command in self._commands:
            await protocol.execute_command(*command)


class _Greets:
    """The first word of both kinds of connection."""

    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        """Greet, then be ready."""
        self.transport.setTcpKeepAlive(1)  # the one that listens says nothing by itself
        ready = super().connectionMade  # type: ignore[misc]  # of the class that this one is mixed into
        greeted = Deferred.fromCoroutine(self.factory.greeting.say(self))
        greeted.addCallback(lambda _: maybeDeferred(ready))
        greeted.addCallback(lambda _: self.greeted())
        greeted.addErrback(self._refused)

    def greeted(self) -> Any:
        """The connection may be used."""

    def connectionLost(self, reason: Failure) -> None:
        """It is gone. Before all who wait hear no more than that, remember why: a certificate that is wrong, say."""
        super().connectionLost(reason)  # type: ignore[misc]  # of the class that this one is mixed into
        if not reason.check(ConnectionDone, ConnectionAborted):
            self.factory.trouble = reason.getErrorMessage()

    def _refused(self, failure: Failure) -> None:
        self.factory.trouble = failure.getErrorMessage()
        self.transport.abortConnection()


class _Settings:
    """What is ours of a factory that keeps one connection up.

    :ivar trouble: why there is none, as far as it is known
    """

    initialDelay = FIRST_RETRY
    factor = 2.0
    maxDelay = LONGEST_RETRY
    greeting: Greeting
    trouble = ""
    channel = ""
    heard: Callable[[str], object]


@cache
def _factory_classes() -> tuple[Any, Any]:
    """For commands, and for news. Made when they are first wanted: importing txredisapi installs a reactor."""
    import txredisapi  # type: ignore[import-untyped]

    class Commands(_Greets, txredisapi.RedisProtocol):  # type: ignore[misc]  # it has no types
        """A connection for commands."""

    class News(_Greets, txredisapi.SubscriberProtocol):  # type: ignore[misc]  # it has no types
        """A connection that listens to a channel."""

        def greeted(self) -> Any:
            """Listen; again after each reconnect."""
            return self.subscribe([self.factory.channel])

        def messageReceived(self, pattern: str | None, channel: str, message: str) -> None:
            """Somebody wrote something."""
            self.factory.heard(message)

    class CommandFactory(_Settings, txredisapi.RedisFactory):  # type: ignore[misc]  # it has no types
        """Of connections for commands."""

        protocol = Commands

    class NewsFactory(_Settings, txredisapi.RedisFactory):  # type: ignore[misc]  # it has no types
        """Of connections that listen."""

        protocol = News

    return CommandFactory, NewsFactory


def _factory(kind: Any, greeting: Greeting) -> Any:
    factory = kind(None, None, 1, isLazy=True, replyTimeout=REPLY_TIMEOUT, convertNumbers=False)
    factory.greeting = greeting
    return factory


@implementer(IStreamClientEndpoint)
class _Noted:
    """An endpoint whose failures are remembered."""

    def __init__(self, endpoint: IStreamClientEndpoint, factory: _Settings) -> None:
        self._endpoint = endpoint
        self._factory = factory

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Connect."""
        return self._endpoint.connect(protocolFactory).addErrback(self._failed)

    def _failed(self, failure: Failure) -> Failure:
        self._factory.trouble = failure.getErrorMessage()
        return failure


class RedisLink:
    """Two connections to one Redis, which come back by themselves: one for commands, one that listens to a channel.

    :param endpoint: reaches it, TLS included
    :param channel: what is listened to
    :param heard: called with each message
    :raises ModuleNotFoundError: txredisapi is not installed
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        greeting: Greeting,
        channel: str,
        heard: Callable[[str], Any],
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        commands, news = _factory_classes()
        self._commands = _factory(commands, greeting)
        self._news = _factory(news, greeting)
        self._news.channel = channel
        self._news.heard = heard

    def start(self) -> Deferred[None]:
        """Connect, and stay connected. Fires when there is a connection, or when that takes too long."""
        for factory in (self._commands, self._news):
            factory.startConnecting(_Noted(self._endpoint, factory))
        ready: Deferred[Any] = self._commands.deferred
        ready.addTimeout(FIRST_TIMEOUT, self._reactor)
        return ready.addBoth(lambda _: None)

    def stop(self) -> Deferred[None]:
        """Close both; fires when they are gone."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for factory in (self._commands, self._news):
            connections = list(factory.pool)
            late = self._reactor.callLater(CLOSE_TIMEOUT, _abort, connections)
            await factory.disconnect()
            if late.active():
                late.cancel()
        await deferLater(self._reactor, 0, lambda: None)  # txredisapi looks once more after a connection

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Deferred[Any]:
        """Run a script: by its hash, once the Redis knows it."""
        return self._do(lambda connection: connection.eval(script, list(keys), list(arguments)))

    def command(self, *words: Any) -> Deferred[Any]:
        """Run one command."""
        return self._do(lambda connection: connection.execute_command(*words))

    def _do(self, what: Callable[[Any], Deferred[Any]]) -> Deferred[Any]:
        pool = self._commands.pool
        if not pool or not pool[0].connected:
            trouble = self._commands.trouble
            return _failed(f"not connected: {trouble}" if trouble else "not connected")
        return maybeDeferred(what, pool[0]).addErrback(_unavailable)


def _failed(why: str) -> Deferred[Any]:
    def refuse(_: None) -> None:
        raise StoreUnavailable(why)

    return succeed(None).addCallback(refuse)


def _unavailable(failure: Failure) -> None:
    from txredisapi import RedisError

    failure.trap(RedisError)
    raise StoreUnavailable(failure.getErrorMessage()) from failure.value


def _abort(connections: Sequence[Any]) -> None:
    for connection in connections:
        connection.transport.abortConnection()
