"""A storm as plain lines: for files, pipes and terminals that cannot draw."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import IO

from seawall.chaos.measures import percentile
from seawall.chaos.progress import Progress, Stage, VariantProgress
from seawall.chaos.words import count, percent, seconds

LOOK = 0.1
"""Seconds between two looks at the run."""
STAGES: dict[Stage, str] = {
    "start": "starting {variants}",
    "warm-up": "warming up",
    "load": "the load begins: {rate:g} requests a second to each for {seconds:g} s, seed {seed}",
    "last answers": "the load is over; waiting for the last answers",
    "finish": "settling what is pending",
    "end": "done",
}


class Lines:
    """Writes a line for each fault as it begins and ends, and every few seconds how the variants do.

    Args:
        stream: where they go.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._stage: Stage | None = None
        self._told: set[tuple[int, str]] = set()
        self._next = 0.0

    async def watch(self, progress: Progress) -> None:
        """Writes until cancelled."""
        try:
            while True:
                self._look(progress)
                await asyncio.sleep(LOOK)
        finally:
            self._look(progress)

    def _look(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self._stage = progress.stage
            self._write(progress.now, self._words(progress, self._stage))
        for second, text in sorted(self._news(progress)):
            self._write(second, text)
        if progress.stage == "load" and progress.now >= self._next:
            every = max(1.0, min(5.0, progress.conditions.seconds / 6))
            if self._next:
                states = (f"{name}: {_state(variant)}" for name, variant in progress.variants.items())
                self._write(progress.now, " | ".join(states))
            self._next = (progress.now // every + 1) * every

    def _news(self, progress: Progress) -> Iterator[tuple[float, str]]:
        """Yields what has happened to faults since the last look, each fault by its beginning and by its end once."""
        for number, period in enumerate(progress.faults):
            fault = period.fault
            for second, words in ((period.began, f"begins: {fault.says}"), (period.ended, "ends")):
                if second is not None and (number, words) not in self._told:
                    self._told.add((number, words))
                    yield second, f"{fault.target} {fault.kind} {words}"

    def _words(self, progress: Progress, stage: Stage) -> str:
        conditions = progress.conditions
        return f"{progress.scenario.name}: " + STAGES[stage].format(
            variants=" and ".join(progress.variants),
            rate=conditions.rate,
            seconds=conditions.seconds,
            seed=conditions.seed,
        )

    def _write(self, second: float, text: str) -> None:
        self._stream.write(f"{second:6.1f} s  {text}\n")
        self._stream.flush()


def _state(variant: VariantProgress) -> str:
    record = variant.record
    share = percent(variant.availability)
    state = (
        f"{count(len(record.requests))} requests, {share} available, p95 {seconds(percentile(record.latencies, 95))}"
    )
    counts = variant.counts
    return state if counts is None else f"{state}, wasted calls {count(counts.wasted_calls)}"
