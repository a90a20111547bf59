"""What a request's headers ask for: a correlation id, and an answer within some time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from seawall._core.correlation import correlation
from seawall.web.journal import LOGGER

_SECONDS: Final = re.compile(rb"\s*([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*")


def asked_for(headers: Iterable[tuple[bytes, bytes]]) -> tuple[correlation, float | None]:
    """Returns the correlation for a request and the seconds that its client is going to wait, where it says.

    A correlation id that could forge a log line, or one of several, is refused and replaced by a new one. So is a
    time that is no plain decimal number of seconds, which leaves the request without: a time is a courtesy, and no
    reason to refuse work. What was refused is logged as refused, without its value.
    """
    named: list[bytes] = []
    timed: list[bytes] = []
    for name, value in headers:
        if name == b"x-correlation-id":
            named.append(value)
        elif name == b"x-request-timeout":
            timed.append(value)
    return (_correlation(named) if named else correlation()), (_seconds(timed) if timed else None)


def _correlation(values: list[bytes]) -> correlation:
    try:
        if len(set(values)) == 1:
            return correlation(values[0].decode("ascii"))
    except ValueError:  # UnicodeDecodeError is one
        pass
    made = correlation()
    LOGGER.info("refused the correlation id of a request: it is not one of 1 to 128 safe characters [%s]", made.id)
    return made


def _seconds(values: list[bytes]) -> float | None:
    matched = _SECONDS.fullmatch(values[0]) if len(values) == 1 else None
    if matched is None:
        LOGGER.info("ignored the X-Request-Timeout of a request: it is no decimal number of seconds")
        return None
    return float(matched[1])
