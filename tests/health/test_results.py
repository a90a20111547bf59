"""What is made of what a check returns or raises, and who is told of it."""

import asyncio
import functools
import logging
from typing import Any

import pytest

from seawall.health import Check, Health, HealthChanged, RecoveryStarted
from seawall.testing import FakeClock
from tests.health.monitors import Found, FoundOnThread, Hanging, monitor, statuses


def found_once(look: Any, **options: Any) -> tuple[str, str, dict[str, Any]]:
    """Returns status, description and data of a check after one run."""

    async def run() -> Any:
        async with monitor(Check("it", look, **options), timeout=1.0) as watching:
            return (await watching.arefresh()).checks[0]

    entry = asyncio.run(run())
    return entry.status, entry.description, dict(entry.data)


async def returning(outcome: Any) -> Any:
    """Returns what it is told."""
    return outcome


async def cancelling_itself() -> None:
    """Ends as cancelled, though nobody else has cancelled it."""
    raise asyncio.CancelledError


class Callable:
    """An object with an async `__call__`."""

    async def __call__(self) -> bool:
        """Finds something wrong."""
        return False


@pytest.mark.parametrize("kind", [Found, FoundOnThread])
@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (True, ("healthy", "", {})),
        (None, ("healthy", "", {})),
        (False, ("unhealthy", "it returned False", {})),
        (Health.degraded("slow", {"ms": 5}), ("degraded", "slow", {"ms": 5})),
        (Health.healthy(), ("healthy", "", {})),
        (Health("unknown", "cannot tell"), ("unknown", "cannot tell", {})),
        (Health.degraded("at redis://:SECRET@h", {"pwd": "SECRET"}), ("degraded", "at redis://:***@h", {"pwd": "***"})),
        (Health("unhealthy", 3, None), ("unhealthy", "3", {"error": "these data cannot be read: AttributeError"})),  # type: ignore[arg-type]
        (ConnectionError("away"), ("unhealthy", "ConnectionError: away", {})),
        (TimeoutError(), ("unhealthy", "TimeoutError", {})),
        (SystemExit(3), ("unhealthy", "SystemExit: 3", {})),
        ("ok", ("unhealthy", "it returned a str; return True, False, None or a Health", {})),
        (0, ("unhealthy", "it returned a int; return True, False, None or a Health", {})),
    ],
    ids=repr,
)
def test_what_a_check_returns_or_raises(kind: type[Found], outcome: Any, expected: Any) -> None:
    """True and None are healthy, a Health is itself, all else is a failure that says what it was."""
    assert expected == found_once(kind(outcome))


@pytest.mark.parametrize("outcome", [False, ConnectionError("away"), "ok"])
def test_a_failure_means_what_the_check_says(outcome: Any) -> None:
    """A failure of a check with `failure_status="degraded"` is degraded; a Health has the last word all the same."""
    assert "degraded" == found_once(Found(outcome), failure_status="degraded")[0]
    assert "unhealthy" == found_once(Found(Health.unhealthy()), failure_status="degraded")[0]


@pytest.mark.parametrize(
    "look", [functools.partial(returning, False), Callable(), Callable().__call__], ids=["partial", "object", "method"]
)
def test_every_kind_of_async_function_is_awaited(look: Any) -> None:
    """Partials, methods and callable objects are seen through."""
    assert ("unhealthy", "it returned False") == found_once(look)[:2]


def test_a_plain_function_that_returns_a_coroutine_is_found_out() -> None:
    """A lambda around an async client would look healthy for ever; it is a failure, and no warning of asyncio's."""
    wrong = "it is a plain function that returned an awaitable; give an async function that awaits it"

    assert ("unhealthy", wrong, {}) == found_once(lambda: returning(True))


def test_a_check_that_cancels_itself_has_failed() -> None:
    """Its cancellation is not taken for the monitor's own end."""
    assert ("unhealthy", "it cancelled itself", {}) == found_once(cancelling_itself)


def test_figures_are_shown_with_every_result() -> None:
    """Figures stand beside the data, also after a time-out; those that fail say so and hurt nobody."""
    hanging = Hanging()

    assert {"used": 3, "n": 1} == found_once(Found(Health.healthy("", {"n": 1})), figures=lambda: {"used": 3})[2]
    assert {"used": 3} == found_once(hanging.in_task, figures=lambda: {"used": 3}, timeout=0.01)[2]
    assert {"figures": "KeyError: 'x'"} == found_once(Found(True), figures=lambda: {}["x"])[2]


def test_changes_are_told_once() -> None:
    """A listener hears of each change with old, new and why; equal results are no news; it may raise."""
    events: list[HealthChanged] = []

    def listener(event: HealthChanged) -> None:
        events.append(event)
        raise ValueError("a listener's own")

    async def run(clock: FakeClock) -> None:
        outcomes = [True, True, ConnectionError("at redis://:SECRET@h"), False, Health.degraded("slow"), True]
        watching = monitor(Check("it", Found(*outcomes)), period=10.0)
        watching.listen(listener, HealthChanged)
        watching.listen(events.append, RecoveryStarted)
        async with watching:
            await clock.asleep(100.0)

    with FakeClock() as clock:
        asyncio.run(run(clock))

    assert [
        ("it", "unknown", "healthy", ""),
        ("it", "healthy", "unhealthy", "ConnectionError: at redis://:***@h"),
        ("it", "unhealthy", "degraded", "slow"),
        ("it", "degraded", "healthy", ""),
    ] == [(each.name, each.old, each.new, each.description) for each in events]
    assert ["INFO", "WARNING", "WARNING", "INFO"] == [logging.getLevelName(each.level) for each in events]
    assert "'it': healthy -> unhealthy: ConnectionError: at redis://:***@h" == str(events[1])


def test_thresholds_keep_a_flapper_quiet() -> None:
    """With three failures to be bad and two successes to be good, single results change nothing."""
    bad = ConnectionError("away")

    async def run(clock: FakeClock) -> list[str]:
        look = Found(True, bad, bad, True, bad, bad, bad, True, bad, True, True)
        seen = []
        async with monitor(Check("it", look, failure_threshold=3, success_threshold=2), period=10.0) as watching:
            await clock.asleep(0.1)
            for _ in range(11):
                seen.append(statuses(watching.report())["it"][0])
                await clock.asleep(10.0)
        return seen

    with FakeClock() as clock:
        assert list("hhhhhhuuuuh") == asyncio.run(run(clock))
