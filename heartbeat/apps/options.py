"""Options as data: one :class:`Setting` is an option of the command line, a key of the config file, and its help.

A command is a table of settings. :class:`SettingOptions` makes ``twisted.python.usage`` read them, and
:func:`gather` merges: what the command line says beats the config file, which beats the default.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from twisted.python.usage import Options, UsageError

from heartbeat import __version__
from heartbeat.apps.configfile import ConfigFile, read_config
from heartbeat.apps.exits import FAILED, USAGE, leave, why
from heartbeat.apps.kinds import Flag, Kind, Many, Pairs, Text
from heartbeat.errors import ConfigError
from heartbeat.keys import SecretFileError

__all__ = ["CONFIG", "Gathered", "Setting", "SettingOptions", "When", "gather"]

S = TypeVar("S")


class When(enum.Enum):
    """From when on a change of a setting counts, after a reload."""

    AT_ONCE = "at once"
    NEXT = "for new connections"
    RESTART = "after a restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One option.

    :ivar name: without the hyphens in front; also the key in the config file
    :ivar kind: what its value may be
    :ivar doc: for ``--help``, without the default
    :ivar default: its value where nobody says anything
    :ivar compute: gives the default where it depends on the machine; what it gives is checked as if it had been typed
    :ivar when: from when on a change counts, after a reload
    :ivar in_file: it may stand in the config file
    """

    name: str
    kind: Kind
    doc: str
    default: Any = None
    compute: Callable[[], Any] | None = None
    when: When = When.RESTART
    in_file: bool = True

    @property
    def field(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")

    @property
    def many(self) -> bool:
        """It may be repeated."""
        return isinstance(self.kind, (Many, Pairs))

    def help(self) -> str:
        """What ``--help`` says of it."""
        default = "" if self.default in (None, "", (), {}, False) or isinstance(self.kind, Flag) else self.default
        if isinstance(default, tuple):
            default = " ".join(default)
        if isinstance(default, float):
            default = f"{default:g}"
        notes = ["repeatable"] if self.many else []
        if default:
            notes.append(f"default: {default}")
        return f"{self.doc} [{', '.join(notes)}]" if notes else self.doc


#: The option that every command has.
CONFIG = Setting(
    name="config",
    kind=Text("FILE.toml"),
    doc="Read options from this TOML file, too; its keys are their names; SIGHUP reads it again",
    in_file=False,
)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The values of all settings.

    :ivar values: by :attr:`Setting.field`
    :ivar names: how an error calls each of them: ``--multiplier``, or ``FILE:LINE: multiplier``
    """

    values: Mapping[str, Any]
    names: Mapping[str, str]

    def blame(self, error: ConfigError, fields: Mapping[str, str]) -> NoReturn:
        """Raise ``error`` again under the name that the user knows.

        :param fields: from the name in the error to :attr:`Setting.field`
        """
        field = fields.get(error.name, error.name)
        message = str(error).partition(": ")[2]
        raise ConfigError(self.names.get(field, error.name), message) from None


def gather(table: Sequence[Setting], given: Mapping[str, Any], file: ConfigFile | None = None) -> Gathered:
    """Merge what was given, the file and the defaults.

    :param given: values from the command line, by :attr:`Setting.name`
    :raises ConfigError: for an unknown key or a wrong value of the file; names file, line and key
    """
    by_name = {setting.name: setting for setting in table}
    for key in file.values if file is not None else ():
        if key not in by_name or not by_name[key].in_file:
            assert file is not None
            raise ConfigError(file.at(key), f'unknown key "{key}"')
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for setting in table:
        names[setting.field] = f"--{setting.name}"
        if setting.name in given:
            values[setting.field] = given[setting.name]
        elif file is not None and setting.name in file.values:
            values[setting.field] = _from_file(setting, file)
            names[setting.field] = file.name(setting.name)
        elif setting.compute is not None:
            value = setting.compute()
            values[setting.field] = value if value is None else setting.kind.from_toml(f"--{setting.name}", value)
        else:
            values[setting.field] = setting.default
    return Gathered(values, names)


def _from_file(setting: Setting, file: ConfigFile) -> Any:
    written = file.values[setting.name]
    try:
        return setting.kind.from_toml(setting.name, written)
    except ConfigError as error:
        # Only now is the line worth its price.
        raise ConfigError(file.at(setting.name), str(error)) from None


class SettingOptions(Generic[S], Options):
    """``twisted.python.usage.Options`` over a table of settings.

    Under ``twist`` (it has a parent then) a wrong option ends the process: status 64 and one line. On its own it
    raises UsageError, as every Options does.

    :cvar command: its name, for messages
    :cvar table: its settings
    :ivar given: the values that the command line gave, by name
    :ivar settings: what they come to, after :meth:`parseOptions`
    """

    command: ClassVar[str]
    table: ClassVar[tuple[Setting, ...]] = ()
    settings: S

    def __init_subclass__(cls) -> None:
        """Give usage the ``opt_`` methods that it looks for."""
        super().__init_subclass__()
        for setting in cls.table:
            attribute = f"opt_{setting.field}"
            if isinstance(setting.kind, Flag):
                setattr(cls, attribute, _flag(setting, True))
                if setting.kind.negative:
                    setattr(cls, f"opt_no_{setting.field}", _flag(setting, False))
            else:
                setattr(cls, attribute, _parameter(setting))

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # usage has no types
        self.given: dict[str, Any] = {}

    def opt_version(self) -> NoReturn:
        """Print the version of txheartbeat and exit."""
        print(__version__, flush=True)
        raise SystemExit(0)

    def parseArgs(self, *args: str) -> None:
        """Options only: what stands alone is a slip."""
        if args:
            raise UsageError(f"unexpected argument {args[0]!r}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line and the config file.

        :raises UsageError: names the option and the value
        :raises OSError: the config file cannot be read
        :raises SystemExit: instead of both, under ``twist``
        """
        try:
            try:
                super().parseOptions(options)  # type: ignore[no-untyped-call]  # usage has no types
                self.settings = self.read()
            except SecretFileError as error:
                if self.parent is not None:
                    leave(FAILED, f"{self.command}: {error}")
                raise UsageError(str(error)) from None
            except ConfigError as error:
                raise UsageError(str(error)) from None
        except UsageError as error:
            if self.parent is None:
                raise
            leave(USAGE, f"{self.command}: {error}")
        except OSError as error:
            if self.parent is None:
                raise
            leave(FAILED, f"{self.command}: {why(error)}")

    def read(self) -> S:
        """The settings as the command line and the config file say now. Call it again after the file has changed.

        :raises ConfigError: they do not fit together, or as :meth:`gathered`
        :raises OSError: a file cannot be read
        """
        return self.accept(self.gathered())

    def gathered(self) -> Gathered:
        """What the command line and the config file say now.

        :raises ConfigError: a key or a value of the file is wrong
        :raises OSError: the file cannot be read
        """
        path = self.given.get(CONFIG.name)
        if path is None:
            return gather(self.table, self.given)
        try:
            file = read_config(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), f"--config {path}") from None
        return gather(self.table, self.given, file)

    def accept(self, gathered: Gathered) -> S:
        """Override: the settings, if the values fit together. Raises ConfigError that names the option or the key."""
        raise NotImplementedError


def _parameter(setting: Setting) -> Callable[[SettingOptions[Any], str], None]:
    def take(self: SettingOptions[Any], text: str) -> None:
        value = setting.kind.from_text(f"--{setting.name}", text)
        if isinstance(setting.kind, Pairs):
            key, text = value
            self.given.setdefault(setting.name, {})[key] = text
        elif isinstance(setting.kind, Many):
            self.given[setting.name] = (*self.given.get(setting.name, ()), value)
        else:
            self.given[setting.name] = value

    take.__doc__ = setting.help()
    return take


def _flag(setting: Setting, value: bool) -> Callable[[SettingOptions[Any]], None]:
    def take(self: SettingOptions[Any]) -> None:
        self.given[setting.name] = value

    take.__doc__ = setting.help() if value else f"Not --{setting.name}."
    return take
