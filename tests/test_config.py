"""The settings: their defaults, and one clear line for every wrong value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError, fields, replace
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.config import DETECTORS, HeartbeatConfig, KernelOptions
from heartbeat.errors import ConfigError
from heartbeat.keys import SharedKey

KEY, OTHER = SharedKey(b"k" * 32), SharedKey(b"o" * 32)
HUGE = 10**5000  # more digits than Python is willing to print
NO_NUMBERS: tuple[object, ...] = (
    None,
    "5",
    b"5",
    True,
    [5],
    5j,
    Fraction(1, 2),
    object(),
    math.nan,
    math.inf,
    -math.inf,
)
NO_FLAGS: tuple[object, ...] = (None, 0, 1, "yes", "no", "", [])
NO_TEXT: tuple[object, ...] = (5, b"gateway", "", ["gateway"], True, math.nan, "\ud800")
CONTROLS = ("a\x00", "a\nb", "\x1f", "\x7f", "\x9f")

#: field → values that are wrong: of another type, not finite, out of range.
WRONG: dict[str, tuple[object, ...]] = {
    "id": (*NO_TEXT, *CONTROLS, "~1.2.3.4:5", "x" * 256, "ä" * 128),
    "instance": (*NO_TEXT, *CONTROLS, "x" * 65, "ä"),
    "interval": (*NO_NUMBERS, 0, 0.0, -1, 0.0009, 3600.5, HUGE, -HUGE),
    "multiplier": (*NO_NUMBERS, 3.0, 0, 1, -3, 256, HUGE, -HUGE),
    "min_interval": (*NO_NUMBERS, -0.1, 3600.5, HUGE),
    "sync_interval": (*NO_NUMBERS, 0, 0.09, 86_401, HUGE),
    "adaptive": NO_FLAGS,
    "detector": (None, 1, "", "psi", "PHI", ["phi"], b"phi"),
    "handshake_timeout": (*NO_NUMBERS, 0, -1.0, 3601, HUGE),
    "close_timeout": (*NO_NUMBERS, 0, -1.0, 3601, HUGE),
    "max_detection": (*NO_NUMBERS, 0, -1.0, 3601, HUGE),
    "services": (
        None,
        5,
        "auth",
        b"auth",
        (5,),
        ("auth", ""),
        ("a\n",),
        ("x" * 256,),
        ("\ud800",),
        [["auth"]],
        math.nan,
    ),
    "meta": (None, 5, "a=b", [("a", "b")], {5: "x"}, {"": "x"}, {"a\x00": "x"}, {"ä" * 33: "x"}, {"\ud800": "x"}),
    "keys": (None, 5, "secret", ("secret",), [b"secret"], {"gateway": b"secret"}),
    "auth": (True, 5, "", "keys", "mtls+key", "key", "key+mtls"),
    "bare": (None, True, "", "yes", "Accept", ["accept"]),
    "max_data": (*NO_NUMBERS, 16_383, 2**30 + 1, 65_536.0, HUGE),
    "kernel": (None, True, {}, "nodelay", KernelOptions),
}
WRONG_KERNEL: dict[str, tuple[object, ...]] = {
    "nodelay": NO_FLAGS,
    "keepalive": NO_FLAGS,
    "keepalive_idle": (*NO_NUMBERS[1:], 0, -1, 32_768, 1.5, HUGE),
    "keepalive_interval": (*NO_NUMBERS[1:], 0, -1, 32_768, 1.5, HUGE),
    "keepalive_count": (*NO_NUMBERS[1:], 0, -1, 128, 1.5, HUGE),
    "user_timeout": (*NO_NUMBERS[1:], 0, -1.0, 86_401, HUGE, "AUTO", "none"),
    "rto_max": (*NO_NUMBERS[1:], 0, 0.9, 120.5, HUGE, "auto"),
}
#: field → values at the ends of its range.
RIGHT: dict[str, tuple[object, ...]] = {
    "id": (None, "g", "x" * 255, "ä" * 127, "gate way", "a~"),
    "instance": (None, "9f1c", "~" * 64),
    "interval": (0.001, 1, 5, 100.0),
    "multiplier": (2, 60),
    "min_interval": (0, 0.0, 3600),
    "sync_interval": (0.1, 86_400),
    "adaptive": (True, False),
    "detector": DETECTORS,
    "handshake_timeout": (0.001, 3600),
    "close_timeout": (0.001, 3600),
    "max_detection": (15, 3600.0),
    "services": ((), ["auth"], {"auth": 1}, ("x" * 255,), ("ä" * 127,)),
    "meta": ({}, {"a": ""}, {"x" * 64: "y" * 1024}),
    "keys": ((), (KEY,), (KEY, OTHER)),
    "auth": (None, "none", "mtls"),
    "bare": ("accept", "refuse"),
    "max_data": (16_384, 2**30),
    "kernel": (
        KernelOptions(nodelay=False, keepalive=True, keepalive_idle=32_767, keepalive_count=127),
        KernelOptions(user_timeout=None),
        KernelOptions(user_timeout=0.001, rto_max=1),
        KernelOptions(user_timeout=86_400, rto_max=120.0),
        KernelOptions(rto_max=1.0),
    ),
}


def wrong(table: Mapping[str, tuple[object, ...]]) -> Iterator[tuple[str, Any]]:
    """All (field, value) of a table."""
    for name, values in table.items():
        for value in values:
            yield name, value


class DefaultsTests(SynchronousTestCase):
    """``surface.md``."""

    def test_the_published_defaults(self) -> None:
        """Each of them, and the detection time that follows."""
        config = HeartbeatConfig()
        published: dict[str, Any] = {
            "id": None, "instance": None, "interval": 5.0, "multiplier": 3, "min_interval": 0.1, "sync_interval": 5.0,
            "adaptive": True, "detector": "fixed", "handshake_timeout": 10.0, "services": (), "meta": {}, "keys": (),
            "auth": None, "bare": "accept", "max_data": 1024 * 1024, "kernel": KernelOptions(),
        }  # fmt: skip
        self.assertEqual({name: getattr(config, name) for name in published}, published)
        self.assertEqual(config.detect, 15.0)
        self.assertEqual((config.close_timeout, config.max_detection), (3.0, 300.0))

    def test_every_field_is_in_these_tests(self) -> None:
        """A new field needs its wrong and its right values here."""
        names = {field.name for field in fields(HeartbeatConfig)}
        self.assertEqual((set(WRONG), set(RIGHT)), (names, names))
        self.assertEqual({field.name for field in fields(KernelOptions)}, set(WRONG_KERNEL))

    def test_the_defaults_of_the_kernel_options(self) -> None:
        """Beats are not delayed, and the kernel stands behind the verdict; all else is left as it is."""
        options = KernelOptions()
        self.assertEqual((options.nodelay, options.keepalive, options.user_timeout), (True, False, "auto"))
        others = (options.keepalive_idle, options.keepalive_interval, options.keepalive_count, options.rto_max)
        self.assertEqual(others, (None, None, None, None))

    def test_the_detection_time(self) -> None:
        """Multiplier × interval."""
        self.assertEqual(HeartbeatConfig(interval=0.5, multiplier=7).detect, 3.5)


class WrongTests(SynchronousTestCase):
    """A wrong value is one line that names its field."""

    def complaint(self, kind: type[HeartbeatConfig] | type[KernelOptions], name: str, value: Any) -> str:
        """The line."""
        with self.assertRaises(ConfigError) as caught:
            kind(**{name: value})
        line = str(caught.exception)
        self.assertEqual(caught.exception.name, name)
        self.assertTrue(line.startswith(f"{name}: "), line)
        self.assertEqual(len(line.splitlines()), 1, line)
        self.assertLess(len(line), 250, line)
        return line

    def test_every_field(self) -> None:
        """Of another type, NaN, infinite, out of range, too long."""
        for name, value in wrong(WRONG):
            self.complaint(HeartbeatConfig, name, value)

    def test_every_kernel_option(self) -> None:
        """Here, too: what the kernel would refuse for each connection is refused once."""
        for name, value in wrong(WRONG_KERNEL):
            self.complaint(KernelOptions, name, value)

    def test_the_value_is_shown(self) -> None:
        """Except for a key."""
        self.assertIn("'psi'", self.complaint(HeartbeatConfig, "detector", "psi"))
        self.assertIn("-7", self.complaint(HeartbeatConfig, "interval", -7))
        self.assertIn("'~me'", self.complaint(HeartbeatConfig, "id", "~me"))
        self.assertIn("'bad\\n'", self.complaint(HeartbeatConfig, "services", ("good", "bad\n")))
        self.assertNotIn("secret", self.complaint(HeartbeatConfig, "keys", ("secret",)))

    def test_unknown_and_positional_settings(self) -> None:
        """Neither is a setting."""
        self.assertRaises(TypeError, HeartbeatConfig, "gateway")
        self.assertRaises(TypeError, HeartbeatConfig, intervall=5)

    @settings(deadline=None)
    @given(
        st.sampled_from(sorted(WRONG)),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text(max_size=3)),
            st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
        ),
    )  # fmt: skip
    def test_anything_at_all(self, name: str, value: Any) -> None:
        """Either it is a setting or it is a ConfigError; nothing else is ever raised."""
        try:
            config = HeartbeatConfig(**{name: value})
        except ConfigError as error:
            self.assertIn(error.name.partition(".")[0], {name, "multiplier"})  # the product of two is named so
        else:
            self.assertEqual(HeartbeatConfig(**{name: value}), config)


class RightTests(SynchronousTestCase):
    """The ends of each range are inside."""

    def test_every_field(self) -> None:
        """Taken as they are."""
        for name, value in wrong(RIGHT):
            kept = getattr(HeartbeatConfig(**{name: value}), name)
            self.assertEqual(kept, tuple(value) if name == "services" else value, name)

    def test_the_longest_detection_time(self) -> None:
        """It bounds our own, too; the message says which of the three numbers does not fit."""
        self.assertEqual(HeartbeatConfig(interval=100, multiplier=3).detect, 300)
        with self.assertRaises(ConfigError) as caught:
            HeartbeatConfig(interval=100.5, multiplier=3)
        for part in ("multiplier", "100.5", "max_detection", "300"):
            self.assertIn(part, str(caught.exception))
        self.assertEqual(HeartbeatConfig(interval=3600 / 255, multiplier=255, max_detection=3600).detect, 3600)


class StateTests(SynchronousTestCase):
    """Services and meta: the limits of STATE (``wire.md`` §3)."""

    def test_services_lose_their_duplicates(self) -> None:
        """Their order stays; the digest sorts them anyway."""
        self.assertEqual(HeartbeatConfig(services=("b", "a", "b")).services, ("b", "a"))

    def test_services_from_an_iterator(self) -> None:
        """Whatever can be gone through once."""
        given_once: Any = (name for name in ("auth", "billing"))
        self.assertEqual(HeartbeatConfig(services=given_once).services, ("auth", "billing"))

    def test_how_many_services(self) -> None:
        """4096, duplicates not counted."""
        names = tuple(str(number) for number in range(4096))
        self.assertEqual(len(HeartbeatConfig(services=(*names, "7")).services), 4096)
        self.assertRaises(ConfigError, HeartbeatConfig, services=(*names, "one more"))

    def test_how_many_bytes_of_services(self) -> None:
        """64 KiB in all."""
        names = tuple(f"{number:03}" + "ä" * 126 for number in range(260))
        with self.assertRaises(ConfigError) as caught:
            HeartbeatConfig(services=names)
        self.assertIn("65536 bytes", str(caught.exception))

    def test_how_much_meta(self) -> None:
        """64 texts of 1024 bytes, and a complaint about a text names its key."""
        self.assertEqual(len(HeartbeatConfig(meta={str(each): "x" for each in range(64)}).meta), 64)
        self.assertRaises(ConfigError, HeartbeatConfig, meta={str(each): "x" for each in range(65)})
        for text in ("x" * 1025, "ä" * 513, "a\tb", "\ud800", 5, None):
            pairs: Any = {"fine": "x", "rack": text}
            with self.assertRaises(ConfigError) as caught:
                HeartbeatConfig(meta=pairs)
            self.assertEqual(caught.exception.name, "meta.rack")

    def test_together_they_fit_into_one_frame(self) -> None:
        """What each alone may be, both together may not: a STATE is at most 64 KiB, quotes and all."""
        meta = {f"{each:02}": "x" * 1000 for each in range(40)}
        services = tuple(f"{each:03}" + "y" * 200 for each in range(150))
        HeartbeatConfig(meta=meta)
        HeartbeatConfig(services=services)
        self.assertRaises(ConfigError, HeartbeatConfig, meta=meta, services=services)
        quoted = {f"{each:02}": '"' * 1000 for each in range(40)}
        self.assertRaises(ConfigError, HeartbeatConfig, meta=quoted)

    def test_meta_is_a_copy(self) -> None:
        """What its owner does to the original afterwards changes nothing, and nobody can change the copy."""
        original = {"rack": "7"}
        config = HeartbeatConfig(meta=original)
        original["rack"] = "8"
        self.assertEqual(config.meta, {"rack": "7"})
        copy: Any = config.meta
        with self.assertRaises(TypeError):
            copy["rack"] = "9"


class ValueTests(SynchronousTestCase):
    """A configuration is a value."""

    def test_it_cannot_change(self) -> None:
        """Frozen, and without room for a misspelled attribute."""
        for value in (HeartbeatConfig(), KernelOptions()):
            self.assertRaises(FrozenInstanceError, setattr, value, fields(value)[0].name, 1)
            self.assertFalse(hasattr(value, "__dict__"))

    def test_equal_settings_are_equal(self) -> None:
        """And have the same hash, whatever is in meta."""
        listed: Any = ["auth"]
        one = HeartbeatConfig(id="a", meta={"rack": "7"}, services=listed)
        other = HeartbeatConfig(id="a", meta={"rack": "7"}, services=("auth",))
        self.assertEqual((one, hash(one)), (other, hash(other)))
        self.assertNotEqual(one, replace(one, meta={"rack": "8"}))

    def test_a_changed_copy_is_validated(self) -> None:
        """``dataclasses.replace`` is no way round."""
        config = HeartbeatConfig(id="a", meta={"rack": "7"})
        self.assertEqual(replace(config, interval=1.0).meta, {"rack": "7"})
        self.assertRaises(ConfigError, replace, config, interval=-1.0)

    def test_keys_are_never_shown(self) -> None:
        """Not even that there are none."""
        self.assertNotIn("keys", repr(HeartbeatConfig()))
        self.assertNotIn(KEY.kid, repr(HeartbeatConfig(keys=[KEY])))

    def test_what_is_wanted(self) -> None:
        """An acceptor with keys wants one, unless it is told otherwise; a certificate only if it is told so."""
        for said, wants in (
            ({}, (False, False)),
            ({"keys": [KEY]}, (True, False)),
            ({"keys": [KEY], "auth": "none"}, (False, False)),
            ({"keys": [KEY], "auth": "key"}, (True, False)),
            ({"keys": [KEY], "auth": "mtls"}, (False, True)),
            ({"keys": [KEY], "auth": "key+mtls"}, (True, True)),
            ({"auth": "mtls"}, (False, True)),
        ):
            config = HeartbeatConfig(**said)  # type: ignore[arg-type]  # of a table
            self.assertEqual((config.wants_key, config.wants_certificate), wants)
