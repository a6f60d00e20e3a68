"""Run the benchmarks: ``python -m tests.benchmarks [NAME ...] [--small]``, the names are those of :data:`KNOWN`."""

from __future__ import annotations

import sys

from tests.benchmarks import beat, board, bulk, followers, memory, secure, wheel

KNOWN = {
    "beat": beat,
    "secure": secure,
    "bulk": bulk,
    "memory": memory,
    "wheel": wheel,
    "board": board,
    "followers": followers,
}


def main(arguments: list[str]) -> int:
    """Run those that are named, or all; 64 for a name that is none."""
    names = [one for one in arguments if one != "--small"]
    for name in names:
        if name not in KNOWN:
            print(f"{name}: must be one of {', '.join(KNOWN)}, or --small", file=sys.stderr)
            return 64
    for name in names or KNOWN:
        module = KNOWN[name]
        print(module.measure(module.SMALL if "--small" in arguments else None), flush=True)
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
