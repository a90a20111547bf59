"""Adding messages: in whose transaction, under which id, with which headers."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from seawall import correlation, deadline
from seawall.durable import Outbox, StoreError
from seawall.durable.errors import KeyMismatchError
from seawall.durable.outbox_scripts import insert
from seawall.testing import FakeClock
from tests.durable.engines import Engine, over
from tests.durable.outbox.posts import Post, until

EMBEDDED = over("embedded", "embedded-async")
USUAL = over("embedded", "embedded-async", "psycopg", "asyncpg")


def test_a_message_lives_and_dies_with_its_transaction(engine: Engine, post: Post) -> None:
    """On every store: committed, it waits to be sent; rolled back, it was never there."""

    def adding(words: str) -> Any:
        return partial(insert, post.outbox.prepare("there", words))

    engine.enlisted(adding("committed"))
    with pytest.raises(LookupError):
        engine.enlisted(adding("rolled back"), failure=LookupError())
    assert ["committed"] == post.waiting()


@over("embedded")
def test_an_effect_of_the_embedded_store_adds_messages(engine: Engine, post: Post) -> None:
    """By the connection that it is given; the relays are woken by the commit."""
    woken: list[str] = []
    engine.store.listen("outbox", lambda: woken.append("woken"))

    def effect(connection: Any) -> None:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.execute("INSERT INTO orders VALUES (7)")
        post.outbox.add("orders", {"id": 7}, session=connection)

    engine.store.transact(effect)
    assert ['{"id":7}'] == post.waiting()
    assert ["woken"] == woken


@over("psycopg")
def test_a_session_adds_messages(engine: Engine, post: Post) -> None:
    """The user's own row and the message are committed together, and the relays woken then, not before."""
    woken: list[str] = []
    end = engine.store.listen("outbox", lambda: woken.append("woken"))
    until(lambda: woken)  # once it hears the server, it may have missed something
    woken.clear()
    with Session(engine.store.engine) as session, session.begin():
        session.execute(text("CREATE TABLE orders (id INTEGER)"))
        post.outbox.add("orders", {"id": 7}, session=session)
        assert [] == post.waiting()
        assert [] == woken
    assert ['{"id":7}'] == post.waiting()
    assert "woken" in woken
    end()


@over("asyncpg")
def test_an_async_session_adds_messages(engine: Engine, post: Post) -> None:
    """By `aadd`; rolled back, nothing is there."""

    async def work(commit: bool) -> None:
        async with AsyncSession(engine.store.engine) as session:
            await post.outbox.aadd("orders", f"commit {commit}", session=session)
            await (session.commit() if commit else session.rollback())

    engine.awaited(work(False))
    engine.awaited(work(True))
    assert ["commit True"] == post.waiting()


@USUAL
def test_a_message_is_read_as_it_was_written(engine: Engine, post: Post) -> None:
    """Every kind of body, with its content type; headers, keys and destinations of any characters."""
    bodies: list[tuple[Any, bytes, str]] = [
        (b"\x00\xff\x00", b"\x00\xff\x00", "application/octet-stream"),
        (bytearray(b"a"), b"a", "application/octet-stream"),
        ("é:\n", "é:\n".encode(), "text/plain; charset=utf-8"),
        ({"é": [1, 2.5, None, True]}, '{"é":[1,2.5,null,true]}'.encode(), "application/json"),
        ([], b"[]", "application/json"),
        (None, b"null", "application/json"),
        (0, b"0", "application/json"),
    ]
    for body, _, _ in bodies:
        engine.call(post.outbox, "add", "queue ':x' %s", body, headers={"Tenant": "é"}, ordering_key="k'é\"")
    read = engine.call(post.outbox, "waiting")
    assert [expected for _, expected, _ in bodies] == [message.body for message in read]
    assert [kind for _, _, kind in bodies] == [message.headers["content-type"] for message in read]
    assert {("queue ':x' %s", "é", "k'é\"")} == {(m.destination, m.headers["Tenant"], m.ordering_key) for m in read}
    assert {"é": [1, 2.5, None, True]} == read[3].json()


@over("embedded")
def test_a_message_carries_what_surrounds_the_call(post: Post, clock: FakeClock) -> None:
    """The correlation id, and the deadline in milliseconds since 1970; outside neither is there."""
    post.add("bare")
    with correlation("order-7"), deadline(2.5):
        post.add("surrounded")
    post.pass_()
    bare, surrounded = (message.headers for message in post.messages)
    assert {"content-type": "text/plain; charset=utf-8"} == bare
    assert ("order-7", str(int((clock.wall() + 2.5) * 1000))) == (
        surrounded["x-correlation-id"],
        surrounded["seawall-deadline"],
    )


@over("embedded")
def test_the_callers_headers_win(engine: Engine, post: Post) -> None:
    """Over those of the context, of `inject` and of the body, whatever their case."""

    def inject(headers: Any) -> None:
        headers["traceparent"] = "00-1-1-01"
        headers["x-correlation-id"] = "injected"

    outbox = Outbox(engine.store, inject=inject)
    with correlation("order-7"):
        engine.call(outbox, "add", "there", "a", headers={"Content-Type": "text/csv", "X-Correlation-ID": "mine"})
        engine.call(outbox, "add", "there", "b")
    first, second = (dict(message.headers) for message in engine.call(outbox, "waiting"))
    assert {"Content-Type": "text/csv", "X-Correlation-ID": "mine", "traceparent": "00-1-1-01"} == first
    assert ("order-7", "00-1-1-01") == (second["x-correlation-id"], second["traceparent"])


@EMBEDDED
def test_ids_sort_by_the_time_they_were_made(post: Post, clock: FakeClock) -> None:
    """They are UUIDs of version 7."""
    ids = []
    for _ in range(50):
        ids += post.add("x")
        clock.advance(0.001)
    assert sorted(ids) == ids
    assert {7} == {UUID(each).version for each in ids}


@USUAL
def test_adding_the_same_message_again_changes_nothing(engine: Engine, post: Post) -> None:
    """Under its id; another message under that id is an error, and what was added before stays."""
    assert ["m1", "m1"] == post.add("a", "a", message_id="m1")
    assert ["a"] == post.waiting()
    with pytest.raises(KeyMismatchError, match="message_id='m1' is that of another message, to 'there'"):
        post.add("b", message_id="m1")
    with pytest.raises(KeyMismatchError):
        engine.call(post.outbox, "add", "elsewhere", "a", message_id="m1")
    assert ["a"] == post.waiting()


@over("embedded")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", "x"), r"destination='', 0 characters, is none; use a text of 1 to 500"),
        ((None, "x"), r"destination=None is not a text"),
        (("d", {1, 2}), r"body, a set, cannot be sent as JSON"),
        (("d", float("nan")), r"body, a float, cannot be sent as JSON"),
        (("d", "x", {"headers": {"n": 5}}), r"headers holds 'n': 5, which is not a text"),
        (("d", "x", {"headers": "n=5"}), r"headers='n=5' is no mapping"),
        (("d", "x", {"ordering_key": "a\0b"}), r"ordering_key='a\\x00b', 3 characters"),
        (("d", "x", {"ordering_key": ""}), r"ordering_key=''"),
        (("d", "x", {"message_id": "m" * 501}), r"message_id='m+', 501 characters"),
        (("d", "x", {"delay": -1}), r"delay=-1 is out of range"),
    ],
)
def test_what_is_no_message_is_refused(post: Post, arguments: Any, words: str) -> None:
    """With an error that names the argument, its value, and what would be right; nothing is added."""
    destination, body, *options = arguments
    with pytest.raises((TypeError, ValueError), match=words):
        post.outbox.add(destination, body, **(options[0] if options else {}))
    assert [] == post.waiting()


def test_a_store_without_transactions_holds_no_outbox() -> None:
    """It could not commit a message with an effect."""

    class ClaimsAlone:
        name = "redis://host"
        capabilities = frozenset(("claims",))

    with pytest.raises(StoreError, match="an outbox cannot live in redis://host"):
        Outbox(ClaimsAlone())  # type: ignore[arg-type]


@over("embedded")
def test_what_injects_headers_is_a_function(engine: Engine) -> None:
    """Told at construction."""
    with pytest.raises(TypeError, match="inject=5 cannot be called; use a function of a dict"):
        Outbox(engine.store, inject=5)  # type: ignore[arg-type]
