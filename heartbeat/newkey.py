"""``python -m heartbeat.newkey [FILE] [--id ID]``: make a shared key, or a key for resume tokens.

With a file the key becomes its first line, so that it is the preferred one, and the others stay, so that it can be
rotated in; a new file gets mode 0600. Without one it is printed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from heartbeat.config import check_id
from heartbeat.errors import ConfigError
from heartbeat.keys import ANYONE, SharedKey, decoded, new_key, secret_lines

__all__ = ["main"]


def add_key(path: Path, line: str) -> None:
    """Put a line in front of a file of secrets, or make the file. It is replaced as a whole: nobody reads half of it.

    :raises ConfigError: others may read the file
    :raises OSError: it cannot be read or written
    """
    rest, owner = "", None
    path = path.resolve()  # a link stays one
    if path.exists():
        secret_lines(str(path))  # which refuses what others can read
        rest, owner = path.read_text(encoding="utf-8"), path.stat()
    descriptor, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{line}\n{rest}")
            file.flush()
            os.fsync(descriptor)
            if owner is not None and os.name == "posix" and os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)  # whoever could read it still can
        Path(new).replace(path)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m heartbeat.newkey", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="put it in front of this file of keys")
    parser.add_argument("--id", default=ANYONE, help="the peer whose proof it is; default: it proves membership")
    given = parser.parse_args(arguments)
    key = new_key()
    line = key if given.id == ANYONE else f"{given.id} {key}"
    try:
        if given.id != ANYONE:
            check_id("--id", given.id)
        if given.file is None:
            sys.stdout.write(f"{line}\n")
            return 0
        add_key(given.file, line)
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"heartbeat.newkey: {error}\n")
        return 1
    secret = decoded(key)
    assert secret is not None  # it was just made
    sys.stdout.write(f"{given.file}: kid {SharedKey(secret).kid}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
