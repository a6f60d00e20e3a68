"""From the options of a command to the service that ``twist`` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.application.service import IService

from heartbeat.apps.commonoptions import CommonSettings
from heartbeat.apps.exits import leave, status_of, why
from heartbeat.apps.logs import LogLevels, take_over
from heartbeat.apps.machine import steady
from heartbeat.apps.options import SettingOptions
from heartbeat.errors import ConfigError

__all__ = ["service_of"]

S = TypeVar("S", bound=CommonSettings)
S_contra = TypeVar("S_contra", contravariant=True)


class Maker(Protocol[S_contra]):
    """Makes the service of one command; raises ConfigError or OSError."""

    def __call__(self, reactor: Any, settings: S_contra, *, read: Callable[[], Any], levels: LogLevels) -> IService: ...


def service_of(options: SettingOptions[S], make: Maker[S]) -> IService:
    """The service that the options describe, on the installed reactor, whose timers run on the monotonic clock then.

    :raises SystemExit: it cannot be made, and standard error says why in one line
    """
    from twisted.internet import reactor

    steady(reactor)
    settings = options.settings
    levels = take_over(options.parent, as_json=settings.log_json, level=settings.log_level)
    try:
        return make(reactor, settings, read=options.read, levels=levels)
    except (ConfigError, OSError) as error:
        leave(status_of(error), f"{options.command}: {why(error)}")
