"""A storm from its start to its result: the variants, the load, the faults, and what is left when it is cut short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from seawall._core import arguments
from seawall.chaos.finish import Finish
from seawall.chaos.hold import Held
from seawall.chaos.load import OpenLoop, Traffic, expected
from seawall.chaos.measures import measure, settled, timeline
from seawall.chaos.progress import Progress, VariantProgress, Watch
from seawall.chaos.record import Record
from seawall.chaos.result import RESERVED, Result, VariantResult
from seawall.chaos.scenario import Conditions, Counts, Scenario, ScenarioError
from seawall.chaos.script import FaultPeriod, Script
from seawall.chaos.strikes import Strikes
from seawall.chaos.together import either, meanwhile, together, within

WARM: Final = 60.0
"""Seconds that a variant has to warm up."""
LOOK: Final = 0.5
"""Seconds between two looks at the counts of a variant, and, times four, those that a look may take."""
BEHIND: Final = 0.25
"""Seconds by which the load may be late before the result says so."""


async def run(scenario: Scenario, conditions: Conditions, watch: Watch | None = None) -> Result:
    """Starts both variants of a scenario, sends the same requests to each at the same moments, and measures.

    Faults strike and are lifted on time for each variant. Latencies count from when a request was due; an answer after
    `scenario.usable_within` is late, and a call that does not end is given up 5 s after that.

    A cancellation, such as by Ctrl-C under `asyncio.run`, does not end it at once: the load ends, faults are lifted,
    variants have 5 s to finish, and the result so far is returned, with `cut_short`. A second one skips the finishing.
    Whatever happens, the variants' contexts are left before it returns or raises.

    Args:
        scenario: what to run.
        conditions: what both variants meet alike.
        watch: an async function that shows the progress, cancelled at the end; an exception of it ends the run and is
            raised. Default: none.

    Raises:
        ScenarioError: a variant did not start or warm up, ended by itself, or could not begin or end a fault; or the
            scenario has a fault script that makes no sense, or other than two variants.
    """
    storm = _Storm(scenario, conditions)
    work = asyncio.create_task(storm.run(watch))
    own = asyncio.current_task()
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            if own is not None:
                own.uncancel()
            storm.cut_short()
    return work.result()


class _Storm:
    """One run."""

    def __init__(self, scenario: Scenario, conditions: Conditions) -> None:
        self._scenario = scenario
        self._conditions = conditions
        try:
            self._usable_within = arguments.seconds("usable_within", scenario.usable_within)
            self._script = Script(scenario.faults(conditions), conditions.seconds)
        except (TypeError, ValueError) as error:
            raise ScenarioError(f"scenario {scenario.name!r}: {error}") from error
        self._date = datetime.now(UTC)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._alarm: BaseException | None = None
        self._held = self._variants()
        self._traffics: list[Traffic] = []
        self._strikes: list[Strikes] = []
        self._behind = 0.0
        self._lasted = 0.0
        self._notes = list(scenario.notes(conditions))
        requests = expected(conditions.seconds, conditions.rate)
        self._progress = Progress(
            scenario,
            conditions,
            faults=tuple(FaultPeriod(fault) for fault in self._script.faults),
            most_at_once=self._script.most_at_once(),
            variants={held.name: VariantProgress(Record(conditions.seconds, requests)) for held in self._held},
        )

    def cut_short(self) -> None:
        """Ends the run before its time; called again, at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def run(self, watch: Watch | None) -> Result:
        """Runs it, once."""
        async with self._watched(watch):
            try:
                if await self._unless_stopped(self._warm_up()):
                    await self._unless_stopped(self._load())
                await self._calm()
                counts = await self._finish()
            finally:
                await self._leave()
            result = self._result(counts)
            self._progress.stage = "end"
        self._check()
        return result

    def _variants(self) -> list[Held]:
        contexts = self._scenario.variants(self._conditions)
        wrong = [name for name in contexts if not isinstance(name, str) or name in RESERVED]
        if wrong or len(contexts) != 2:
            raise ScenarioError(
                f"scenario {self._scenario.name!r} has the variants {', '.join(map(repr, contexts)) or 'none'}; "
                f"use two, such as 'bare' and 'protected', and none called {', '.join(RESERVED)}"
            )
        return [Held(name, context, self._break) for name, context in contexts.items()]

    async def _warm_up(self) -> None:
        await together(held.enter() for held in self._held)
        self._progress.stage = "warm-up"
        await together(
            within(WARM, f"variant {held.name!r} did not warm up", held.variant.warm()) for held in self._held
        )

    async def _load(self) -> None:
        progress = self._progress
        progress.start = start = asyncio.get_running_loop().time()
        progress.stage = "load"
        periods = {period.fault: period for period in progress.faults}
        for held in self._held:
            seen = progress.variants[held.name]
            seen.traffic = Traffic(held.variant, seen.record, self._usable_within, start)
            self._traffics.append(seen.traffic)
            self._strikes.append(Strikes(held.name, held.variant, self._script, periods, start))
        async with meanwhile(self._look()):
            await together([self._send(start), *(strikes.play() for strikes in self._strikes)])

    async def _send(self, start: float) -> None:
        conditions = self._conditions
        loop = OpenLoop(self._traffics, conditions.rate, conditions.seconds, start)
        try:
            await loop.run()
        finally:
            self._behind = loop.behind
            self._lasted = min(conditions.seconds, self._progress.now)
        self._progress.stage = "last answers"
        await together(traffic.last_answers() for traffic in self._traffics)

    async def _look(self) -> None:
        await together(self._look_at(held) for held in self._held)

    async def _look_at(self, held: Held) -> None:
        while True:
            with suppress(Exception):  # the next look may bring more
                async with asyncio.timeout(4 * LOOK):
                    self._progress.variants[held.name].counts = await held.variant.counts()
            await asyncio.sleep(LOOK)

    async def _calm(self) -> None:
        """Ends what is in flight and lifts what is on; after a whole run there is nothing of either."""
        self._check()
        await together(traffic.stop() for traffic in self._traffics)
        async with meanwhile(self._lift_all()) as lifting:
            await either(lifting, self._hurry)
            if lifting.done():
                lifting.result()

    async def _lift_all(self) -> None:
        await together(self._lift(strikes) for strikes in self._strikes)

    async def _lift(self, strikes: Strikes) -> None:
        try:
            await strikes.lift_all()
        except ScenarioError as error:  # Ctrl-C may have reached the system itself too
            self._notes.append(str(error))

    async def _finish(self) -> dict[str, Counts]:
        self._progress.stage = "finish"
        if self._progress.start is None:
            return {held.name: Counts(0, 0, 0, 0) for held in self._held}
        finish = Finish(self._stop, self._hurry, self._notes)
        looks = [self._progress.variants[held.name].counts for held in self._held]
        counts = await together(finish.counts(held, look) for held, look in zip(self._held, looks, strict=True))
        self._check()
        return {held.name: count for held, count in zip(self._held, counts, strict=True)}

    async def _leave(self) -> None:
        for traffic in self._traffics:
            await traffic.stop()
            if traffic.unended:
                self._notes.append(f"{traffic.unended} calls of a variant did not end when they were cancelled.")
        for trouble in await together(held.leave() for held in self._held):
            if trouble:
                self._notes.append(trouble)

    def _result(self, counts: dict[str, Counts]) -> Result:
        if self._behind > BEHIND:
            self._notes.append(
                f"The load itself was up to {self._behind:.1f} s late: this machine is too slow or too busy for it, "
                "and both variants look slower than they are."
            )
        lifted = [strikes.lifted() for strikes in self._strikes] or [dict.fromkeys(self._script.targets)] * 2
        return Result(
            scenario=self._scenario.name,
            says=self._scenario.says,
            conditions=self._conditions,
            usable_within=self._usable_within,
            faults=self._progress.faults,
            notes=tuple(self._notes),
            variants={
                held.name: self._measured(held.name, counts[held.name], targets)
                for held, targets in zip(self._held, lifted, strict=True)
            },
            cut_short=self._stop.is_set(),
            lasted=self._lasted,
            date=self._date,
        )

    def _measured(self, name: str, counts: Counts, lifted: dict[str, float | None]) -> VariantResult:
        record = settled(self._progress.variants[name].record, counts.unsettled)
        return VariantResult(
            measure(record, counts, lifted), dict(record.endings), dict(record.failures), timeline(record)
        )

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Runs a coroutine, and ends it when the run is to stop; returns whether it came to its own end."""
        async with meanwhile(work) as task:
            await either(task, self._stop)
            if not task.done():
                return False
            task.result()
        return True

    @asynccontextmanager
    async def _watched(self, watch: Watch | None) -> AsyncIterator[None]:
        if watch is None:
            yield
            return
        async with meanwhile(watch(self._progress)) as watching:
            watching.add_done_callback(self._unseen)
            yield

    def _unseen(self, watching: asyncio.Task[None]) -> None:
        error = None if watching.cancelled() else watching.exception()
        if error is not None:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        if not self._stop.is_set():  # of a run that is being ended nothing else is expected
            self._alarm = error
            self._stop.set()

    def _check(self) -> None:
        if self._alarm is not None:
            raise self._alarm
