"""A hedge that was cancelled late lost results; learned delays forgot what losers had taken."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from seawall import Hedge, Hedged
from seawall.testing import FakeClock, Recorder
from tests.both import NUMBERS


class Result:
    """A connection, say."""

    def __init__(self, name: str) -> None:
        self.name = name


class Scene:
    """Two attempts at once: the first one answers, the second one gives its result in spite of being cancelled."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.disposed: list[str] = []
        self.cleaning, self.clean = asyncio.Event(), asyncio.Event()
        self.disposing, self.dispose_on = asyncio.Event(), asyncio.Event()
        self.attempts = 0

    async def attempt(self) -> Result:
        """One attempt."""
        self.attempts += 1
        if self.attempts == 1:
            await asyncio.sleep(0)
            return Result("winner")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cleaning.set()
            await self.clean.wait()
        return Result("loser")

    async def dispose(self, result: Result) -> None:
        """Closes a result, which takes a while."""
        self.disposing.set()
        await self.dispose_on.wait()
        self.disposed.append(result.name)

    def start(self) -> asyncio.Task[Result]:
        """Begins the call."""
        hedge = Hedge(0, dispose=self.dispose, name=f"forgetful {next(NUMBERS)}")
        return asyncio.ensure_future(hedge(self.attempt)())


async def settle() -> None:
    """Lets all tasks run as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def ended(call: asyncio.Task[Result]) -> None:
    """Waits for a cancelled call; no task is left."""
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call, 5)
    assert {asyncio.current_task()} == asyncio.all_tasks()


@pytest.mark.parametrize("times", [1, 3])
def test_cancelled_while_a_loser_cleans_up(times: int) -> None:
    """Winner and loser are both disposed of, since nobody has the winner's result."""

    async def main() -> list[str]:
        scene = Scene()
        scene.dispose_on.set()
        call = scene.start()
        await scene.cleaning.wait()
        for _ in range(times):
            call.cancel()
            await settle()
            assert not call.done()
        scene.clean.set()
        await ended(call)
        return sorted(scene.disposed)

    assert ["loser", "winner"] == asyncio.run(main())


@pytest.mark.parametrize("times", [1, 3])
def test_cancelled_inside_dispose(times: int) -> None:
    """The disposal that runs is finished, and the other one made."""

    async def main() -> list[str]:
        scene = Scene()
        scene.clean.set()
        call = scene.start()
        await scene.disposing.wait()
        for _ in range(times):
            call.cancel()
            await settle()
            assert not call.done()
        scene.dispose_on.set()
        await ended(call)
        return sorted(scene.disposed)

    assert ["loser", "winner"] == asyncio.run(main())


def test_cancelled_in_both() -> None:
    """While the loser cleans up and again while the results are disposed of."""

    async def main() -> list[str]:
        scene = Scene()
        call = scene.start()
        await scene.cleaning.wait()
        call.cancel()
        await settle()
        scene.clean.set()
        await scene.disposing.wait()
        call.cancel()
        await settle()
        scene.dispose_on.set()
        await ended(call)
        return sorted(scene.disposed)

    assert ["loser", "winner"] == asyncio.run(main())


def test_left_alone_the_winner_is_answered() -> None:
    """And the loser alone is disposed of."""

    async def main() -> tuple[str, list[str]]:
        scene = Scene()
        scene.clean.set()
        scene.dispose_on.set()
        return (await scene.start()).name, scene.disposed

    assert ("winner", ["loser"]) == asyncio.run(main())


@pytest.mark.parametrize("draw", [lambda rng: rng.uniform(0, 1), lambda rng: rng.paretovariate(1)])
@pytest.mark.parametrize("seed", range(3))
def test_losers_count_for_the_learned_delay(seed: int, draw: Callable[[random.Random], float]) -> None:
    """About one call in twenty is slower than p95, and stays so, be durations uniform or of a long tail."""
    rng = random.Random(seed)
    calls = 3000

    async def work() -> Any:
        await asyncio.sleep(draw(rng))

    async def main() -> None:
        hedge = Hedge("p95", min_samples=100, name=f"learning {next(NUMBERS)}")
        protected = hedge(work)
        hedge.listen(events, Hedged)
        with FakeClock():
            for _ in range(calls):
                await protected()

    events = Recorder()
    asyncio.run(main())
    share = len(events.of(Hedged)) / calls
    assert 0.035 <= share <= 0.07
