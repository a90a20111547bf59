"""The `Retry-After` of a response: never early, and not the same for all."""

from __future__ import annotations

import math
from typing import Final

from seawall._core.arguments import Rng
from seawall._core.retry_after import seconds_of

_SOONEST: Final = 1.0
_SPREAD: Final = 7.0
"""Where nobody knows how long it takes, callers are sent away for 1 to 8 s: one value would bring all back at once."""


def hint(rest: object, rng: Rng) -> bytes:
    """Returns whole seconds, as RFC 9110 section 10.2.3 has them.

    They lie between the true rest and 1.2 times it, plus 1; and at 1 to 8, evenly spread, where the rest is not known.
    """
    known = seconds_of(rest, 0.0)
    wait = _SOONEST + _SPREAD * rng() if known is None else known * (1 + 0.2 * rng())
    return str(max(1, math.ceil(wait))).encode("ascii")
