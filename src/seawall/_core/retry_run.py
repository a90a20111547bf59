"""One call that is being retried: decides after each failure whether and when to go on, without waiting itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Protocol

from seawall._core.arguments import Rng
from seawall._core.backoff import LONGEST, Backoff
from seawall._core.budget import RetryBudget
from seawall._core.clock import Clock, DefaultClock, refuse_to_block
from seawall._core.context import MADE, NOTHING, RetryRecord, current, inside_retry, surround
from seawall._core.deadline import scope
from seawall._core.errors import RejectedError
from seawall._core.events import LOGGER, BudgetRefused, Hub, Recovered, Retried, RetryStopped
from seawall._core.retry_after import seconds_of

_RECORD: Final = "__seawall_retries__"


class Mode:
    """How the whole process retries; changed by `seawall.testing` alone."""

    __slots__ = ("retrying", "waiting")

    def __init__(self) -> None:
        self.retrying = self.waiting = True


MODE = Mode()


class Rules(Protocol):
    """What a run asks of its Retry."""

    hub: Hub
    clock: Clock | DefaultClock
    max_attempts: int
    backoff: Backoff | Callable[[int], float]
    max_elapsed: float | None
    budget: RetryBudget | None
    retry_after: bool
    max_retry_after: float
    rng: Rng
    handles: Callable[[BaseException], bool]


class Run:
    """A call after its first failure. As a context it holds the record of retries and the place in the budget.

    `mark` is `MADE.records` as of the call's start; `own` is how many attempt frames of this very Retry are on the
    stack while the context is left.
    """

    __slots__ = (
        "_delay",
        "_failure",
        "_holds_budget",
        "_mark",
        "_number",
        "_own",
        "_owner",
        "_record",
        "_result",
        "_rules",
        "start",
    )

    def __init__(
        self, rules: Rules, start: float, mark: int, failure: Exception | None, result: Any = None, *, own: int = 1
    ) -> None:
        self._rules = rules
        self.start = start
        self._mark = mark
        self._number = 1
        self._failure: Exception | None = failure
        self._result = result
        self._delay: float | None = None
        self._own = own
        self._owner = self._holds_budget = False
        self._record = RetryRecord()

    def __enter__(self) -> Run:
        ambient = current() or NOTHING
        if ambient.retries is self._record:
            return self  # the next attempt of a loop, below the Retry whose record it is
        if ambient.retries is not None:
            self._record = ambient.retries
            self._owner = not self._record.owned  # left behind by a Retry further in, for us to take over
            self._record.owned = True
        else:
            self._owner = True
            surround(ambient._replace(retries=self._record))
        for record in _carried(self._failure):
            if record is not self._record and record.number >= self._mark:
                self._record.take_over(record, self._rules)
        return self

    def __exit__(self, kind: object = None, error: BaseException | None = None, traceback: object = None) -> None:
        self.give_back()
        self._failure = None  # it holds the frame that holds this run
        if isinstance(error, Exception):
            error.__dict__[_RECORD] = self._record  # for a Retry beyond the border of this task, thread or context
        if self._owner:
            self._owner = self._record.owned = False
            if not inside_retry(own=self._own):
                surround((current() or NOTHING)._replace(retries=None))

    def pause(self) -> None:
        """Takes the record out of the context until the next `with`: what runs between attempts is not below them."""
        if self._owner:
            surround((current() or NOTHING)._replace(retries=None))

    def attempt(self) -> Attempt:
        """Returns the context of the next attempt."""
        return Attempt(self, self._number + 1)

    def begin(self, number: int) -> None:
        self._number = number
        self._failure = self._result = None

    def handles(self, error: BaseException | None) -> bool:
        return error is not None and self._rules.handles(error)

    def fail(self, failure: Exception | None, result: Any = None) -> None:
        """Takes note of a failed attempt."""
        self.give_back()
        self._failure, self._result = failure, result

    def succeed(self, result: Any = None) -> Any:
        """Takes note of success, and returns the result."""
        if self._number > 1:
            self._rules.hub.tell(Recovered(self._rules.hub.name, self._number))
        return result

    def give_up(self) -> Any:
        """Raises the last failure, or returns the last result where that is what failed."""
        failure, self._failure = self._failure, None
        if failure is None:
            return self._result
        try:
            raise failure
        finally:
            del failure  # no cycle of failure, traceback and frame

    def refuse_to_block(self) -> None:
        """Raises, from the failure, where a sync wait would stall a running event loop."""
        failure = self._failure
        try:
            refuse_to_block(f"{self._rules.hub.name!r}")
        except RuntimeError as error:
            raise error from failure
        finally:
            del failure

    def next_delay(self) -> float | None:
        """Returns the seconds to wait before the next attempt; None where there is to be none."""
        reason, delay = self._decide()
        name, failure = self._rules.hub.name, self._failure
        elapsed = self._rules.clock.now() - self.start
        if reason is not None:
            if failure is not None:
                _note(failure, name, self._number, elapsed, reason)
            self._rules.hub.tell(RetryStopped(name, self._number, reason, elapsed, failure, self._result))
            return None
        self._delay = delay
        self._record.spend(self._rules)
        self._rules.hub.tell(Retried(name, self._number, delay, failure, self._result))
        return delay

    def _decide(self) -> tuple[str | None, float]:
        """Returns the reason to stop, or None, and the delay."""
        rules = self._rules
        if self._number >= rules.max_attempts or not MODE.retrying:
            return "attempts", 0.0
        repeatable = (current() or NOTHING).repeatable
        if repeatable is not None and not repeatable(self._failure):
            return "unsafe", 0.0
        if self._record.spent(rules) >= rules.max_attempts - 1:
            return "nested", 0.0
        own = self._own_delay()
        if own is None:
            return "backoff", 0.0
        hint = seconds_of(getattr(self._failure, "retry_after", None), rules.clock.wall()) if self._hinted else None
        if hint is not None and hint > rules.max_retry_after:
            return "retry_after", 0.0
        delay = max(own, hint or 0.0) if MODE.waiting else 0.0
        if rules.max_elapsed is not None and rules.clock.now() - self.start + delay > rules.max_elapsed:
            return "elapsed", 0.0
        surrounding = scope()
        if surrounding is not None and delay >= surrounding.remaining():
            return "deadline", 0.0
        if rules.budget is not None:
            if not rules.budget.try_acquire():
                rules.hub.tell(BudgetRefused(rules.hub.name, rules.budget.name))
                return "budget", 0.0
            self._holds_budget = True
        return None, delay

    @property
    def _hinted(self) -> bool:
        """Whether the failure's `retry_after` is a server's word; that of a rejection is our own."""
        return self._rules.retry_after and not isinstance(self._failure, RejectedError)

    def _own_delay(self) -> float | None:
        backoff, number = self._rules.backoff, self._number
        if isinstance(backoff, Backoff):
            return backoff.delay(number, self._delay, self._rules.rng)
        try:
            delay = float(backoff(number))
        except OverflowError:
            return LONGEST
        except Exception:
            LOGGER.exception("backoff of %r raised; the failure is passed on", self._rules.hub.name)
            return None
        return min(LONGEST, max(0.0, delay)) if delay == delay else LONGEST

    def give_back(self) -> None:
        """Gives back the place in the budget."""
        if self._holds_budget and self._rules.budget is not None:
            self._holds_budget = False
            self._rules.budget.release()


def _carried(failure: BaseException | None) -> Iterator[RetryRecord]:
    """Gives the records that a failure carries, or the failures of a group."""
    if isinstance(failure, BaseExceptionGroup):
        for each in failure.exceptions:
            yield from _carried(each)
    record = None if failure is None else failure.__dict__.get(_RECORD)
    if isinstance(record, RetryRecord):
        yield record


def _note(failure: Exception, name: str, attempts: int, elapsed: float, reason: str) -> None:
    """Adds the note of the attempts to a failure; replaces that of an earlier call, since failures may be reused."""
    prefix = f"seawall: {name!r} gave up"
    try:
        notes = getattr(failure, "__notes__", None)
        if notes:
            notes[:] = [note for note in notes if not note.startswith(prefix)]
        failure.add_note(f"{prefix} after attempt {attempts} and {elapsed:.3g} s ({reason})")
    except Exception:
        LOGGER.debug("%r takes no note", failure, exc_info=True)  # a frozen dataclass, say: the failure matters more


class Attempt:
    """One attempt, as a context: a failure that is to be retried goes no further.

    Attributes:
        number: which attempt this is, from 1.
    """

    __slots__ = ("_run", "number")

    def __init__(self, run: Run, number: int) -> None:
        self._run = run
        self.number = number

    def __enter__(self) -> Attempt:
        self._run.begin(self.number)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception) or not self._run.handles(error):
            return False
        self._run.fail(error)
        return True


class LoopAttempt(Attempt):
    """One attempt of a loop: decides on leaving, so that the last failure is raised where it happened."""

    __slots__ = ("after", "before")

    def __init__(self, run: Run, number: int, before: float) -> None:
        super().__init__(run, number)
        self.before = before
        self.after: float | None = None

    def refuse_to_block(self) -> None:
        self._run.refuse_to_block()

    def __enter__(self) -> LoopAttempt:
        self._run.__enter__()
        super().__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if super().__exit__(kind, error, traceback):
            self.after = self._run.next_delay()
        elif error is None:
            self._run.succeed()
        if self.after is None:
            self._run.__exit__(kind, error, traceback)
        else:
            self._run.pause()
        return self.after is not None


class Attempts:
    """The loop form of a Retry. Each `for` over it is one call."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def __iter__(self) -> Iterator[LoopAttempt]:
        for attempt in self._each():
            if attempt.before:
                attempt.refuse_to_block()
                self._rules.clock.sleep(attempt.before)
            yield attempt

    async def __aiter__(self) -> AsyncIterator[LoopAttempt]:
        for attempt in self._each():
            if attempt.before:
                await self._rules.clock.asleep(attempt.before)
            yield attempt

    def _each(self) -> Iterator[LoopAttempt]:
        rules = self._rules
        run = Run(rules, rules.clock.now(), MADE.records, None, own=0)
        if rules.budget is not None:
            rules.budget.enter()
        try:
            attempt = LoopAttempt(run, 1, 0.0)
            yield attempt
            while attempt.after is not None:
                attempt = LoopAttempt(run, attempt.number + 1, attempt.after)
                yield attempt
        finally:
            run.give_back()
            if rules.budget is not None:
                rules.budget.leave()
