"""Checks, recoveries and monitors are checked when they are made: each error says what would be right."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from seawall import Backoff
from seawall.health import (
    Check,
    LiveServer,
    LoopProbe,
    Monitor,
    Recovery,
    breakers_check,
    disk_check,
    loop_lag_check,
    memory_check,
    url_check,
)


def look() -> bool:
    """A check's function that finds nothing wrong."""
    return True


def stream() -> Iterator[bool]:
    """Not what a check's function may be."""
    yield True


async def astream() -> AsyncIterator[bool]:
    """Not what a check's function may be."""
    yield True


CHECK = Check("database", look)
MISTAKES: list[tuple[Any, type[Exception], str]] = [
    (lambda: Check("", look), TypeError, "name='' is no name"),
    (lambda: Check("x", None), TypeError, "None cannot be called"),
    (lambda: Check("x", stream), TypeError, "look=stream is a generator; use a plain or an async function"),
    (lambda: Check("x", astream), TypeError, "look=astream is an async generator"),
    (lambda: Check("x", look, perod=3), TypeError, "Check() has no argument perod=3; did you mean period?"),
    (lambda: Check("x"), TypeError, "Check() lacks the argument look"),
    (lambda: Check("x", look, tags="ready"), TypeError, "tags='ready' is no list of texts"),
    (lambda: Check("x", look, tags=["a/b"]), ValueError, "tags holds 'a/b'"),
    (lambda: Check("x", look, tags=["all"]), ValueError, "and not 'all'"),
    (lambda: Check("x", look, tags=[1]), ValueError, "tags holds 1"),
    (
        lambda: Check("x", look, tags=["live"]),
        ValueError,
        "tags=['live'] of 'x' holds 'live', but the check may depend",
    ),
    (lambda: Check("x", look, period=0), ValueError, "period=0 is out of range"),
    (lambda: Check("x", look, timeout=-1), ValueError, "timeout=-1 is out of range"),
    (lambda: Check("x", look, failure_status="healthy"), ValueError, "use one of 'degraded', 'unhealthy'"),
    (lambda: Check("x", look, failure_threshold=0), ValueError, "failure_threshold=0 is too small"),
    (lambda: Check("x", look, success_threshold=1.5), TypeError, "success_threshold=1.5 is not a whole number"),
    (lambda: Check("x", look, local=1), TypeError, "local=1 is neither True nor False"),
    (lambda: Check("x", look, figures={}), TypeError, "figures={} cannot be called"),
    (lambda: url_check("https://h/", tags=["live"]), ValueError, "holds 'live'"),
    (lambda: breakers_check(tags=["live"]), ValueError, "holds 'live'"),
    (lambda: url_check("ftp://h/"), ValueError, "url='ftp://h/' is no http or https address"),
    (lambda: url_check("https:///x"), ValueError, "is no http or https address"),
    (lambda: url_check("http://h/\r\nX: y"), ValueError, "is no http or https address"),
    (lambda: url_check("http://h:99999/"), ValueError, "Port out of range"),
    (lambda: url_check("https://u:SECRET@h/"), ValueError, "url holds a user or a password, which would be shown"),
    (lambda: url_check(b"https://h/"), TypeError, "is no text"),
    (lambda: url_check("https://h/", method="POST"), ValueError, "method='POST' is unknown; use one of 'GET', 'HEAD'"),
    (lambda: url_check("https://h/", statuses=[]), ValueError, "statuses=[] are no HTTP statuses"),
    (lambda: url_check("https://h/", statuses=[20]), ValueError, "statuses=[20] are no HTTP statuses"),
    (lambda: url_check("https://h/", timeout=0), ValueError, "timeout=0 is out of range"),
    (lambda: url_check("https://h/", client="x"), TypeError, "client='x' is no client of httpx2 or httpx"),
    (lambda: disk_check(degraded_below=20), ValueError, "degraded_below=20 is out of range; use a number from 0 to 1"),
    (lambda: disk_check(degraded_below=0.1, unhealthy_below=0.2), ValueError, "use at most 0.1"),
    (lambda: memory_check(0), ValueError, "max_memory=0 is too small"),
    (lambda: memory_check(1e9), TypeError, "max_memory=1000000000.0 is not a whole number"),
    (lambda: memory_check(degraded_above=0), ValueError, "use a number above 0"),
    (lambda: memory_check(unhealthy_above=0.5), ValueError, "unhealthy_above=0.5 is below degraded_above=0.8"),
    (lambda: loop_lag_check(unhealthy_above=0.01), ValueError, "use at least 0.1"),
    (lambda: loop_lag_check(probe="x"), TypeError, "probe='x' is no LoopProbe"),
    (lambda: LoopProbe(0), ValueError, "interval=0 is out of range"),
    (lambda: breakers_check("rates.breaker"), TypeError, "names='rates.breaker' is no list of names"),
    (lambda: breakers_check(True), TypeError, "names=True is no list of names"),
    (lambda: breakers_check(["a"], unhealthy=["b"]), ValueError, "unhealthy=['b'] holds names that are not among"),
    (lambda: Recovery(3, look), TypeError, "name=3 is no name"),
    (lambda: Recovery("x", "y"), TypeError, "'y' cannot be called"),
    (lambda: Recovery("x", stream), TypeError, "action=stream is a generator"),
    (lambda: Recovery("x", look, after=0), ValueError, "after=0 is too small"),
    (lambda: Recovery("x", look, on="unknown"), ValueError, "on='unknown' is unknown; use one of"),
    (lambda: Recovery("x", look, timeout=0), ValueError, "timeout=0 is out of range"),
    (lambda: Recovery("x", look, backoff=60), TypeError, "backoff=60 is no Backoff"),
    (lambda: Recovery("x", look, max_runs=0), ValueError, "max_runs=0 is too small"),
    (lambda: Recovery("x", look, verify=None), TypeError, "verify=None is neither True nor False"),
    (lambda: Recovery("x", look, retries=3), TypeError, "Recovery() has no argument retries=3"),
    (lambda: Monitor(CHECK), TypeError, "give a list of checks"),
    (lambda: Monitor([look]), TypeError, "which is no Check"),
    (lambda: Monitor([CHECK, CHECK]), ValueError, "checks holds two of the name 'database'"),
    (lambda: Monitor([], period=0), ValueError, "period=0 is out of range"),
    (lambda: Monitor([], timeout=None), TypeError, "timeout=None is not a number"),
    (lambda: Monitor([], after_error=0), ValueError, "after_error=0 is out of range"),
    (lambda: Monitor([], intervall=3), TypeError, "Monitor() has no argument intervall=3"),
    (lambda: Monitor([], name=""), TypeError, "name='' is no name"),
    (lambda: Monitor([], clock=3), TypeError, "clock=3 is no clock"),
    (lambda: Monitor([], recoveries=Recovery("x", look)), TypeError, "give a list of recoveries"),
    (lambda: Monitor([], recoveries=[look]), TypeError, "which is no Recovery"),
    (lambda: Monitor([CHECK], recoveries=[Recovery("x", look)]), ValueError, "'x', which is not watched; there are"),
    (
        lambda: Monitor([CHECK], recoveries=[Recovery(CHECK, look), Recovery("database", look)]),
        ValueError,
        "two of the check 'database'; put both actions into one function",
    ),
    (lambda: LiveServer(-1), ValueError, "port=-1 is too small"),
    (lambda: LiveServer(70000), ValueError, "port=70000 is too large"),
    (lambda: LiveServer(0, max_age=0), ValueError, "max_age=0 is out of range"),
    (lambda: LiveServer(0, monitor="x"), TypeError, "monitor='x' is no Monitor"),
]


@pytest.mark.parametrize(("make", "kind", "text"), MISTAKES, ids=[text for _, _, text in MISTAKES])
def test_a_mistake_is_refused_at_once(make: Any, kind: type[Exception], text: str) -> None:
    """The error names the argument, the value and what would be right."""
    with pytest.raises(kind, match=re.escape(text)):
        make()


def test_no_error_of_making_shows_a_password() -> None:
    """A URL with a password is refused without repeating it."""
    with pytest.raises(ValueError, match="Authorization") as caught:
        url_check("https://u:SECRET@h/")

    assert "SECRET" not in str(caught.value)


def test_a_local_check_may_be_live() -> None:
    """One that looks at this process and machine alone answers whether a restart would help."""
    assert {"live"} == Check("memory", look, tags=["live"], local=True).tags
    assert (
        {"live"}
        == memory_check(tags=["live"]).tags
        == disk_check(tags=["live"]).tags
        == loop_lag_check(tags=["live"]).tags
    )


def test_what_is_made_says_what_it_is() -> None:
    """The reprs name what there is, and no address."""
    assert "Check('x', look, tags=['db', 'ready'])" == repr(Check("x", look, tags=["ready", "db"]))
    assert "Recovery('x', look, after=1, on='unhealthy')" == repr(Recovery("x", look))
    assert "Monitor(['database'], name='made')" == repr(Monitor([CHECK], name="made"))
    assert Backoff.listed(60, 120, 240) == Recovery("x", look).backoff
