"""SIGHUP: the config file is read again, and what may change in a running process does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.application.service import Service
from twisted.logger import Logger

from heartbeat.apps.exits import why
from heartbeat.apps.options import Setting, When
from heartbeat.apps.signals import HANGUP, Signals
from heartbeat.errors import ConfigError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorFromThreads

    from heartbeat.apps.systemd import Systemd

__all__ = ["Reload", "changed"]

S = TypeVar("S")


def changed(table: Iterable[Setting], before: Any, after: Any) -> list[Setting]:
    """The settings whose values differ between two settings objects of the same class."""
    known = {field.name for field in fields(before)}
    return [
        setting
        for setting in table
        if setting.field in known and getattr(before, setting.field) != getattr(after, setting.field)
    ]


class Reload(Service, Generic[S]):
    """Reads the settings again when the process gets a SIGHUP (which would end it otherwise).

    A file that is wrong changes nothing and is one line in the log. Settings that need a restart keep their old value
    until then, and are named, each time.

    :param table: the settings of the command
    :param read: gives the settings anew; raises ConfigError or OSError
    :param apply: puts settings into effect; given the new ones, in which those that need a restart are new, too
    :param systemd: is told when it begins and when it is over
    :ivar settings: those in force
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        table: Iterable[Setting],
        settings: S,
        read: Callable[[], S],
        apply: Callable[[S], None],
        *,
        systemd: Systemd | None = None,
    ) -> None:
        self.settings = settings
        self._log = Logger(namespace="heartbeat.reload")
        self._table = tuple(table)
        self._started_with = settings
        self._read = read
        self._apply = apply
        self._systemd = systemd
        self._signals = Signals(reactor, HANGUP, self._hung_up)

    def startService(self) -> None:
        """Listen for SIGHUP."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._signals.listen()

    def stopService(self) -> None:
        """Listen no more."""
        self._signals.close()
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's

    def _hung_up(self) -> None:
        if self._systemd is not None:
            self._systemd.reloading()
        try:
            self.reload()
        finally:
            if self._systemd is not None:
                self._systemd.reloaded()

    def reload(self) -> None:
        """Read the settings again and put them into effect. Raises nothing: the log says what happened."""
        try:
            settings = self._read()
        except (ConfigError, OSError) as error:
            self._log.warn("not reloaded, the old settings stay: {trouble}", trouble=why(error))
            return
        news = changed(self._table, self.settings, settings)
        self._apply(settings)
        self.settings = settings
        now = [setting.name for setting in news if setting.when is not When.RESTART]
        self._log.info("reloaded: {what}", what=", ".join(now) if now else "nothing has changed")
        late = [one.name for one in changed(self._table, self._started_with, settings) if one.when is When.RESTART]
        if late:
            self._log.warn("needs a restart: {what}", what=", ".join(late))
