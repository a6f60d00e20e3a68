"""The certificate of one end, renewed while it runs.

Theory of operation. A provider gives the material when it is asked: at the start, every 30 s, on SIGHUP, by
:meth:`Certificates.reload`. Content that is the same is nothing new. New content is read, checked and made into
contexts of OpenSSL; only if all of that succeeds it is put in force, by one assignment. A context that was used cannot
be changed (facts T0.5), so open connections keep theirs, and new ones get the new one. What fails leaves the old one in
force, is counted, and is logged once for as long as it stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from OpenSSL import SSL, crypto
from twisted.application.service import Service
from twisted.internet import ssl
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from heartbeat.errors import BadCertificate, CertificateNotReady
from heartbeat.net.causes import tls_text
from heartbeat.net.tls.material import Material, Pem
from heartbeat.net.tls.verification import Verification
from heartbeat.net.wheel import wheel_for

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from twisted.python.failure import Failure

__all__ = ["MINIMA", "POLL", "Certificates", "Minimum", "trust_in"]

log = Logger(namespace="heartbeat.tls")

#: Seconds between two looks at the provider. A mounted secret changes within a minute or so; nobody is in a hurry,
#: since certificates are renewed days before they expire.
POLL: Final = 30.0
Minimum = Literal["1.3", "1.2"]
# Callbacks of cffi are made of memory that is writable and executable, which a process can be denied.
NO_CALLBACKS: Final = (
    "cannot be used: pyOpenSSL needs memory that is writable and executable, and this process may have none "
    "(MemoryDenyWriteExecute= of systemd, for one)"
)
#: The oldest version of TLS that is spoken, by its name.
MINIMA: Final = {"1.3": ssl.TLSVersion.TLSv1_3, "1.2": ssl.TLSVersion.TLSv1_2}


class Contexts:
    """What new connections are made of. Raises BadCertificate if OpenSSL does not take the material."""

    def __init__(self, material: Material, minimum: str) -> None:
        self.material = material
        self._minimum = minimum
        try:
            _ = self.server if material.chain else self.client
        except (SSL.Error, crypto.Error, ValueError) as error:
            raise BadCertificate(material.names[0], f"is not taken by OpenSSL: {tls_text(error)}") from error
        except MemoryError as error:
            raise BadCertificate(material.names[0], NO_CALLBACKS) from error

    @cached_property
    def server(self) -> ssl.CertificateOptions:
        """Of a server: without authorities it asks for no certificate."""
        return self._options(None)

    @cached_property
    def client(self) -> ssl.CertificateOptions:
        """Of a client: without authorities of its own it trusts those of the platform."""
        return self._options(ssl.platformTrust() if self.material.authorities is None else None)

    def _options(self, trust: Any) -> ssl.CertificateOptions:
        material = self.material
        settings: dict[str, Any] = {"raiseMinimumTo": MINIMA[self._minimum]}
        if material.chain:
            settings.update(
                privateKey=material.key, certificate=material.chain[0], extraCertChain=list(material.chain[1:])
            )
        if material.authorities is not None:
            trust = trust_in(material.authorities)
        if trust is not None:
            settings["trustRoot"] = trust
        options = ssl.CertificateOptions(**settings)
        options.getContext()  # only this finds out whether OpenSSL takes it
        return options


def trust_in(authorities: Iterable[Certificate]) -> Any:
    """These authorities and no others, as Twisted takes them for a ``trustRoot``."""
    return ssl.trustRootFromCertificates([ssl.Certificate(crypto.X509.from_cryptography(one)) for one in authorities])


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class Certificates(Service):
    """Gives each new connection the certificate that is in force. One for a server, one for a client.

    For a server it is what ``wrapServerTLS`` wants; better, :func:`~heartbeat.net.tls.endpoints.tls_server`, which does
    not listen before the first certificate is there. For a client: :func:`~heartbeat.net.tls.endpoints.tls_client`.
    As a service it looks for new ones while it runs.

    :param provider: gives a Pem or a Material, or a Deferred of one: from files
        (:func:`~heartbeat.net.tls.material.pem_files`), from a secret manager; called again whenever it is looked for
        new ones
    :param reactor: None: the installed one
    :param interval: seconds between two looks
    :param minimum: the oldest version of TLS that is spoken: ``1.3`` or ``1.2``

    :ivar reloads: how often a new one was put in force (``ok``), and how often it could not be used (``error``); the
        first one is not counted
    """

    tick = place = -1
    _look_at = 0.0

    def __init__(
        self,
        provider: Callable[[], Pem | Material | Deferred[Any]],
        *,
        reactor: Any = None,
        interval: float = POLL,
        minimum: Minimum = "1.3",
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.reloads = {"ok": 0, "error": 0}
        self._wheel = wheel_for(reactor)
        self._interval = interval
        self._minimum: str = minimum
        self._provider = provider
        self._contexts: Contexts | None = None
        self._digest = b""  # of what is in force
        self._trouble = ""  # what was logged last
        self._asking: Deferred[Any] | None = None
        self._waiting: list[Deferred[Certificates]] = []

    # -- what is in force

    @property
    def material(self) -> Material | None:
        """What is in force; None before the first was loaded."""
        return None if self._contexts is None else self._contexts.material

    @property
    def not_after(self) -> float | None:
        """When our certificate expires, seconds since the epoch; None without one."""
        return None if self.material is None else self.material.not_after

    def expires_in(self) -> int | None:
        """Seconds until our certificate expires, negative if it has; None without one."""
        until = self.not_after
        return None if until is None else int(until - self._wheel.clocks.wall())

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        """A connection of OpenSSL for one client. Raises CertificateNotReady before the first was loaded."""
        contexts = self._contexts
        if contexts is None:
            raise CertificateNotReady
        if not contexts.material.chain:
            raise BadCertificate(contexts.material.names[0], "is missing")
        connection = contexts.server.serverConnectionForTLS(protocol)
        return connection if contexts.material.authorities is None else Verification().watch(connection, protocol)

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        """A connection of OpenSSL to one server, whose certificate nobody looks at yet: see :class:`.ServerCheck`."""
        if self._contexts is None:
            raise CertificateNotReady
        return self._contexts.client.clientConnectionForTLS(protocol)

    # -- looking for new ones

    def ready(self) -> Deferred[Certificates]:
        """Fires when the first material is in force; fails with BadCertificate if it cannot be used.

        The provider is asked if it was not asked yet; after a failure it is asked anew.
        """
        if self._contexts is not None:
            return succeed(self)
        waiting: Deferred[Certificates] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        self._ask()
        return waiting

    def reload(self) -> Deferred[Certificates]:
        """Look for a new one now. Fires when that is done, whatever came of it; fails only as :meth:`ready` does."""
        if self._contexts is None:
            return self.ready()
        waiting: Deferred[Certificates] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        self._ask()
        return waiting

    def use(self, provider: Callable[[], Pem | Material | Deferred[Any]], minimum: Minimum) -> Deferred[Certificates]:
        """Ask another provider from now on, at once; what is in force stays until that has given something better."""
        self._provider = provider
        if minimum != self._minimum:
            self._minimum = minimum
            self._digest = b""
        asking, self._asking = self._asking, None
        waiting = self.reload()
        if asking is not None:
            asking.cancel()
        return waiting

    def startService(self) -> None:
        """Look for new ones from time to time."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._look_at = self._wheel.seconds() + self._interval
        self._wheel.put(self, self._look_at)

    def stopService(self) -> None:
        """Look no more. What is in force stays so."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self._wheel.remove(self)
        if self._asking is not None:
            self._asking.cancel()

    def wake(self, now: float) -> float | None:
        """The wheel's call, which may come early."""
        if now >= self._look_at:
            self._look_at = now + self._interval
            self._ask()
        return self._look_at if self.running else None

    def stepped(self, by: float, now: float) -> None:
        """Nothing here runs on the clock on the wall."""

    # -- inside

    def _ask(self) -> None:
        if self._asking is not None:  # a provider that takes its time is asked once
            return
        asking: Deferred[Any] = maybeDeferred(self._provider)
        self._asking = asking
        asking.addCallback(self._take, asking)
        asking.addBoth(self._done, asking)

    def _take(self, given: Any, asking: Deferred[Any]) -> None:
        """Put it in force if it is new and good. Raises BadCertificate."""
        if asking is not self._asking:  # another provider was asked meanwhile
            return
        if not isinstance(given, (Pem, Material)):
            raise BadCertificate("the provider", f"must give a Pem or a Material, not {type(given).__name__}")
        digest = given.digest()
        if digest == self._digest:
            self._trouble = ""  # what was wrong for a while was taken back
            return
        material = given.read()
        material.check(self._wheel.clocks.wall())
        before, self._contexts = self._contexts, Contexts(material, self._minimum)
        self._digest = digest
        self._trouble = ""
        if before is not None:
            self.reloads["ok"] += 1
            log.info("certificate renewed: {what}", what=str(material))

    def _done(self, result: Any, asking: Deferred[Any]) -> None:
        if asking is not self._asking:
            return
        self._asking = None
        failure: Failure | None = result
        if failure is not None and self._contexts is not None:
            self._complain(failure)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if failure is not None and self._contexts is None:
                one.errback(failure)
            else:
                one.callback(self)

    def _complain(self, failure: Failure) -> None:
        """Count and log, once for as long as it is the same. A provider of the application may raise anything."""
        ours = failure.check(BadCertificate) is not None
        trouble = str(failure.value) if ours else f"{type(failure.value).__name__}: {failure.value}"
        given_up = failure.check(CancelledError) and not self.running
        if trouble == self._trouble or given_up:  # a provider that we stopped waiting for has done nothing wrong
            return
        self._trouble = trouble
        self.reloads["error"] += 1
        log.warn("certificate not renewed, the old one stays: {trouble}", trouble=trouble)
