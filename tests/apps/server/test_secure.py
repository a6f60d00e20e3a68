"""A whole server with TLS: what its certificate does to the rest of it."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from heartbeat.apps.server.settings import Options
from tests.apps.server.cases import FREE, ServerTestCase
from tests.net.tls.cases import pem


class SecureServerTests(ServerTestCase):
    """One server, with its files."""

    def setUp(self) -> None:
        """A folder with a pair."""
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="hb-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.renew()

    def renew(self) -> None:
        """A new pair."""
        given = pem("localhost")
        (self.folder / "c").write_bytes(given.certificate or b"")
        (self.folder / "k").write_bytes(given.key or b"")

    def options(self) -> tuple[str, ...]:
        """Of the server."""
        return ("--listen-tls", FREE, "--tls-cert", str(self.folder / "c"), "--tls-key", str(self.folder / "k"))

    async def test_readiness(self) -> None:
        """A certificate that has expired makes the server unready, with the reason; it lives on."""
        server = self.start(*self.options())
        self.assertEqual((await self.get(server, "/readyz"))[0], 200)
        assert server.certificates is not None
        server.certificates.expires_in = lambda: 0  # type: ignore[method-assign]  # the day has come
        status, text = await self.get(server, "/readyz")
        self.assertEqual((status, text), (503, "the certificate has expired\n"))
        self.assertEqual((await self.get(server, "/livez"))[0], 200)

    async def test_numbers(self) -> None:
        """When it expires is in the metrics and in what the server tells its peers; renewals are counted."""
        server = self.start(*self.options())
        held = server.certificates
        assert held is not None
        self.assertEqual(server.factory.source.report().cert_expires, held.expires_in())
        self.renew()
        options = Options()
        options.parseOptions([*self.options()])
        server.apply(options.settings)
        _, metrics = await self.get(server, "/metrics")
        self.assertIn('heartbeat_certificate_reloads_total{outcome="ok"} 1.0', metrics)
        self.assertIn("heartbeat_certificate_not_after_timestamp_seconds", metrics)
        self.assertEqual(json.loads((await self.get(server, "/api/peers"))[1]), [])
