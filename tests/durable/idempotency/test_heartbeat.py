"""Heartbeats: a lease lives as long as its holder works, and a holder that lost it is told."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from seawall import Event, listen
from seawall.durable.errors import LeaseLostError
from seawall.durable.events import LeaseLost
from seawall.durable.heartbeat import Keeping, keeping, lease_and_heartbeat
from seawall.durable.script import Script
from seawall.testing import FakeClock

PATIENCE = 20.0


def renew() -> Script[bool]:
    """Says that the lease still stood."""
    return True
    yield


class Renewals:
    """Answers renewals from a list, the last answer for ever; notes when they came."""

    def __init__(self, *answers: bool | Exception | float) -> None:
        self._answers = answers
        self.at: list[float] = []
        self.clock: Callable[[], float] = time.monotonic
        self.came = threading.Condition()

    def _next(self) -> bool | Exception | float:
        with self.came:
            answer = self._answers[min(len(self.at), len(self._answers) - 1)]
            self.at.append(self.clock())
            self.came.notify_all()
        return answer

    def run(self, script: Callable[[], Script[Any]]) -> Any:
        """Answers a sync renewal."""
        answer = self._next()
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    async def arun(self, script: Callable[[], Script[Any]]) -> Any:
        """Answers an async renewal; a number is the seconds that it takes."""
        answer = self._next()
        if isinstance(answer, float):
            await asyncio.sleep(answer)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    def wait_for(self, number: int) -> None:
        """Waits until so many have come."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.at) >= number, PATIENCE)

    def keep(self, every: float = 10.0, lease: float = 30.0, since: float | None = None) -> Keeping:
        """Returns what keeps a lease by these renewals."""
        return keeping(self, renew, every=every, lease=lease, name="lease 'a'", since=since)


@pytest.fixture
def lost() -> Iterator[list[Event]]:
    """The leases lost so far, as told to whoever listens."""
    told: list[Event] = []
    end = listen(told.append, LeaseLost)
    yield told
    end()


async def hold(keeping: Keeping, work: Callable[[], Awaitable[Any]]) -> None:
    """Works under a lease."""
    async with keeping:
        await work()


def on_virtual_time(scenario: Callable[[FakeClock], Awaitable[Any]]) -> None:
    """Runs a scenario under a fake clock, which jumps over every wait."""

    async def run() -> None:
        with FakeClock() as clock:
            await scenario(clock)

    asyncio.run(run())


def test_an_async_lease_is_renewed_for_as_long_as_its_block_runs() -> None:
    """One renewal every ten seconds, and none after the end."""

    async def scenario(clock: FakeClock) -> None:
        renewals = Renewals(True)
        renewals.clock = clock.now
        async with renewals.keep() as kept:
            await asyncio.sleep(65)
            assert not kept.lost
        await asyncio.sleep(100)

        assert [10, 20, 30, 40, 50, 60] == renewals.at

    on_virtual_time(scenario)


def test_an_async_block_that_ends_before_the_first_beat_makes_no_task() -> None:
    """A short operation pays for a timer alone."""

    async def scenario(clock: FakeClock) -> None:
        renewals = Renewals(True)
        before = asyncio.all_tasks()
        async with renewals.keep():
            await asyncio.sleep(9)
            assert before == asyncio.all_tasks()

        assert [] == renewals.at

    on_virtual_time(scenario)


def test_an_async_block_is_cut_short_when_somebody_else_has_the_lease(lost: list[Event]) -> None:
    """The holder is cancelled where it waits; LeaseLostError comes in place of the cancellation."""

    async def scenario(clock: FakeClock) -> None:
        ended_at = []

        async def work() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                ended_at.append(clock.now())

        with pytest.raises(LeaseLostError, match="'a' was lost: somebody else has it"):
            await hold(Renewals(True, False).keep(), work)
        task = asyncio.current_task()

        assert [20] == ended_at
        assert task is not None
        assert 0 == task.cancelling()
        await asyncio.sleep(0)  # no cancellation is left behind

    on_virtual_time(scenario)
    assert ["lease 'a'"] == [event.name for event in lost]


def test_an_async_block_is_cut_short_when_no_renewal_succeeded_within_the_lease(lost: list[Event]) -> None:
    """Renewals that fail are repeated sooner; at the lease's end, and not before, the holder is told."""

    async def scenario(clock: FakeClock) -> None:
        renewals = Renewals(True, ConnectionError("down"))
        renewals.clock = clock.now
        with pytest.raises(LeaseLostError, match="none of its renewals"):
            async with renewals.keep():
                await asyncio.sleep(1000)

        assert 40 == clock.now()  # 30 s after the one at 10 s
        assert [10, 20, 22.5, 25] == renewals.at[:4]
        assert max(renewals.at) < 40

    on_virtual_time(scenario)
    assert 1 == len(lost)


def test_a_silent_store_does_not_keep_a_block_beyond_its_lease() -> None:
    """A renewal that hangs is not waited for: the holder is told when its lease has run out."""

    async def scenario(clock: FakeClock) -> None:
        with pytest.raises(LeaseLostError, match="none of its renewals"):
            async with Renewals(10_000.0).keep():
                await asyncio.sleep(1000)

        assert 30 == clock.now()
        await asyncio.sleep(0)
        assert {asyncio.current_task()} == asyncio.all_tasks()

    on_virtual_time(scenario)


def test_one_failed_renewal_is_survived(lost: list[Event], caplog: pytest.LogCaptureFixture) -> None:
    """A renewal that succeeds later within the lease makes it good; what failed is logged once."""

    async def scenario(clock: FakeClock) -> None:
        renewals = Renewals(ConnectionError("down"), ConnectionError("down"), True)
        async with renewals.keep():
            await asyncio.sleep(100)

    on_virtual_time(scenario)
    assert [] == lost
    assert 1 == sum("could not be renewed" in record.getMessage() for record in caplog.records)


def test_a_foreign_cancellation_wins() -> None:
    """A task that its owner cancels ends as cancelled, also in the moment in which it loses the lease."""

    async def scenario(clock: FakeClock) -> None:
        async def hold() -> None:
            async with Renewals(False).keep():
                await asyncio.sleep(1000)

        task = asyncio.create_task(hold())
        await asyncio.sleep(5)
        task.cancel("stop")
        with pytest.raises(asyncio.CancelledError):
            await task

        task = asyncio.create_task(hold())
        asyncio.get_running_loop().call_later(10, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    on_virtual_time(scenario)


def test_the_error_of_a_block_that_lost_its_lease_is_its_own() -> None:
    """What the block made of the cancellation is passed on."""

    async def scenario(clock: FakeClock) -> None:
        async def work() -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                raise KeyError("mine") from None

        with pytest.raises(KeyError, match="mine"):
            await hold(Renewals(False).keep(), work)

    on_virtual_time(scenario)


def test_a_block_that_swallows_the_cancellation_is_told_at_its_end() -> None:
    """LeaseLostError comes then, too: what the block did was not protected."""

    async def scenario(clock: FakeClock) -> None:
        async def work() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)

        with pytest.raises(LeaseLostError):
            await hold(Renewals(False).keep(), work)

    on_virtual_time(scenario)


def test_a_loop_that_stood_still_asks_once_before_it_gives_up() -> None:
    """After a pause longer than the lease, a store that says "still yours" is believed: nobody took over."""

    async def scenario(clock: FakeClock) -> None:
        async def work() -> None:
            clock.advance(100)  # the whole process stood still
            await asyncio.sleep(1)

        await hold(Renewals(True).keep(), work)
        with pytest.raises(LeaseLostError):
            await hold(Renewals(False).keep(), work)

    on_virtual_time(scenario)


def test_the_lease_counts_from_before_the_claim_was_sent() -> None:
    """`since` shortens the first lease: it began at the store while the answer was on its way."""

    async def scenario(clock: FakeClock) -> None:
        renewals = Renewals(ConnectionError("down"))
        renewals.clock = clock.now
        await asyncio.sleep(4)
        with pytest.raises(LeaseLostError):
            async with renewals.keep(since=0.0):
                await asyncio.sleep(1000)

        assert 30 == clock.now()
        assert 10 == renewals.at[0]

    on_virtual_time(scenario)


def test_a_sync_lease_is_renewed_by_one_thread_for_all() -> None:
    """Many blocks at once share the thread that watches; each renewal is a thread of its own, gone after it."""
    many = [Renewals(True) for _ in range(20)]
    blocks = [renewals.keep(every=0.02, lease=PATIENCE) for renewals in many]
    for block in blocks:
        block.__enter__()
    try:
        for renewals in many:
            renewals.wait_for(3)
        watching = [each for each in threading.enumerate() if each.name == "seawall-heartbeat"]
        assert 1 == len(watching)
        assert watching[0].daemon
    finally:
        for block in blocks:
            block.__exit__(None, None, None)


def test_a_renewal_that_hangs_keeps_no_other_from_its_beat() -> None:
    """A silent store is no reason for the holders on another one to lose their leases."""
    silent, free = threading.Event(), Renewals(True)

    class Silent(Renewals):
        def run(self, script: Callable[[], Script[Any]]) -> Any:
            """Hangs."""
            return silent.wait(PATIENCE)

    with Silent(True).keep(every=0.02, lease=PATIENCE), free.keep(every=0.02, lease=PATIENCE):
        free.wait_for(5)
        silent.set()


def test_a_sync_block_that_lost_its_lease_is_told_at_its_end(lost: list[Event]) -> None:
    """It cannot be cut short; it may ask meanwhile."""
    renewals, asked = Renewals(False), []

    def work() -> None:
        with renewals.keep(every=0.02, lease=PATIENCE) as kept:
            end = time.monotonic() + PATIENCE
            while not lost and time.monotonic() < end:
                time.sleep(0.01)
            assert kept.lost
            try:
                kept.check()
            except LeaseLostError as error:
                asked.append(str(error))

    with pytest.raises(LeaseLostError, match="somebody else"):
        work()

    assert ["the lease of lease 'a' was lost: somebody else has it, or it was ended"] == asked

    assert 1 == len(lost)


def test_a_sync_block_whose_lease_ran_out_is_told_at_its_end() -> None:
    """Also where no renewal has failed: the process may have stood still."""
    with (
        FakeClock() as clock,
        pytest.raises(LeaseLostError, match="none of its renewals"),
        Renewals(ConnectionError("down")).keep(),
    ):
        clock.advance(31)


def test_the_error_of_a_sync_block_is_its_own() -> None:
    """A lost lease does not hide it."""

    def work(clock: FakeClock) -> None:
        with Renewals(False).keep():
            clock.advance(100)
            raise KeyError("mine")

    with FakeClock() as clock, pytest.raises(KeyError, match="mine"):
        work(clock)


def test_a_lease_is_kept_by_scripts_of_a_store() -> None:
    """`keeping` runs the script on the executor, in its colour."""

    class Executor:
        def __init__(self) -> None:
            self.ran: list[str] = []

        def run(self, script: Callable[[], Script[Any]]) -> Any:
            return self._answer("sync", script)

        async def arun(self, script: Callable[[], Script[Any]]) -> Any:
            return self._answer("async", script)

        def _answer(self, colour: str, script: Callable[[], Script[Any]]) -> Any:
            self.ran.append(colour)
            with pytest.raises(StopIteration) as end:
                next(script())
            return end.value.value

    executor = Executor()

    async def scenario(clock: FakeClock) -> None:
        async with keeping(executor, renew, every=10, lease=30, name="a"):
            await asyncio.sleep(15)

    on_virtual_time(scenario)
    with keeping(executor, renew, every=0.01, lease=PATIENCE, name="a"):
        end = time.monotonic() + PATIENCE
        while len(executor.ran) < 2 and time.monotonic() < end:
            time.sleep(0.01)

    assert ["async", "sync"] == executor.ran[:2]


def test_a_heartbeat_leaves_time_for_a_second_try() -> None:
    """More than half of the lease is refused, with what would be right."""
    assert (30, 10) == lease_and_heartbeat(30, 10)
    with pytest.raises(ValueError, match=r"heartbeat=20 .*lease=30.*a third: 10"):
        lease_and_heartbeat(30, 20)
    with pytest.raises(ValueError, match="lease=0"):
        lease_and_heartbeat(0, 0)
