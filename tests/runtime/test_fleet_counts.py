"""Many real processes: what any of them shows is the sum of all, and what was shown once is never less again."""

import os
import signal
from pathlib import Path

from seawall._runtime.runtime import Runtime
from tests.runtime.fleet import Fleet, calls_in, counters_in, until

CALLS = 3000


def test_four_workers_show_the_exact_sum_on_any_of_them(tmp_path: Path) -> None:
    """4 x 3,000 calls, on several threads each: soon every worker's scrape shows 12,000, and no more later."""
    with Fleet(tmp_path / "run", 4) as fleet:
        for worker in fleet.all:
            worker.send("calls", CALLS // 3, 3)
        assert [CALLS] * 4 == [worker.answer() for worker in fleet.all]
        for worker in fleet.all:
            until(lambda: calls_in(worker.ask("scrape")) == 4 * CALLS)  # noqa: B023 - asked at once
        assert [4 * CALLS] * 4 == [calls_in(worker.ask("scrape")) for worker in fleet.all]


def test_twenty_scrapes_under_load_never_fall_while_workers_are_killed(tmp_path: Path) -> None:
    """Scrapes go to all workers in turn; every fifth time one is killed with SIGKILL and replaced. No series falls."""
    with Fleet(tmp_path / "run", 4) as fleet:
        for worker in fleet.all:
            worker.ask("load")
        workers, shown = list(fleet.all), dict[str, float]()
        for number in range(20):
            now = counters_in(workers[number % 4].ask("scrape"))
            assert {} == {series: (was, now.get(series)) for series, was in shown.items() if now.get(series, -1) < was}
            shown = now
            if number % 5 == 4:
                workers.pop(number % 4).kill()
                workers.append(fleet.add())
                workers[-1].ask("load")
        assert shown['seawall_pipeline_duration_seconds_count{pipeline_name="fleet",outcome="success"}'] > 0


def test_what_a_killed_worker_has_shown_stays(tmp_path: Path) -> None:
    """A worker makes calls, shows them, and is killed: the others go on showing them, and its gauges are gone."""
    with Fleet(tmp_path / "run", 2) as fleet:
        first, second = fleet.all
        first.ask("calls", 100)
        assert 100 == calls_in(first.ask("scrape"))
        assert f'seawall_worker_up{{worker="{first.id}"}} 1\n' in second.ask("scrape")
        first.kill()
        until(lambda: first.id not in text_of(second.ask("scrape")))
        text = second.ask("scrape")
        assert 100 == calls_in(text)
        assert 'seawall_bulkhead_limit{strategy_name="fleet.bulkhead"} 50\n' in text
        assert first.id not in [worker["id"] for worker in Runtime("fleet", path=fleet.path).workers()]


def text_of(text: object) -> str:
    """Returns an answer that is a text."""
    assert isinstance(text, str)
    return text


def test_a_worker_that_ends_in_good_order_leaves_its_sums_to_the_others(tmp_path: Path) -> None:
    """At once, and exactly; the last one out takes them all along, so that the next start begins at zero."""
    with Fleet(tmp_path / "run", 2) as fleet:
        first, second = fleet.all
        first.ask("calls", 100)
        second.ask("calls", 10)
        first.ask("end")
        assert 110 == calls_in(second.ask("scrape"))
        second.ask("end")
        assert [] == list((tmp_path / "run" / "workers").iterdir())
        assert 0 == calls_in(fleet.add().ask("scrape"))


def test_a_good_end_after_a_crash_forgets_nothing(tmp_path: Path) -> None:
    """One worker is killed and the last one stops well: whoever shows the sums next shows all of them."""
    with Fleet(tmp_path / "run", 2) as fleet:
        for worker in fleet.all:
            worker.ask("calls", 100)
            worker.ask("scrape")
        fleet.all[0].kill()
        fleet.all[1].ask("end")
        assert 200 == calls_in(fleet.add().ask("scrape"))


def test_when_all_are_killed_the_sums_wait_for_the_next_one(tmp_path: Path) -> None:
    """A crash is no end: the workers that follow go on from there."""
    with Fleet(tmp_path / "run", 2) as fleet:
        for worker in fleet.all:
            worker.ask("calls", 100)
            worker.ask("scrape")
            worker.kill()
        assert 200 == calls_in(fleet.add().ask("scrape"))


def test_a_stopped_worker_is_not_dead(tmp_path: Path) -> None:
    """SIGSTOP silences it: it stays in the list, nothing is folded, and when it goes on nothing is counted twice."""
    with Fleet(tmp_path / "run", 2) as fleet:
        stopped, other = fleet.all
        stopped.ask("calls", 100)
        stopped.ask("scrape")
        stopped.signal(signal.SIGSTOP)
        reader = Runtime("fleet", path=fleet.path)
        reader.sweep()
        assert 100 == calls_in(other.ask("scrape"))
        assert {stopped.id, other.id} == {worker["id"] for worker in reader.workers()}
        assert {} == reader.retired()
        stopped.signal(signal.SIGCONT)
        stopped.ask("calls", 1)
        assert 101 == calls_in(stopped.ask("scrape"))


def test_a_worker_stopped_with_the_lock_in_its_hands_holds_up_nobody(tmp_path: Path) -> None:
    """The others read without the lock, and show the same."""
    with Fleet(tmp_path / "run", 3) as fleet:
        holder, dead, other = fleet.all
        dead.ask("calls", 7)
        dead.ask("scrape")
        holder.ask("calls", 5)
        holder.ask("scrape")
        holder.ask("hold")
        holder.signal(signal.SIGSTOP)
        dead.kill()
        assert 12 == calls_in(other.ask("scrape"))
        holder.kill()
        assert 12 == calls_in(other.ask("scrape"))


def test_states_are_the_worst_of_all_workers_and_told_for_each(tmp_path: Path) -> None:
    """One of three workers has its circuit isolated: that is what is shown, and on how many."""
    with Fleet(tmp_path / "run", 3) as fleet:
        fleet.all[0].ask("isolate")
        fleet.all[0].ask("scrape")
        text = fleet.all[1].ask("scrape")
        assert 'seawall_circuit_breaker_status{strategy_name="fleet.breaker",state="isolated"} 1\n' in text
        assert 'seawall_circuit_breaker_status{strategy_name="fleet.breaker",state="closed"} 0\n' in text
        assert 'seawall_circuit_breaker_workers{strategy_name="fleet.breaker",state="isolated"} 1\n' in text
        assert 'seawall_circuit_breaker_workers{strategy_name="fleet.breaker",state="closed"} 2\n' in text
        assert 'seawall_bulkhead_limit{strategy_name="fleet.bulkhead"} 150\n' in text
        assert 3 == text.count("seawall_worker_up{")


def test_a_childs_life_is_not_its_parents(tmp_path: Path) -> None:
    """A forked child inherits what is open; when its parent is killed, the parent is dead all the same."""
    with Fleet(tmp_path / "run", 2) as fleet:
        parent, other = fleet.all
        parent.ask("calls", 100)
        parent.ask("scrape")
        child = parent.ask("fork_one_that_stays")
        try:
            until(lambda: f'worker="{child}-' in text_of(other.ask("scrape")))
            parent.kill()
            text = text_of(other.ask("scrape"))
            assert parent.id not in text
            assert f'worker="{child}-' in text
            assert 100 == calls_in(text)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_forked_child_is_a_worker_of_its_own_that_begins_at_zero(tmp_path: Path) -> None:
    """What the parent has counted is not counted once more by its child, alive or dead."""
    with Fleet(tmp_path / "run", 1) as fleet:
        (parent,) = fleet.all
        parent.ask("calls", 100)
        parent.ask("scrape")
        shown = parent.ask("fork", 10)
        assert 110 == calls_in(shown)
        assert 2 == shown.count("seawall_worker_up{")
        after = parent.ask("scrape")
        assert (110, 1) == (calls_in(after), after.count("seawall_worker_up{"))
        parent.ask("calls", 1)
        assert 111 == calls_in(parent.ask("scrape"))
        assert 121 == calls_in(parent.ask("fork", 10))
