"""A Retry with scripted outcomes agrees with a model of a dozen lines."""

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall import BulkheadFullError, Retry
from seawall.testing import FakeClock

NUMBERS = count()


class HintedError(ConnectionError):
    """A failure with a server's hint."""

    def __init__(self, hint: float) -> None:
        super().__init__()
        self.retry_after = hint


Step = tuple[str, float, float]
"""What an attempt does: its end, how long it takes, and the hint of a failure that has one."""

ENDS = ["fail", "fail", "fail", "hint", "bad", "answer", "foreign", "rejected"]
TIMES = st.sampled_from([0.0, 0.0, 0.5, 3.0])
STEP = st.tuples(st.sampled_from(ENDS), TIMES, st.sampled_from([0.0, 1.0, 4.0, 9.0]))
RULES = st.fixed_dictionaries(
    {
        "max_attempts": st.integers(1, 6),
        "backoff": st.sampled_from([0.0, 0.25, 2.0]),
        "max_elapsed": st.sampled_from([None, 1.0, 5.0, 20.0]),
        "max_retry_after": st.sampled_from([2.0, 4.0, 30.0]),
        "retry_after": st.booleans(),
    }
)


def model(script: list[Step], rules: dict[str, Any]) -> tuple[int, list[float], int | None]:
    """Returns the attempts made, the sleeps, and which attempt's failure or result is the call's end."""
    now, slept = 0.0, []
    for number, (end, takes, hint) in enumerate(script, 1):
        now += takes
        if end in ("answer", "foreign", "rejected") or number == rules["max_attempts"]:
            break
        delay = rules["backoff"]
        if end == "hint" and rules["retry_after"]:
            if hint > rules["max_retry_after"]:
                break
            delay = max(delay, hint)
        if rules["max_elapsed"] is not None and now + delay > rules["max_elapsed"]:
            break
        slept.append(delay)
        now += delay
    return number, [delay for delay in slept if delay], number


def script_of(steps: list[Step]) -> list[Step]:
    """Makes a script long enough for every retry."""
    return [*steps, *[("answer", 0.0, 0.0)] * 7]


def play(script: list[Step], clock: FakeClock) -> Iterator[tuple[int, Exception | None, object]]:
    """Gives, attempt after attempt, its number and its failure or result, taking its time."""
    for number, (end, takes, hint) in enumerate(script, 1):
        clock.advance(takes)
        error = {
            "fail": ConnectionError(),
            "hint": HintedError(hint),
            "foreign": ValueError(),
            "rejected": BulkheadFullError("inner"),
        }.get(end)
        yield number, error, (end, number)


def run(colour: str, script: list[Step], rules: dict[str, Any]) -> tuple[int, list[float], int | None]:
    """Plays the script through a real Retry, and says what the model says."""
    clock = FakeClock()
    retry = Retry(
        on=ConnectionError,
        on_result=lambda result: result[0] == "bad",
        clock=clock,
        name=f"retry-model-{next(NUMBERS)}",
        **rules,
    )
    attempts = play(script, clock)
    made: list[int] = []
    raised: dict[int, int] = {}

    def body() -> object:
        number, error, result = next(attempts)
        made.append(number)
        if error is not None:
            raised[id(error)] = number
            kept.append(error)
            raise error
        return result

    async def abody() -> object:
        return body()

    async def main() -> object:
        clock.drive(asyncio.get_running_loop())
        return await retry(abody)()

    kept: list[Exception] = []
    try:
        last: Any = retry(body)() if colour == "sync" else asyncio.run(main())
    except Exception as error:  # what the script raised
        end = raised.get(id(error))
    else:
        end = last[1]
    return len(made), [delay for delay in clock.slept if delay], end


@given(steps=st.lists(STEP, min_size=1, max_size=7), rules=RULES)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_a_sync_retry_does_what_the_model_does(steps: list[Step], rules: dict[str, Any]) -> None:
    """Attempts, sleeps and the very failure that is raised are those of the model."""
    script = script_of(steps)
    assert model(script, rules) == run("sync", script, rules)


@given(steps=st.lists(STEP, min_size=1, max_size=7), rules=RULES)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_an_async_retry_does_what_the_model_does(steps: list[Step], rules: dict[str, Any]) -> None:
    """The same in the other colour."""
    script = script_of(steps)
    assert model(script, rules) == run("async", script, rules)


@given(outer=st.integers(1, 4), inner=st.integers(1, 4), script=st.lists(st.booleans(), min_size=20, max_size=20))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_nested_retries_add_and_do_not_multiply(outer: int, inner: int, script: list[bool]) -> None:
    """However the outcomes fall, two nested Retries make at most the sum of their retries and the first call."""
    clock = FakeClock()
    settings_ = {"on": ConnectionError, "backoff": 0.0, "clock": clock}
    inside = Retry(max_attempts=inner, name=f"retry-model-{next(NUMBERS)}", **settings_)
    outside = Retry(max_attempts=outer, name=f"retry-model-{next(NUMBERS)}", **settings_)
    outcomes = iter(script)
    made: list[bool] = []

    def body() -> None:
        made.append(next(outcomes))
        if not made[-1]:
            raise ConnectionError

    try:
        outside(inside(body))()
    except ConnectionError:
        pass
    first_success = script.index(True) + 1 if True in script else 21
    assert min(first_success, outer + inner - 1) == len(made)
