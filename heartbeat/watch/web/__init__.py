"""What is known, over HTTP: ``/``, ``/api``, ``/livez``, ``/readyz``, ``/health``, ``/metrics``."""

from __future__ import annotations

from heartbeat.watch.web.site import make_site

__all__ = ["make_site"]
