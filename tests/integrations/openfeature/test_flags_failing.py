"""A provider that fails or hangs: what was known last holds, that is said once, and nobody waits for it."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode
from openfeature.provider import Metadata

from seawall import Pipeline, Timeout
from seawall._registry import set_switches
from seawall._runtime.runtime import Runtime
from seawall.degrade import Switchboard
from seawall.integrations.openfeature import FlagsFailed, FlagsRecovered, RemoteFlags
from tests.integrations.openfeature.providers import Told, client_of
from tests.runtime.fleet import until

HOUR = 3600.0
ALL = [f"seawall.{pattern}" for pattern in ("fallback", "retry", "ratelimit")]


def told_by(flags: RemoteFlags) -> list[Any]:
    """Returns the list that its events come into."""
    told: list[Any] = []
    flags.listen(told.append)
    return told


@pytest.mark.parametrize("error", [ConnectionError("amqp://u:SECRET@flags"), ErrorCode.GENERAL])
def test_last_known_values_hold_while_a_provider_fails(error: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is told and logged once that it fails, without its secrets, and once that it answers again."""
    caplog.set_level("INFO", "seawall")
    board, provider = Switchboard(), Told({"seawall.retry": False, "seawall.hedge": 10})
    flags = RemoteFlags(board, client_of(provider), period=HOUR)
    told = told_by(flags)
    with flags:
        assert flags.refresh()
        good = dict(provider.flags)
        if isinstance(error, Exception):
            provider.error = error
        else:
            provider.flags = dict.fromkeys(ALL, error)
        assert [False, False] == [flags.refresh(), flags.refresh()]
        assert (0.0, 0.1) == (board.share("retry"), board.share("hedge"))
        (failed,) = told
        assert (FlagsFailed, "flags", "told", tuple(ALL), False) == (
            type(failed), failed.name, failed.provider, failed.flags, "SECRET" in failed.reason,
        )  # fmt: skip
        assert str(failed).startswith(f"'flags': told: {ALL[0]} and 2 more: ")
        provider.error, provider.flags = None, good | {"seawall.hedge": 20}
        assert flags.refresh()
        assert (0.0, 0.2) == (board.share("retry"), board.share("hedge"))
    assert [FlagsFailed, FlagsRecovered] == [type(each) for each in told]
    ours = [record.getMessage() for record in caplog.records if record.name == "seawall"]
    assert [str(failed), "'flags': told answers again"] == [text for text in ours if "'flags'" in text]


def test_one_flag_that_cannot_be_used_leaves_the_others_alone() -> None:
    """It stays as it was, and is told with what would be right; another one that breaks later is told too."""
    board, provider = Switchboard(), Told({"seawall.retry": 30, "seawall.hedge": False})
    flags = RemoteFlags(board, client_of(provider), period=HOUR)
    told = told_by(flags)
    with flags:
        assert flags.refresh()
        provider.flags = {"seawall.retry": 250, "seawall.hedge": True}
        assert [False, False] == [flags.refresh(), flags.refresh()]
        assert (0.3, 1.0) == (board.share("retry"), board.share("hedge"))
        provider.flags["seawall.timeout"] = ["on"]
        assert not flags.refresh()
    assert [("seawall.retry",), ("seawall.retry", "seawall.timeout")] == [each.flags for each in told]
    assert told[0].reason.startswith("it is 250; it must be true, false, a percentage from 0 to 100, ")


@pytest.mark.parametrize("said", ["maybe", -1, 100.5, float("nan"), {}, {"enabled": "no"}, {"percentage": True}, [1]])
def test_what_is_no_setting_of_a_switch(said: Any) -> None:
    """Is told, and nothing is switched."""
    board = Switchboard()
    with RemoteFlags(board, client_of(Told({"seawall.retry": said})), period=HOUR) as flags:
        assert not flags.refresh()
    assert [] == list(board)


def test_a_hanging_provider_hangs_nobody() -> None:
    """Start, calls, waiting for it and stop go on; it is told; what it said before it hung is not taken for new."""
    board, provider, pipeline = Switchboard(), Told({"seawall.retry": False}), Pipeline("rates", Timeout(5.0))
    flags = RemoteFlags(board, client_of(provider), period=HOUR, timeout=0.3)
    told = told_by(flags)
    with flags:
        assert flags.refresh()
        provider.hanging.clear()
        began = time.monotonic()
        assert not flags.refresh()
        assert ("ABC", 0.0) == (pipeline.call("abc".upper), board.share("retry"))
        until(lambda: told)
        assert ((), "no answer for 0.3 s") == (told[0].flags, told[0].reason)
        flags.stop()
        assert time.monotonic() - began < 15
        provider.flags["seawall.retry"] = True
        provider.hanging.set()
    until(lambda: not any(thread.name.startswith("seawall-flags") for thread in threading.enumerate()))
    assert (0.0, 1) == (board.share("retry"), len(told))


def test_an_answer_that_comes_after_the_stop_changes_nothing() -> None:
    """What was asked before it is nobody's business any more."""
    board, provider = Switchboard(), Told({"seawall.fallback": False})
    flags = RemoteFlags(board, client_of(provider), period=HOUR)
    with flags:
        assert flags.refresh()
        provider.flags["seawall.fallback"] = True
        provider.hanging.clear()
        asked = len(provider.asked)
        provider.changed()
        until(lambda: len(provider.asked) > asked)
    provider.hanging.set()
    until(lambda: not any(thread.name.startswith("seawall-flags") for thread in threading.enumerate()))
    assert 0.0 == board.share("fallback")


def test_a_provider_that_comes_back_after_it_hung_is_asked_anew() -> None:
    """What it knew when it was asked may be old; the answer that counts is given after that."""
    board, provider = Switchboard(), Told({"seawall.retry": False})
    flags = RemoteFlags(board, client_of(provider), switches=["retry"], period=HOUR, timeout=0.3)
    told = told_by(flags)
    provider.hanging.clear()
    with flags:
        until(lambda: told)
        shares: list[float] = []
        board.listen(lambda event: shares.append(event.new))
        provider.flags["seawall.retry"] = 40  # the question under way has seen False
        provider.hanging.set()
        until(lambda: len(told) == 2)
    assert ([0.4], [FlagsFailed, FlagsRecovered]) == (shares, [type(each) for each in told])


def test_a_hanging_name_or_start_hangs_nobody() -> None:
    """Every word with a provider is spoken on the thread, its name included; a start that takes long is no failure."""

    class Nameless(Told):
        hangs = False

        def get_metadata(self) -> Metadata:
            if self.hangs:
                self.hanging.wait(20)
            return super().get_metadata()

    provider = Nameless()
    client = client_of(provider)
    provider.hangs = True
    provider.hanging.clear()
    flags = RemoteFlags(Switchboard(), client, period=HOUR, timeout=0.3)
    told = told_by(flags)
    with flags:
        until(lambda: told)
    provider.hanging.set()
    starting = Told({"seawall.retry": False})
    starting.hanging.clear()
    board = Switchboard()
    flags = RemoteFlags(board, client_of(starting, ready=False), period=HOUR)
    told = told_by(flags)
    with flags:
        assert not flags.refresh()
        assert ([], []) == (told, starting.asked)
        starting.hanging.set()
        until(lambda: board.share("retry") == 0)
    assert [] == told


def test_a_provider_that_does_not_become_ready_is_told() -> None:
    """After the time that an answer may take."""
    starting = Told()
    starting.hanging.clear()
    flags = RemoteFlags(Switchboard(), client_of(starting, ready=False), period=0.05, timeout=0.3)
    told = told_by(flags)
    with flags:
        until(lambda: told)
    starting.hanging.set()
    assert "PROVIDER_NOT_READY" in told[0].reason


def test_a_provider_that_says_that_it_is_not_well() -> None:
    """Its flags count as it gives them, and that they may be old is told; so is that it is well again."""
    board, provider = Switchboard(), Told({"seawall.retry": 10})
    flags = RemoteFlags(board, client_of(provider), period=HOUR)
    told = told_by(flags)
    with flags:
        provider.emit_provider_stale(ProviderEventDetails())
        until(lambda: told)
        assert 0.1 == board.share("retry")
        provider.emit_provider_ready(ProviderEventDetails())
        until(lambda: len(told) == 2)
    assert ["it says itself that its flags may be old", "told answers again"] == [
        told[0].reason,
        str(told[1]).rpartition(": ")[2],
    ]


def test_a_worker_that_starts_while_flags_are_away_knows_what_the_service_knew(tmp_path: Path) -> None:
    """What any worker heard last is noted in the runtime directory, and holds until the provider answers."""
    provider = Told({"seawall.retry": False, "seawall.hedge": 10})
    with RemoteFlags(Switchboard(Runtime("shop", path=tmp_path)), client_of(provider), period=HOUR) as flags:
        assert flags.refresh()
    set_switches("remote", [])  # as if it were another process
    provider.error = ConnectionError("away")
    runtime = Runtime("shop", path=tmp_path)
    board = Switchboard(runtime)
    with runtime, RemoteFlags(board, client_of(provider), period=HOUR) as flags:
        assert not flags.refresh()
        assert (0.0, 0.1) == (board.share("retry"), board.share("hedge"))
        provider.error, provider.flags = None, {"seawall.hedge": 10}
        assert flags.refresh()
        assert (1.0, 0.1) == (board.share("retry"), board.share("hedge"))
    assert 2 == (tmp_path / "audit.log").read_text().count('"what":"flags"')


def test_a_function_of_ones_own_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Is logged with its traceback; the flags go on, and are not said to be had."""
    board, wrong = Switchboard(), [True]

    def key(name: str) -> str:
        return str(1 / 0) if wrong else f"ops.{name}"

    with RemoteFlags(board, client_of(Told({"ops.retry": False})), key=key, period=HOUR) as flags:
        assert not flags.refresh()
        assert "RemoteFlags('flags', period=3600) stumbled and goes on" in caplog.text
        wrong.clear()
        assert flags.refresh()
    assert 0.0 == board.share("retry")


def test_a_failing_provider_is_asked_less_and_less_often() -> None:
    """The pause doubles up to a minute, and is spread; one that answers is asked every period."""
    flags = RemoteFlags(Switchboard(), client_of(Told()), period=2.0, rng=lambda: 0.5)
    assert [1.8, 3.6, 7.2, 54.0, 54.0] == [pytest.approx(flags._pause(failed)) for failed in (0, 1, 2, 9, 2000)]
    assert 90.0 == RemoteFlags(Switchboard(), client_of(Told()), period=100.0, rng=lambda: 0.5)._pause(4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_asks_for_itself() -> None:
    """It has neither the thread nor the SDK's; its own thread sees what changes."""
    board, provider = Switchboard(), Told()
    with RemoteFlags(board, client_of(provider), period=0.1) as flags:
        assert flags.refresh()
        child = os.fork()
        if child == 0:
            provider.flags["seawall.retry"] = False
            end = time.monotonic() + 20
            while board.share("retry") and time.monotonic() < end:
                time.sleep(0.02)
            os._exit(0 if board.share("retry") == 0 else 1)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 1.0 == board.share("retry")
