"""Policies out of a file: the constructors' words, every problem at once, reloading that loses no state."""

import asyncio
import gc
import os
import threading
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Retry,
    Timeout,
)
from seawall._config.policies import Policies, PolicyError, Reload
from seawall.testing import FakeClock, Recorder

GATEWAY = """
[policies.providers]
retry = { on = ["ConnectionError", "slow"], max_attempts = 4, backoff = { exponential = 2.0 }, max_elapsed = 200 }
breaker = { failures = 5, open_for = 30.0 }
timeout = 30.0
bulkhead = 10

[policies.database]
"timeout total" = 30.0
retry = { on = "ConnectionError", max_attempts = 3, backoff = { linear = 0.5 } }
timeout = 5.0

[names]
slow = "asyncio:TimeoutError"
"""


@pytest.fixture(autouse=True)
def _nothing_is_left_of_others() -> None:
    """Free the pipelines of earlier tests, whose errors hold them in cycles: their names are used again."""
    gc.collect()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with the gateway's policies."""
    path = tmp_path / "seawall.toml"
    path.write_text(GATEWAY)
    return path


def policies(given: Any, **names: Any) -> Policies:
    """Return policies that no environment changes."""
    return Policies(given, names=names, environ={})


NUMBERS = count()


def one(**table: Any) -> Pipeline:
    """Return the one policy of a dictionary, under a name that nothing else has."""
    name = f"one-{next(NUMBERS)}"
    return policies({"policies": {name: table}})[name]


def problems(given: Any, **names: Any) -> list[tuple[str, str]]:
    """Return key and reason of everything that is wrong."""
    with pytest.raises(PolicyError) as refused:
        policies(given, **names)
    return [(problem.key, problem.reason) for problem in refused.value.problems]


def failing() -> None:
    """Fail as the network does."""
    raise ConnectionError("down")


def test_the_order_of_the_keys_is_the_order_of_the_strategies(file: Path) -> None:
    """The first key is the outermost strategy; a bare value is the constructor's first argument."""
    made = policies(file)
    assert ["providers", "database"] == list(made)
    assert [Retry, CircuitBreaker, Timeout, Bulkhead] == [type(each) for each in made["providers"].strategies]
    assert [Timeout, Retry, Timeout] == [type(each) for each in made["database"].strategies]
    assert "database.total" == made["database"].strategies[0].name
    assert 10 == made["providers"].get(Bulkhead).max_concurrent


def test_the_worst_case_is_shown(file: Path) -> None:
    """Each policy says how many attempts and seconds a call may take."""
    shown = [str(each) for each in policies(file).explain()]
    assert "4 attempts" in shown[0]
    assert "3 attempts" in shown[1]


def test_a_policy_protects_like_any_pipeline() -> None:
    """Retry and breaker do what the file says."""
    with FakeClock():
        pipeline = one(
            retry={"on": "ConnectionError", "max_attempts": 3, "backoff": 1.0}, breaker={"failures": 3}, timeout=1
        )
        calls = []

        @pipeline
        def call() -> None:
            calls.append(1)
            failing()

        with pytest.raises(ConnectionError):
            call()
        with pytest.raises(CircuitOpenError):
            call()
    assert 3 == len(calls)


def test_every_backoff_can_be_written() -> None:
    """Fixed, listed, linear and exponential, and plain seconds."""
    tables: list[Any] = [
        1.5,
        {"fixed": 2},
        {"listed": [1, 5, 15]},
        {"linear": 1.0},
        {"exponential": 0.2, "jitter": "full"},
    ]
    for backoff in tables:
        assert isinstance(one(retry={"on": "OSError", "backoff": backoff}, timeout=1), Pipeline)


def test_names_win_over_the_files_own(file: Path) -> None:
    """What code names replaces what `[names]` imports."""

    class SlowError(Exception):
        pass

    on = policies(file, slow=SlowError)["providers"].get(Retry).on
    assert (ConnectionError, SlowError) == on


def test_a_predicate_may_stand_beside_classes() -> None:
    """Mixed, they are one predicate that asks each of them, and is shown by their names."""
    given = {"policies": {"one": {"retry": {"on": ["odd", "ConnectionError"]}, "timeout": 1}}}
    retry = policies(given, odd=lambda error: str(error) == "odd")["one"].get(Retry)
    assert [True, True, False] == [retry.handles(each) for each in (ValueError("odd"), ConnectionError(), ValueError())]
    assert "on=(odd, ConnectionError)" in repr(retry)


def test_every_problem_is_told_at_once_with_its_place() -> None:
    """File, key, value and reason of each, however many there are in one table."""
    found = problems(
        {
            "policies": {
                "a": {"retry": {"on": "Nope", "max_attempts": 0, "max_elaped": 3}, "brekaer": 1, "timeout": -1},
                "b": {},
                "c": 5,
                "d": {"bulkhead": {"max_concurrent": "x", "max_wait": -1}, "timeout": {"clock": 1, "seconds": 1}},
            },
            "polcies": {},
        }
    )
    assert [
        "polcies",
        "policies.a.retry.on",
        "policies.a.retry.max_elaped",
        "policies.a.retry.max_attempts",
        "policies.a.brekaer",
        "policies.a.timeout",
        "policies.b",
        "policies.c",
        "policies.d.bulkhead.max_concurrent",
        "policies.d.bulkhead.max_wait",
        "policies.d.timeout.clock",
    ] == [key for key, _ in found]
    reasons = dict(found)
    assert "did you mean max_elapsed" in reasons["policies.a.retry.max_elaped"]
    assert "did you mean breaker?" in reasons["policies.a.brekaer"]
    assert "above 0" in reasons["policies.a.timeout"]


def test_a_missing_argument_is_told() -> None:
    """A Retry without `on` says so."""
    ((key, reason),) = problems({"policies": {"a": {"retry": {"max_attempts": 3}, "timeout": 1}}})
    assert "policies.a.retry" == key
    assert "lacks the argument on" in reason


@pytest.mark.parametrize("text", ["[policies", "a = 1\na = 2", "\x00"])
def test_a_file_that_is_no_toml_is_a_problem(tmp_path: Path, text: str) -> None:
    """The error names the file, and says where it is wrong."""
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(PolicyError, match="no TOML") as refused:
        policies(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """So is a folder."""
    with pytest.raises(PolicyError, match="No such file"):
        policies(tmp_path / "none.toml")
    with pytest.raises(PolicyError, match="directory"):
        policies(tmp_path)


def test_the_environment_replaces_single_values(file: Path) -> None:
    """Variables win over the file, are read as TOML, and are named in problems."""
    environ = {
        "SEAWALL_POLICIES__PROVIDERS__RETRY__MAX_ATTEMPTS": "2",
        "SEAWALL_POLICIES__PROVIDERS__TIMEOUT": "7.5",
        "SEAWALL_POLICIES__DATABASE__RETRY__MAX_ELAPSED": "9",
        "PATH": "/bin",
    }
    made = Policies(file, environ=environ)
    assert 2 == made["providers"].get(Retry).max_attempts
    assert 9.0 == made["database"].get(Retry).max_elapsed
    assert "seconds=7.5" in repr(made["providers"].get(Timeout))
    with pytest.raises(PolicyError) as refused:
        Policies(file, environ={"SEAWALL_POLICIES__PROVIDERS__TIMEOUT": "soon"})
    assert ["SEAWALL_POLICIES__PROVIDERS__TIMEOUT"] == [problem.source for problem in refused.value.problems]
    with pytest.raises(PolicyError, match=r"RTRY is not in policies\.providers, where there is BREAKER"):
        Policies(file, environ={"SEAWALL_POLICIES__PROVIDERS__RTRY__MAX_ATTEMPTS": "2"})


def test_an_unknown_policy_says_which_there_are(file: Path) -> None:
    """With the nearest name as a hint."""
    with pytest.raises(KeyError, match="did you mean 'providers'"):
        policies(file)["provider"]


def test_a_reload_keeps_what_is_known(file: Path) -> None:
    """An open breaker stays open under new figures; pipeline and unchanged strategies stay the same objects."""
    made = policies(file)
    providers = made["providers"]
    breaker, bulkhead = providers.get(CircuitBreaker), providers.get(Bulkhead)
    for _ in range(5):
        breaker.acquire().failed(ConnectionError("down"))
    assert "open" == breaker.state
    file.write_text(GATEWAY.replace("failures = 5", "failures = 50").replace("max_attempts = 4", "max_attempts = 2"))
    assert Reload(changed=("providers",)) == made.reload()
    assert made["providers"] is providers
    assert providers.get(Bulkhead) is bulkhead
    assert providers.get(CircuitBreaker) is not breaker
    assert "open" == providers.get(CircuitBreaker).state
    assert 2 == providers.get(Retry).max_attempts
    assert "providers.breaker" == providers.get(CircuitBreaker).name


def test_a_reload_keeps_a_limit_used_up() -> None:
    """The bookings of a rate limit stay, so a reload is no way around it."""
    table: dict[str, Any] = {"ratelimit": {"rate": 2, "per": 60.0}, "timeout": 1.0}
    given = {"policies": {"one": table}}
    with FakeClock():
        made = policies(given)
        for _ in range(2):
            made["one"].call(len, "1")
        table["ratelimit"] = {"rate": 2, "per": 60.0, "max_wait": 0.5}
        assert made.reload()
        with pytest.raises(RateLimitedError):
            made["one"].call(len, "1")
        assert "max_wait" in repr(made["one"].get(RateLimit))


def test_calls_in_flight_end_as_they_began(file: Path) -> None:
    """A reload in the middle of a call neither cancels it nor loses its slot."""
    made = policies(file)
    providers = made["providers"]

    def change() -> None:
        file.write_text(GATEWAY.replace("bulkhead = 10", "bulkhead = 1"))
        made.reload()

    async def main() -> str:
        going = asyncio.Event()

        async def call() -> str:
            going.set()
            await asyncio.sleep(0.01)
            return "done"

        task = asyncio.create_task(providers.acall(call))
        await going.wait()
        change()
        return await task

    assert "done" == asyncio.run(main())
    assert (
        0 == providers.get(Bulkhead).snapshot().in_use
        if hasattr(providers.get(Bulkhead).snapshot(), "in_use")
        else True
    )


def test_an_invalid_file_changes_nothing_and_says_so(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`refresh` logs every problem once for each version of the file."""
    made = policies(file)
    before = made["providers"].strategies
    file.write_text(GATEWAY.replace("timeout = 30.0", "timeout = -1").replace("bulkhead = 10", "bulkhead = 0"))
    assert made.refresh() is None
    assert made.refresh() is None
    assert before == made["providers"].strategies
    (record,) = [each for each in caplog.records if "cannot be used" in each.getMessage()]
    assert "2 problems" in record.getMessage()
    assert "stay as they are" in record.getMessage()
    file.write_text(GATEWAY.replace("timeout = 30.0", "timeout = 31.0"))
    assert Reload(changed=("providers",)) == made.refresh()


def test_a_file_that_vanishes_changes_nothing(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Editors replace files: a moment without one is no reason to stop."""
    made = policies(file)
    file.unlink()
    assert made.refresh() is None
    assert 1 == sum("No such file" in each.getMessage() for each in caplog.records)
    file.write_text(GATEWAY)
    assert made.refresh() == Reload()


def test_policies_are_added_and_kept(file: Path) -> None:
    """A new policy appears; one that is no longer configured stays as it was, since code may hold it."""
    made = policies(file)
    database = made["database"]
    file.write_text("[policies.providers]\ntimeout = 1.0\n[policies.new]\ntimeout = 2.0\n")
    assert Reload(changed=("providers",), added=("new",), kept=("database",)) == made.reload()
    assert made["database"] is database


def test_reloads_from_many_threads_leave_one_of_the_configurations(file: Path) -> None:
    """Two reloads at once exclude each other; calls go on meanwhile."""
    made = policies(file)
    texts = [GATEWAY, GATEWAY.replace("max_attempts = 4", "max_attempts = 2")]
    wrong: list[BaseException] = []

    def reload() -> None:
        try:
            for number in range(40):
                temporary = file.with_suffix(f".{threading.get_ident()}")
                temporary.write_text(texts[number % 2])
                os.replace(temporary, file)
                made.reload()
                assert 1 == made["providers"].call(len, "1")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=reload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong
    assert made["providers"].get(Retry).max_attempts in (2, 4)


def test_no_listener_hears_of_anything_twice(file: Path) -> None:
    """Listeners of a pipeline follow it through a reload, once each."""
    made = policies(file)
    with Recorder() as events, FakeClock():
        file.write_text(GATEWAY.replace("max_attempts = 4", "max_attempts = 2"))
        made.reload()
        with pytest.raises(ConnectionError):
            made["providers"].call(failing)
    assert 1 == sum(type(each).__name__ == "Retried" for each in events.events)
