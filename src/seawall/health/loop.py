"""The event loop: how long what is due has to wait, and when the loop was last seen alive."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import Final, NamedTuple, Unpack

from seawall._core import arguments
from seawall._core.arguments import Random, Rng, Seconds
from seawall._core.clock import Clock
from seawall.health.check import Check, CheckOptions
from seawall.health.status import Health

_BEATS: Final = 600  # half a minute of the default interval
_SPREAD: Final = 0.5  # a regular beat would fall between regular stalls and see none of them
_FIRST_BEATS: Final = 4


class Beat(NamedTuple):
    """One beat: how long it was to wait, and how much longer it did, in seconds."""

    delay: float
    lag: float


class LoopProbe:
    """Beats in an event loop, at random intervals, and keeps how late each beat was. May be read by any thread.

    It beats until `stop`, or until nobody has it any more.

    Args:
        interval: seconds between beats on average; each is half as long to one and a half times as long; default 0.05.
        clock: where time comes from; default: the system's monotonic clock.
        rng: the source of chance; default `random.random`.
    """

    def __init__(
        self, interval: Seconds = 0.05, *, clock: Clock | None = None, rng: Rng | Random | None = None
    ) -> None:
        self.interval = arguments.seconds("interval", interval)
        self._clock = arguments.clock("clock", clock)
        self._rng = arguments.rng("rng", rng)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._seen = 0.0
        self._beats: deque[Beat] = deque(maxlen=_BEATS)

    def start(self) -> None:
        """Begins to beat in the running event loop, in the place of any other one; again there, it does nothing."""
        loop = asyncio.get_running_loop()
        if self._loop is loop and self._timer is not None:
            return
        self.stop()
        self._loop = loop
        self._seen = self._clock.now()
        self._clock.drive(loop)
        self._set(loop)

    def stop(self) -> None:
        """Stops beating, and forgets the beats."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None
        self._beats.clear()

    def age(self) -> float | None:
        """Returns the seconds since the loop was last seen alive, as of now; None where it is not watched."""
        return None if self._loop is None else max(0.0, self._clock.now() - self._seen)

    def beats(self) -> list[Beat]:
        """Returns the beats since this was last asked, the last 600 of them at most."""
        beats = list(self._beats)
        self._beats.clear()
        return beats

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        delay = self.interval * (1 - _SPREAD + 2 * _SPREAD * self._rng())
        me: weakref.ref[LoopProbe] = weakref.ref(self)
        self._timer = loop.call_later(delay, _beat, me, loop, delay, self._clock.now() + delay)

    def beat(self, loop: asyncio.AbstractEventLoop, delay: float, due: float) -> None:
        """Notes a beat that was due at an instant, and sets the next one."""
        if self._loop is loop:
            self._seen = self._clock.now()
            self._beats.append(Beat(delay, max(0.0, self._seen - due)))
            self._set(loop)


def _beat(probe: weakref.ref[LoopProbe], loop: asyncio.AbstractEventLoop, delay: float, due: float) -> None:
    alive = probe()
    if alive is not None:
        alive.beat(loop, delay, due)


def lag_of(beats: list[Beat], share: float = 0.9) -> float:
    """Returns the lag that was not exceeded for a share of the time; 0 where there are no beats.

    Of the time and not of the beats: a loop that stands still beats rarely.
    """
    total = sum(delay + lag for delay, lag in beats)
    passed = 0.0
    for delay, lag in sorted(beats, key=lambda beat: beat.lag):
        passed += delay + lag
        if passed >= share * total:
            return lag
    return 0.0


def loop_lag_check(
    *,
    name: str = "event-loop",
    degraded_above: Seconds = 0.1,
    unhealthy_above: Seconds | None = 1.0,
    probe: LoopProbe | None = None,
    **options: Unpack[CheckOptions],
) -> Check:
    """Returns a check of how long what is due waits in the monitor's event loop.

    What counts is the lag that was not exceeded for 90 % of the time since the last run. It tells of a loop that has
    too much to do, not of one that is blocked at the moment: then no check runs at all. For that, see `LiveServer`.

    Args:
        name: default "event-loop".
        degraded_above: seconds of lag above which it is degraded; default 0.1.
        unhealthy_above: the same for unhealthy; default 1; None: never.
        probe: what measures; default: one of its own.
        **options: see `Check`.
    """
    degraded = arguments.seconds("degraded_above", degraded_above)
    unhealthy = None if unhealthy_above is None else arguments.seconds("unhealthy_above", unhealthy_above)
    if unhealthy is not None and unhealthy < degraded:
        raise ValueError(
            f"unhealthy_above={unhealthy!r} is below degraded_above={degraded!r}; use at least {degraded:g}"
        )
    if probe is not None and not isinstance(probe, LoopProbe):
        raise TypeError(f"probe={probe!r} is no LoopProbe; use LoopProbe(), or leave it out")
    measuring = probe or LoopProbe()

    async def look() -> Health:
        measuring.start()
        beats = measuring.beats()
        while len(beats) < _FIRST_BEATS:
            await asyncio.sleep(measuring.interval * _FIRST_BEATS)
            beats += measuring.beats()
        lag, longest = lag_of(beats), max(beat.lag for beat in beats)
        data = {"lag": round(lag * 1000, 1), "longestLag": round(longest * 1000, 1), "beats": len(beats)}
        description = f"what is due waits up to {lag * 1000:.0f} ms"
        if unhealthy is not None and lag > unhealthy:
            return Health.unhealthy(description, data)
        return Health.degraded(description, data) if lag > degraded else Health.healthy(description, data)

    return Check(name, look, local=True, **options)
