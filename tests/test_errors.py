"""The tree of exceptions: one root, one line each, and nothing lost on the way."""

from __future__ import annotations

import inspect
import pickle

from twisted.trial.unittest import SynchronousTestCase

from heartbeat import errors
from heartbeat.liveness.evidence import Evidence

EXAMPLES: tuple[errors.HeartbeatError, ...] = (
    errors.HeartbeatError("something"),
    errors.ConfigError("interval", "must be a number of seconds, not 'x'"),
    errors.MissingExtra("--web", "prometheus"),
    errors.BadCertificate("--tls-cert a.pem", "has expired on 2020-01-01"),
    errors.CertificateNotReady(),
    errors.PeerUnresponsive("path_dead", Evidence(3.0, unread=0)),
    errors.PeerViolation("unknown magic"),
    errors.PeerViolation("calm down", 9),
    errors.PeerRefused("server_full"),
    errors.PeerRefused("id_in_use", "gateway-7 is alive"),
    errors.TermsRefused("terms_refused", "a detection time of 900 s"),
    errors.PingLost(),
    errors.DeadlineExpired(),
    errors.DeadlineExpired("made in main.py:7"),
    errors.BudgetExpired("the budget of 5 s is spent", "main.py:7", 5.0, 0.5),
    errors.AlreadyExpired("over before it began", made="main.py:7", seconds=0.0),
    errors.IncompleteRead(3, 10),
    errors.NotConnected(),
)


class TreeTests(SynchronousTestCase):
    """Who is whose child."""

    def test_one_root(self) -> None:
        """``HeartbeatError`` catches all that the module has."""
        classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, BaseException)]
        self.assertTrue(all(issubclass(each, errors.HeartbeatError) for each in classes))
        self.assertEqual({each.__name__ for each in classes}, set(errors.__all__))

    def test_the_picture_is_true(self) -> None:
        """The module's docstring shows every class, under its parent."""
        lines = [line for line in (errors.__doc__ or "").splitlines() if "──" in line]
        shown = {line.split("── ")[1].split()[0]: line.index("── ") for line in lines}
        self.assertEqual(set(shown), set(errors.__all__) - {"HeartbeatError"})
        for name, column in shown.items():
            depth = len(inspect.getmro(getattr(errors, name))) - len(inspect.getmro(errors.HeartbeatError))
            if issubclass(getattr(errors, name), ValueError):
                depth -= 1
            self.assertEqual(column, shown["PeerRefused"] + 4 * (depth - 1), name)

    def test_what_others_catch(self) -> None:
        """A wrong setting is a ValueError; refused terms are a refusal; a missing extra is a wrong setting."""
        self.assertTrue(issubclass(errors.ConfigError, ValueError))
        self.assertTrue(issubclass(errors.TermsRefused, errors.PeerRefused))
        self.assertTrue(issubclass(errors.MissingExtra, errors.ConfigError))


class TextTests(SynchronousTestCase):
    """What a person reads, and what a program reads."""

    def test_one_line(self) -> None:
        """Each text is one line."""
        for error in EXAMPLES:
            self.assertEqual(len(str(error).splitlines()), 1 if error.args else 0, repr(error))

    def test_a_setting_is_named(self) -> None:
        """The name of the setting comes first, as its user wrote it."""
        error = errors.ConfigError("beatInterval", "must be a number of seconds, not 'x'")
        self.assertEqual(str(error), "beatInterval: must be a number of seconds, not 'x'")
        self.assertEqual(error.name, "beatInterval")

    def test_an_extra_is_named(self) -> None:
        """The text is the command that helps."""
        error = errors.MissingExtra("--web", "prometheus")
        self.assertEqual(str(error), "--web: needs an optional package: pip install 'txheartbeat[prometheus]'")
        self.assertEqual((error.name, error.extra), ("--web", "prometheus"))

    def test_a_verdict_has_cause_and_evidence(self) -> None:
        """Both are attributes; the text is the cause."""
        evidence = Evidence(3.0)
        error = errors.PeerUnresponsive("path_dead", evidence)
        self.assertEqual((str(error), error.cause, error.evidence), ("path_dead", "path_dead", evidence))
        self.assertIsNone(errors.PeerUnresponsive("path_dead").evidence)

    def test_a_violation_has_the_code_of_its_answer(self) -> None:
        """BYE 2 unless another is given (``wire.md`` §1)."""
        self.assertEqual(errors.PeerViolation("bad length").code, 2)
        error = errors.PeerViolation("calm down", 9)
        self.assertEqual((error.code, error.reason, str(error)), (9, "calm down", "calm down"))

    def test_a_refusal_has_cause_and_reason(self) -> None:
        """The text has the reason where there is one."""
        self.assertEqual(str(errors.PeerRefused("server_full")), "server_full")
        error = errors.TermsRefused("terms_refused", "900 s")
        self.assertEqual((error.cause, error.reason, str(error)), ("terms_refused", "900 s", "terms_refused: 900 s"))

    def test_a_deadline_says_whose_it_was(self) -> None:
        """Where it was made, how long it was, and how late our own loop was to notice."""
        error = errors.BudgetExpired("spent", "main.py:7", 5.0, 0.5)
        self.assertEqual((str(error), error.made, error.seconds, error.late), ("spent", "main.py:7", 5.0, 0.5))
        plain = errors.DeadlineExpired("too late")
        self.assertEqual((plain.made, plain.seconds, plain.late), ("", None, 0.0))
        self.assertTrue(issubclass(errors.AlreadyExpired, errors.DeadlineExpired))
        self.assertFalse(issubclass(errors.IncompleteRead, errors.DeadlineExpired))

    def test_a_read_that_ended_says_how_far_it_came(self) -> None:
        """Both numbers, for programs and for people."""
        error = errors.IncompleteRead(3, 10)
        self.assertEqual((error.partial, error.wanted), (3, 10))
        self.assertEqual(str(error), "the stream ended after 3 of 10 bytes")

    def test_they_travel(self) -> None:
        """Pickled and back (a process pool, parallel tests): the same text and the same attributes."""
        for error in EXAMPLES:
            copy = pickle.loads(pickle.dumps(error))
            self.assertIs(type(copy), type(error))
            self.assertEqual((str(copy), vars(copy)), (str(error), vars(error)))
