"""JSON text of what others have given us: never fails, whatever is in it."""

from __future__ import annotations

import json
from typing import Any


def to_json(value: Any) -> str:
    """Returns JSON in one line. What JSON does not know becomes its text; ValueError only for a circle."""
    return json.dumps(value, default=_text, separators=(",", ":"), skipkeys=True)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
