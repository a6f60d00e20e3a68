"""A real Redis on a free port of the loopback, without a file: started, frozen for a while, killed, started again."""

from __future__ import annotations

import atexit
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

__all__ = ["WITHOUT_REDIS", "RedisServer", "free_port", "shared_redis"]

_PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
#: Why tests that need one are skipped; ``""``: they are not.
WITHOUT_REDIS = "" if _PROGRAM else "no redis-server here (Debian: redis-server)"
#: Seconds for it to answer.
_START = 10.0


def free_port() -> int:
    """A port that nobody has at the moment, and that no outgoing connection gets while its server is restarted."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


class RedisServer:
    """One process; it answers when this is made. What still runs when the tests end is killed.

    :param options: further lines of its configuration
    :ivar port: the same over restarts
    """

    def __init__(self, *options: str, tls: bool = False) -> None:
        assert _PROGRAM is not None
        self.port = free_port()
        self._home = tempfile.TemporaryDirectory(prefix="heartbeat-redis-")
        listen = ("port 0", f"tls-port {self.port}") if tls else (f"port {self.port}",)
        lines = (*listen, "bind 127.0.0.1", 'save ""', "appendonly no", f"dir {self._home.name}", *options)
        self._configuration = Path(self._home.name) / "redis.conf"
        self._configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        self.start()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, empty; it answers when this returns."""
        self._process = subprocess.Popen(
            [str(_PROGRAM), str(self._configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + _START
        while True:
            assert self._process.poll() is None, "the Redis ended at once"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                assert time.monotonic() < deadline, "the Redis does not answer"
                time.sleep(0.02)
            else:
                return

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: all that it had is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it, for good."""
        atexit.unregister(self.close)
        self.kill()
        self._home.cleanup()


@functools.cache
def shared_redis(*options: str, tls: bool = False) -> RedisServer:
    """A Redis for all tests that ask for the same one; it runs until the tests end."""
    return RedisServer(*options, tls=tls)
