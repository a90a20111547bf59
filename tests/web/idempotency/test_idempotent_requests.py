"""Equal requests, one execution: `durable 17` and `durable 18`, over real sockets and without."""

import asyncio
from typing import Any

import httpx2
import pytest

from seawall import correlation_id
from seawall.durable import EmbeddedStore
from seawall.durable.events import OperationInProgress, OperationMismatched, OperationReplayed
from seawall.web import IdempotentRoute
from tests.web.idempotency.shop import KEY, SHOPS, Till, client_of, paid, post, replayed, shop
from tests.web.serving import error_of, served

AT_ONCE = 100


async def slowly(request: Any) -> Any:
    """Pays in half a second."""
    await asyncio.sleep(0.5)
    return paid()


def together(url: str, count: int) -> list[httpx2.Response]:
    """Sends equal requests at the same time."""

    async def main() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=count)
        async with httpx2.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
            asked = [client.post("/payments", json={"amount": 1}, headers=KEY) for _ in range(count)]
            return list(await asyncio.gather(*asked))

    return asyncio.run(main())


@pytest.mark.parametrize("kind", SHOPS)
def test_of_a_hundred_equal_requests_one_is_executed(store: EmbeddedStore, kind: str) -> None:
    """durable 17: each gets 201, replayed or not, or 409 with Retry-After; a hundred repeats get the same bytes."""
    till = Till(slowly)
    with served(shop(store, till, kind)) as client:
        answers = together(str(client.base_url), AT_ONCE)
        assert 1 == till.count
        original = [each for each in answers if each.status_code == 201 and not replayed(each)]
        assert 1 == len(original)
        for refused in (each for each in answers if each.status_code != 201):
            error_of(refused, 409, "REQUEST_IN_PROGRESS")
            assert 1 <= int(refused.headers["retry-after"]) <= 60
        repeats = together(str(client.base_url), AT_ONCE)
    assert 1 == till.count
    assert {(201, original[0].content, True)} == {(each.status_code, each.content, replayed(each)) for each in repeats}


def test_with_wait_nobody_is_refused(store: EmbeddedStore) -> None:
    """durable 17: with `wait`, all get the one answer."""
    till = Till(slowly)
    with served(shop(store, till, route=IdempotentRoute(wait=20))) as client:
        answers = together(str(client.base_url), AT_ONCE)
    assert 1 == till.count
    assert {(201, answers[0].content)} == {(each.status_code, each.content) for each in answers}
    assert AT_ONCE - 1 == sum(map(replayed, answers))


@pytest.mark.parametrize("kind", SHOPS)
def test_another_body_under_the_key_is_refused(store: EmbeddedStore, kind: str) -> None:
    """durable 18: 422, and nothing is executed."""
    till = Till()
    app = shop(store, till, kind)
    _, refused, again = post(app, {"amount": 1}, {"amount": 2}, {"amount": 1})
    error_of(refused, 422, "IDEMPOTENCY_KEY_REUSED")
    assert (201, True) == (again.status_code, replayed(again))
    assert 1 == till.count


@pytest.mark.parametrize(
    "change",
    [{"params": {"x": "1"}}, {"headers": {"content-type": "application/vnd.shop+json"}}],
    ids=["query", "type"],
)
def test_another_query_or_type_under_the_key_is_refused(store: EmbeddedStore, change: Any) -> None:
    """What makes two requests the same is more than their bodies."""
    till = Till()
    app = shop(store, till)
    post(app, {"amount": 1})
    error_of(post(app, {"amount": 1}, **change)[0], 422, "IDEMPOTENCY_KEY_REUSED")
    assert 1 == till.count


def test_another_path_of_the_route_under_the_key_is_refused(store: EmbeddedStore) -> None:
    """The key is the template's; the path is part of what was asked."""
    till = Till()

    async def main() -> tuple[httpx2.Response, ...]:
        async with client_of(shop(store, till)) as client:
            return (
                await client.put("/payments/1", headers=KEY),
                await client.put("/payments/2", headers=KEY),
                await client.post("/payments", headers=KEY),
            )

    first, other, elsewhere = asyncio.run(main())
    error_of(other, 422, "IDEMPOTENCY_KEY_REUSED")
    assert [(201, False), (201, False)] == [(each.status_code, replayed(each)) for each in (first, elsewhere)]


def test_keys_of_different_principals_never_meet(store: EmbeddedStore) -> None:
    """durable 18: another principal's equal request is executed, and neither sees the other's answer."""
    till = Till()
    app = shop(store, till)
    names = ["alice", "bob", 'bob"', "bob\x00", "b" * 2000, "b" * 2001, "\udcff", "\u4e2d" * 900, ""]
    answers = [post(shop(store, till, principal=lambda scope, name=name: name), {})[0] for name in names]
    assert [201] * 8 + [500] == [each.status_code for each in answers]
    assert 8 == till.count == len({each.content for each in answers[:-1]})
    assert replayed(post(app, {})[0])


def test_a_replay_belongs_to_the_request_that_asks(store: EmbeddedStore) -> None:
    """The correlation id of a replay is the present one's, and the handler's of then is not told."""
    app = shop(store, Till())
    one, two = (post(app, {}, headers={"x-correlation-id": name})[0] for name in ("one", "two"))
    assert [["one"], ["two"]] == [each.headers.get_list("x-correlation-id") for each in (one, two)]
    assert one.content == two.content
    assert correlation_id() is None


def test_what_happens_is_told(store: EmbeddedStore) -> None:
    """Executions, replays, conflicts and mismatches are events of the operations behind the requests."""
    app = shop(store, Till())
    events: list[str] = []
    app.requests.idempotency.listen(lambda event: events.append(type(event).__name__))  # type: ignore[attr-defined]
    post(app, 1, 1, 2)
    assert ["OperationStarted", "OperationEnded", OperationReplayed.__name__, OperationMismatched.__name__] == events
    assert OperationInProgress.__name__ not in events
