"""Flags as a source of switches: what they say is in force, by the right names, at the right rank, and soon."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.event import ProviderEventDetails
from openfeature.flag_evaluation import Reason

from seawall import CircuitBreaker, Pipeline, Retry, Timeout
from seawall._core.switch import from_environment
from seawall._registry import set_switches
from seawall._runtime.runtime import Runtime
from seawall.degrade import Switchboard, SwitchChanged
from seawall.integrations.openfeature import RemoteFlags, flag_key
from tests.integrations.openfeature.providers import Told, client_of, in_memory
from tests.runtime.fleet import until

HOUR = 3600.0


def rates() -> Pipeline:
    """Returns a pipeline to be switched."""
    return Pipeline("rates", Retry(on=ConnectionError, max_attempts=3, backoff=0.001), Timeout(5.0))


def tries(pipeline: Pipeline) -> int:
    """Returns how often a call that fails is tried."""
    made = []

    def fail() -> None:
        made.append("try")
        raise ConnectionError("down")

    with pytest.raises(ConnectionError):
        pipeline.call(fail)
    return len(made)


@pytest.mark.parametrize(
    ("value", "share"),
    [
        (True, 1.0),
        (False, 0.0),
        (25, 0.25),
        (1, 0.01),
        (0, 0.0),
        (100, 1.0),
        (12.5, 0.125),
        ("on", 1.0),
        ("off", 0.0),
        ("25%", 0.25),
        ({"percentage": 25}, 0.25),
        ({"enabled": False, "percentage": 25}, 0.0),
        ({"enabled": True}, 1.0),
    ],
)
def test_what_a_flag_may_say(value: Any, share: float) -> None:
    """Of every type of OpenFeature, which nobody has to declare."""
    board = Switchboard()
    with RemoteFlags(board, client_of(in_memory({"seawall.retry": value})), period=HOUR) as flags:
        assert flags.refresh()
    assert [("retry", share, "remote", "openfeature:In-Memory Provider")] == [
        (switch.name, switch.share, switch.source, switch.actor) for switch in board
    ]


@pytest.mark.parametrize("reason", [Reason.DEFAULT, Reason.DISABLED, Reason.UNKNOWN, None])
def test_a_flag_that_says_nothing(reason: Any) -> None:
    """One that is not there, or follows whatever default it is given, leaves what code says in force."""
    board = Switchboard()
    board.default("retry", 0.1)
    provider = Told({} if reason is None else {"seawall.retry": reason})
    with RemoteFlags(board, client_of(provider), period=HOUR) as flags:
        assert flags.refresh()
    assert ([("retry", "code")], True) == (
        [(switch.name, switch.source) for switch in board],
        "seawall.retry" in provider.asked,
    )


def test_without_a_provider_nothing_is_said() -> None:
    """The SDK begins with one that answers everything with the default."""
    board = Switchboard()
    with RemoteFlags(board, period=HOUR) as flags:
        assert flags.refresh()
    assert [] == list(board)


def test_flags_are_asked_for_all_there_is() -> None:
    """Patterns, pipelines, what is in them, and strategies in use alone; not for names that are no part of a key."""
    kept = (rates(), CircuitBreaker(failures=5, name="bank"), Pipeline("pages of one.example", Timeout(1.0)))
    provider = Told()
    with RemoteFlags(Switchboard(), client_of(provider), period=HOUR) as flags:
        assert flags.refresh()
    patterns = ["fallback", "retry", "ratelimit", "bulkhead", "breaker", "timeout", "hedge"]
    policies = ["bank", "bank.breaker", "rates", "rates.retry", "rates.timeout"]
    assert (3, sorted(f"seawall.{key}" for key in patterns + policies)) == (len(kept), sorted(set(provider.asked)))


def test_keys_of_ones_own() -> None:
    """A function says which flag stands for which switch, and `switches` for which of them flags are asked at all."""
    board, provider = Switchboard(), Told({"ops-retry-on-rates": False})
    flags = RemoteFlags(
        board,
        client_of(provider),
        switches=["retry", "retry@rates"],
        key=lambda name: None if name == "retry" else f"ops-{name.replace('@', '-on-')}",
        period=HOUR,
    )
    with flags:
        assert flags.refresh()
    assert (["retry@rates"], {"ops-retry-on-rates"}) == ([switch.name for switch in board], set(provider.asked))


def test_the_default_keys() -> None:
    """As the documentation has them."""
    keys = {"retry": "seawall.retry", "@rates": "seawall.rates", "retry@rates": "seawall.rates.retry", "@a b": None}
    assert keys == {name: flag_key(name) for name in keys}


def test_two_switches_of_one_key(caplog: pytest.LogCaptureFixture) -> None:
    """The flag is about the first one, and that is said once."""
    kept, board = Pipeline("retry", Timeout(1.0)), Switchboard()
    with RemoteFlags(board, client_of(in_memory({"seawall.retry": False})), period=HOUR) as flags:
        assert flags.refresh()
        assert flags.refresh()
    assert (["retry"], kept.name) == ([switch.name for switch in board], "retry")
    assert 1 == caplog.text.count("the flag 'seawall.retry' would be about '@retry' too; it is about 'retry' alone")


def test_the_environment_and_run_time_win_and_code_does_not() -> None:
    """One after the other is taken away, and the next one decides."""
    board, pipeline = Switchboard(), rates()
    board.default("retry", 0.0)
    provider = Told({"seawall.retry": True})
    with RemoteFlags(board, client_of(provider), period=HOUR) as flags:
        assert flags.refresh()
        assert 3 == tries(pipeline)
        board.off("retry", actor="ann", reason="INC-1")
        assert 1 == tries(pipeline)
        set_switches("env", from_environment("retry=on"))
        assert 3 == tries(pipeline)
        set_switches("env", [])
        assert 1 == tries(pipeline)
        board.on("retry", actor="ann", reason="over")
        assert 3 == tries(pipeline)
        provider.flags.clear()
        assert flags.refresh()
        assert 1 == tries(pipeline)


def test_no_call_asks_a_flag() -> None:
    """Flags are asked by one thread; a thousand calls ask none."""
    pipeline, provider = rates(), Told({"seawall.rates": 50})
    with RemoteFlags(Switchboard(), client_of(provider), period=HOUR, name="ops") as flags:
        assert flags.refresh()
        before = len(provider.asked)
        assert [3] * 1000 == [pipeline.call(len, "abc") for _ in range(1000)]
        assert (before, {"seawall-ops"}) == (len(provider.asked), provider.threads)


@pytest.mark.parametrize("said", ["ready", "stale", "error", "configuration_changed"])
def test_whatever_a_provider_says_has_it_asked_again(said: str) -> None:
    """At once, and not after the period, which is an hour here."""
    board, provider = Switchboard(), Told()
    with RemoteFlags(board, client_of(provider), period=HOUR) as flags:
        assert flags.refresh()
        provider.flags["seawall.hedge"] = False
        getattr(provider, f"emit_provider_{said}")(ProviderEventDetails())
        until(lambda: board.share("hedge") == 0)


def test_a_provider_that_says_nothing_is_asked_every_period() -> None:
    """The next round sees the change."""
    board, provider = Switchboard(), Told()
    with RemoteFlags(board, client_of(provider), period=0.05):
        until(provider.answered.is_set)
        provider.flags["seawall.hedge"] = False
        until(lambda: board.share("hedge") == 0)
        provider.flags["seawall.hedge"] = "30%"
        until(lambda: board.share("hedge") == 0.3)


def test_another_provider_is_another_actor() -> None:
    """The client's provider is replaced while it is asked; its own flags count from then on."""
    board = Switchboard()
    client = client_of(in_memory({"seawall.retry": False}))
    with RemoteFlags(board, client, period=HOUR) as flags:
        assert flags.refresh()
        api.set_provider_and_wait(Told({"seawall.retry": 10}), client.domain)
        assert flags.refresh()
        assert [(0.1, "openfeature:told")] == [(switch.share, switch.actor) for switch in board]


def audit(path: Path) -> list[Any]:
    """Returns actor, old and new of every line of the audit log that is about flags."""
    lines = [json.loads(line) for line in (path / "audit.log").read_text().splitlines()]
    return [[line["actor"], line["old"], line["new"]] for line in lines if line["what"] == "flags"]


def test_a_change_is_audited_once_however_many_workers_see_it(tmp_path: Path) -> None:
    """With the provider as the actor, and what was before and after."""
    provider = Told({"seawall.retry": False, "seawall.hedge": 10})
    workers = [RemoteFlags(Switchboard(Runtime("shop", path=tmp_path)), client_of(provider), period=HOUR) for _ in "ab"]
    for flags in workers * 2:
        with flags:
            assert flags.refresh()
    off, tenth = ({"actor": "openfeature:told", "share": share} for share in (0.0, 0.1))
    first = ["openfeature:told", {}, {"retry": off, "hedge": tenth}]
    assert [first] == audit(tmp_path)
    del provider.flags["seawall.retry"]
    for flags in workers:
        with flags:
            assert flags.refresh()
    assert [first, ["openfeature:told", {"retry": off, "hedge": tenth}, {"hedge": tenth}]] == audit(tmp_path)


def test_changes_are_told_to_the_boards_listeners() -> None:
    """As every change of a switch is."""
    board, provider = Switchboard(), Told({"seawall.retry": 25})
    told: list[SwitchChanged] = []
    board.listen(told.append)
    with RemoteFlags(board, client_of(provider), period=HOUR) as flags:
        assert flags.refresh()
        assert flags.refresh()
        provider.flags.clear()
        assert flags.refresh()
    assert [("retry", 1.0, 0.25, "remote"), ("retry", 0.25, 1.0, "remote")] == [
        (each.name, each.old, each.new, each.source) for each in told
    ]


def test_what_was_said_last_stays_after_the_stop() -> None:
    """And nobody is asked any more, whatever the provider says; `follow` takes it back."""
    board, provider = Switchboard(), Told({"seawall.retry": False})
    flags = RemoteFlags(board, client_of(provider), period=HOUR)
    with flags:
        assert flags.refresh()
    asked = len(provider.asked)
    provider.changed()
    assert (asked, False, 0.0) == (len(provider.asked), flags.refresh(), board.share("retry"))
    board.follow([])
    assert 1.0 == board.share("retry")


def test_refresh_in_an_event_loop() -> None:
    """Its async twin waits without blocking the loop; the sync one refuses to."""
    board = Switchboard()
    flags = RemoteFlags(board, client_of(in_memory({"seawall.retry": False})), period=HOUR)

    async def main() -> None:
        with flags:
            assert await flags.arefresh()
            with pytest.raises(RuntimeError, match="would have to wait"):
                flags.refresh()

    asyncio.run(main())
    assert 0.0 == board.share("retry")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"board": None}, "board=None is no Switchboard; use one"),
        ({"client": "flagd"}, "client='flagd' is no client; use openfeature.api.get_client"),
        ({"context": {"region": "eu"}}, "context=.* is none; use EvaluationContext"),
        ({"switches": "retry"}, "switches='retry' is a text; use a list"),
        ({"switches": ["retries"]}, "'retries' is no switch; use a pattern"),
        ({"key": "seawall.{}"}, "key='seawall.{}' cannot be called"),
        ({"period": 0}, "period=0 is out of range"),
        ({"timeout": None}, "timeout=None is not a number"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], says: str) -> None:
    """With what would be right."""
    with pytest.raises((TypeError, ValueError), match=says):
        RemoteFlags(**{"board": Switchboard(), **arguments})
