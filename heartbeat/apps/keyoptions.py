"""The options of both commands that prove who is who: shared keys, what is wanted, and the keys of resume tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from heartbeat.apps.kinds import OneOf, Text
from heartbeat.apps.options import Setting, When
from heartbeat.config import AUTH
from heartbeat.errors import ConfigError
from heartbeat.keys import Keys, SecretFileError, read_keys, read_token_keys

if TYPE_CHECKING:
    from heartbeat.apps.options import Gathered

__all__ = ["AUTH_SETTING", "NO_KEYS", "SHARED_KEY", "TOKEN_KEY", "agent_keys", "secret", "server_keys", "wanted"]

T = TypeVar("T")

#: What ``--shared-key`` comes to where it was not given.
NO_KEYS: Final = Keys()

SHARED_KEY: Final = Setting(
    name="shared-key",
    kind=Text("FILE"),
    when=When.NEXT,
    doc="Keys that both ends hold, one a line, the preferred one first; at the server an id in front of its own. "
    "Made by python -m heartbeat.newkey; mode 0600",
)
AUTH_SETTING: Final = Setting(
    name="auth",
    kind=OneOf("|".join(AUTH), AUTH),
    when=When.NEXT,
    doc="What a peer must prove; default: key with --shared-key, mtls with --tls-client-ca, else none",
)
TOKEN_KEY: Final = Setting(
    name="token-key",
    kind=Text("FILE"),
    when=When.AT_ONCE,
    doc="Keys that resume tokens are sealed with, one a line, the newest first; the same for all servers of a fleet; "
    "default: a random one",
)


def secret(gathered: Gathered, setting: Setting, read: Callable[[str], T], absent: T) -> T:
    """What the file of an option says; ``absent`` where none was given.

    :param read: reads one; raises SecretFileError or OSError
    :raises SecretFileError: it is wrong; names the option, the file and the line
    :raises OSError: it cannot be read; names the option and the file
    """
    path = gathered.values[setting.field]
    if path is None:
        return absent
    name = gathered.names[setting.field]
    try:
        return read(path)
    except SecretFileError as error:
        raise SecretFileError(f"{name}: {error.name}", str(error).partition(": ")[2]) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), f"{name} {path}") from None


def server_keys(gathered: Gathered) -> dict[str, Any]:
    """The fields of the server's settings that are read from key files.

    :raises ConfigError: a key file is wrong; names the option, the file and the line
    :raises OSError: it cannot be read; names the option and the file
    """
    return {
        "shared_key": secret(gathered, SHARED_KEY, lambda path: read_keys(path, ids=True), NO_KEYS),
        "token_key": secret(gathered, TOKEN_KEY, read_token_keys, None),
    }


def agent_keys(gathered: Gathered) -> dict[str, Any]:
    """The fields of the agent's settings that are read from key files. Raises as :func:`server_keys`."""
    return {"shared_key": secret(gathered, SHARED_KEY, read_keys, NO_KEYS)}


def wanted(auth: str | None, keys: bool, certificates: bool) -> Any:
    """What ``--auth`` comes to: as it was given, else what the other options can prove.

    :param keys: ``--shared-key`` was given
    :param certificates: ``--tls-client-ca`` was given
    :raises ConfigError: it wants what cannot be proved; names the field ``auth``
    """
    if auth is None:
        return {(False, False): "none", (True, False): "key", (False, True): "mtls"}.get(
            (keys, certificates), "key+mtls"
        )
    if "key" in auth and not keys:
        raise ConfigError("auth", f"{auth} needs --shared-key")
    if "mtls" in auth and not certificates:
        raise ConfigError("auth", f"{auth} needs --tls-client-ca")
    return auth
