"""A real browser without a window: Debian's Chromium, over the WebDriver protocol (https://www.w3.org/TR/webdriver2/).

chromedriver speaks HTTP and JSON, so this needs nothing but the standard library. Each browser has a profile and a
process group of its own; the group is killed as a whole at the end.
"""

from __future__ import annotations

import atexit
import base64
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.real.processes import poll

__all__ = ["KEYS", "Browser", "missing"]

#: Seconds for the driver, and for the browser, to start on a machine that does other things too.
_START: Final = 30.0
_ANSWER: Final = 60.0
_TRIES: Final = 5
#: Keys that are no characters, as WebDriver writes them.
KEYS: Final = {"Tab": "\ue004", "Enter": "\ue007", "Space": " ", "Escape": "\ue00c"}
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


def missing() -> str | None:
    """What is not installed here, in a line; None if all is."""
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(lacking)} not installed (Debian: chromium, chromium-driver)" if lacking else None


class Browser:
    """One window.

    :param width: and ``height``, CSS pixels
    :param dark: the scheme that the user prefers
    """

    def __init__(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="heartbeat-browser-", ignore_cleanup_errors=True)
        self._log = Path(self._home.name, "driver.log")
        self._driver = self._drive()
        atexit.register(self.close)
        try:
            self._port = self._announced()
            self._session = self._begin()
            self.devtools("Emulation.setFocusEmulationEnabled", enabled=True)
            self.resize(width, height)
            self.prefer(dark=dark)
        except BaseException:
            self.close()
            raise

    def _drive(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                ["chromedriver", "--port=0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._home.name,
                env={**os.environ, "HOME": self._home.name, "TMPDIR": self._home.name},
                start_new_session=True,
            )

    def _announced(self) -> int:
        """The port that chromedriver has chosen. It must be free twice, for IPv4 and IPv6; else it ends, and may try
        again."""
        said = ""
        for _ in range(_TRIES):
            poll(lambda: self._said() or self._driver.poll() is not None, _START, f"the port of chromedriver {said!r}")
            if port := self._said():
                return int(port)
            said = self._log.read_text(errors="replace")
            self._driver = self._drive()
        raise AssertionError(f"chromedriver does not start: {said}")

    def _said(self) -> str:
        found = re.search(r"started successfully on port (\d+)", self._log.read_text(errors="replace"))
        return found[1] if found else ""

    def _begin(self) -> str:
        options = {"binary": shutil.which("chromium"), "args": [*_FLAGS, f"--user-data-dir={self._home.name}/profile"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        return str(answer["sessionId"])

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{path}: {value['error']}: {value['message'].splitlines()[0]}")
        return value

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        return self._ask(method, f"/session/{self._session}{path}", body)

    # -- what a user does

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is loaded."""
        self._do("POST", "/url", {"url": url})

    def back(self) -> None:
        """The back button."""
        self._do("POST", "/back", {})

    def press(self, *keys: str) -> None:
        """Press and let go of each key, one after the other."""
        strokes = [KEYS.get(key, key) for key in keys]
        actions = [{"type": kind, "value": key} for key in strokes for kind in ("keyDown", "keyUp")]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def click(self, selector: str) -> None:
        """Click on the first that fits."""
        element = self._do("POST", "/element", {"using": "css selector", "value": selector})
        self._do("POST", f"/element/{next(iter(element.values()))}/click", {})

    def resize(self, width: int, height: int) -> None:
        """Another screen."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **metrics)

    def prefer(self, *, dark: bool) -> None:
        """Another scheme."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", features=scheme)

    def scripts(self, *, allowed: bool) -> None:
        """Whether pages may run scripts from now on."""
        self.devtools("Emulation.setScriptExecutionDisabled", value=not allowed)

    # -- what is seen

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body returns, run in the page."""
        return self._do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str = "body") -> str:
        """The text of the first that fits; ``""`` where nothing does."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def until(self, script: str, timeout: float, what: str, *arguments: Any) -> Any:
        """What the script returns, once that is true."""
        return poll(lambda: self.run(script, *arguments), timeout, what, 0.05)

    def complaints(self) -> list[str]:
        """What the console says since the last time: errors of scripts, violations of the policy, failed requests."""
        return [entry["message"] for entry in self._do("POST", "/se/log", {"type": "browser"})]

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A PNG of what is on the screen, or of the whole page."""
        if whole:
            data = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        else:
            data = self._do("GET", "/screenshot")
        path.write_bytes(base64.b64decode(data))

    def devtools(self, command: str, **parameters: Any) -> Any:
        """One command of the DevTools protocol."""
        return self._do("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def close(self) -> None:
        """End the browser, and all that belongs to it."""
        atexit.unregister(self.close)
        if self._driver.poll() is None:
            os.killpg(self._driver.pid, signal.SIGKILL)
        self._driver.wait()
        _gone(self._home.cleanup)


def _gone(cleanup: Callable[[], None]) -> None:
    """A process that was killed may still be writing for a moment."""
    for _ in range(10):
        try:
            cleanup()
        except OSError:
            time.sleep(0.1)
        else:
            return
