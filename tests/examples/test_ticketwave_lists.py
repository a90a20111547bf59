"""Lists of events in TicketWave: fresh, else the last good one, else an honest nothing."""

import asyncio
from typing import Any

import httpx2
import pytest

from examples.ticketwave import policies
from examples.ticketwave.bare import BareLists
from examples.ticketwave.lists import CarefulLists, KeptLists, NothingKeptError, Query
from examples.ticketwave.policies import IN_EARNEST, Pace
from examples.ticketwave.wire import EventList, EventPage, NoEvents
from seawall import CallRejected, CircuitChanged, FellBack
from seawall.testing import FakeClock, Recorder
from tests.examples.ticketwave import Scripted, broken, client, free_names, in_virtual_time, refused, shop

COMEDY: dict[str, str | int] = {"category": "comedy", "page": 1, "pageSize": 2}
NOTHING = {
    "events": [],
    "message": "Event catalog is temporarily unavailable. Please try again later.",
    "isFromCache": False,
    "isFallback": True,
}


async def listed(customer: httpx2.AsyncClient, **query: Any) -> tuple[int, dict[str, Any]]:
    """Return status and body of a list."""
    response = await customer.get("/api/events", params={**COMEDY, **query})
    return response.status_code, response.json()


def flags(body: dict[str, Any]) -> tuple[bool, bool]:
    """Return isFromCache and isFallback."""
    return body["isFromCache"], body["isFallback"]


def test_a_list_is_fresh_and_always_the_same() -> None:
    """By category, page and page size, with the number of all."""

    async def test() -> None:
        async with shop() as (_, customer):
            status, first = await listed(customer)
            _, again = await listed(customer)
            _, second = await listed(customer, page=2)
            _, beyond = await listed(customer, page=31)
            _, unknown = await listed(customer, category="opera")
            everything = (await customer.get("/api/events")).json()
        assert (200, (False, False), 60, 1, 2) == (
            status,
            flags(first),
            first["total"],
            first["page"],
            first["pageSize"],
        )
        assert ["comedy-001", "comedy-002"] == [event["eventId"] for event in first["events"]]
        assert first == again
        assert ["comedy-003", "comedy-004"] == [event["eventId"] for event in second["events"]]
        assert ([], 60) == (beyond["events"], beyond["total"])
        assert ([], 0) == (unknown["events"], unknown["total"])
        assert (240, 20) == (everything["total"], len(everything["events"]))

    asyncio.run(test())


@pytest.mark.parametrize("bare", [False, True])
def test_customers_see_lists_while_the_catalog_is_away(bare: bool) -> None:
    """200 and isFromCache for what was listed before, 503 for what was not; fresh again when it is over."""

    async def test() -> None:
        async with shop(bare=bare, pace=Pace(30, 1000)) as (system, customer):
            _, fresh = await listed(customer)
            await system.proxies["catalog"].strike("refuse")
            assert (200, {**fresh, "isFromCache": True}) == await listed(customer)
            assert (503, NOTHING) == await listed(customer, page=2)
            await system.proxies["catalog"].lift()
            assert (200, fresh) == await listed(customer)

    asyncio.run(test())


PAGE = EventPage(events=(), page=1, page_size=20, total=0)
GOOD = PAGE.model_dump_json(by_alias=True)
FAILURES = [500, 503, 429, 408, 404, 301, 204, "<html>", '{"events": 7}', refused(), broken(), 3600.0]


@pytest.mark.parametrize("failure", FAILURES)
def test_any_failure_of_the_catalog_serves_what_is_kept(failure: object) -> None:
    """Whatever is no list: the kept one of the same category, page and page size, and of no other; else none."""

    async def test(clock: FakeClock) -> None:
        free_names()
        catalog = Scripted(GOOD, failure)
        lists = CarefulLists(client("catalog", catalog, policies.service("catalog", IN_EARNEST)), KeptLists(300.0))
        query = Query("comedy", 1, 20)
        fresh = await lists.find(query)
        assert EventList(**dict(PAGE)) == fresh
        assert fresh.model_copy(update={"is_from_cache": True}) == await lists.find(query)
        for other in (Query(None, 1, 20), Query("sport", 1, 20), Query("comedy", 2, 20), Query("comedy", 1, 10)):
            assert NoEvents() == await lists.find(other)
        assert clock.now() <= 5 * 15.0

    in_virtual_time(test)


@pytest.mark.parametrize("failure", FAILURES[:-1])
def test_the_bare_lists_do_the_same(failure: object) -> None:
    """They are no straw man: the same cache, for the same failures."""

    async def test() -> None:
        catalog = httpx2.AsyncClient(transport=Scripted(GOOD, failure), base_url="http://catalog")
        lists, query = BareLists(catalog, KeptLists(300.0)), Query("comedy", 1, 20)
        assert EventList(**dict(PAGE)) == await lists.find(query)
        assert EventList(**dict(PAGE), is_from_cache=True) == await lists.find(query)
        assert NoEvents() == await lists.find(Query("sport", 1, 20))

    asyncio.run(test())


def test_a_customer_without_time_gets_what_is_kept() -> None:
    """The deadline is over before the catalog can be asked."""

    async def test() -> None:
        async with shop() as (system, customer):
            _, fresh = await listed(customer)
            asked = system.catalog.asked
            hurried = await customer.get("/api/events", params=COMEDY, headers={"X-Request-Timeout": "0"})
            assert (200, {**fresh, "isFromCache": True}) == (hurried.status_code, hurried.json())
            nothing = await customer.get("/api/events", headers={"X-Request-Timeout": "0"})
            assert (503, NOTHING, asked) == (nothing.status_code, nothing.json(), system.catalog.asked)

    asyncio.run(test())


def test_the_circuit_opens_when_calls_go_on_failing() -> None:
    """B3: five failing calls, and the next is rejected by the open breaker: the catalog is not even asked."""

    async def test() -> None:
        async with shop(pace=Pace(50, 1)) as (system, customer):
            await listed(customer)
            system.catalog.trouble = "errors"
            with Recorder(CircuitChanged, CallRejected, FellBack) as events:
                for _ in range(5):
                    assert (True, False) == flags((await listed(customer))[1])
                (opened,) = events.of(CircuitChanged)
                asked = system.catalog.asked
                assert [200, 200] == [(await listed(customer))[0] for _ in range(2)]
            assert ("catalog.breaker", "closed", "open", 30.0) == (opened.name, opened.old, opened.new, opened.open_for)
            assert ["catalog.breaker"] * 2 == [event.name for event in events.of(CallRejected)]
            assert (asked, 7) == (system.catalog.asked, len(events.of(FellBack)))

    asyncio.run(test())


def test_lists_are_kept_for_five_minutes() -> None:
    """Not a moment longer, and no longer for being asked for; a new good answer starts them anew."""
    now = 1000.0
    kept, query = KeptLists(300.0, clock=lambda: now), Query("comedy", 1, 20)

    kept.keep(query, PAGE)
    now += 299.9
    assert kept.find(query).is_from_cache
    now += 0.1
    with pytest.raises(NothingKeptError):
        kept.find(query)
    assert 0 == len(kept)
    kept.keep(query, PAGE)
    now += 299.9
    assert kept.find(query).is_from_cache


def test_a_bounded_number_of_lists_is_kept() -> None:
    """A stranger who asks for every page there could be gets no more memory than a thousand of them."""
    kept = KeptLists(300.0, most=3)
    queries = [Query(None, page, 20) for page in range(1, 5)]
    for query in queries[:3]:
        kept.keep(query, PAGE)
    kept.find(queries[0])
    kept.keep(queries[3], PAGE)

    assert 3 == len(kept)
    with pytest.raises(NothingKeptError):
        kept.find(queries[1])  # the one that was not asked for for longest
    assert [True] * 3 == [kept.find(queries[number]).is_from_cache for number in (0, 2, 3)]


def test_a_query_that_makes_no_sense_is_the_customers_error() -> None:
    """400 with the field, and the catalog is not asked."""

    async def test() -> None:
        async with shop() as (system, customer):
            for field, value in (("page", 0), ("pageSize", 101), ("pageSize", "many"), ("category", "x" * 41)):
                status, body = await listed(customer, **{field: value})
                assert (400, "VALIDATION_ERROR") == (status, body["error"]["code"])
                assert [field] == [each["field"] for each in body["error"]["details"]]
            assert 0 == system.catalog.asked

    asyncio.run(test())
