"""The ground of the tests against a server process: a shared server, connections that are closed, ids of their own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.real.processes import Server, shared_server
from tests.real.rawpeer import Ended, Farewell, RawPeer, Silence, connect, hello

__all__ = ["QUIET", "ServerTestCase"]

#: Terms of a peer that neither is asked nor gives a beat within a test: a minute per beat both ways.
QUIET: Final = {"want_ping_ms": 60_000, "min_rx_ms": 60_000}

_numbers = itertools.count(1)


class ServerTestCase(SynchronousTestCase):
    """Tests against one server process, started with :attr:`options` and shared by all tests with the same ones.

    A test fails when the server printed a traceback meanwhile.
    """

    options: ClassVar[tuple[str, ...]] = ("--ping-interval", "0.5")

    def setUp(self) -> None:
        """Find the server, and remember what it had printed before."""
        self.server: Server = shared_server(*self.options)
        printed = len(self.server.lines)
        self.addCleanup(lambda: self.assertEqual(self.server.complaints(printed), []))

    def connect(self, *, source: str | None = None, buffers: int | None = None) -> RawPeer:
        """A connection to the server; closed after the test."""
        peer = connect(self.server.port, source=source, buffers=buffers)
        self.addCleanup(peer.close)
        return peer

    def fresh(self) -> str:
        """An id that no other test uses."""
        return f"raw-{os.getpid()}-{next(_numbers)}"

    def greeted(self, **members: Any) -> tuple[RawPeer, dict[str, Any]]:
        """A connection that said HELLO with quiet terms where none are given, and the acceptor's HELLO."""
        peer = self.connect()
        return peer, peer.greet(**{**QUIET, **members})

    def refused(self, data: bytes, code: int, what: str, members: dict[str, Any] | None = None) -> Farewell:
        """Send this, behind a HELLO with these members if any, and find the BYE with that code."""
        peer = self.connect()
        if members is not None:
            peer.greet(**{**QUIET, **members})
        peer.send(data)
        try:
            farewell = peer.farewell()
        except (Silence, Ended) as error:
            self.fail(f"{what}: no BYE {code}: {error}")
        self.assertEqual(farewell.code, code, f"{what}: BYE {code} was due, not {farewell.code} {farewell.reason!r}")
        return farewell

    def refused_hellos(self, table: Iterable[tuple[str, dict[str, Any]]], code: int) -> None:
        """Each of these HELLOs gets BYE with that code, and no HELLO before it."""
        for what, members in table:
            farewell = self.refused(hello(**members), code, what)
            self.assertEqual(farewell.before, [], what)
