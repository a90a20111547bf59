"""Instruments: exact whoever updates them, bounded however many labels there are."""

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from seawall.observe import Counter, Gauge, Histogram
from seawall.observe.instruments import BATCH, MOST_SERIES
from tests.runtime.fleet import environment

THREADS = 8
EACH = 20_000


def in_threads(work: Callable[[int], None]) -> None:
    """Runs `work` on eight threads at the same time, which are made to take turns as often as they can."""
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> None:
        barrier.wait()
        work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)


def test_a_counter_is_exact_over_threads_that_are_read_meanwhile() -> None:
    """Eight threads count, with and without a series at hand, while another one reads: no count is lost or doubled."""
    counter = Counter("calls", ["name"])
    series = counter.labels("a")
    done = threading.Event()
    readings: list[float] = []

    def read() -> None:
        while not done.is_set():
            readings.append(series.read())

    def work(number: int) -> None:
        for _ in range(EACH // 2):
            series.add()
            counter.add(2, "a")

    reader = threading.Thread(target=read)
    reader.start()
    in_threads(work)
    done.set()
    reader.join()
    assert THREADS * EACH // 2 * 3 == series.read()
    assert sorted(readings) == readings


def test_a_histogram_is_exact_over_threads_that_are_read_meanwhile() -> None:
    """Every value is in its bucket and in the sum; bucket counts and sum are of the same moment."""
    histogram = Histogram("took", ["name"], (1.0, 2.0, 3.0))
    series = histogram.labels("a")
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            *counts, total = series.read()
            assert total == counts[0] * 1 + counts[1] * 2 + counts[2] * 3 + counts[3] * 4

    def work(number: int) -> None:
        for value in range(EACH):
            series.observe(value % 4 + 1)

    reader = threading.Thread(target=read)
    reader.start()
    in_threads(work)
    done.set()
    reader.join()
    quarter = THREADS * EACH // 4
    assert [quarter, quarter, quarter, quarter, quarter * 10] == series.read()


def test_a_gauge_is_exact_over_threads() -> None:
    """Every rise and fall counts."""
    gauge = Gauge("open", [])

    def work(number: int) -> None:
        for _ in range(EACH // 2):
            gauge.add(3)
            gauge.add(-2)

    in_threads(work)
    assert THREADS * EACH // 2 == gauge.labels().read()
    gauge.set(7.5)
    gauge.add()
    assert 8.5 == gauge.labels().read()


def test_new_label_sets_are_made_once_by_many_threads() -> None:
    """Eight threads bring the same and different labels at the same time: the sum over all series is exact."""
    counter = Counter("calls", ["name"])

    def work(number: int) -> None:
        rng = random.Random(number)
        for _ in range(EACH // 4):
            counter.add(1, str(rng.randrange(2 * MOST_SERIES)))

    in_threads(work)
    series = list(counter.series())
    assert len(series) <= MOST_SERIES + 1
    assert THREADS * EACH // 4 == sum(each.read() for each in series)


def test_two_hundred_label_sets_are_kept_apart_and_the_rest_are_one() -> None:
    """What is beyond is not lost: it is `other`. Those that were there before go on by themselves."""
    counter = Counter("calls", ["name", "state"])
    for number in range(MOST_SERIES + 50):
        counter.add(1, f"name {number}", "open")
    counter.add(1, "name 0", "open")
    counter.add(1, f"name {MOST_SERIES}", "open")
    counts = {series.labels: series.read() for series in counter.series()}
    assert MOST_SERIES + 1 == len(counts)
    assert (51, 2, 1) == (counts["other", "other"], counts["name 0", "open"], counts["name 199", "open"])


def test_a_finalizer_may_count_wherever_it_runs() -> None:
    """An abandoned cycle is collected in the middle of an update, of a sum, of a reading: nothing hangs or is lost."""
    counter, histogram = Counter("calls", ["name"]), Histogram("took", ["name"], (1.0,))
    died = 0

    class Dying:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            nonlocal died
            died += 1
            for _ in range(BATCH + 1):
                counter.add(1, "a")
            histogram.observe(0.5, "a")

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(300):
            Dying()
            counter.add(1, "a")
            counter.labels("a").read()
            histogram.observe(2.0, "a")
            histogram.labels("a").read()
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert (300, 300 + 300 * (BATCH + 1)) == (died, counter.labels("a").read())
    assert [300, 300, 750.0] == histogram.labels("a").read()


class Busy(int):
    """An amount that counts for itself in the very middle of adding up, as whatever interrupts it may."""

    counter = Counter("busy", ["name"])

    def __radd__(self, other: int) -> int:
        for _ in range(BATCH + 1):
            self.counter.add(1, "a")
        return int(other) + int(self)


def test_adding_up_may_be_interrupted_anywhere() -> None:
    """By as many updates as make others add up: they do not wait for it, and all of them count."""

    def work() -> None:
        for _ in range(10):
            Busy.counter.add(Busy(1), "a")
            Busy.counter.labels("a").read()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "waits for itself"
    assert 10 + 10 * (BATCH + 1) == Busy.counter.labels("a").read()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no interval timers here")
def test_a_signal_handler_may_count() -> None:
    """Whatever it interrupts."""
    counter, came = Counter("calls", ["name"]), 0

    def handle(number: int, frame: Any) -> None:
        nonlocal came
        came += 1
        counter.add(1, "a")

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for _ in range(EACH):
            counter.add(1, "a")
        signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert came > 0
    assert EACH + came == counter.labels("a").read()


@pytest.mark.parametrize("amount", [-1, -0.5, float("nan"), float("inf"), float("-inf")])
def test_a_counter_never_falls(amount: float) -> None:
    """What would make it fall, or no number any more, is refused."""
    with pytest.raises(ValueError, match=r"amount=.* is nothing to count; use a finite number of at least 0"):
        Counter("calls", []).add(amount)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_distribution_holds_finite_values(value: float) -> None:
    """One that is infinite would spoil the sum for ever."""
    with pytest.raises(ValueError, match=r"value=.* has no place in a distribution"):
        Histogram("took", [], (1.0,)).observe(value)


def test_a_bucket_holds_its_own_bound() -> None:
    """As Prometheus has it: less or equal. Negative values are in the first, large ones in the last."""
    histogram = Histogram("took", [], (0.5, 1.0))
    for value in (-3, 0.5, 0.500001, 1.0, 1, 1.1, 10**6):
        histogram.observe(value)
    assert [2, 3, 2] == histogram.labels().read()[:3]


def test_labels_have_to_fit() -> None:
    """Too few or too many are refused, by name."""
    with pytest.raises(TypeError, match=r"'calls' has the labels \('a', 'b'\), and was given \('x',\)"):
        Counter("calls", ["a", "b"]).add(1, "x")


def test_label_values_are_texts_of_bounded_length() -> None:
    """Others are shown as text, so that 404 and "404" are one series."""
    counter = Counter("calls", ["a"])
    counter.add(1, 404)  # type: ignore[arg-type]
    counter.add(1, "404")
    counter.add(1, "x" * 10_000)
    assert {("404",): 2, ("x" * 200,): 1} == {series.labels: series.read() for series in counter.series()}


def test_a_tap_hears_every_value_with_its_labels() -> None:
    """At once, and also of series that were there before it."""
    histogram, heard = Histogram("took", ["name"], (1.0,)), list[Any]()
    series = histogram.labels("a")
    series.observe(1)
    histogram.taps.append(lambda value, labels: heard.append((value, labels)))
    series.observe(2)
    histogram.observe(3, "b")
    assert [(2, ("a",)), (3, ("b",))] == heard


FORK = """
import os
from seawall.observe import Counter, Gauge, Histogram

counter, gauge, histogram = Counter("a", ["x"]), Gauge("b", []), Histogram("c", [], (1.0,))
kept = counter.labels("x")
for _ in range(150):
    kept.add(); gauge.add(); histogram.observe(0.5)
child = os.fork()
if child == 0:
    kept.add(5); gauge.add(5); histogram.observe(5.0)
    print(counter.labels("x").read(), gauge.labels().read(), histogram.labels().read(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(counter.labels("x").read(), gauge.labels().read(), histogram.labels().read(), flush=True)
"""


def test_a_forked_child_begins_at_zero() -> None:
    """Also in a series that somebody has kept; the parent goes on."""
    ran = subprocess.run([sys.executable, "-c", FORK], env=environment(), capture_output=True, text=True, check=True)
    assert ["5 5 [0, 1, 5.0]", "150 150 [150, 0, 75.0]"] == ran.stdout.splitlines()
    assert os.getpid()


def test_tasks_count_too() -> None:
    """There is nothing to await."""
    counter = Counter("calls", [])

    async def work() -> None:
        for _ in range(100):
            counter.add()
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(50)))

    asyncio.run(main())
    assert 5000 == counter.labels().read()
