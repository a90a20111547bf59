"""How long to wait before the next attempt: pure functions of the retry's number, the last delay and chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from seawall._core import arguments
from seawall._core.arguments import Rng, Seconds

Jitter = Literal["none", "full", "equal", "decorrelated", "additive", "proportional"]
LONGEST = 3600.0
"""The cap where none is given: a delay is always finite."""


@dataclass(frozen=True, slots=True, repr=False)
class Backoff:
    """A rule for delays. Make one with `fixed`, `listed`, `linear` or `exponential`; it is a value, shared freely.

    Jitter, where r is a random number in [0, 1):

    - none: the delay itself.
    - full: r x delay (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
    - equal: delay / 2 + r x delay / 2.
    - decorrelated: from the base up to three times the last delay.
    - additive: delay + r x spread (seconds).
    - proportional: delay x (1 - spread ... 1 + spread).

    No delay is ever below 0, above `cap`, or not a number, whatever the retry's number.
    """

    _delays: tuple[float, ...]
    _factor: float
    _step: float
    cap: float
    jitter: Jitter
    spread: float

    @staticmethod
    def fixed(seconds: Seconds, *, jitter: Jitter = "none", spread: float | None = None) -> Backoff:
        """The same delay each time."""
        return _make("seconds", (seconds,), 1.0, 0.0, None, jitter, spread)

    @staticmethod
    def listed(*delays: Seconds, jitter: Jitter = "none", spread: float | None = None) -> Backoff:
        """The delays as listed; the last one is repeated."""
        if not delays:
            raise ValueError("Backoff.listed() has no delays; use Backoff.listed(1, 5, 15)")
        return _make("delays", delays, 1.0, 0.0, None, jitter, spread)

    @staticmethod
    def linear(
        base: Seconds,
        *,
        step: Seconds | None = None,
        cap: Seconds = LONGEST,
        jitter: Jitter = "none",
        spread: float | None = None,
    ) -> Backoff:
        """`base`, then `step` more each time (default: `base` more)."""
        first = arguments.seconds("base", base, zero=True)
        more = first if step is None else arguments.seconds("step", step, zero=True)
        return _make("base", (base,), 1.0, more, arguments.seconds("cap", cap), jitter, spread)

    @staticmethod
    def exponential(
        base: Seconds,
        *,
        factor: float = 2.0,
        cap: Seconds = LONGEST,
        jitter: Jitter = "none",
        spread: float | None = None,
    ) -> Backoff:
        """`base`, then `factor` times as long each time."""
        growth = arguments.number("factor", factor, least=1.0)
        return _make("base", (base,), growth, 0.0, arguments.seconds("cap", cap), jitter, spread)

    def __repr__(self) -> str:
        """Returns the call that makes this rule."""
        parts = [f"{delay:g}" for delay in self._delays]
        if len(parts) > 1:
            kind = "listed"
        elif self._factor > 1:
            kind = "exponential"
            parts += [] if self._factor == 2 else [f"factor={self._factor:g}"]
        elif self._step:
            kind = "linear"
            parts += [] if self._step == self._delays[0] else [f"step={self._step:g}"]
        else:
            kind = "fixed"
        if kind in ("exponential", "linear") and self.cap != LONGEST:
            parts.append(f"cap={self.cap:g}")
        if self.jitter != "none":
            parts.append(f"jitter={self.jitter!r}")
        if self.spread:
            parts.append(f"spread={self.spread:g}")
        return f"Backoff.{kind}({', '.join(parts)})"

    def __str__(self) -> str:
        if len(self._delays) > 1 or (self._factor == 1 and not self._step):
            plain = ", ".join(f"{delay:g}" for delay in self._delays)
        else:
            plain = f"{self.plain(1):g}, {self.plain(2):g}, {self.plain(3):g} ..."
        return f"{plain} s" + ("" if self.jitter == "none" else f" ({self.jitter} jitter)")

    def delay(self, retry: int, previous: float | None, rng: Rng) -> float:
        """Returns the seconds before retry number `retry` (from 1); `previous` is the delay before this one."""
        plain = self.plain(retry)
        match self.jitter:
            case "none":
                return plain
            case "full":
                moved = plain * rng()
            case "equal":
                moved = plain / 2 + plain / 2 * rng()
            case "decorrelated":
                base = self._delays[0]
                moved = base + max(0.0, (base if previous is None else previous) * 3 - base) * rng()
            case "additive":
                moved = plain + self.spread * rng()
            case "proportional":
                moved = plain * (1 + self.spread * (2 * rng() - 1))
        return min(self.cap, moved)

    def longest(self, retry: int) -> float:
        """Returns the longest delay that retry number `retry` can have."""
        match self.jitter:
            case "decorrelated":
                return self.cap if retry > 1 else min(self.cap, self._delays[0] * 3)
            case "additive":
                return min(self.cap, self.plain(retry) + self.spread)
            case "proportional":
                return min(self.cap, self.plain(retry) * (1 + self.spread))
            case _:
                return self.plain(retry)

    def plain(self, retry: int) -> float:
        """Returns the delay before retry number `retry` without jitter."""
        start = self._delays[min(retry, len(self._delays)) - 1]
        if not start and not self._step:
            return 0.0
        try:
            return min(self.cap, start * self._factor ** (retry - 1) + self._step * (retry - 1))
        except OverflowError:
            return self.cap


def _make(
    name: str,
    delays: tuple[Seconds, ...],
    factor: float,
    step: float,
    cap: float | None,
    jitter: Jitter,
    spread: float | None,
) -> Backoff:
    arguments.choice("jitter", jitter, get_args(Jitter))
    if spread is not None and jitter not in ("additive", "proportional"):
        raise ValueError(f"spread={spread!r} has no effect with jitter={jitter!r}; use 'additive' or 'proportional'")
    most = 1.0 if jitter == "proportional" else LONGEST
    width = {"additive": 0.1, "proportional": 0.25}.get(jitter, 0.0)
    plain = tuple(arguments.seconds(name, delay, zero=True) for delay in delays)
    limit = max(LONGEST, *plain) if cap is None else cap
    if plain[0] > limit:
        raise ValueError(f"{name}={delays[0]!r} is above cap={cap!r}; use a cap of at least {plain[0]:g}")
    return Backoff(
        plain,
        factor,
        step,
        limit,
        jitter,
        width if spread is None else arguments.number("spread", spread, least=0.0, most=most),
    )
