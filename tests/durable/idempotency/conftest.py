"""A store in a file, in both colours, whose clock the test moves: leases end without anybody waiting for it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seawall.durable import EmbeddedStore, Idempotency
from seawall.testing import FakeClock
from tests.durable.engines import Engine, Kind

PATIENCE = 30.0


class Used(Engine):
    """The store, its clock, and functions of its colour."""

    def __init__(self, place: Path, runner: asyncio.Runner, *, is_async: bool) -> None:
        self.clock = FakeClock()  # the store's alone: what waits in this process waits in real time
        kind = Kind("embedded", lambda path: EmbeddedStore(path, clock=self.clock), "file", is_async=is_async)
        super().__init__(kind, str(place), runner)

    def idempotency(self, namespace: str = "payments", **options: Any) -> Idempotency:
        """Returns operations in this store."""
        return Idempotency(self.store, namespace, **options)

    def function(self, *outcomes: Any) -> Any:
        """Returns a function that plays one outcome a call, the last one for ever, and notes its `calls`.

        An exception is raised, a function is called for the outcome (an awaitable one awaited).
        """
        calls: list[Any] = []

        def play(*args: Any, **kwargs: Any) -> Any:
            calls.append((args, kwargs) if kwargs else args)
            outcome = outcomes[min(len(calls), len(outcomes)) - 1]
            outcome = outcome() if callable(outcome) else outcome
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        async def aplay(*args: Any, **kwargs: Any) -> Any:
            outcome = play(*args, **kwargs)
            return await outcome if asyncio.iscoroutine(outcome) else outcome

        fn: Any = aplay if self.kind.is_async else play
        fn.calls = calls
        return fn

    def until(self, condition: Callable[[], bool]) -> Any:
        """Waits for a condition; in an async function, await it."""
        end = time.monotonic() + PATIENCE

        async def wait() -> None:
            while not await asyncio.to_thread(condition):
                assert time.monotonic() < end, "never came true"
                await asyncio.sleep(0.01)

        if self.kind.is_async:
            return wait()
        while not condition():
            assert time.monotonic() < end, "never came true"
            threading.Event().wait(0.01)
        return None


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def used(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Used]:
    """The store, used in each colour in turn."""
    with asyncio.Runner() as runner:
        store = Used(tmp_path / "seawall.db", runner, is_async=request.param)
        yield store
        store.close()


@pytest.fixture
def sync_used(tmp_path: Path) -> Iterator[Used]:
    """The store, used by plain calls."""
    with asyncio.Runner() as runner:
        store = Used(tmp_path / "seawall.db", runner, is_async=False)
        yield store
        store.close()


@pytest.fixture
def async_used(tmp_path: Path) -> Iterator[Used]:
    """The store, used by async calls."""
    with asyncio.Runner() as runner:
        store = Used(tmp_path / "seawall.db", runner, is_async=True)
        yield store
        store.close()
