"""What tests of circuit breakers share: calls that end as scripted, and what is seen of the breaker."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from seawall import CircuitBreaker
from tests.both import Colour

OUTCOMES: dict[str, Any] = {"S": "fine", "F": ConnectionError, "X": LookupError, "C": asyncio.CancelledError}
"""S: success, F: failure, X: ignored (give `ignore=LookupError`), C: cancelled."""


def play(colour: Colour, breaker: CircuitBreaker, letters: str) -> None:
    """Makes a call for each letter; what it raises is taken for granted, a rejection is not."""
    for letter in letters.replace(" ", ""):
        with suppress(ConnectionError, LookupError, asyncio.CancelledError):
            colour.call(breaker, colour.script(OUTCOMES[letter]))


def trip(breaker: CircuitBreaker, failures: int = 1) -> None:
    """Opens a circuit that so many failures open."""
    for _ in range(failures):
        breaker.acquire().failure(ConnectionError())
    assert "open" == breaker.state


def seen(breaker: CircuitBreaker) -> tuple[str, int, int]:
    """Returns the state, and how many calls and failures are counted."""
    shown = breaker.snapshot()
    return shown.state, shown.calls, shown.failures


def call(breaker: CircuitBreaker, result: Any = None, *, lasting: float = 0.0, colour: str = "sync") -> Any:
    """Makes a call that lasts so long and gives a result, or raises it where it is an exception."""
    clock: Any = breaker.clock

    def work() -> Any:
        clock.sleep(lasting)
        if isinstance(result, BaseException):
            raise result
        return result

    async def awork() -> Any:
        return work()

    async def main() -> Any:
        return await breaker(awork)()

    try:
        return breaker(work)() if colour == "sync" else asyncio.run(main())
    except OSError as error:
        return error


def counts(breaker: CircuitBreaker) -> tuple[int, int, int]:
    """Calls, failures and slow calls in the window."""
    snapshot = breaker.snapshot()
    return snapshot.calls, snapshot.failures, snapshot.slow
