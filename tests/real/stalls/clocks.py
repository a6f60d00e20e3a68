"""The wall clock of this process steps; the monotonic one stays true.

``python -m tests.real.stalls.clocks STEP OWNER REACTOR``. Fifty peers that answer in 0.2 s, a detection time of 2 s:
the clock steps, then ten of the peers are stopped. Prints one line of JSON. ``time.time`` is replaced before Twisted is
imported, so that its ``reactor.seconds``, and with it every ``callLater``, goes by the faked clock. OWNER says whose
application it is: ``ours`` sets ``reactor.seconds = time.monotonic`` at its start, as our commands do; ``foreign`` does
not know about that. ``early`` and ``frozen`` say what became of two timers of the application's own: whether one for
200 s later has fired, and whether one for 1 s later has not.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any, Final

from tests.real.stalls.cell import DETECT, LIVING, MARGIN, STOPPED, started
from tests.real.stalls.children import Peers

__all__ = ["STEPS", "WallClock", "main"]

#: By how many seconds the clock steps, by name; the strobe goes there and back all the time. 262 s is what Jepsen bumps
#: clocks by.
STEPS: Final = {"+1h": 3600.0, "-1h": -3600.0, "+262s": 262.0, "-262s": -262.0, "strobe": 262.0}
#: Seconds between two steps of the strobe: about as often as the wheel of 140 connections wakes.
_STROBE: Final = 0.007


class WallClock:
    """Takes the place of ``time.time`` in this process.

    :ivar offset: by how much it is wrong, seconds
    """

    def __init__(self) -> None:
        self.offset = 0.0
        self._true = time.time
        time.time = self.read

    def read(self) -> float:
        """The time of day, wrongly."""
        return self._true() + self.offset

    def step(self, name: str) -> None:
        """Step once, or begin to strobe."""
        if name == "strobe":
            threading.Thread(target=self._strobe, args=(STEPS[name],), daemon=True).start()
        else:
            self.offset = STEPS[name]

    def _strobe(self, seconds: float) -> None:
        while True:
            self.offset = 0.0 if self.offset else seconds
            time.sleep(_STROBE)


def main(step: str, owner: str, name: str) -> None:
    """The process."""
    clock = WallClock()
    reactor = started(name, owner)
    from tests.real.stalls.watching import Watch, control, listen

    watch = Watch(reactor)
    port = listen(reactor, watch.factory, tls=False)
    result: dict[str, Any] = {"step": step, "owner": owner, "reactor": name}
    fired: list[str] = []  # what the application itself had planned with callLater

    def script() -> None:
        living = Peers("heartbeat", port, LIVING, "--name", "living")
        stopped = Peers("heartbeat", port, STOPPED, "--name", "stopped")
        try:
            time.sleep(2.2)
            assert len(watch.peers) == LIVING + STOPPED, f"{len(watch.peers)} joined"
            reactor.callFromThread(reactor.callLater, 1.0, fired.append, "soon")
            reactor.callFromThread(reactor.callLater, 200.0, fired.append, "late")
            time.sleep(0.3)
            clock.step(step)
            time.sleep(DETECT + 1.0)
            result.update(false=len(watch.dead) + len(watch.left), spared=watch.spared)
            result.update(early="late" in fired, frozen="soon" not in fired)
            result.update(watch.judge_stopped(stopped, "stopped", STOPPED, DETECT + MARGIN))
            time.sleep(0.3)
            result.update(watched=watch.living("living"), open=living.report())
        finally:
            for one in (living, stopped):
                one.kill()
        print(json.dumps(result), flush=True)

    control(reactor, script)


if __name__ == "__main__":
    main(*sys.argv[1:])
