"""A server's wish to be left alone for a while: numbers, durations, and the text of a Retry-After header."""

from __future__ import annotations

import math
from datetime import UTC, timedelta


def seconds_of(hint: object, wall: float) -> float | None:
    """Returns a hint in seconds from now, or None where it says nothing usable.

    Text is read as RFC 9110 section 10.2.3 has it: a number of seconds, or a date in one of the three HTTP forms
    (IMF-fixdate, RFC 850, asctime); a date in the past is 0. Negative and non-finite numbers say nothing.

    Args:
        hint: a number, a timedelta, or text.
        wall: the present time in seconds since 1970, for dates.
    """
    if isinstance(hint, timedelta):
        hint = hint.total_seconds()
    if isinstance(hint, str):
        return _of_text(hint.strip(), wall)
    if isinstance(hint, bool) or not isinstance(hint, int | float):
        return None
    try:
        seconds = float(hint)
    except OverflowError:
        seconds = math.inf
    return seconds if 0 <= seconds < math.inf else None


def _of_text(text: str, wall: float) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime  # 4 ms that few processes need

    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:  # asctime names no zone; HTTP dates are UTC
        when = when.replace(tzinfo=UTC)
    return max(0.0, when.timestamp() - wall)
