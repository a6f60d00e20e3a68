"""What is known, over HTTP: ``/``, ``/api``, ``/livez``, ``/readyz``, ``/health``, ``/metrics``."""

from __future__ import annotations

from heartbeat.watch.web.auth import Passwords
from heartbeat.watch.web.site import make_site
from heartbeat.watch.web.strip import Vitals

__all__ = ["Passwords", "Vitals", "make_site"]
