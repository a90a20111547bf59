"""Effect and answer in one commit: whatever happens to the request, both are there or neither."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import make_url
from starlette.responses import JSONResponse, Response, StreamingResponse

from seawall.durable import EmbeddedStore, LeaseLostError
from seawall.durable.errors import CommitUnknownError
from seawall.web import IdempotentRequests, IdempotentRoute, Seawall, current_request_claim
from tests.durable.engines import OTHERS
from tests.integrations.sqlalchemy.commit_proxy import CommitProxy
from tests.servers import Database, PostgreSQL
from tests.web.idempotency import ledger
from tests.web.idempotency.ledger import KINDS, Ledger
from tests.web.idempotency.shop import KEY, SHOPS, Till, client_of, of, paid, post, replayed, shop, until
from tests.web.serving import error_of, lines_of

ROUTE = IdempotentRoute(transactional=True)
PAID = b'{"paid":true}'
Ledgers = Callable[[], Awaitable[Ledger]]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database and driver."""
    return str(request.param)


@pytest.fixture
def place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where its database is."""
    if kind in ("embedded", "aiosqlite"):
        yield str(tmp_path / "seawall.db")
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql_server")
        yield shared(server).url


def shared(server: PostgreSQL) -> Database:
    """Returns the one database of these tests, emptied: ten times as fast as one for each."""
    database = Database(server, "idempotent_requests")
    if not server.main.sql("SELECT 1 FROM pg_database WHERE datname = 'idempotent_requests'"):
        return server.create("idempotent_requests")
    database.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}")
    database.sql("TRUNCATE payments, seawall_idempotency")
    return database


def asking(
    kind: str, place: str, act: Callable[[Ledger], Any], times: int = 2, service: str = "fastapi", **options: Any
) -> tuple[list[Any], int]:
    """Posts one body several times; returns the answers, and the number of payments."""

    async def main() -> tuple[list[Any], int]:
        ledger = await Ledger(kind, place).open()
        try:
            app = shop(ledger.store, Till(lambda request: act(ledger)), service, ROUTE, **options)
            async with client_of(app) as client:
                answers = [await client.post("/payments", json={}, headers=KEY) for _ in range(times)]
            return answers, await ledger.count()
        finally:
            await ledger.close()

    return asyncio.run(main())


def facts(answers: list[Any]) -> list[Any]:
    """Returns status, body and whether it was replayed, of each."""
    return [(each.status_code, each.content, replayed(each)) for each in answers]


def test_the_answer_is_the_one_that_was_committed(kind: str, place: str) -> None:
    """To the byte, whatever the handler returns afterwards; repeats get the same."""

    async def act(ledger: Ledger) -> Response:
        await ledger.pay()
        return JSONResponse({"other": 1}, headers={"x-other": "1"})

    answers, count = asking(kind, place, act, times=3)
    assert [(201, PAID, False), (201, PAID, True), (201, PAID, True)] == facts(answers)
    assert (1, False) == (count, "x-other" in answers[0].headers)


@pytest.mark.parametrize("kind", ["embedded", "asyncpg"], indirect=True)
@pytest.mark.parametrize("service", SHOPS)
@pytest.mark.parametrize(
    "after", [RuntimeError("no mail"), CommitUnknownError("elsewhere"), ConnectionError("x")], ids=repr
)
def test_a_failure_after_the_commit_does_not_hide_it(kind: str, place: str, service: str, after: Exception) -> None:
    """The client gets the committed answer, and no error."""

    async def act(ledger: Ledger) -> Response:
        await ledger.pay()
        raise type(after)(*after.args)

    answers, count = asking(kind, place, act, service=service)
    assert ([(201, PAID, False), (201, PAID, True)], 1) == (facts(answers), count)


def test_a_failure_before_the_commit_undoes_it(kind: str, place: str) -> None:
    """Rolled back, given back: the repeat pays."""
    failures = [RuntimeError("broken")]

    def then(claim: Any) -> None:
        if failures:
            raise failures.pop()

    async def act(ledger: Ledger) -> Response:
        await ledger.pay(then=then)
        return paid()

    answers, count = asking(kind, place, act)
    error_of(answers[0], 500, "INTERNAL_ERROR")
    assert ([(201, PAID, False)], 1) == (facts(answers[1:]), count)


def test_a_handler_that_answers_for_its_failure_is_heard(kind: str, place: str) -> None:
    """What it answers after a rollback is the answer, as that of any other refusal."""

    def then(claim: Any) -> None:
        raise ValueError("no money")

    async def act(ledger: Ledger) -> Response:
        try:
            await ledger.pay(then=then)
        except Exception:
            return JSONResponse({"error": "no money"}, status_code=402)
        return paid()

    answers, count = asking(kind, place, act)
    assert ([402, 402], [False, True]) == ([each.status_code for each in answers], [replayed(each) for each in answers])
    assert 0 == count


def test_the_last_answer_counts(kind: str, place: str) -> None:
    """Where a transaction is run again, and answers again."""

    async def act(ledger: Ledger) -> Response:
        for number in (1, 2):

            def then(claim: Any, number: int = number) -> None:
                if number == 1:
                    raise ValueError("serialization failure, say")

            try:
                await ledger.pay(JSONResponse({"number": number}), then=then)
            except Exception:
                continue
        return paid()

    answers, count = asking(kind, place, act)
    assert [(200, b'{"number":2}', False), (200, b'{"number":2}', True)] == facts(answers)
    assert 1 == count


def test_a_large_answer_after_the_commit_is_that_of_the_commit(kind: str, place: str) -> None:
    """What the handler streams in its place is for nobody."""

    async def act(ledger: Ledger) -> Response:
        await ledger.pay()
        return StreamingResponse(iter([b"x" * 1_000_000] * 3))

    answers, count = asking(kind, place, act)
    assert ([(201, PAID, False), (201, PAID, True)], 1) == (facts(answers), count)


def test_who_was_overtaken_commits_nothing(kind: str, place: str) -> None:
    """The transaction of a stale holder is refused by the answer in it: 503, and no payment of his."""
    seen: list[str] = []

    async def act(ledger: Ledger) -> Response:
        await ledger.sql("UPDATE seawall_idempotency SET epoch = epoch + 1, owner = 'other'")
        try:
            await ledger.pay()
        except LeaseLostError as error:
            seen.append(type(error).__name__)
            raise
        return paid()

    answers, count = asking(kind, place, act)
    error_of(answers[0], 503, "SERVICE_UNAVAILABLE")
    error_of(answers[1], 409, "REQUEST_IN_PROGRESS")
    assert (["LeaseLostError"], 0) == (seen, count)


def test_an_answer_outside_of_the_transaction_is_complained_of(
    store: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A transactional handler that forgot is warned of: a crash between effect and answer would repeat it."""
    post(shop(store, Till(), route=ROUTE), 1)
    assert ["were not committed together" in line for line in lines_of(caplog)] == [True]


def test_a_commit_elsewhere_whose_end_nobody_knows(store: EmbeddedStore) -> None:
    """CommitUnknownError without an answer in the transaction: unknown, for it must not run again."""
    for service in SHOPS:
        till = Till(CommitUnknownError("elsewhere"), paid)
        first, again = post(shop(store, till, service, ROUTE, namespace=service), 1, 1)
        error_of(first, 500, "OUTCOME_UNKNOWN")
        error_of(again, 409, "OUTCOME_UNKNOWN")
        assert 1 == till.count


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((StreamingResponse(iter([])),), "is no whole response"),
        (({"id": 1},), "is no whole response"),
        ((), "status='201' is no whole number"),
    ],
)
def test_what_is_no_answer_is_refused(store: EmbeddedStore, given: Any, said: str) -> None:
    """At the call, before anything is written."""

    async def act(request: Any) -> Response:
        claim = current_request_claim()
        with pytest.raises(TypeError, match=said):
            claim.answer(*given, **({} if given else {"status": "201"}), session=None)
        with pytest.raises(ValueError, match="status=99"):
            await claim.aanswer(status=99, session=None)
        with pytest.raises(TypeError, match="body is a dict"):
            await claim.aanswer(body={}, session=None)
        return paid()

    assert 201 == post(shop(store, Till(act)), 1)[0].status_code


def test_parts_make_an_answer_too(kind: str, place: str) -> None:
    """Without a framework's response: status, headers and body."""

    async def act(ledger: Ledger) -> Response:
        async def work() -> None:
            claim = current_request_claim()
            assert (("k-1", False), "RequestClaim('k-1')") == ((claim.key, claim.over), repr(claim))
            given: dict[str, Any] = {"status": 202, "headers": {"Location": "/7", "Set-Cookie": "a"}, "body": "\u20ac"}
            if ledger.kind == "embedded":
                await ledger.store.atransact(lambda connection: claim.answer(**given, session=connection))
            elif ledger.kind == "psycopg":
                await asyncio.to_thread(_answer_in_thread, ledger, claim, given)
            else:
                async with ledger.sessions.begin() as session:
                    await claim.aanswer(**given, session=session)

        await work()
        return paid()

    answers, _ = asking(kind, place, act, service="raw")
    assert [(202, b"\xe2\x82\xac", False), (202, b"\xe2\x82\xac", True)] == facts(answers)
    assert ["/7", "/7"] == [each.headers["location"] for each in answers]
    assert not any("set-cookie" in each.headers for each in answers)


def _answer_in_thread(ledger: Ledger, claim: Any, given: dict[str, Any]) -> None:
    with ledger.sessions.begin() as session:
        claim.answer(**given, session=session)


@pytest.mark.parametrize("kind", ["psycopg", "psycopg-async", "asyncpg"], indirect=True)
@pytest.mark.parametrize("strike", ["cut", "mute", "lost"])
def test_a_commit_whose_answer_is_lost(
    kind: str, place: str, strike: Any, postgresql_server: PostgreSQL, caplog: pytest.LogCaptureFixture
) -> None:
    """The claim tells: the client gets the committed answer, or, where nothing was committed, an error."""
    with CommitProxy(postgresql_server.port) as proxy:
        url = make_url(place).set(port=proxy.port).render_as_string(hide_password=False)
        planned: list[int] = []

        async def act(ledger: Ledger) -> Response:
            if not planned:
                planned.append(1)
                proxy.plan(strike)
            await ledger.pay()
            return paid()

        answers, count = asking(kind, url, act)
    assert 1 == count
    if strike == "lost":
        error_of(answers[0], 500, "OUTCOME_UNKNOWN")
        assert [(201, PAID, False)] == facts(answers[1:])
    else:
        assert [(201, PAID, False), (201, PAID, True)] == facts(answers)


@pytest.mark.parametrize(
    ("kind", "late"), [("aiosqlite", False), ("asyncpg", False), ("asyncpg", True)], indirect=["kind"]
)
def test_sessions_of_fastapis_dependencies(
    kind: str, place: str, late: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Committed before the response (`scope="function"`) all is well; after it, the request fails and says why."""
    monkeypatch.setattr("seawall.web.idempotency_serving._SETTLING", 0.3)
    monkeypatch.setattr("seawall.durable.driving.CLEANING", 0.3)

    async def main() -> tuple[list[Any], int]:
        book = await Ledger(kind, place).open()

        async def session() -> AsyncIterator[Any]:
            async with book.sessions.begin() as each:
                yield each

        api = FastAPI(openapi_url=None)

        @api.post("/payments")
        async def pay(session: Annotated[Any, Depends(session, scope="request" if late else "function")]) -> Any:
            await session.execute(ledger.text(ledger.PAY))
            await current_request_claim().aanswer(JSONResponse({"paid": True}, status_code=201), session=session)
            return {}

        app = Seawall(api, idempotency=IdempotentRequests(book.store, {"POST /payments": ROUTE}, principal=of))
        async with client_of(app) as client:
            answers = [await client.post("/payments", json={}, headers=KEY) for _ in range(2)]
        return answers, await book.count()

    answers, count = asyncio.run(main())
    if late:
        assert ["SERVICE_UNAVAILABLE"] * 2 == [error_of(each, 503, "SERVICE_UNAVAILABLE")["code"] for each in answers]
        assert 0 == count
        assert 'Depends(..., scope="function")' in "".join(lines_of(caplog))
    else:
        assert ([(201, PAID, False), (201, PAID, True)], 1) == (facts(answers), count)


@pytest.mark.parametrize("kind", ["psycopg"], indirect=True)
def test_a_sync_handler_on_a_thread_is_heard_out(kind: str, place: str) -> None:
    """FastAPI runs it on a thread, and the answer's transaction too; heartbeats end without touching the loop."""

    async def main() -> tuple[list[Any], int]:
        book = await Ledger(kind, place).open()
        api = FastAPI(openapi_url=None)

        @api.post("/payments")
        def pay() -> dict[str, str]:
            claim = current_request_claim()
            with book.sessions.begin() as session:
                session.execute(ledger.text(ledger.PAY))
                claim.answer(JSONResponse({"paid": True}, status_code=201), session=session)
            return {}

        requests = IdempotentRequests(book.store, {"POST /payments": ROUTE}, principal=of)
        async with client_of(Seawall(api, idempotency=requests)) as client:
            asyncio.get_running_loop().set_debug(True)  # which tells calls from other threads
            answers = [await client.post("/payments", json={}, headers=KEY) for _ in range(2)]
        return answers, await book.count()

    logging.getLogger("asyncio").setLevel(logging.ERROR)
    answers, count = asyncio.run(main())
    assert ([(201, PAID, False), (201, PAID, True)], 1) == (facts(answers), count)


def test_a_server_that_cancels_after_the_commit(kind: str, place: str) -> None:
    """What was committed stays, and is the answer to the repeat."""

    async def main() -> None:
        book = await Ledger(kind, place).open()
        committed = asyncio.Event()

        async def act(request: Any) -> Response:
            await book.pay()
            committed.set()
            await asyncio.sleep(60)
            return paid()

        async with client_of(shop(book.store, Till(act), route=ROUTE)) as client:
            task = asyncio.create_task(client.post("/payments", json={}, headers=KEY))
            await until(committed.is_set)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            answer = await client.post("/payments", json={}, headers=KEY)
        assert ((201, PAID, True), 1) == (facts([answer])[0], await book.count())
        await book.close()

    asyncio.run(main())
