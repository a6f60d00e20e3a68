"""The options of both commands that are about TLS, and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from heartbeat.apps.endpoints import listening_endpoint
from heartbeat.apps.kinds import Many, OneOf, Text, shown
from heartbeat.apps.listening import TLS_PREFIXES
from heartbeat.apps.options import Setting, When
from heartbeat.errors import BadCertificate, ConfigError
from heartbeat.net.endpoints import host_and_port
from heartbeat.net.tls.certificates import MINIMA, Certificates
from heartbeat.net.tls.endpoints import TlsClient, tls_client
from heartbeat.net.tls.material import pem_files
from heartbeat.net.tls.pins import POLICIES, Pins, read_pin
from heartbeat.net.tls.verification import is_address, server_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from heartbeat.apps.agent import AgentSettings
    from heartbeat.apps.server.settings import ServerSettings
    from heartbeat.net.tls.material import Pem

__all__ = [
    "agent_certificates",
    "agent_pins",
    "agent_tls_settings",
    "check_agent_tls",
    "check_server_tls",
    "server_certificates",
    "server_tls_settings",
    "tls_servers",
]

FILE: Final = Text("FILE")


def _tls_listener(name: str, text: str) -> str:
    """The check of an endpoint around which TLS is put. Raises ConfigError."""
    if text.startswith(TLS_PREFIXES):
        raise ConfigError(name, f"puts TLS around an endpoint that must not have it already: {shown(text)}")
    return listening_endpoint(name, text)


def _tls_server(name: str, text: str) -> str:
    """The check of a server to connect to. Raises ConfigError."""
    try:
        place = host_and_port(text)
        if place is not None and not is_address(place[0]):
            server_name(place[0])
    except ConfigError as error:
        raise ConfigError(name, str(error).partition(": ")[2]) from None
    except ValueError:  # idna's errors are of this kind
        place = None
    if place is None:
        raise ConfigError(name, f"must be HOST:PORT, not {shown(text)}")
    return text


def _own(when: When) -> tuple[Setting, ...]:
    """What both ends may have of their own."""
    return (
        Setting(
            name="tls-cert",
            kind=FILE,
            when=when,
            doc="Our certificate and those that lead to its authority, in PEM; looked at again every 30 s",
        ),
        Setting(name="tls-key", kind=FILE, when=when, doc="The private key of that certificate, in PEM"),
        Setting(
            name="tls-minimum",
            kind=OneOf("VERSION", tuple(MINIMA)),
            default="1.3",
            when=when,
            doc=f"The oldest version of TLS that is spoken: {' or '.join(MINIMA)}",
        ),
    )


def server_tls_settings() -> tuple[Setting, ...]:
    """Those of the server."""
    return (
        Setting(
            name="listen-tls",
            kind=Many(Text("ENDPOINT", _tls_listener)),
            default=(),
            doc="Where heartbeats are accepted over TLS; needs --tls-cert and --tls-key",
        ),
        *_own(When.AT_ONCE),
        Setting(
            name="tls-client-ca",
            kind=FILE,
            when=When.AT_ONCE,
            doc="Authorities in PEM: each client must have a certificate of one of them",
        ),
    )


def agent_tls_settings() -> tuple[Setting, ...]:
    """Those of the agent."""
    return (
        Setting(
            name="connect-tls",
            kind=Many(Text("HOST:PORT", _tls_server)),
            default=(),
            doc="A server over TLS, whose certificate must be for that host; these come behind those of --connect",
        ),
        Setting(
            name="tls-ca",
            kind=FILE,
            when=When.AT_ONCE,
            doc="The authorities that the certificate of a server may descend from, in PEM; default: the platform's",
        ),
        *_own(When.AT_ONCE),
        Setting(
            name="pin",
            kind=Many(Text("sha256/BASE64", read_pin)),
            default=(),
            when=When.NEXT,
            doc="A key that the certificate of a server may have; keep a backup among them",
        ),
        Setting(
            name="on-pin-mismatch",
            kind=OneOf("POLICY", POLICIES),
            default="refuse",
            when=When.NEXT,
            doc=f"What is done about a key that is not pinned: {', '.join(POLICIES)}",
        ),
    )


# -- do they fit together


def _needs(settings: Any, names: Any, given: Sequence[str], wanted: Sequence[str], why: str) -> None:
    """Raise ConfigError if one of ``given`` was, and one of ``wanted`` was not."""
    for one in given:
        for other in wanted:
            if getattr(settings, one) and not getattr(settings, other):
                option = other.replace("_", "-")
                raise ConfigError(names[one], f"{shown(_first(getattr(settings, one)))} needs --{option}{why}")


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def check_server_tls(settings: ServerSettings, names: Any) -> None:
    """Raise ConfigError if the options about TLS do not fit together.

    :param names: how errors call them, by field
    """
    _needs(settings, names, ("listen_tls",), ("tls_cert", "tls_key"), "")
    _needs(settings, names, ("tls_cert", "tls_key", "tls_client_ca"), ("listen_tls",), " ENDPOINT: nothing uses it")


def check_agent_tls(settings: AgentSettings, names: Any) -> None:
    """As :func:`check_server_tls`."""
    _needs(settings, names, ("tls_cert",), ("tls_key",), "")
    _needs(settings, names, ("tls_key",), ("tls_cert",), "")
    only_tls = ("tls_cert", "tls_key", "tls_ca")
    _needs(settings, names, only_tls, ("connect_tls",), " HOST:PORT: nothing uses it")
    if settings.pin and not settings.connect_tls and not any(one.startswith(TLS_PREFIXES) for one in settings.connect):
        raise ConfigError(names["pin"], f"{shown(settings.pin[0])} needs --connect-tls HOST:PORT: there is no TLS")
    if settings.on_pin_mismatch != "refuse" and not settings.pin:
        raise ConfigError(names["on_pin_mismatch"], f"{shown(settings.on_pin_mismatch)} needs --pin")


# -- what they come to


def _server_files(settings: ServerSettings) -> Callable[[], Pem]:
    cert, key, roots = settings.tls_cert, settings.tls_key, settings.tls_client_ca
    return pem_files(cert, key, roots, (f"--tls-cert {cert}", f"--tls-key {key}", f"--tls-client-ca {roots}"))


def _agent_files(settings: AgentSettings) -> Callable[[], Pem]:
    cert, key, roots = settings.tls_cert, settings.tls_key, settings.tls_ca
    return pem_files(cert, key, roots, (f"--tls-cert {cert}", f"--tls-key {key}", f"--tls-ca {roots}"))


def server_certificates(
    settings: ServerSettings, reactor: Any, before: Certificates | None = None
) -> Certificates | None:
    """The server's certificates, loaded; None: it has no TLS.

    :param before: what it has; that one is told to look at the files as they are now
    :raises OSError: the first ones cannot be used
    """
    if not settings.listen_tls:
        return None
    return _loaded(_server_files(settings), settings, reactor, before)


def agent_certificates(
    settings: AgentSettings, reactor: Any, before: Certificates | None = None
) -> Certificates | None:
    """As :func:`server_certificates`."""
    if not settings.connect_tls:
        return None
    return _loaded(_agent_files(settings), settings, reactor, before)


def _loaded(files: Callable[[], Pem], settings: Any, reactor: Any, before: Certificates | None) -> Certificates:
    if before is not None:
        before.use(files, settings.tls_minimum)
        return before
    certificates = Certificates(files, reactor=reactor, minimum=settings.tls_minimum)
    failures: list[Any] = []
    certificates.ready().addErrback(failures.append)
    if failures:
        failures[0].trap(BadCertificate)
        raise OSError(None, failures[0].getErrorMessage())
    return certificates


def tls_servers(settings: AgentSettings, certificates: Certificates | None, reactor: Any) -> list[TlsClient]:
    """The servers of ``--connect-tls``."""
    pins = agent_pins(settings)
    found = []
    for text in settings.connect_tls:
        place = host_and_port(text)
        assert certificates is not None and place is not None  # the options were checked
        found.append(tls_client(*place, certificates, pins, reactor=reactor))
    return found


def agent_pins(settings: AgentSettings) -> Pins | None:
    """The pins, if there are any."""
    return Pins(settings.pin, settings.on_pin_mismatch) if settings.pin else None
