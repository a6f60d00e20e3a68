"""The header ``traceparent`` (https://www.w3.org/TR/trace-context/): whoever asks in a trace finds us in it."""

from __future__ import annotations

import re
import secrets
from typing import Final

__all__ = ["continued"]

# Version 00, and what later versions must begin with; ff is no version.
_HEADER: Final = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
#: Of the flags of version 00: sampled.
_SAMPLED: Final = 0x01


def continued(header: str | None) -> str | None:
    """The same trace with a span of our own; None where there is none, or none that is well formed."""
    found = _HEADER.fullmatch((header or "").strip())
    if found is None or found[2] == _NO_TRACE or found[3] == _NO_SPAN or (found[1] == "00" and found[5]):
        return None
    return f"00-{found[2]}-{secrets.token_hex(8)}-{int(found[4], 16) & _SAMPLED:02x}"
