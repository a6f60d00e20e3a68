"""Shared keys: the value, the ring, the file, and that nothing of them is ever shown."""

from __future__ import annotations

import base64
import copy
import io
import os
import pickle
import random
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.keys import ANYONE, Keys, SecretFileError, SharedKey, decoded, new_key, read_keys, read_token_keys
from heartbeat.newkey import main

SECRET = bytes(range(32))
HEX = SECRET.hex()
BASE64 = base64.b64encode(SECRET).decode()


class KeyTests(SynchronousTestCase):
    """One key."""

    def test_its_name(self) -> None:
        """Of wire.md §8; a longer key is another one."""
        self.assertEqual(SharedKey(SECRET).kid, "b0bf7ef350123eea")
        self.assertNotEqual(SharedKey(SECRET + b"x").kid, SharedKey(SECRET).kid)
        self.assertEqual(SharedKey(bytearray(SECRET)), SharedKey(SECRET))

    def test_too_short(self) -> None:
        """A password is none, and the message shows nothing of it."""
        for secret in (b"", b"correct horse battery staple!!!", SECRET[:31]):
            error = self.assertRaises(ConfigError, SharedKey, secret)
            self.assertEqual(str(error), f"key: must be at least 32 random bytes, not {len(secret)}")
        error = self.assertRaises(ConfigError, SharedKey, "correct horse battery staple, all of it")
        self.assertEqual(str(error), "key: must be bytes, not str")

    def test_equal(self) -> None:
        """By key and id."""
        self.assertEqual(SharedKey(SECRET), SharedKey(SECRET))
        self.assertEqual(len({SharedKey(SECRET), SharedKey(SECRET), SharedKey(SECRET, "a")}), 2)
        self.assertNotEqual(SharedKey(SECRET), SharedKey(SECRET, "a"))
        self.assertEqual(SharedKey(SECRET).under("a"), SharedKey(SECRET, "a"))
        self.assertNotEqual(SharedKey(SECRET), SECRET)

    def test_never_shown(self) -> None:
        """Neither by repr and str, nor in a traceback with all variables, nor by what cannot be pickled or copied."""
        key = SharedKey(SECRET, "a")
        keys = Keys([key])
        config = HeartbeatConfig(keys=keys)
        try:
            raise ValueError(key, keys, config)
        except ValueError as error:
            found = traceback.TracebackException.from_exception(error, capture_locals=True)
            written = "".join(found.format()) + Failure(captureVars=True).getTraceback(detail="verbose")
        written = written.replace(HEX, "").replace(repr(SECRET), "")  # our own globals
        for text in (repr(key), str(key), f"{key}", repr(keys), str(keys), repr(config), written):
            for secret in (key.prk, SECRET):
                self.assertNotIn(secret.hex(), text)
                self.assertNotIn(repr(secret)[2:-1], text)
        self.assertIn(key.kid, repr(key))
        for value in (key, keys, config):
            for attempt in (pickle.dumps, copy.deepcopy):
                self.assertRaises(TypeError, attempt, value)
        self.assertEqual(pickle.loads(pickle.dumps(Keys())), Keys())

    def test_new(self) -> None:
        """A new one is 32 bytes, and never the same."""
        made = {new_key() for _ in range(50)}
        self.assertEqual(len(made), 50)
        self.assertEqual({len(decoded(one) or b"") for one in made}, {32})


class RingTests(SynchronousTestCase):
    """Several keys, and who proves what with them."""

    def setUp(self) -> None:
        """Three of them."""
        self.one, self.two, self.three = (SharedKey(bytes([number]) * 32) for number in range(3))

    def test_forms(self) -> None:
        """A list is for membership; a mapping says for whom; what is a ring already is the same object."""
        ring = Keys([self.one, self.two, self.one])
        self.assertEqual(ring, (self.one, self.two))
        self.assertIs(Keys(ring), ring)
        self.assertEqual(ring.listed, frozenset())
        ring = Keys({"a": self.one, "b": [self.one, self.two], ANYONE: (self.three,)})
        self.assertEqual([key.id for key in ring], ["a", "b", "b", ANYONE])
        self.assertEqual(ring.listed, {"a", "b"})
        self.assertEqual(ring.proves(self.one), {"a", "b"})
        self.assertEqual(ring.proves(self.three), {ANYONE})
        self.assertEqual(ring.kids, (self.one.kid, self.two.kid, self.three.kid))
        self.assertFalse(Keys())

    def test_pick(self) -> None:
        """The first that the other end prefers, and that is here."""
        ring = Keys([self.one, self.two])
        self.assertEqual(ring.pick([self.three.kid, self.two.kid, self.one.kid]), self.two)
        self.assertIsNone(ring.pick([self.three.kid]))
        self.assertIsNone(ring.pick([]))

    def test_wrong(self) -> None:
        """What is no key is refused, and not shown."""
        wrong: tuple[Any, ...] = (None, 5, "secret", b"secret", self.one, ["secret"], [SECRET], {"a": ["secret"]})
        for keys in (*wrong, {5: self.one}):
            error = self.assertRaises(ConfigError, Keys, keys)
            self.assertEqual(error.name, "keys")
            self.assertNotIn("secret", str(error))


class FileTests(SynchronousTestCase):
    """The file that keys are kept in."""

    def file(self, text: str | bytes, mode: int = 0o600) -> str:
        """A file with this in it."""
        path = Path(self.mktemp())
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return str(path)

    def complaint(self, text: str | bytes, *, mode: int = 0o600, ids: bool = True) -> str:
        """What is said of such a file; it names it, is one line and shows no key."""
        path = self.file(text, mode)
        error = self.assertRaises(SecretFileError, read_keys, path, ids=ids)
        line = str(error)
        self.assertTrue(line.startswith(path), line)
        self.assertEqual(len(line.splitlines()), 1)
        for secret in (HEX[:12], BASE64[:12]):
            self.assertNotIn(secret, line)
        self.assertIsNone(error.__context__)
        found = traceback.TracebackException.from_exception(error, capture_locals=True)
        ours = [str(frame.locals) for frame in found.stack if frame.filename.endswith("heartbeat/keys.py")]
        self.assertTrue(ours)
        for secret in (HEX[:12], BASE64[:12], "hello world", "horse"):
            self.assertNotIn(secret, "".join(ours))
        return line.removeprefix(path)

    def test_all_forms(self) -> None:
        """Base64 of both alphabets, with and without padding, and hex; comments, blanks and ids."""
        text = (
            f"# keys\n\n{HEX}\n  {BASE64}  \r\n{BASE64.rstrip('=')}\ngateway-7 {HEX.upper()}\nthe gate way\t{BASE64}\n"
        )
        ids = [key.id for key in read_keys(self.file(text), ids=True)]
        self.assertEqual(ids, [ANYONE, "gateway-7", "the gate way"])
        self.assertEqual(set(read_keys(self.file(text), ids=True).kids), {"b0bf7ef350123eea"})
        self.assertEqual(read_keys(self.file(f"* {HEX}"), ids=True)[0].id, ANYONE)

    def test_any_key(self) -> None:
        """Whatever its bytes are, each way of writing a random key is understood."""
        for seed in range(300):
            secret = random.Random(seed).randbytes(32 + seed % 50)
            for text in (
                secret.hex(),
                base64.b64encode(secret).decode(),
                base64.urlsafe_b64encode(secret).decode(),
                base64.urlsafe_b64encode(secret).decode().rstrip("="),
            ):
                self.assertEqual(decoded(text), secret)

    def test_modes(self) -> None:
        """Others must not reach it; stricter is fine."""
        for mode in (0o600, 0o400):
            self.assertEqual(len(read_keys(self.file(HEX, mode))), 1)
        for mode in (0o640, 0o604, 0o644, 0o660, 0o601, 0o666):
            line = self.complaint(HEX, mode=mode)
            self.assertIn(f"has mode {mode:04o}", line)
            self.assertIn("chmod 600", line)

    def test_wrong_lines(self) -> None:
        """Each complaint names the line."""
        for text, at in (
            (f"{HEX}\nhello world\n", ":2: is no key"),
            (f"#\n{HEX[:62]}\n", ":2: is no key"),
            (f"{HEX}0\n", ":1: is no key"),
            (f"{BASE64[:20]}\n", ":1: is no key"),
            ("correct-horse-battery-staple-and-more-of-it-%\n", ":1: is no key"),
            (f"{HEX}\n{HEX} \xe9\n".encode("latin-1"), ":2: is not UTF-8"),
            ("", ": has no key"),
            ("# nothing\n", ": has no key"),
            (f"~a {HEX}\n", ":1: "),
        ):
            self.assertTrue(self.complaint(text).startswith(at), text)
        self.assertTrue(self.complaint(f"{HEX}\na {HEX}\n", ids=False).startswith(":2: has an id"))
        self.assertTrue(self.complaint("#" * (16 * 1024 * 1024 + 1)).startswith(": is longer"))

    def test_no_file(self) -> None:
        """What is not there is an OSError; a folder or a pipe is said to be no file, at once."""
        self.assertRaises(FileNotFoundError, read_keys, "/nowhere/at/all")
        folder = self.mktemp()
        Path(folder).mkdir()
        self.assertIn("not a regular file", str(self.assertRaises(SecretFileError, read_keys, folder)))
        pipe = self.mktemp()
        os.mkfifo(pipe, 0o600)
        self.assertIn("not a regular file", str(self.assertRaises(SecretFileError, read_keys, pipe)))

    def test_token_keys(self) -> None:
        """Of 32 bytes exactly, as Fernet takes them."""
        from cryptography.fernet import Fernet

        found = read_token_keys(self.file(f"{HEX}\n{new_key()}\n"))
        self.assertEqual(found[0], base64.urlsafe_b64encode(SECRET))
        for key in found:
            Fernet(key)
        for text, at in ((f"{HEX}00", ":1: is no key"), (f"a {HEX}", ":1: is no key"), ("", ": has no key")):
            path = self.file(text)
            error = self.assertRaises(SecretFileError, read_token_keys, path)
            self.assertTrue(str(error).startswith(f"{path}{at}"))


class NewKeyTests(SynchronousTestCase):
    """``python -m heartbeat.newkey``."""

    def run_it(self, *arguments: str) -> tuple[int, str, str]:
        """Its status, and what it prints."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main(arguments)
        return status, out.getvalue(), err.getvalue()

    def test_printed(self) -> None:
        """Without a file the line is printed, and nothing else."""
        status, out, err = self.run_it()
        self.assertEqual((status, len(decoded(out.strip()) or b""), err), (0, 32, ""))
        status, out, err = self.run_it("--id", "gateway-7")
        self.assertTrue(out.startswith("gateway-7 "))

    def test_a_file(self) -> None:
        """It is made with mode 0600; the next key stands first, and the others stay."""
        path = self.mktemp()
        status, out, _ = self.run_it(path)
        self.assertEqual(status, 0)
        first = read_keys(path)
        self.assertEqual(out, f"{path}: kid {first[0].kid}\n")
        self.assertEqual(Path(path).stat().st_mode & 0o777, 0o600)
        self.run_it(path, "--id", "a b")
        both = read_keys(path, ids=True)
        self.assertEqual([key.id for key in both], ["a b", ANYONE])
        self.assertEqual(both[1], first[0])
        self.assertEqual(Path(path).stat().st_mode & 0o777, 0o600)
        self.assertEqual(len(list(Path(path).parent.glob(f".{Path(path).name}*"))), 0)
        link = Path(self.mktemp())
        link.symlink_to(Path(path).resolve())
        self.run_it(str(link))
        self.assertTrue(link.is_symlink())
        self.assertEqual(len(read_keys(path, ids=True)), 3)

    def test_trouble(self) -> None:
        """Is one line, and nothing is written."""
        path = self.mktemp()
        Path(path).write_text(HEX)
        Path(path).chmod(0o644)
        status, out, err = self.run_it(path)
        self.assertEqual((status, out, len(err.splitlines())), (1, "", 1))
        self.assertIn("mode 0644", err)
        self.assertEqual(Path(path).read_text(), HEX)
        self.assertEqual(self.run_it("/nowhere/at/all")[0], 1)
        self.assertIn("--id", self.run_it("--id", "~a")[2])
