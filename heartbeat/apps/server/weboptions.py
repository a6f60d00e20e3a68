"""The options of the server that say who may see its pages."""

from __future__ import annotations

import os
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted.internet.address import IPv4Address, IPv6Address

from heartbeat.apps.exits import why
from heartbeat.apps.kinds import Text
from heartbeat.apps.options import Setting, When
from heartbeat.errors import ConfigError
from heartbeat.watch.web import Passwords

if TYPE_CHECKING:
    from heartbeat.apps.listening import Listening

__all__ = ["exposure", "passwords", "web_settings"]

#: Bytes of the longest file of passwords: a thousand people. A longer one is another file.
LONGEST: Final = 65_536
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def web_settings() -> tuple[Setting, ...]:
    """The settings."""
    return (
        Setting(
            name="web-password-file",
            kind=Text("FILE"),
            when=When.AT_ONCE,
            doc="Who may see the pages: lines of NAME:PASSWORD, or one password for any name; readable by nobody else "
            "(mode 0600). /livez and /readyz stay open; default: everybody who reaches --web",
        ),
    )


def passwords(name: str, path: str | None) -> Passwords:
    """What the file says; blank lines and those that begin with ``#`` say nothing.

    :param name: of the option, for errors; they name the line, and never what is in it
    :raises ConfigError: others may read it, or a line is neither
    :raises OSError: it cannot be read
    """
    if path is None:
        return Passwords()
    try:
        text = _private(name, path)
    except OSError as error:
        raise OSError(error.errno, why(error), f"{name} {path}") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line and not line.startswith("#")]
    if not lines:
        raise ConfigError(name, f"no password in {path}")
    if len(lines) == 1 and ":" not in lines[0][1]:
        return Passwords({"": lines[0][1]})
    known: dict[str, str] = {}
    for number, line in lines:
        user, colon, word = line.partition(":")
        if not colon or not user or not word:
            raise ConfigError(name, f"{path}:{number}: must be NAME:PASSWORD")
        if user in known:
            raise ConfigError(name, f"{path}:{number}: this name is there twice")
        known[user] = word
    return Passwords(known)


def _private(name: str, path: str) -> str:
    with Path(path).open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if os.name == "posix" and mode & _OTHERS:
            raise ConfigError(name, f"{path} can be read or written by others: chmod 600 {path}")
        data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise ConfigError(name, f"{path} is longer than {LONGEST} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError(name, f"{path} is not UTF-8") from None


def exposure(web: Listening | None, *, protected: bool) -> str | None:
    """What is to be warned of: the pages can be reached from other hosts, and everybody there can read them.

    :param protected: they ask for a password
    """
    address: object = None if web is None or web.port is None else web.port.getHost()
    if web is None or not isinstance(address, IPv4Address | IPv6Address) or ip_address(address.host).is_loopback:
        return None
    where = f"--web {web.text} is open to other hosts"
    if not protected:
        return f"{where} without {'a password' if web.tls else 'TLS or a password'}: anybody there can read the pages"
    return None if web.tls else f"{where} without TLS: passwords cross the network in clear"
