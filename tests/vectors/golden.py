"""Reads the golden vectors. Their file is data for peers in any language, so it knows no Python."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

__all__ = ["VECTORS", "unhex"]


def unhex(text: str) -> bytes:
    """The bytes of a hex string with spaces between its fields."""
    return bytes.fromhex(text)


#: The whole file: ``frames``, ``digests``, ``keys``.
VECTORS: dict[str, Any] = json.loads(files(__package__).joinpath("wire.json").read_text(encoding="utf-8"))
