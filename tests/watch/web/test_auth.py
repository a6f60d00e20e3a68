"""heartbeat.watch.web.auth: who may see the site."""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.watch.web import Passwords
from tests.watch.web.browser import Answered, WebCase


def basic(name: str, password: str) -> str:
    """The header that a browser sends."""
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


class PasswordsTests(SynchronousTestCase):
    def test_names_and_passwords(self) -> None:
        """They belong together: the right password of another name is wrong."""
        known = Passwords({"ann": "one", "bob": "two:with:colons", "名": "é"})
        for name, password in (("ann", "one"), ("bob", "two:with:colons"), ("名", "é")):
            self.assertTrue(known.admit(name.encode(), password.encode()), name)
        for name, password in (
            ("ann", "two:with:colons"),
            ("ann", ""),
            ("", "one"),
            ("", ""),
            ("ann", "one "),
            ("x", "y"),
        ):
            self.assertFalse(known.admit(name.encode(), password.encode()), (name, password))

    def test_one_password(self) -> None:
        """Under the empty name it is good for any name."""
        known = Passwords({"": "sesame"})
        self.assertTrue(known.admit(b"anybody", b"sesame"))
        self.assertTrue(known.admit(b"", b"sesame"))
        self.assertFalse(known.admit(b"sesame", b""))

    def test_never_shown(self) -> None:
        """Neither in a repr nor anywhere in the object."""
        known = Passwords({"ann": "open-sesame"})
        self.assertNotIn("sesame", repr(known) + repr([getattr(known, name) for name in known.__slots__]))


class AuthTests(WebCase):
    """A site with a password."""

    def setUp(self) -> None:
        super().setUp()
        self.site.protect(Passwords({"ann": "sesame"}))

    def refused(self, path: str, method: str = "GET", **headers: str) -> Answered:
        """The answer to who may not."""
        answered = self.ask(path, method, **headers)
        self.assertEqual(answered.status, 401, path)
        self.assertEqual(answered.headers["www-authenticate"], 'Basic realm="heartbeat", charset="UTF-8"')
        return answered

    def test_everything_is_behind_it(self) -> None:
        """Whatever is asked for, and whether it is there or not; errors have their usual form."""
        self.join("a")
        for path in ("/", "/static/board.css", "/reasons", "/metrics", "/health", "/nothing", "//livez", "/livezz"):
            self.assertEqual(self.refused(path).text, "a name and a password are needed\n")
        for path in ("/api/peers", "/api/peers/a", "/api/events", "/api/nothing"):
            self.assertEqual(self.refused(path).json, {"error": "a name and a password are needed"})
        self.assertEqual(self.refused("/", "HEAD").body, b"")

    def test_probes_stay_open(self) -> None:
        """Who asks whether we live or are ready has no password."""
        for path in ("/livez", "/readyz"):
            self.assertEqual(self.ask(path).status, 200, path)

    def test_with_it(self) -> None:
        """The right header opens, whatever the case of its scheme."""
        self.join("a")
        good = basic("ann", "sesame")
        for header in (good, good.replace("Basic", "basic"), good.replace("Basic ", "BASIC  ")):
            for path in ("/", "/api/peers", "/api/peers/a", "/static/board.css"):
                self.assertEqual(self.ask(path, Authorization=header).status, 200, (path, header))

    def test_wrong_headers(self) -> None:
        """A wrong password, another scheme, and what is no header at all are refused alike."""
        good = basic("ann", "sesame")
        for header in (
            basic("ann", "Sesame"),
            basic("bob", "sesame"),
            good.replace("Basic", "Bearer"),
            "Basic",
            "Basic !!!",
            "Basic " + b64encode(b"annsesame").decode(),
            "Basic é",
            good[:-3],
            "",
        ):
            self.refused("/api/peers", Authorization=header)

    def test_another_password(self) -> None:
        """It can be changed and taken away while the site runs."""
        self.site.protect(Passwords({"ann": "other"}))
        self.refused("/", Authorization=basic("ann", "sesame"))
        self.assertEqual(self.ask("/", Authorization=basic("ann", "other")).status, 200)
        self.site.protect(Passwords())
        self.assertEqual(self.ask("/").status, 200)
