"""The options of the server that say who may see its pages."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.address import IPv4Address, IPv6Address

from heartbeat.apps.keyoptions import secret
from heartbeat.apps.kinds import Text
from heartbeat.apps.options import Setting, When
from heartbeat.keys import SecretFileError, secret_lines
from heartbeat.watch.web import Passwords

if TYPE_CHECKING:
    from heartbeat.apps.listening import Listening
    from heartbeat.apps.options import Gathered

__all__ = ["WEB_PASSWORD_FILE", "exposure", "passwords", "web_passwords"]

WEB_PASSWORD_FILE: Final = Setting(
    name="web-password-file",
    kind=Text("FILE"),
    when=When.AT_ONCE,
    doc="Who may see the pages: lines of NAME:PASSWORD, or one password for any name; readable by nobody else "
    "(mode 0600). /livez and /readyz stay open; default: everybody who reaches --web",
)


def web_passwords(gathered: Gathered) -> dict[str, Any]:
    """The field of the server's settings that is read from that file. Raises as :func:`.secret`."""
    return {"passwords": secret(gathered, WEB_PASSWORD_FILE, passwords, Passwords())}


def passwords(path: str) -> Passwords:
    """What the file says; blank lines and those that begin with ``#`` say nothing.

    :raises SecretFileError: others may read it, or a line is neither; names the line, and never what is in it
    :raises OSError: it cannot be read
    """
    lines = secret_lines(path)
    if not lines:
        raise SecretFileError(path, "has no password in it")
    if len(lines) == 1 and ":" not in lines[0][1]:
        return Passwords({"": lines[0][1]})
    known: dict[str, str] = {}
    for at, line in lines:
        user, colon, word = line.partition(":")
        if not colon or not user or not word:
            raise SecretFileError(at, "must be NAME:PASSWORD")
        if user in known:
            raise SecretFileError(at, "this name is there twice")
        known[user] = word
    return Passwords(known)


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
