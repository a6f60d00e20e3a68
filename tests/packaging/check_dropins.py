"""The installed distribution gives Twisted its commands and its endpoint prefix, and harms nobody else's.

Run it in isolated mode (``python -I``) and outside the checkout, where only what is installed can be imported.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import sysconfig
from pathlib import Path

from twisted import plugins
from twisted.application.service import IServiceMaker
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins

COMMANDS = {"heartbeat-server", "heartbeat-agent", "heartbeat-probe"}
DROPINS = ("twisted.plugins.heartbeat_services", "twisted.plugins.heartbeat_endpoints")


def installed_where_it_belongs() -> None:
    """Only site-packages gives plugins, and Twisted's own file there is still Twisted's."""
    site = {Path(sysconfig.get_path(name)).resolve() / "twisted" / "plugins" for name in ("purelib", "platlib")}
    folders = {Path(one).resolve() for one in plugins.__path__ if Path(one).is_dir()}  # Twisted lists what may be, too
    assert folders <= site, folders
    own = Path(str(plugins.__file__)).read_text()
    assert "pluginPackagePaths" in own, "Twisted's plugins/__init__.py was overwritten"


def commands_are_listed() -> None:
    """``twist --help`` knows the commands, and each names a module that has what ``twist`` asks of it."""
    makers = {one.tapname: one for one in getPlugins(IServiceMaker)}
    assert set(makers) >= COMMANDS, sorted(makers)
    for name in COMMANDS:
        module = importlib.import_module(makers[name].module)
        assert callable(module.makeService), name
        assert callable(module.Options), name


def prefix_is_known() -> None:
    """``heartbeat:`` works in front of an endpoint string, at either end."""
    reactor = MemoryReactorClock()
    serverFromString(reactor, "heartbeat:tcp:7600")
    clientFromString(reactor, "heartbeat:tcp:127.0.0.1:7600")


def dropins_are_light() -> None:
    """A dropin installs no reactor (it would break ``--reactor``), and the commands' imports nothing of ours."""
    for name in DROPINS:
        _alone(f"import sys, {name}; assert 'twisted.internet.reactor' not in sys.modules")
    _alone(f"import sys, {DROPINS[0]}; assert 'heartbeat' not in sys.modules")


def _alone(code: str) -> None:
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


def main() -> None:
    """Run all, stop at the first that does not hold."""
    dropins_are_light()
    installed_where_it_belongs()
    commands_are_listed()
    prefix_is_known()
    print("the dropins are in place")


if __name__ == "__main__":
    main()
