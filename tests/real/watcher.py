"""An observing end, and an unmodified one, as processes of namespaces of their own.

``python -m tests.real.watcher '{"role": "server", "detect": 4.0, ...}'`` watches one connection and tells in JSON lines
what it sees; ``python -m tests.real.watcher plain server|client [SECONDS]`` is a peer that has never heard of us: it
takes what comes, and says a byte so often. Both end with their parent.
"""

from __future__ import annotations

import ctypes
import json
import signal
import socket
import sys
import time
from typing import Any, Final

from tests.real.namespaces import SERVER

__all__ = ["PORT"]

PORT: Final = 5432
_PR_SET_PDEATHSIG: Final = 1
#: An application that writes says a byte this often.
_EVERY: Final = 0.2


def plain(role: str, every: float | None) -> None:
    """The unmodified peer."""
    if role == "server":
        listener = socket.create_server((SERVER, PORT))
        print("listening", flush=True)
        connection, _ = listener.accept()
    else:
        connection = socket.create_connection((SERVER, PORT))
    connection.settimeout(every)
    while True:
        try:
            if not connection.recv(65536):
                break
        except TimeoutError:
            connection.send(b"x")


def watch(order: dict[str, Any]) -> None:
    """The observing end."""
    from twisted.internet import reactor as installed
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
    from twisted.internet.protocol import Factory, Protocol
    from twisted.internet.task import LoopingCall
    from twisted.python import log

    from heartbeat.interfaces import HeartbeatListener
    from heartbeat.net import observe_client, observe_server
    from tests.real.end import Lateness, say

    reactor: Any = installed
    log.startLogging(sys.stderr, setStdout=False)
    lateness = Lateness()

    class Board(HeartbeatListener):
        def joined(self, peer: Any) -> None:
            say("joined", options=dict(peer.options))

        def changed(self, peer: Any, event: Any) -> None:
            evidence = getattr(event, "evidence", None)
            say(
                type(event).__name__, cause=getattr(event, "cause", None), late=lateness.recent(),
                evidence=None if evidence is None else evidence.as_json(),
            )  # fmt: skip

    class Talker(Protocol):
        def connectionMade(self) -> None:
            if order["writes"]:
                assert self.transport is not None
                LoopingCall(self.transport.write, b"y").start(_EVERY)

        def connectionLost(self, reason: Any = None) -> None:
            say("lost", reason=reason.type.__name__)

    settings: Any = {"detect": order["detect"], "idle": order["idle"], "listener": Board()}
    if order["role"] == "server":
        server = observe_server(TCP4ServerEndpoint(reactor, PORT, interface=SERVER), **settings)
        server.listen(Factory.forProtocol(Talker)).addCallbacks(lambda _: say("listening"), log.err)
    else:
        client = observe_client(TCP4ClientEndpoint(reactor, SERVER, PORT), **settings)
        client.connect(Factory.forProtocol(Talker)).addErrback(log.err)
    reactor.callWhenRunning(time.monotonic)
    reactor.run()


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if sys.argv[1] == "plain":
        plain(sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else None)
    else:
        watch(json.loads(sys.argv[1]))
