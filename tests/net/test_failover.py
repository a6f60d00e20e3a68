"""A gated endpoint with more than one server."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from heartbeat.testing import SilentDrop
from tests.net.gates import SOON, GateCase, Inner, Refusing, Silent


class SeveralTests(GateCase):
    """More than one server."""

    def setUp(self) -> None:
        """Three."""
        super().setUp()
        self.hosts = [self.net.host(name) for name in ("one", "two", "three")]

    def who(self, inner: Inner) -> str:
        """The name of the server that was reached."""
        transport: Any = inner.transport
        (name,) = [host.name for host in self.hosts if host.address == transport.getPeer().host]
        return name

    def test_the_first_that_lets_us_in(self) -> None:
        """They are tried in their order, whatever is wrong with those before."""
        refusing = Factory()
        refusing.buildProtocol = lambda _: Refusing(10)  # type: ignore[method-assign,assignment]
        self.hosts[1].listen(7600, refusing)
        self.listen(self.hosts[2])
        endpoint = self.endpoint(*self.hosts)
        inner = self.connect_to(endpoint)
        self.assertEqual(self.who(inner), "three")
        inner.transport.abortConnection()  # type: ignore[union-attr]

    def test_all_fail(self) -> None:
        """The caller gets the reason of the last one, the back-off what each of them said."""
        for host, code in zip(self.hosts, (10, 6, 5), strict=True):
            factory = Factory()
            factory.buildProtocol = lambda _, code=code: Refusing(code)  # type: ignore[method-assign,assignment,misc]
            host.listen(7600, factory)
        endpoint = self.endpoint(*self.hosts)
        failed: list[Failure] = []
        endpoint.connect(Factory.forProtocol(Inner)).addErrback(failed.append)
        self.net.run(1.0)
        self.assertEqual(failed[0].value.cause, "identity_refused")  # type: ignore[union-attr]
        self.assertEqual([bye.code for bye in endpoint.byes if bye is not None], [10, 6, 5])

    def test_given_up(self) -> None:
        """A caller that cancels is not connected to the next server instead, wherever the attempt stands."""
        silent = Factory.forProtocol(Silent)
        for host, factory in zip(self.hosts, (silent, silent, None), strict=True):
            if factory is not None:
                host.listen(7600, factory)
        self.listen(self.hosts[2])
        for seconds in (0.0, 0.0005, 0.0015, SOON, 2.0 + SOON):
            waiting = self.endpoint(*self.hosts, handshake_timeout=2.0).connect(Factory.forProtocol(Inner))
            self.net.run(seconds)
            self.assertNoResult(waiting)
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
            self.net.run(SOON)
            self.assertEqual(self.connectors.connections, 0)
        self.assertEqual(self.client.reactor.getDelayedCalls(), [])
        self.assertEqual(self.notes.lines, [])

    def test_a_timeout_is_no_cancel(self) -> None:
        """A server that cannot be reached in time is passed over."""
        self.net.between(self.client, self.hosts[0]).add(SilentDrop())
        self.listen(self.hosts[1])
        inner = self.connect_to(self.endpoint(*self.hosts[:2], handshake_timeout=2.0))
        self.assertEqual(self.who(inner), "two")
        inner.transport.abortConnection()  # type: ignore[union-attr]

    def test_after_a_loss(self) -> None:
        """The one that was lost is tried last: it may be gone without a trace."""
        for host in self.hosts[:2]:
            self.listen(host)
        endpoint = self.endpoint(*self.hosts)
        reached = []
        for _ in range(4):
            inner = self.connect_to(endpoint)
            reached.append(self.who(inner))
            inner.transport.abortConnection()  # type: ignore[union-attr]
            self.net.run(SOON)
        self.assertEqual(reached, ["one", "two", "one", "two"])
