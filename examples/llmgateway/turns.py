"""Who is asked first: the providers in turn, as long as they answer when it is theirs.

A provider that is silent opens no breaker of its own: the other one answers after a moment, the attempt that has heard
nothing is cancelled, and what was cancelled counts nowhere. So every second customer would wait that moment for as long
as the silence lasts. Here it counts who has answered. A provider in whose place the other one had to answer several
times in a row is left out of the turns for a while, and then tried with one customer. It is asked all the same by who
prefers it, and when the other one is slow or fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from examples.llmgateway.wire import ProviderName
from seawall import CircuitBreaker, RejectedError


@dataclass(slots=True)
class Turn:
    """Who is asked first; say in `answered` who was the one to answer, if anybody did."""

    first: ProviderName
    answered: ProviderName | None = None


class Turns:
    """Gives the turns.

    Args:
        names: of the providers.
        failures: how often in a row a provider may leave the answer to another one.
        open_for: seconds for which it is then left out.
    """

    def __init__(self, names: Iterable[ProviderName], *, failures: int = 5, open_for: float = 30.0) -> None:
        self._breakers = {
            name: CircuitBreaker(name=f"{name}.turns", failures=failures, open_for=open_for) for name in names
        }
        self._next = itertools.cycle(self._breakers)

    @contextmanager
    def take(self) -> Iterator[Turn]:
        """Gives a turn for one request: the next provider's, or another's where it is left out, unless all are."""
        first = next(self._next)
        for name in (first, *(each for each in self._breakers if each != first)):
            try:
                permit = self._breakers[name].acquire()
            except RejectedError:
                continue
            turn = Turn(name)
            try:
                yield turn
            finally:
                if turn.answered is None:
                    permit.release()  # nobody did, which their own breakers count
                elif turn.answered == name:
                    permit.success()
                else:
                    permit.failure()
            return
        yield Turn(first)
