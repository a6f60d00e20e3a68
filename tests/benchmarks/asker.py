"""Somebody who asks a server over HTTP, in a process of its own, so that the load beside it is not held up.

``python asker.py PORT SECONDS PATH...``: asks for one path after the other until the time is up, and prints for each
answer one line of JSON: ``[path, seconds, bytes, age]``. ``age`` is that of the freshest beat in it, in seconds as the
answer tells it, or null. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
import time

_HEARD = re.compile(rb'"last_heard_ms":(\d+)')
_SHOWN = re.compile(rb'data-label="Heard"><time datetime="[^"]*" data-at="([0-9.]+)"')
_NOW = re.compile(rb'data-now="([0-9.]+)"')


def freshest(body: bytes) -> float | None:
    """The age of the freshest beat that an answer tells of."""
    if ages := _HEARD.findall(body):
        return min(map(int, ages)) / 1000
    shown, now = _SHOWN.findall(body), _NOW.search(body)
    return float(now[1]) - max(map(float, shown)) if shown and now else None


def main(port: int, seconds: float, paths: list[str]) -> None:
    """Ask, and print."""
    until = time.monotonic() + seconds
    beats = -1.0
    while time.monotonic() < until:
        for path in paths:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30.0)
            began = time.monotonic()
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            took = time.monotonic() - began
            connection.close()
            if answer.status != 200:
                sys.exit(f"{path}: {answer.status}")
            age = freshest(body)
            if found := re.search(rb'^heartbeat_beats_total\{direction="in"\} (\S+)', body, re.MULTILINE):
                age = took if float(found[1]) > beats else None  # it counts beats that the last answer did not have
                beats = float(found[1])
            print(json.dumps([path, took, len(body), age]), flush=True)
            time.sleep(0.1)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
