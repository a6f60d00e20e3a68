"""A state source that an application wrote: whatever it does wrong, no connection notices."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.report import EMPTY_REPORT, Report
from heartbeat.net.guarded import GuardedSource
from heartbeat.session.sync import Syncs
from heartbeat.wire.frames import WANT_STATE, SyncAck

GOOD = Report(load=0.5, uptime=7, services=("auth", "billing"), meta={"zone": "b"}, progress=3)

#: Each of them is no account of anything: a peer would not take it, or it could not be written at all.
WRONG: tuple[Any, ...] = (
    None,
    {"load": 0.5},
    GOOD._replace(load=float("nan")),
    GOOD._replace(load=float("inf")),
    GOOD._replace(load="high"),  # type: ignore[arg-type]  # wrong on purpose, as all below
    GOOD._replace(load=None),  # type: ignore[arg-type]
    GOOD._replace(uptime="a day"),  # type: ignore[arg-type]
    GOOD._replace(uptime=None),  # type: ignore[arg-type]
    GOOD._replace(services=("auth", "")),
    GOOD._replace(services=("a\nb",)),
    GOOD._replace(services=(b"auth",)),  # type: ignore[arg-type]
    GOOD._replace(services="auth"),  # type: ignore[arg-type]
    GOOD._replace(services=None),  # type: ignore[arg-type]
    GOOD._replace(services=tuple(f"s{number}" for number in range(4097))),
    GOOD._replace(meta={"zone": 7}),  # type: ignore[dict-item]
    GOOD._replace(meta={"zone": "x" * 1025}),
    GOOD._replace(meta=None),  # type: ignore[arg-type]
    GOOD._replace(progress="some"),  # type: ignore[arg-type]
    GOOD._replace(progress=1.5),  # type: ignore[arg-type]
    GOOD._replace(progress=True),
    GOOD._replace(cert_expires="soon"),  # type: ignore[arg-type]
    GOOD._replace(lag_p99_ms=float("nan")),
    GOOD._replace(lag_p99_ms="late"),  # type: ignore[arg-type]
)


class Source:
    """Says what it was told to say; an exception is raised."""

    def __init__(self, *said: Any) -> None:
        self.said = list(said)

    def report(self) -> Any:
        """The next, or the last one again."""
        told = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(told, BaseException):
            raise told
        return told


class GuardedSourceTests(SynchronousTestCase):
    """What connections are told."""

    def logged(self) -> int:
        """How many failures were logged since the last call."""
        return len(self.flushLoggedErrors())

    def test_a_good_source(self) -> None:
        """Its account is passed on as it is."""
        source = Source(GOOD)
        self.assertEqual(GuardedSource(source).report(), GOOD)
        source.said = [GOOD._replace(load=0.75)]
        self.assertEqual(GuardedSource(source).report().load, 0.75)

    def test_a_source_that_raises(self) -> None:
        """What it last said stands; the failure is logged once, not with each SYNC of each connection."""
        guarded = GuardedSource(Source(GOOD, ZeroDivisionError("mine")))
        self.assertEqual([guarded.report() for _ in range(50)], [GOOD] * 50)
        self.assertEqual(self.logged(), 1)

    def test_it_never_said_anything(self) -> None:
        """A source that fails from the beginning gives an empty account."""
        self.assertEqual(GuardedSource(Source(KeyError("x"))).report(), EMPTY_REPORT)
        self.assertEqual(self.logged(), 1)

    def test_it_recovers(self) -> None:
        """When it is well again its account counts again, and its next failure is news again."""
        guarded = GuardedSource(Source(GOOD, OSError(), OSError(), GOOD._replace(load=0.1), OSError()))
        self.assertEqual([guarded.report().load for _ in range(5)], [0.5, 0.5, 0.5, 0.1, 0.1])
        self.assertEqual(self.logged(), 2)

    def test_wrong_accounts(self) -> None:
        """An account with a member that no peer would take counts as a failure, whichever member it is."""
        for wrong in WRONG:
            guarded = GuardedSource(Source(GOOD, wrong))
            self.assertEqual([guarded.report(), guarded.report()], [GOOD, GOOD], wrong)
            self.assertEqual(self.logged(), 1, wrong)

    def test_lists_and_iterables(self) -> None:
        """Services in a list, or twice, are what was meant."""
        for services in (["auth", "billing"], ("auth", "billing", "auth"), iter(("auth", "billing"))):
            guarded = GuardedSource(Source(GOOD._replace(services=services)))  # type: ignore[arg-type]
            self.assertEqual(guarded.report().services, ("auth", "billing"))

    def test_it_can_be_sent(self) -> None:
        """Whatever the source says, what comes out makes a SYNC and a STATE."""
        for told in (*WRONG, GOOD, GOOD._replace(services=["auth"])):  # type: ignore[arg-type]
            syncs = Syncs(GuardedSource(Source(told)))
            syncs.agree(5.0, True)
            self.assertEqual(syncs.compose(0.0)[:4], b"HSYN")
            self.assertEqual(syncs.acknowledged(SyncAck(0, WANT_STATE), 0.0)[1][:4], b"HSTA")
            self.logged()

    def test_what_ends_the_process_is_not_caught(self) -> None:
        """A KeyboardInterrupt is nobody's account."""
        self.assertRaises(KeyboardInterrupt, GuardedSource(Source(KeyboardInterrupt())).report)
