"""What a pipeline will do at worst, and what in it is probably not meant."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from seawall._core.arguments import Matcher
from seawall._core.backoff import Backoff
from seawall._core.strategy import Strategy, show
from seawall._strategies.breaker import CircuitBreaker
from seawall._strategies.bulkhead import Bulkhead
from seawall._strategies.fallback import Fallback
from seawall._strategies.hedge import Hedge
from seawall._strategies.ratelimit import RateLimit
from seawall._strategies.retry import Retry
from seawall._strategies.timeout import Timeout

Kind = TypeVar("Kind", bound=Strategy)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is probably not what you mean. `rule` is its short name, `advice` says what to do."""

    rule: str
    advice: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.advice}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A pipeline's strategies with their settings, its worst case, and the linter's findings.

    Attributes:
        strategies: name and settings, outermost first.
        worst_attempts: calls of the protected function that one call can cause.
        worst_duration: seconds that one async call can last, without the fallback; infinite where nothing bounds it.
            A sync call is not cut short, so there this is only when the last attempt starts at the latest.
    """

    name: str
    strategies: tuple[tuple[str, dict[str, object]], ...]
    worst_attempts: int
    worst_duration: float
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        lines = [f"pipeline {self.name!r}, outermost first"]
        lines += [
            f"  {name}: " + ", ".join(f"{key}={show(value)}" for key, value in settings.items() if value is not None)
            for name, settings in self.strategies
        ]
        duration = "without bound" if math.isinf(self.worst_duration) else f"{self.worst_duration:g} s"
        attempts = "1 attempt" if self.worst_attempts == 1 else f"{self.worst_attempts} attempts"
        lines.append(f"  at worst, when async: {attempts}, {duration}")
        lines += [f"  ! {finding}" for finding in self.findings]
        return "\n".join(lines)


def explain(name: str, strategies: Sequence[Strategy]) -> Explanation:
    """Explains a pipeline."""
    attempts, duration = _worst(strategies)
    listed = tuple((f"{type(strategy).__name__} {strategy.name!r}", strategy.settings()) for strategy in strategies)
    return Explanation(name, listed, attempts, duration, tuple(lint(strategies)))


def lint(strategies: Sequence[Strategy]) -> Iterator[Finding]:
    """Gives the findings, the gravest first."""
    for rule in _RULES:
        yield from rule(strategies)


def _worst(strategies: Sequence[Strategy]) -> tuple[int, float]:
    """Returns the attempts and the seconds that a call can take at worst, from the inside out.

    `later` is what a further entry costs within one call of the outermost Retry: the inner retries are spent by then.
    """
    attempts, later, duration = 1, 1, math.inf
    for strategy in reversed(strategies):
        match strategy:
            case Timeout():
                duration = min(duration, strategy.seconds)
            case Retry():
                attempts += (strategy.max_attempts - 1) * later
                duration = min(
                    strategy.max_attempts * duration + _delays(strategy),
                    math.inf if strategy.max_elapsed is None else strategy.max_elapsed + duration,
                )
            case Hedge():
                attempts, later = attempts * (1 + strategy.max_extra), later * (1 + strategy.max_extra)
                pause = duration if isinstance(strategy.after, str) else min(duration, strategy.after)
                duration += strategy.max_extra * pause
            case Bulkhead(max_waiting=waiting, max_wait=wait) if waiting:
                duration += math.inf if wait is None else wait
            case RateLimit(max_wait=wait):
                duration += wait
            case _:
                pass
    return attempts, duration


def _delays(retry: Retry) -> float:
    backoff = retry.backoff
    numbers = range(1, min(retry.max_attempts, 10_000))
    hints = retry.max_retry_after if retry.retry_after else 0.0
    if not isinstance(backoff, Backoff):
        return math.inf if retry.max_elapsed is None else retry.max_elapsed
    return sum(max(backoff.longest(number), hints if math.isfinite(hints) else 0.0) for number in numbers)


def _after(strategies: Sequence[Strategy], outer: type[Kind]) -> Iterator[tuple[Kind, Sequence[Strategy]]]:
    """Gives each strategy of a kind with those inside it."""
    for place, strategy in enumerate(strategies):
        if isinstance(strategy, outer):
            yield strategy, strategies[place + 1 :]


def _of(strategies: Sequence[Strategy], kind: type[Kind]) -> list[Kind]:
    return [strategy for strategy in strategies if isinstance(strategy, kind)]


def _fallback_hides_retry(strategies: Sequence[Strategy]) -> Iterator[Finding]:
    for retry, inside in _after(strategies, Retry):
        for fallback in _of(inside, Fallback):
            if _apart(retry.on, fallback.on):
                continue
            yield Finding(
                "inner fallback hides an outer retry",
                f"{fallback.name!r} answers before {retry.name!r} sees the failure; list the Fallback before the Retry",
            )


def _apart(one: Matcher, other: Matcher) -> bool:
    """Whether two matchers surely match nothing in common."""
    if not isinstance(one, type | tuple) or not isinstance(other, type | tuple):
        return False
    ones, others = (each if isinstance(each, tuple) else (each,) for each in (one, other))
    return not any(issubclass(a, b) or issubclass(b, a) for a in ones for b in others)


def _attempt_above_total(strategies: Sequence[Strategy]) -> Iterator[Finding]:
    for total, inside in _after(strategies, Timeout):
        for attempt in _of(inside, Timeout):
            if attempt.seconds > total.seconds:
                yield Finding(
                    "attempt time-out above the total",
                    f"{attempt.name!r} ({attempt.seconds:g} s) lies within {total.name!r} ({total.seconds:g} s); "
                    "shorten the inner one",
                )
    for retry, inside in _after(strategies, Retry):
        for attempt in _of(inside, Timeout):
            if retry.max_elapsed is not None and attempt.seconds > retry.max_elapsed:
                yield Finding(
                    "attempt time-out above the total",
                    f"{attempt.name!r} ({attempt.seconds:g} s) is longer than max_elapsed of {retry.name!r} "
                    f"({retry.max_elapsed:g} s), so an attempt that times out is never retried; raise max_elapsed",
                )


def _breaker_outside_queue(strategies: Sequence[Strategy]) -> Iterator[Finding]:
    for breaker, inside in _after(strategies, CircuitBreaker):
        for queue in (*_of(inside, Bulkhead), *_of(inside, RateLimit)):
            if getattr(queue, "max_waiting", 0) or getattr(queue, "max_wait", None):
                yield Finding(
                    "breaker outside a waiting bulkhead or limiter",
                    f"time spent waiting in {queue.name!r} counts as the dependency's in {breaker.name!r}; "
                    "list the breaker after it",
                )


def _short_window(strategies: Sequence[Strategy]) -> Iterator[Finding]:
    for breaker, inside in _after(strategies, CircuitBreaker):
        window = breaker.rules.window
        for timeout in _of(inside, Timeout):
            if window is not None and window < 2 * timeout.seconds:
                yield Finding(
                    "breaker window below twice the time-out",
                    f"{breaker.name!r} looks at {window:g} s, in which few calls of {timeout.seconds:g} s can fail; "
                    f"use window={2 * timeout.seconds:g} or more",
                )


def _hedge_after_timeout(strategies: Sequence[Strategy]) -> Iterator[Finding]:
    for hedge, inside in _after(strategies, Hedge):
        for timeout in _of(inside, Timeout):
            if not isinstance(hedge.after, str) and timeout.seconds <= hedge.after < math.inf:
                yield Finding(
                    "hedge delay above the time-out",
                    f"{hedge.name!r} starts after {hedge.after:g} s, when the attempt has been cut short already; "
                    f"use less than {timeout.seconds:g} s",
                )


def _retry_cut_by_elapsed(strategies: Sequence[Strategy]) -> Iterator[Finding]:
    for retry in _of(strategies, Retry):
        backoff, bound = retry.backoff, retry.max_elapsed
        if not isinstance(backoff, Backoff) or bound is None or retry.max_attempts > 1000:
            continue
        delays = sum(backoff.plain(number) for number in range(1, retry.max_attempts))
        if delays > bound:
            yield Finding(
                "delays do not fit",
                f"the delays of {retry.name!r} add up to {delays:g} s, more than max_elapsed={bound:g}: "
                "the last attempts are never made; raise max_elapsed or lower max_attempts",
            )


def _unbounded(strategies: Sequence[Strategy]) -> Iterator[Finding]:
    if any(isinstance(strategy, Retry | CircuitBreaker | Bulkhead) for strategy in strategies):
        if not _of(strategies, Timeout):
            yield Finding("time unbounded", "a call that hangs is never ended; add a Timeout as the innermost strategy")
        elif math.isinf(_worst(strategies)[1]):
            yield Finding("time unbounded", "a call may wait without end; give the Bulkhead a max_wait")


def _unusual_order(strategies: Sequence[Strategy]) -> Iterator[Finding]:
    for fallback, inside in _after(strategies[::-1], Fallback):
        outside = [s for s in inside if not isinstance(s, Fallback | Retry)]
        if outside:
            yield Finding(
                "strategy outside the fallback",
                f"{outside[0].name!r} is outside {fallback.name!r}, so what it raises has no fallback; "
                "list the Fallback first",
            )


_RULES: Final[tuple[Callable[[Sequence[Strategy]], Iterator[Finding]], ...]] = (
    _fallback_hides_retry,
    _attempt_above_total,
    _breaker_outside_queue,
    _short_window,
    _hedge_after_timeout,
    _retry_cut_by_elapsed,
    _unbounded,
    _unusual_order,
)
