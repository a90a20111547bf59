"""Retry: try again after failures that may pass, for a bounded number of times and a bounded time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from types import CoroutineType
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from seawall._core import arguments
from seawall._core.arguments import Matcher, Random, Rng, Seconds
from seawall._core.backoff import Backoff
from seawall._core.budget import RetryBudget, counted_acall, counted_call, counted_outside
from seawall._core.chain import Call, Kind, Place, kind_of, owned, refuse_coroutine
from seawall._core.clock import Clock
from seawall._core.context import ALONE_CODE, MADE, RETRY_CODE, current, forget_stale_retries
from seawall._core.leaf import plain
from seawall._core.outcome import retriable
from seawall._core.retry_run import Attempts, Run
from seawall._core.strategy import Layer
from seawall._core.stream import aopened, opened, opened_astream, opened_stream

P = ParamSpec("P")
R = TypeVar("R")
Predicate: TypeAlias = Callable[[Any], bool]
FULL_JITTER: Final = Backoff.exponential(0.2, cap=10, jitter="full")


class Retry(Layer):
    """Repeats a call that failed in a way that may pass.

    Guarantees: at most `max_attempts` calls, none of them started later than `max_elapsed` seconds after the first or
    after the ambient deadline. When it gives up, the last failure itself is raised, with a note of the attempts; with
    `on_result`, the last result is returned. Cancellation is never retried, nor is anything that is not an `Exception`.
    Below another Retry, one Retry spends at most `max_attempts - 1` retries per call of the outermost, however often it
    is entered: nested retries add, they do not multiply.

    On a generator the opening is retried: nothing is repeated after the first item.

    Args:
        on: the failures to retry: a class, a tuple of classes, or a predicate; no default, since only you know what is
            safe to repeat. A `RejectedError` is retried only where its class is listed.
        on_result: says of a result whether it is a failure; default: none is. Not asked for streams and loops.
        max_attempts: calls in all, the first included; default 3.
        backoff: the delays: a `Backoff`, seconds, or a function of the retry's number (from 1); default: exponential
            from 0.2 s, at most 10 s, with full jitter.
        max_elapsed: no attempt starts later than so many seconds after the first one; one that runs is not cut short
            (that is a `Timeout`'s work); None for no bound; default 30.
        budget: a `RetryBudget`, asked before sleeping.
        retry_after: whether a failure's own `retry_after` (seconds, timedelta or header text) is the least delay;
            default True.
        max_retry_after: the longest such hint to honour, in seconds; a longer one ends the retrying; default 30.
        name, clock: see `Strategy`.
        rng: the source of jitter; default `random.random`.
    """

    word = "retry"
    example = "Retry(on=ConnectionError, max_attempts=3)"

    def __init__(
        self,
        *,
        on: Matcher,
        on_result: Predicate | None = None,
        max_attempts: int = 3,
        backoff: Backoff | Seconds | Callable[[int], float] = FULL_JITTER,
        max_elapsed: Seconds | None = 30.0,
        budget: RetryBudget | None = None,
        retry_after: bool = True,
        max_retry_after: Seconds = 30.0,
        name: str | None = None,
        clock: Clock | None = None,
        rng: Rng | Random | None = None,
    ) -> None:
        super().__init__(name, clock)
        self.on = arguments.matcher("on", on)
        self.on_result = None if on_result is None else arguments.function("on_result", on_result, "a predicate")
        self.max_attempts = arguments.whole("max_attempts", max_attempts, least=1)
        self.backoff = _backoff(backoff)
        self.max_elapsed = None if max_elapsed is None else arguments.seconds("max_elapsed", max_elapsed)
        if budget is not None and not isinstance(budget, RetryBudget):
            raise TypeError(f"budget={budget!r} is no budget; use RetryBudget(rate=0.2, min_concurrent=3)")
        self.budget = budget
        self.retry_after = arguments.flag("retry_after", retry_after)
        self.max_retry_after = arguments.seconds("max_retry_after", max_retry_after, infinite=True)
        self.rng = arguments.rng("rng", rng)
        self.handles = retriable(on)

    def settings(self) -> dict[str, object]:
        return {
            "on": self.on,
            "on_result": self.on_result,
            "max_attempts": self.max_attempts,
            "backoff": self.backoff,
            "max_elapsed": "unbounded" if self.max_elapsed is None else self.max_elapsed,
            "max_retry_after": self.max_retry_after if self.retry_after else None,
            "budget": self.budget,
        }

    def link(self, kind: Kind, inner: Call, place: Place) -> Call:
        match kind:
            case "call":
                return self._link_call(inner, self.on_result, place)
            case "acall":
                return self._link_acall(inner, self.on_result, place)
            case "stream":
                return opened_stream(self._link_call(opened(inner), None, place))
            case "astream":
                return opened_astream(self._link_acall(aopened(inner), None, place))

    def attempts(self) -> Attempts:
        """Returns a loop over attempts: `for attempt in retry.attempts(): with attempt: ...`, or with `async for`."""
        return Attempts(self)

    def __call__(self, fn: Callable[P, R], /) -> Callable[P, R]:
        protected = super().__call__(fn)
        if self.budget is not None or isinstance(fn, staticmethod | classmethod):
            return protected
        match kind_of(fn):
            case "call":
                return owned(functools.update_wrapper(self._alone_call(fn), fn), self)  # type: ignore[no-any-return]
            case "acall":
                return owned(functools.update_wrapper(self._alone_acall(fn), fn), self)  # type: ignore[no-any-return]
            case _:
                return protected

    def _link_call(self, inner: Call, bad: Predicate | None, place: Place) -> Call:
        clock, handles, watchful, made = self.clock, self.handles, place.watchful, MADE

        def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if watchful:
                forget_stale_retries()
            start, mark = clock.now(), made.records
            try:
                result = inner(fn, args, kwargs)
            except Exception as error:
                if not handles(error):
                    raise
                run = Run(self, start, mark, error)
            else:
                if bad is None or not bad(result):
                    return result
                run = Run(self, start, mark, None, result)
            return self._again(run, inner, bad, fn, args, kwargs)

        RETRY_CODE.add(call.__code__)
        return call if counted_outside(self.budget, place.outside) else counted_call(self.budget, call)

    def _alone_call(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A Retry alone around a plain function: the same as `_link_call`, in one frame."""
        chain, clock, handles, bad, made = self.chain(), self.clock, self.handles, self.on_result, MADE

        def call(*args: Any, **kwargs: Any) -> Any:
            if current() is not None or chain.switched:
                result = chain.watch("call")(fn, args, kwargs)
                return refuse_coroutine(result, fn) if type(result) is CoroutineType else result
            start, mark = clock.now(), made.records
            try:
                result = fn(*args, **kwargs) if kwargs else fn(*args)
            except Exception as error:
                if not handles(error):
                    raise
                run = Run(self, start, mark, error)
            else:
                if bad is None or not bad(result):
                    return refuse_coroutine(result, fn) if type(result) is CoroutineType else result
                run = Run(self, start, mark, None, result)
            return self._again(run, plain, bad, fn, args, kwargs)

        RETRY_CODE.add(call.__code__)
        ALONE_CODE.add(call.__code__)
        return call

    def _again(self, run: Run, inner: Call, bad: Predicate | None, fn: Any, args: Any, kwargs: Any) -> Any:
        """Goes on after the first failure."""
        with run:
            while (delay := run.next_delay()) is not None:
                if delay:
                    run.refuse_to_block()
                    self.clock.sleep(delay)
                with run.attempt():
                    result = inner(fn, args, kwargs)
                    if type(result) is CoroutineType:
                        refuse_coroutine(result, fn)
                    if bad is None or not bad(result):
                        return run.succeed(result)
                    run.fail(None, result)
            return run.give_up()

    def _link_acall(self, inner: Call, bad: Predicate | None, place: Place) -> Call:
        clock, handles, watchful, made = self.clock, self.handles, place.watchful, MADE

        async def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if watchful:
                forget_stale_retries()
            start, mark = clock.now(), made.records
            try:
                result = await inner(fn, args, kwargs)
            except Exception as error:
                if not handles(error):
                    raise
                run = Run(self, start, mark, error)
            else:
                if bad is None or not bad(result):
                    return result
                run = Run(self, start, mark, None, result)
            return await self._aagain(run, inner, bad, fn, args, kwargs)

        RETRY_CODE.add(call.__code__)
        return call if counted_outside(self.budget, place.outside) else counted_acall(self.budget, call)

    def _alone_acall(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A Retry alone around an async function: the same as `_link_acall`, in one frame."""
        chain, clock, handles, bad, made = self.chain(), self.clock, self.handles, self.on_result, MADE

        async def call(*args: Any, **kwargs: Any) -> Any:
            if current() is not None or chain.switched:
                return await chain.watch("acall")(fn, args, kwargs)
            start, mark = clock.now(), made.records
            try:
                result = await fn(*args, **kwargs)
            except Exception as error:
                if not handles(error):
                    raise
                run = Run(self, start, mark, error)
            else:
                if bad is None or not bad(result):
                    return result
                run = Run(self, start, mark, None, result)
            return await self._aagain(run, plain, bad, fn, args, kwargs)

        RETRY_CODE.add(call.__code__)
        ALONE_CODE.add(call.__code__)
        return call

    async def _aagain(self, run: Run, inner: Call, bad: Predicate | None, fn: Any, args: Any, kwargs: Any) -> Any:
        """Goes on after the first failure."""
        with run:
            while (delay := run.next_delay()) is not None:
                await self.clock.asleep(delay)
                with run.attempt():
                    result = await inner(fn, args, kwargs)
                    if bad is None or not bad(result):
                        return run.succeed(result)
                    run.fail(None, result)
            return run.give_up()


def _backoff(value: Backoff | Seconds | Callable[[int], float]) -> Backoff | Callable[[int], float]:
    if isinstance(value, Backoff):
        return value
    if isinstance(value, int | float | timedelta):
        return Backoff.fixed(arguments.seconds("backoff", value, zero=True))
    wanted = "Backoff.exponential(...), a number of seconds, or a function of the retry's number"
    if getattr(value, "__qualname__", "").partition(".")[0] == "Backoff":
        raise TypeError(f"backoff={value!r} was not called; use Backoff.exponential(0.2) or the like")
    return arguments.function("backoff", value, wanted)  # type: ignore[no-any-return]
