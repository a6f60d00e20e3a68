"""An editable installation (``pip install -e .``) gives Twisted the same plugins, from the checkout.

Run it in isolated mode (``python -I``) and outside the checkout.
"""

from __future__ import annotations

from pathlib import Path

from twisted import plugins
from twisted.application.service import IServiceMaker
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins

import heartbeat

CHECKOUT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run all, stop at the first that does not hold."""
    assert Path(heartbeat.__file__).resolve().parent.parent == CHECKOUT, heartbeat.__file__
    assert str(CHECKOUT / "twisted" / "plugins") in plugins.__path__, list(plugins.__path__)
    names = {one.tapname for one in getPlugins(IServiceMaker)}
    assert names >= {"heartbeat-server", "heartbeat-agent"}, sorted(names)
    assert "web" in names, "Twisted's own commands are gone"
    serverFromString(MemoryReactorClock(), "heartbeat:tcp:7600")
    print("the editable installation is in place")


if __name__ == "__main__":
    main()
