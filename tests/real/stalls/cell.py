"""One cell of the matrix: one reactor, plain or TLS, one kind of stall; then ten of the fifty peers are stopped.

``python -m tests.real.stalls.cell REACTOR plain|tls KIND [foreign|ours]``. Prints one line of JSON. In the same
process, under the same stall, fifty connections of a protocol with Twisted's ``TimeoutMixin``.

Whose application it is decides what wakes the wheel: ``ours`` sets ``reactor.seconds = time.monotonic`` at its start,
as our commands do, and the wheel rides on ``callLater``; ``foreign`` does not know about that.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from tests.real.stalls.blocking import Stalls, TwistedLoop
from tests.real.stalls.children import Peers, install

if TYPE_CHECKING:
    from tests.real.stalls.watching import Watch

__all__ = ["DETECT", "LIVING", "MARGIN", "OWNERS", "STALL", "STOPPED", "STOPPED_AT", "main", "measure", "started"]

#: Seconds that the loop stalls, and after which a silent peer is dead.
STALL: Final = 3.0
DETECT: Final = 2.0
#: What is promised beyond the detection time.
MARGIN: Final = 0.1
LIVING: Final = 40
STOPPED: Final = 10
#: Where those come from that are stopped: who has no name is known by its address.
STOPPED_AT: Final = "127.0.0.2"
#: Whose application a cell is.
OWNERS: Final = ("foreign", "ours")


def started(name: str, owner: str) -> Any:
    """Install the reactor, as an application of that owner has it."""
    reactor = install(name)
    if owner == "ours":
        reactor.seconds = time.monotonic
    return reactor


def timeout_mixin(reactor: Any) -> Any:
    """A factory as applications write it: a question each second, ``setTimeout`` with the detection time.

    Its ``ask_all`` puts a question to each; ``timed_out`` counts what the mixin ended.
    """
    from twisted.internet.protocol import Factory, Protocol
    from twisted.internet.task import LoopingCall
    from twisted.protocols.policies import TimeoutMixin

    class Timing(Protocol, TimeoutMixin):
        def connectionMade(self) -> None:
            factory.open.append(self)
            self.setTimeout(DETECT)

        def dataReceived(self, data: bytes) -> None:
            self.resetTimeout()

        def timeoutConnection(self) -> None:
            factory.timed_out += 1
            self.transport.abortConnection()

        def connectionLost(self, reason: Any = None) -> None:
            self.setTimeout(None)
            factory.open.remove(self)

    class Naive(Factory):
        noisy = False
        protocol = Timing

        def __init__(self) -> None:
            self.open: list[Timing] = []
            self.timed_out = 0
            self.asking = LoopingCall(self.ask_all)
            self.asking.start(1.0)

        def ask_all(self) -> None:
            for one in self.open:
                one.transport.write(b"HEAR\0\1\0\2")

        def end(self) -> None:
            self.asking.stop()
            for one in tuple(self.open):
                one.transport.abortConnection()

    factory = Naive()
    return factory


def measure(reactor: Any, watch: Watch, transport: str, kind: str, dialect: str = "heartbeat") -> dict[str, Any]:
    """Run the reactor: peers of that dialect, one stall, and then ten of them are stopped."""
    from tests.real.stalls.watching import control, listen

    tls = transport == "tls"
    naive = timeout_mixin(reactor)
    ports = [listen(reactor, one, tls=tls) for one in (watch.factory, naive)]
    result: dict[str, Any] = {}

    def write() -> None:
        watch.ask_all()
        naive.ask_all()

    def script() -> None:
        options = ["--tls"] if tls else []
        stalls = Stalls(TwistedLoop(reactor), write)
        living = Peers(dialect, ports[0], LIVING, "--name", "living", *options)
        stopped = Peers(dialect, ports[0], STOPPED, "--name", "stopped", "--source", STOPPED_AT, *options)
        echoing = Peers("echo", ports[1], LIVING + STOPPED, *options)
        try:
            time.sleep(2.2)
            assert len(watch.peers) == LIVING + STOPPED, f"{len(watch.peers)} joined"
            echoing.wait_asked()  # the answers come while the loop stalls
            stalls.make(kind, STALL)
            time.sleep(DETECT + 0.5)
            result.update(false=len(watch.dead) + len(watch.left), naive=naive.timed_out, spared=watch.spared)
            reactor.callFromThread(naive.end)
            result.update(watch.judge_stopped(stopped, "stopped", STOPPED, DETECT + MARGIN))
            time.sleep(0.3)
            result.update(watched=watch.living("living"), open=living.report())
        finally:
            for one in (living, stopped, echoing):
                one.kill()

    control(reactor, script)
    return result


def main(name: str, transport: str, kind: str, owner: str = "foreign") -> None:
    """The process."""
    reactor = started(name, owner)
    from tests.real.stalls.watching import Watch

    result = {"reactor": name, "transport": transport, "stall": kind, "owner": owner}
    print(json.dumps(result | measure(reactor, Watch(reactor), transport, kind)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
