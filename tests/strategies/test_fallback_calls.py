"""Fallback: chains, what each source is called with, who answered, and what becomes of failures."""

import asyncio
import functools
from typing import Any

import pytest

from seawall import BulkheadFullError, Fallback, FellBack, Pipeline, RejectedError
from seawall.testing import Recorder

FAILURE = OSError("down")


def fall(fallback: Fallback, *args: Any, colour: str = "sync", error: BaseException = FAILURE, **kwargs: Any) -> Any:
    """Calls a function that fails, with these arguments."""

    def work(*args: Any, **kwargs: Any) -> Any:
        raise error

    async def awork(*args: Any, **kwargs: Any) -> Any:
        raise error

    async def main() -> Any:
        return await fallback(awork)(*args, **kwargs)

    return fallback(work)(*args, **kwargs) if colour == "sync" else asyncio.run(main())


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Both colours."""
    return str(request.param)


class Source:
    """Methods and objects as sources."""

    def nothing(self) -> object:
        """Takes nothing."""
        return ()

    def failure(self, error: Exception) -> object:
        """Takes the failure."""
        return (error,)

    def __call__(self, error: Exception, *args: int, **kwargs: int) -> object:
        """Takes everything."""
        return error, args, kwargs


def default(error: Exception | None = None) -> object:
    """Takes the failure, if there is one."""
    return (error,)


def keywords(*, unit: str = "USD") -> object:
    """Takes nothing by position."""
    return unit


def named(error: Exception, source: int, *, target: int) -> object:
    """Takes the call's own arguments by name."""
    return error, source, target


EVERYTHING = (FAILURE, (1,), {"target": 2})


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        (5, 5),
        (None, None),
        ("text", "text"),
        (dict, {}),
        (lambda: "nothing", "nothing"),
        (lambda error: error, FAILURE),
        (lambda error, *args, **kwargs: (error, args, kwargs), EVERYTHING),
        (lambda *args, **kwargs: (*args, kwargs), (FAILURE, 1, {"target": 2})),
        (default, (FAILURE,)),
        (keywords, "USD"),
        (named, (FAILURE, 1, 2)),
        (functools.partial(named, target=9), (FAILURE, 1, 2)),
        (functools.partial(keywords, unit="INR"), "INR"),
        (Source().nothing, ()),
        (Source().failure, (FAILURE,)),
        (Source(), EVERYTHING),
    ],
)
def test_what_a_source_is_called_with(colour: str, source: Any, answer: object) -> None:
    """Nothing, the failure, or the failure and the call's arguments: by what it takes."""
    fallback = Fallback(source, on=OSError, name=f"{colour} {source!r:.60} {answer!r}")
    assert answer == fall(fallback, 1, target=2, colour=colour)


def test_sources_are_tried_in_turn(colour: str) -> None:
    """Each one that fails sends the call on; all see the first failure; the event names who answered."""
    seen: list[Exception] = []

    def second(error: Exception) -> str:
        seen.append(error)
        raise KeyError("second")

    def third(error: Exception) -> str:
        seen.append(error)
        return "third answer"

    with Recorder() as events:
        fallback = Fallback(second, third, "never", on=OSError, name=f"chain {colour}")
        assert "third answer" == fall(fallback, colour=colour)
    assert [FAILURE, FAILURE] == seen
    (event,) = events.of(FellBack)
    assert (f"chain {colour}", "third", FAILURE) == (event.name, event.served_by, event.failure)
    assert f"'chain {colour}': third answered after OSError: down" == str(event)


def test_when_every_source_fails_the_last_failure_is_raised(colour: str) -> None:
    """With the original as its cause, so that nothing is hidden; nobody answered, so no event."""

    def second() -> str:
        raise KeyError("second")

    def third() -> str:
        raise LookupError("third")

    with Recorder() as events, pytest.raises(LookupError, match="third") as caught:
        fall(Fallback(second, third, on=OSError, name=f"all fail {colour}"), colour=colour)
    assert FAILURE is caught.value.__cause__
    assert [] == events.events


def test_a_source_may_raise_the_failure_itself(colour: str) -> None:
    """To say that there is no answer: the failure is then raised as it was, and is not its own cause."""

    def give_up(error: Exception) -> None:
        raise error

    failure = OSError("as it was")
    with pytest.raises(OSError, match="as it was") as caught:
        fall(Fallback(give_up, on=OSError, name=f"itself {colour}"), colour=colour, error=failure)
    assert failure is caught.value
    assert None is failure.__cause__


@pytest.mark.parametrize("error", [KeyError("other"), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_what_is_not_listed_does_not_fall_back(error: BaseException) -> None:
    """Nor does a cancellation, whatever the predicate says."""
    fallback = Fallback(5, on=OSError, name=f"not listed {error!r}")
    with pytest.raises(type(error)) as caught:
        fall(fallback, error=error)
    assert error is caught.value
    if not isinstance(error, Exception):
        with pytest.raises(type(error)):
            fall(Fallback(5, on=lambda error: True, name=f"any {error!r}"), error=error)


def test_a_cancelled_async_call_does_not_fall_back() -> None:
    """BaseException may be listed: a cancellation is still none of its business."""
    fallback = Fallback(5, on=BaseException, name="cancelled call")
    with pytest.raises(asyncio.CancelledError):
        fall(fallback, colour="async", error=asyncio.CancelledError())


def test_rejections_are_matched_like_other_failures() -> None:
    """Unlike for a Retry, `Exception` includes them."""
    rejection = BulkheadFullError("elsewhere")
    for on in (Exception, RejectedError, BulkheadFullError, lambda error: error.name == "elsewhere"):
        assert 5 == fall(Fallback(5, on=on, name=f"rejections {on!r}"), error=rejection)


def test_async_sources_are_awaited() -> None:
    """Functions, methods, partials and callable objects; sync and async ones in one chain."""

    class Asker:
        async def __call__(self, error: Exception) -> str:
            return f"object after {error}"

        async def method(self) -> str:
            return "method"

    async def fails() -> str:
        raise KeyError

    async def takes(error: Exception, number: int) -> int:
        return number

    sources = {"object after down": Asker(), "method": Asker().method, "5": functools.partial(takes)}
    for answer, source in sources.items():
        fallback = Fallback(fails, lambda: 1 / 0, source, "never", on=OSError, name=f"awaited {answer}")
        assert answer == str(fall(fallback, 5, colour="async"))


def test_a_call_that_succeeds_asks_no_source() -> None:
    """And makes no event."""
    with Recorder() as events:
        assert 5 == Fallback(lambda: pytest.fail("was asked"), on=OSError, name="not asked")(lambda: 5)()
    assert [] == events.events


def test_the_outcome_says_who_served() -> None:
    """The primary, a function by its name, a value as "value"."""

    def cached() -> int:
        return 2

    def fails() -> int:
        raise OSError

    def served(pipeline: Pipeline, fn: Any) -> tuple[object, str]:
        outcome = pipeline.call_outcome(fn)
        return outcome.value, outcome.served_by

    with_function = Pipeline("with function", Fallback(cached, on=OSError))
    with_value = Pipeline("with value", Fallback(fails, 3, on=OSError))
    assert (1, "primary") == served(with_function, lambda: 1)
    assert (2, "cached") == served(with_function, fails)
    assert (3, "value") == served(with_value, fails)


def test_a_value_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """It may be long, or somebody's: outcome, event, log, repr and explanation say "value"."""

    def fails() -> str:
        raise OSError

    pipeline = Pipeline("shows no value", Fallback("alice's balance", on=OSError))
    with Recorder() as events:
        outcome = pipeline.call_outcome(fails)
    (event,) = events.of(FellBack)
    assert ("alice's balance", "value", "value") == (outcome.value, outcome.served_by, event.served_by)
    for text in (str(event), caplog.text, repr(pipeline.strategies), str(pipeline.explain())):
        assert "value" in text
        assert "alice" not in text


def test_a_source_called_with_the_wrong_arguments_says_what_it_is_given() -> None:
    """The TypeError carries a note of the order in which arguments come."""

    def stale(source: str, target: str) -> str:
        return source + target

    @Fallback(stale, on=OSError, name="wrong arguments")
    def rate(source: str, target: str) -> str:
        raise OSError

    with pytest.raises(TypeError, match="positional argument") as caught:
        rate("USD", "INR")
    assert ["seawall: stale is called with the failure first, then the call's own arguments"] == caught.value.__notes__


def test_of_nested_fallbacks_the_one_that_answered_is_named() -> None:
    """The outer one is named only where the inner one failed too."""

    def fails() -> int:
        raise OSError

    def no_luck() -> int:
        raise OSError

    def outside() -> int:
        return 2

    def nested(name: str, inner: object) -> Pipeline:
        outer = Fallback(outside, on=OSError, name=f"outer of {name}")
        return Pipeline(name, outer, Fallback(inner, on=OSError, name=f"inner of {name}"))

    answers, fails_too = nested("inner answers", 1), nested("inner fails", no_luck)
    assert "value" == answers.call_outcome(fails).served_by
    assert "outside" == fails_too.call_outcome(fails).served_by
