"""A server with live peers, to look at: ``python3 -m docs.demo``. Ctrl-C ends it.

Makes the environment ``.venv`` if need be and installs this checkout into it. Arguments are passed on to
``twist heartbeat-server --demo``.
"""

from __future__ import annotations

import subprocess
import sys

from tests.environment import Impossible, install, program

__all__ = ["main"]


def main() -> int:
    """Install, then serve until Ctrl-C."""
    try:
        install("agent,prometheus")
    except Impossible as missing:
        print(missing, file=sys.stderr)
        return 2
    command = [program("twist"), "heartbeat-server", "--demo", *sys.argv[1:]]
    print(" ".join(command), flush=True)
    with subprocess.Popen(command) as server:
        while True:
            try:
                return server.wait()
            except KeyboardInterrupt:
                continue  # the server had it too: it says goodbye to its peers and ends by itself


if __name__ == "__main__":
    sys.exit(main())
