"""Where a store is, and engines made from it."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import ConfigError, MissingExtra
from heartbeat.net.clocks import clocks_for
from heartbeat.watch.stores import make_store, redislink, store_address


class AddressTests(SynchronousTestCase):
    """The text of ``--store``."""

    def test_forms(self) -> None:
        """What may be written, and how it is shown."""
        for text, shown in (
            ("memory:", "memory:"),
            ("sqlite:/var/lib/hb.db", "sqlite:/var/lib/hb.db"),
            ("sqlite:hb.db", "sqlite:hb.db"),
            ("redis://cache", "redis://cache:6379/0"),
            ("redis://cache:7000/3", "redis://cache:7000/3"),
            ("rediss://[2001:db8::1]:6380/1", "rediss://[2001:db8::1]:6380/1"),
            ("redis://user:pass%40word@cache/0", "redis://cache:6379/0"),
        ):
            self.assertEqual(str(store_address("--store", text)), shown)

    def test_parts(self) -> None:
        """User and password are percent-encoded; files are options."""
        found = store_address("--store", "rediss://us%3Aer:p%40ss@h:1/2?ca=/x/ca.pem&cert=c.pem&key=k.pem")
        self.assertEqual((found.username, found.password), ("us:er", "p@ss"))
        self.assertEqual(found.files, (("ca", "/x/ca.pem"), ("cert", "c.pem"), ("key", "k.pem")))
        found = store_address("--store", "redis://:secret@h/0")
        self.assertEqual((found.username, found.password), (None, "secret"))

    def test_wrong(self) -> None:
        """Each is refused in one line that names the option and the value, without a password."""
        for text in (
            "",
            "memory",
            "memory:x",
            "sqlite:",
            "mysql://h/0",
            "redis:h",
            "redis://",
            "redis://h:port/0",
            "redis://h:99999/0",
            "redis://h/x",
            "redis://h/-1",
            "redis://h/65536",
            "redis://u:hunter2@h/x",
            "redis://h/0#x",
            "redis://[::1/0",
            "redis://h/0?ca=x",
            "rediss://h/0?ca=x&ca=y",
            "rediss://h/0?cert=x",
            "rediss://h/0?bogus",
            "mysql://u:hunter2@h/x",
        ):
            error = self.assertRaises(ConfigError, store_address, "--store", text)
            self.assertEqual(error.name, "--store", text)
            self.assertEqual(str(error).count("\n"), 0)
            self.assertNotIn("hunter2", str(error))

    def test_nothing_is_told(self) -> None:
        """A password is in no repr."""
        self.assertNotIn("hunter2", repr(store_address("--store", "redis://u:hunter2@h/0")))

    def test_password_file(self) -> None:
        """It may be in a file, whose last line end does not count."""
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write("hunter2\n")
        self.assertEqual(store_address("--store", f"redis://u@h/0?password-file={path}").read_password(), "hunter2")


class EngineTests(SynchronousTestCase):
    """What is made of it."""

    def make(self, text: str) -> Any:
        """The engine."""
        reactor = MemoryReactorClock()
        return make_store(store_address("--store", text), clocks_for(reactor), reactor=reactor)

    def test_kinds(self) -> None:
        """One for each kind; none where the registry is enough."""
        self.assertIsNone(self.make("memory:"))
        self.assertEqual((self.make("sqlite:x").backend, self.make("sqlite:x").shared), ("sqlite", False))
        self.assertEqual((self.make("redis://h").backend, self.make("rediss://h").backend), ("redis", "redis"))

    def test_missing(self) -> None:
        """Without txredisapi a Redis is one clear error, when it is configured."""
        redislink._factory_classes.cache_clear()
        self.addCleanup(redislink._factory_classes.cache_clear)
        self.patch_module("txredisapi")
        error = self.assertRaises(MissingExtra, self.make, "redis://u:hunter2@h/0")
        self.assertIn("txheartbeat[redis]", str(error))
        self.assertNotIn("hunter2", str(error))

    def patch_module(self, name: str) -> None:
        """It cannot be imported."""
        old = sys.modules.get(name)
        sys.modules[name] = None  # type: ignore[assignment]  # that is how an import is refused

        def restore() -> None:
            del sys.modules[name]
            if old is not None:
                sys.modules[name] = old

        self.addCleanup(restore)

    def test_certificates(self) -> None:
        """A file that is no certificate, or is not there, is an error when it is configured."""
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write("no certificate\n")
        error = self.assertRaises(ConfigError, self.make, f"rediss://h/0?ca={path}")
        self.assertIn("--store rediss://h:6379/0", str(error))
        self.assertRaises(OSError, self.make, "rediss://h/0?ca=/nonexistent.pem")
