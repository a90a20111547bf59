"""Every policy of the calling side, with its figures: which call, in which order, how often, how long.

The order is that of the lists: the first is the outermost. A breaker stands outside the Retry, so it counts calls, not
attempts. Delays have no jitter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from seawall import Backoff, Bulkhead, CircuitBreaker, Pipeline, Retry, RetryBudget, Timeout
from seawall.integrations.httpx import StatusError, transient

BOOKINGS: Final = 100
"""Bookings at once."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much faster than in earnest the system runs, for storms and tests. 1.0: as the figures say.

    Attributes:
        waits: what waits and time-outs are divided by.
        breaks: what the time for which a circuit stays open is divided by.
    """

    waits: float = 1.0
    breaks: float = 1.0

    def wait(self, seconds: float) -> float:
        """Returns how long a wait or time-out of so many seconds takes."""
        return seconds / self.waits

    def rest(self, seconds: float) -> float:
        """Returns how long a circuit that is to stay open for so many seconds does so."""
        return seconds / self.breaks

    @property
    def default_deadline(self) -> float:
        """Seconds that a customer's request may take who does not say how long they will wait."""
        return self.wait(20.0)

    @property
    def attempt(self) -> float:
        """Seconds that a service gives another one for each attempt."""
        return self.wait(10.0)

    @property
    def settling(self) -> float:
        """Seconds between two rounds of settling what is pending."""
        return self.wait(30.0)

    @property
    def kept(self) -> float:
        """Seconds for which a list of events is of use; longer where breaks are longer than in earnest."""
        return max(300.0, self.rest(300.0))


IN_EARNEST: Final = Pace()


def service(name: str, pace: Pace) -> Pipeline:
    """Calls from one service of ours to another: 10 s an attempt, 3 retries after 2, 4 and 8 s, 15 s in all."""
    call = pace.wait(15.0)
    return Pipeline(
        name,
        # Outside the time-out of the call, so that a call which ran out of time counts too.
        CircuitBreaker(failures=5, open_for=pace.rest(30.0)),
        Timeout(call, name=f"{name} call"),
        Retry(
            on=transient,
            max_attempts=4,
            backoff=Backoff.exponential(pace.wait(2.0)),
            max_elapsed=call,
            # While the other side is down, every customer's call would come four times. One call that retries is enough
            # to find out; more may when most calls succeed. In the storm this halves the calls that are wasted.
            budget=RetryBudget(rate=0.2, min_concurrent=1),
        ),
        Timeout(pace.attempt, name=f"{name} attempt"),
    )


def external(pace: Pace) -> Bulkhead:
    """All calls to companies that are not ours, together: 20 at once, 30 s in the queue at most.

    The queue holds as many as there are bookings at once, so only time turns a payment away.
    """
    return Bulkhead(20, max_waiting=BOOKINGS, max_wait=pace.wait(30.0), name="external APIs")


def provider(name: str, pace: Pace, external_apis: Bulkhead) -> Pipeline:
    """A payment provider: 2 retries after 1 s where it answered with a status from 500 on.

    Nothing else is repeated here: what is surely not charged goes to the other provider at once, and what may be is
    settled later. An answer is waited for at most 6 s: less than the 10 s for which the gateway waits for the booking
    service, so a customer hears of a payment that is pending instead of a time-out.
    """
    return Pipeline(
        name,
        external_apis,
        CircuitBreaker(failures=3, open_for=pace.rest(120.0)),
        Retry(
            on=lambda failure: isinstance(failure, StatusError) and failure.status >= 500,
            max_attempts=3,
            backoff=Backoff.fixed(pace.wait(1.0)),
            max_elapsed=pace.wait(20.0),
        ),
        Timeout(pace.wait(6.0)),
    )


def bookings() -> Bulkhead:
    """The booking service itself: 100 bookings at once, and no queue."""
    return Bulkhead(BOOKINGS, name="bookings")
