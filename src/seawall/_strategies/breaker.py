"""Circuit breaker: stop asking a dependency that keeps failing, and find out when it is back."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, ParamSpec, TypeVar

from seawall._core import arguments
from seawall._core.alone import alone_acall, alone_call
from seawall._core.arguments import Matcher, Random, Rng, Seconds
from seawall._core.blocks import BlockGuard
from seawall._core.chain import kind_of, owned
from seawall._core.circuit import (
    CLOSED,
    HALF_OPEN,
    METRICS_ONLY,
    OPEN,
    Circuit,
    Closed,
    Disabled,
    Isolated,
    Open,
    State,
)
from seawall._core.circuit_rules import Rules
from seawall._core.clock import Clock
from seawall._core.guard import Guards
from seawall._core.outcome import judge_by
from seawall._core.permit import CallPermit
from seawall._core.strategy import Guard, Strategy

P = ParamSpec("P")
R = TypeVar("R")
_LONGEST: Final = 300.0
Mode = Literal["active", "metrics_only", "disabled"]


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A breaker at one moment. `failure_rate` is None until `min_calls` calls are in the window."""

    name: str
    state: str
    calls: int
    failures: int
    slow: int
    failure_rate: float | None
    retry_after: float | None
    last_failure: str | None


class Isolation:
    """A hold on an isolated breaker; the circuit closes when the last hold is let go."""

    __slots__ = ("_breaker",)

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker

    def close(self) -> None:
        """Lets go. A second time does nothing."""
        self._breaker._let_go(self)

    def __enter__(self) -> Isolation:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class CircuitBreaker(Guard):
    """Rejects calls while the dependency is failing, then probes it.

    *Closed*, calls pass and are counted; *open*, they raise `CircuitOpenError` at once; after `open_for` seconds it is
    *half-open*: `probes` calls are let through and decide. The outcome of a call counts only for the state that
    admitted it: late results change nothing. Cancelled and rejected calls count nowhere.

    It opens (judged after every recorded outcome, thresholds inclusive):

    - `failures` alone: after so many failures in a row;
    - `failures` with `window_calls`: after so many among the last `window_calls` calls;
    - `failures` with `window`: after so many within `window` seconds;
    - `failure_rate` over either window, from `min_calls` calls on; `slow_rate` likewise, for calls of `slow_after`
      seconds or more.

    Args:
        failures: how many failures open it.
        failure_rate: which share of failures opens it, above 0 to 1.
        window: the last so many seconds, counted in ten spans.
        window_calls: the last so many calls.
        min_calls: calls needed in the window before anything is judged; default: `failures` where that is given, else
            10, or `window_calls` where that is fewer.
        slow_after: a call of so many seconds is slow; needs a window and `slow_rate`.
        slow_rate: which share of slow calls opens it.
        open_for: seconds until the first probe, or a function of how often it opened in a row before (0, 1, ...);
            default 30.
        open_for_factor: each further opening in a row lasts so many times longer; default 1.
        open_for_cap: the longest opening, in seconds, also for a function's result that is infinite, not a number, or
            overflows; default 300, or `open_for` where that is longer.
        open_for_jitter: share by which an opening is lengthened or shortened at random, 0 to 1; default 0.
        probes: calls let through while half-open; a released one is given again; default 1.
        successes: probes that must succeed to close it; default 1. With a rate, the same rate judges once `probes`
            outcomes are in.
        probe_lease: seconds after which a probe that has not ended no longer keeps others out; default: the larger of
            the opening and twice the pipeline's time-out.
        on: which exceptions are failures; default `Exception`.
        ignore: which exceptions count nowhere; asked before `on`.
        on_result: says of a result whether it is a failure.
        name, clock: see `Strategy`.
        rng: the source of jitter; default `random.random`.
    """

    word = "breaker"
    example = "CircuitBreaker(failures=5, open_for=30)"
    rank = 3

    def __init__(
        self,
        *,
        failures: int | None = None,
        failure_rate: float | None = None,
        window: Seconds | None = None,
        window_calls: int | None = None,
        min_calls: int | None = None,
        slow_after: Seconds | None = None,
        slow_rate: float | None = None,
        open_for: Seconds | Callable[[int], float] = 30.0,
        open_for_factor: float = 1.0,
        open_for_cap: Seconds | None = None,
        open_for_jitter: float = 0.0,
        probes: int = 1,
        successes: int = 1,
        probe_lease: Seconds | None = None,
        on: Matcher = Exception,
        ignore: Matcher = (),
        on_result: Callable[[Any], bool] | None = None,
        name: str | None = None,
        clock: Clock | None = None,
        rng: Rng | Random | None = None,
    ) -> None:
        super().__init__(name, clock)
        seconds = arguments.seconds
        cap = _cap(open_for_cap, open_for)
        duration = _opening(
            open_for,
            arguments.number("open_for_factor", open_for_factor, least=1.0),
            cap,
            arguments.number("open_for_jitter", open_for_jitter, least=0.0, most=1.0),
            arguments.rng("rng", rng),
        )
        rules = Rules(
            failures=None if failures is None else arguments.whole("failures", failures, least=1),
            failure_rate=_rate("failure_rate", failure_rate),
            window=None if window is None else seconds("window", window),
            window_calls=None if window_calls is None else arguments.whole("window_calls", window_calls, least=1),
            min_calls=0 if min_calls is None else arguments.whole("min_calls", min_calls, least=1),
            slow_after=None if slow_after is None else seconds("slow_after", slow_after),
            slow_rate=_rate("slow_rate", slow_rate),
            open_for=duration,
            open_for_cap=cap,
            probes=arguments.whole("probes", probes, least=1),
            successes=arguments.whole("successes", successes, least=1),
            probe_lease=None if probe_lease is None else seconds("probe_lease", probe_lease),
            judge=judge_by(arguments.matcher("on", on), arguments.matcher("ignore", ignore)),
            bad_result=None if on_result is None else arguments.function("on_result", on_result, "a predicate"),
        )
        _check(rules)
        self.open_for = open_for
        self.on = on
        self._circuit = Circuit(self.hub, rules._replace(min_calls=rules.min_calls or _least_calls(rules)), self.clock)
        self._holds: set[Isolation] = set()
        self._mode: Mode = "active"

    def __call__(self, fn: Callable[P, R], /) -> Callable[P, R]:
        protected = super().__call__(fn)
        if isinstance(fn, staticmethod | classmethod):
            return protected
        match kind_of(fn):
            case "call":
                return owned(functools.update_wrapper(alone_call(self.chain(), self._circuit, fn), fn), self)  # type: ignore[no-any-return]
            case "acall":
                return owned(functools.update_wrapper(alone_acall(self.chain(), self._circuit, fn), fn), self)  # type: ignore[no-any-return]
            case _:
                return protected

    @property
    def rules(self) -> Rules:
        """The figures, checked."""
        return self._circuit.rules

    @property
    def state(self) -> str:
        """closed, open, half_open, isolated, disabled or metrics_only, as of now; looking changes nothing."""
        state = self._circuit.state
        return HALF_OPEN if isinstance(state, Open) and self.clock.now() >= state.until else state.word

    @property
    def mode(self) -> Mode:
        """What it does: "active"; "metrics_only": counts and lets every call pass; "disabled": nothing. May be set."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        arguments.choice("mode", mode, ("active", "metrics_only", "disabled"))
        if mode != self._mode:
            self._mode = mode
            self.reset()

    def _passing(self) -> State:
        """Returns a new state in which calls pass, by the mode."""
        if self._mode == "disabled":
            return Disabled(self._circuit)
        return Closed(self._circuit, CLOSED if self._mode == "active" else METRICS_ONLY)

    def acquire(self) -> CallPermit:
        """Asks for one call. Give the permit back with `success`, `failure` or `release`.

        Raises CircuitOpenError or CircuitIsolatedError.
        """
        return self._circuit.admit()

    def guard(self) -> BlockGuard:
        """Guards a block: `with breaker.guard():` or `async with breaker.guard():`."""
        return BlockGuard(self.acquire)

    def isolate(self) -> Isolation:
        """Holds the circuit open by hand, until `close` of every hold, or `reset`."""
        hold = Isolation(self)
        self._holds.add(hold)
        circuit = self._circuit
        circuit.change(lambda: circuit.state if isinstance(circuit.state, Isolated) else Isolated(circuit))
        return hold

    def reset(self) -> None:
        """Closes the circuit, forgets its counts, and ends every isolation."""
        self._holds.clear()
        self._circuit.change(self._passing)

    def _let_go(self, hold: Isolation) -> None:
        held = len(self._holds)
        self._holds.discard(hold)
        if held and not self._holds:
            circuit = self._circuit
            circuit.change(lambda: self._passing() if isinstance(circuit.state, Isolated) else circuit.state)

    def snapshot(self) -> BreakerSnapshot:
        """Returns state and counts as of now; looking changes nothing."""
        circuit, state, now = self._circuit, self._circuit.state, self.clock.now()
        calls, failures, slow = circuit.counts()
        error = state.error if isinstance(state, Open) else None
        return BreakerSnapshot(
            name=self.name,
            state=self.state,
            calls=calls,
            failures=failures,
            slow=slow,
            failure_rate=failures / calls if calls and calls >= self.rules.min_calls else None,
            retry_after=max(0.0, state.until - now) if isinstance(state, Open) else None,
            last_failure=None if error is None else repr(error),
        )

    def settings(self) -> dict[str, object]:
        rules = self.rules
        figures = ["failures", "failure_rate", "window", "window_calls", "slow_after", "slow_rate"]
        if rules.new_window() is not None:
            figures.append("min_calls")
        shown = {figure: getattr(rules, figure) for figure in figures if getattr(rules, figure) is not None}
        return {**shown, "open_for": self.open_for, "probes": rules.probes, "on": self.on}

    def port(self, guards: Guards) -> Guards:
        if guards.limit is not None:
            self._circuit.timeout = guards.limit.seconds
        return guards._replace(circuit=self._circuit)

    def adopt(self, old: Strategy) -> None:
        super().adopt(old)
        if isinstance(old, CircuitBreaker):
            rules, self._circuit = self._circuit.rules, old._circuit
            self._holds, self._mode = old._holds, old._mode
            self._circuit.hub = self.hub
            self._circuit.adopt(rules)


def _rate(argument: str, value: float | None) -> float | None:
    return None if value is None else arguments.number(argument, value, least=0.0, most=1.0, above=True)


def _least_calls(rules: Rules) -> int:
    if rules.failures is not None:
        return rules.failures
    return min(10, rules.window_calls or 10)


def _check(rules: Rules) -> None:
    """Raises ValueError for figures that do not go together."""
    windows = (rules.window is not None) + (rules.window_calls is not None)
    rated = rules.failure_rate is not None or rules.slow_rate is not None
    size = rules.window_calls
    problem = None
    if rules.failures is None and not rated:
        problem = "CircuitBreaker() has nothing to open it; give failures=5, or failure_rate=0.5 with window=30"
    elif windows == 2:
        problem = f"window={rules.window!r} and window_calls={size!r} exclude each other; give one"
    elif rated and not windows:
        problem = "failure_rate and slow_rate need a window; give window=30 (seconds) or window_calls=100"
    elif (rules.slow_after is None) != (rules.slow_rate is None):
        problem = "slow_after and slow_rate go together; give both, such as slow_after=2.0, slow_rate=0.5"
    elif rules.min_calls and not windows:
        problem = f"min_calls={rules.min_calls} needs a window; give window=30 (seconds) or window_calls=100"
    elif size is not None and rules.min_calls > size:
        problem = f"min_calls={rules.min_calls} is more than window_calls={size} can hold; use at most {size}"
    elif size is not None and rules.failures is not None and rules.failures > size:
        problem = f"failures={rules.failures} is more than window_calls={size} can hold; use at most {size}"
    elif not rated and rules.successes > rules.probes:
        problem = f"successes={rules.successes} needs as many probes; use probes={rules.successes} or more"
    elif rated and rules.successes > 1:
        problem = f"successes={rules.successes} has no effect with a rate, which judges all probes; use probes"
    if problem is not None:
        raise ValueError(problem)


def _cap(open_for_cap: Seconds | None, open_for: Seconds | Callable[[int], float]) -> float:
    base = 0.0 if callable(open_for) else arguments.seconds("open_for", open_for, infinite=True)
    if open_for_cap is None:
        return max(_LONGEST, base) if math.isfinite(base) else _LONGEST
    cap = arguments.seconds("open_for_cap", open_for_cap)
    if cap < base < math.inf:
        raise ValueError(f"open_for={open_for!r} is above open_for_cap={cap:g}; use open_for_cap={base:g} or more")
    return cap


def _opening(
    open_for: Seconds | Callable[[int], float], factor: float, cap: float, jitter: float, rng: Rng
) -> Callable[[int], float]:
    """Returns the function that says how long opening number `attempt` lasts."""
    if callable(open_for):
        if factor != 1:
            raise ValueError(f"open_for_factor={factor!r} has no effect with a function as open_for; use one of them")
        choose: Callable[[int], float] = open_for
    else:
        base = arguments.seconds("open_for", open_for, infinite=True)

        def lengthened(attempt: int) -> float:
            return float(base * factor**attempt)

        choose = lengthened

    def duration(attempt: int) -> float:
        return choose(attempt) * (1 + jitter * (2 * rng() - 1) if jitter else 1)

    return duration


__all__ = ["CLOSED", "HALF_OPEN", "OPEN", "BreakerSnapshot", "CircuitBreaker", "Isolation"]
