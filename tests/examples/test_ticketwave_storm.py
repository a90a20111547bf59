"""The storm of TicketWave: the same for both variants, by the seed alone, and what seawall is to achieve in it."""

import asyncio
import os
from collections import Counter
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest

from examples.ticketwave import storm_script
from examples.ticketwave.lists import Query
from examples.ticketwave.storm import pace, scenario
from examples.ticketwave.storm_script import PAYMENTS, faults, request, struck
from seawall.chaos import Answer, Conditions, Counts, Variant, run

FULL = bool(os.environ.get("SEAWALL_SOAK"))
SEEDS = range(1, 21) if FULL else [1]
SECONDS = 10.0 if FULL else 7.0


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_the_storm_is_weathered(seed: int) -> None:
    """Protected callers are answered, nobody pays twice, all is settled, and broken dependencies are left alone."""
    result = asyncio.run(run(scenario, Conditions(SECONDS, scenario.rate, seed))).as_dict()
    bare, protected = result["bare"], result["protected"]
    shown = f"seed {seed}: {bare} {protected}"
    print(shown)

    assert [scenario.rate * SECONDS] * 2 == [bare["requests"], protected["requests"]]
    assert protected["availability"] >= 0.999, shown
    assert bare["availability"] < 0.9, shown
    assert protected["wasted_calls"] * 3 < bare["wasted_calls"], shown
    assert (0, 0) == (protected["double_charges"], protected["unsettled"]), shown
    assert min(bare["double_charges"], bare["unsettled"]) > 0, shown
    assert min(protected["retries"], protected["breaker_openings"], protected["fallbacks"]) > 0, shown
    assert None not in (bare["recovery_seconds"], protected["recovery_seconds"]), shown


@pytest.mark.parametrize("seed", range(1, 21))
def test_the_faults_follow_from_the_seed(seed: int) -> None:
    """The same ones each time, in order, without a gap, over before the end; other boundaries for another seed."""
    script = faults(seed)
    catalog = [fault for fault in script if fault.target == "catalog"]
    stripe = [fault for fault in script if fault.kind.startswith("stripe")]
    (paypal,) = [fault for fault in script if fault.kind.startswith("paypal")]

    assert (faults(seed), True) == (script, faults(seed + 1) != script)
    assert ["refuse", "errors", "stall", "reset"] == [fault.kind for fault in catalog]
    assert ["stripe errors", "stripe mute", "stripe refuse"] == [fault.kind for fault in stripe]
    for incident in (catalog, stripe):
        assert all(later.begins < fault.ends < later.ends for fault, later in pairwise(incident))
    assert [0.1, 0.75, 0.1, 0.45] == pytest.approx(
        [catalog[0].begins, catalog[-1].ends, stripe[0].begins, stripe[-1].ends], abs=0.01
    )
    assert stripe[0].begins < paypal.begins < paypal.ends < stripe[-1].ends


def test_every_fault_can_be_carried_out() -> None:
    """Each is one that `--control` knows, by the dependency that it strikes."""
    kinds = {(order["target"], order["kind"]) for order in map(struck, faults(1))}

    assert {
        ("catalog", "refuse"),
        ("catalog", "errors"),
        ("catalog", "stall"),
        ("catalog", "reset"),
        ("stripe", "errors"),
        ("stripe", "mute"),
        ("stripe", "refuse"),
        ("paypal", "busy"),
    } == kinds


def test_the_requests_follow_from_the_seed() -> None:
    """Half are for lists, all of which are warm, half for tickets; each has its own order."""
    requests = [request(1, number) for number in range(2000)]
    lists = [each for each in requests if isinstance(each, Query)]
    orders: list[dict[str, Any]] = [each for each in requests if not isinstance(each, Query)]

    assert requests == [request(1, number) for number in range(2000)]
    assert requests != [request(2, number) for number in range(2000)]
    assert pytest.approx(1000, abs=100) == len(lists)
    assert set(storm_script.LISTS) == set(lists)
    assert len(orders) == len({order["orderId"] for order in orders})


@pytest.mark.parametrize(("seconds", "expected"), [(10, (4.0, 1.0)), (300, (120.0, 30.0)), (3600, (1440.0, 360.0))])
def test_breaks_are_scaled_to_the_run(seconds: float, expected: tuple[float, float]) -> None:
    """As in earnest in a run of 5 minutes; the notes name the figures."""
    conditions = Conditions(seconds, 40.0, 1)
    ours = pace(conditions)

    assert pytest.approx(expected) == (ours.rest(120), ours.rest(30))
    assert pytest.approx((0.5, 0.3)) == (ours.attempt, ours.wait(6))
    notes = " ".join(scenario.notes(conditions))
    assert f"{expected[1]:.3g} s instead of 30 s for the catalog, {expected[0]:.3g} s instead of 120 s" in notes


def test_both_variants_answer_before_the_storm() -> None:
    """Warm, they list freshly and confirm by Stripe, waste nothing, and have ended at the end of the block."""

    async def seen(side: Variant) -> tuple[Counter[Answer], Counts]:
        await side.warm()
        return Counter(await asyncio.gather(*map(side.send, range(20)))), await side.finish()

    async def test() -> list[tuple[Counter[Answer], Counts]]:
        async with AsyncExitStack() as stack:
            contexts = scenario.variants(Conditions(10, 40.0, 1)).values()
            sides = await asyncio.gather(*map(stack.enter_async_context, contexts))
            return await asyncio.gather(*map(seen, sides))

    counts = Counts(0, 0, 0, 0, {"double_charges": 0, "unsettled": 0})
    answers = Counter({Answer("fresh", "catalog"): 12, Answer("fresh", PAYMENTS): 8})
    assert [(answers, counts)] * 2 == asyncio.run(test())
