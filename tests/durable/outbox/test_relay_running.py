"""A relay at work in its block: woken, polling, leaving, cancelled, without its store; in threads and in tasks."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from seawall import Backoff, CircuitBreaker, Pipeline, Timeout
from seawall.durable import Outbox, OutboxFailed, OutboxSent, Relay
from seawall.durable.events import LeaseLost
from seawall.durable.script import Script, Statement
from tests.both import NUMBERS
from tests.durable.engines import Engine, over
from tests.durable.outbox.gates import NEVER, Gate, enter, outside
from tests.durable.outbox.posts import Post, until

EMBEDDED = over("embedded", "embedded-async")
USUAL = over("embedded", "embedded-async", "psycopg", "asyncpg")


@EMBEDDED
def test_a_relay_is_woken_by_what_is_added(post: Post) -> None:
    """It does not wait for its next look."""

    def inside() -> None:
        add = outside(post)
        for number in range(3):
            add(f"m{number}")
            until(lambda: len(post.got) == number + 1)  # noqa: B023

    enter(post, post.relay(poll=NEVER, lease=3 * NEVER, heartbeat=NEVER), inside)
    assert ["m0", "m1", "m2"] == post.got


@over("psycopg", "asyncpg")
def test_a_relay_on_a_server_is_woken_too(post: Post) -> None:
    """By the commit of what was added in this process."""

    async def work() -> None:
        async with post.relay(poll=NEVER, lease=3 * NEVER, heartbeat=NEVER):
            await post.outbox.aadd("there", "a")
            await post.until(lambda: post.got)

    def sync_work() -> None:
        with post.relay(poll=NEVER, lease=3 * NEVER, heartbeat=NEVER):
            post.outbox.add("there", "a")
            until(lambda: post.got)

    if post.engine.kind.is_async:
        post.engine.awaited(work())
    else:
        sync_work()
    assert ["a"] == post.got


@EMBEDDED
def test_a_relay_looks_for_what_nobody_told_it_of(engine: Engine, post: Post) -> None:
    """What another process added is found by polling."""
    other = Outbox(engine.another())
    add = (lambda: asyncio.run(other.aadd("there", "a"))) if engine.kind.is_async else (lambda: other.add("there", "a"))

    def inside() -> None:
        add()
        until(lambda: post.got)

    enter(post, post.relay(poll=0.02), inside)
    assert ["a"] == post.got


@USUAL
def test_everything_that_waits_is_sent_in_order(post: Post) -> None:
    """Hundreds of messages of several keys, many at once."""
    for number in range(300):
        post.add(f"{number:03}", key=(None, "a", "b", "c")[number % 4])
    post.during(post.relay(in_flight=7, batch=20), lambda: len(post.got) == 300)
    for part in (1, 2, 3):
        own = [text for text in post.got if int(text) % 4 == part]
        assert sorted(own) == own
    assert (300, []) == (len(set(post.got)), post.waiting())


@EMBEDDED
def test_one_that_hangs_keeps_nobody_else_waiting(post: Post) -> None:
    """It keeps its place alone; what was sent beside it is written down meanwhile."""
    gate, first = Gate(), threading.Event()
    holding = gate.apass if post.engine.kind.is_async else gate.pass_

    def sending() -> Any:
        if not first.is_set():
            first.set()
            return holding()
        return None if not post.engine.kind.is_async else asyncio.sleep(0)

    post.sending = sending
    post.add(*(f"m{number}" for number in range(200)))
    left: list[int] = []

    def inside() -> None:
        until(lambda: len(post.got) == 199)
        until(lambda: written(post) == 199)
        left.append(gate.waiting)
        gate.open()

    enter(post, post.relay(in_flight=2, batch=10), inside)
    assert ([1], 200, []) == (left, len(post.got), post.waiting())


def written(post: Post) -> int:
    """Returns how many messages count as sent."""

    def counting() -> Script[int]:
        rows = yield Statement("SELECT COUNT(*) FROM seawall_outbox WHERE sent_at IS NOT NULL"), {}
        return int(rows[0][0])

    if post.engine.kind.is_async:
        return asyncio.run(post.engine.store.arun(counting))
    return int(post.engine.store.run(counting))


@EMBEDDED
def test_leases_are_kept_while_something_is_sent(post: Post) -> None:
    """By renewals, beside whatever takes long."""
    gate = Gate()
    gate.hold(post)
    post.add("a")
    post.add("k", key="k")
    ends: set[tuple[float, float]] = set()

    def inside() -> None:
        until(lambda: gate.waiting == 2)
        until(lambda: ends.add(leases(post)) or len(ends) >= 4)
        gate.open()

    enter(post, post.relay(lease=60, heartbeat=0.02), inside)
    assert (4, []) == (len(ends), post.waiting())


def leases(post: Post) -> tuple[float, float]:
    """Returns when the leases of the message without a key, and of the key, end."""

    def reading() -> Script[tuple[float, float]]:
        messages = yield Statement("SELECT lease_until FROM seawall_outbox WHERE ordering_key IS NULL"), {}
        keys = yield Statement("SELECT lease_until FROM seawall_outbox_key"), {}
        return messages[0][0], keys[0][0]

    if post.engine.kind.is_async:
        return asyncio.run(post.engine.store.arun(reading))  # type: ignore[no-any-return]
    return post.engine.store.run(reading)  # type: ignore[no-any-return]


@EMBEDDED
def test_a_pipeline_that_refuses_pauses_the_relay(post: Post) -> None:
    """Its breaker opens, and nothing is claimed until that says; then everything is sent."""
    post.add(*(f"m{number}" for number in range(30)))
    for number in range(30):
        post.faults[f"m{number}"] = ConnectionError()
    breaker = CircuitBreaker(failures=3, open_for=0.3)
    relay = post.relay(
        pipeline=Pipeline(f"relay {next(NUMBERS)}", breaker, Timeout(5)), in_flight=1, backoff=Backoff.fixed(0.01)
    )
    failed: list[Any] = []
    relay.listen(failed.append, OutboxFailed)

    def inside() -> None:
        until(lambda: len(failed) >= 4)  # three, and a probe
        post.faults.clear()
        until(lambda: len(post.got) == 30)

    enter(post, relay, inside)
    assert (30, []) == (len(set(post.got)), post.waiting())
    assert len(failed) < 30  # as many as there are would have failed without it, and at once


@EMBEDDED
def test_a_relay_is_for_one_block_at_a_time(post: Post) -> None:
    """And may be used again after it."""
    relay = post.relay()

    def inside() -> None:
        with pytest.raises(RuntimeError, match="the relay 'relay' is at work already; make another one"):
            enter(post, relay, lambda: None)

    enter(post, relay, inside) if not post.engine.kind.is_async else None
    post.add("a")
    post.during(relay, lambda: post.got)
    post.add("b")
    post.during(relay, lambda: len(post.got) == 2)


@over("embedded")
def test_the_colours_are_not_mixed(engine: Engine, post: Post) -> None:
    """A plain `send` would block the event loop, and an async one could not be awaited."""

    async def wrongly() -> None:
        async with Relay(post.outbox, post.send):
            pass

    async def blocking() -> None:
        Relay(post.outbox, post.send).pass_once()

    with pytest.raises(TypeError, match="use `with` for a plain send"):
        asyncio.run(wrongly())
    with pytest.raises(TypeError, match="use `async with` for an async send"), Relay(post.outbox, post.asend):
        pass
    with pytest.raises(TypeError, match="await apass_once"):
        Relay(post.outbox, post.asend).pass_once()
    with pytest.raises(TypeError, match=r"call pass_once\(\)"):
        asyncio.run(Relay(post.outbox, post.send).apass_once())
    with pytest.raises(RuntimeError, match="would block the event loop"):
        asyncio.run(blocking())


@over("embedded")
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lease": 0}, "lease=0 is out of range"),
        ({"lease": 10, "heartbeat": 6}, "heartbeat=6 leaves no time for a second try within lease=10"),
        ({"batch": 0}, "batch=0 is too small"),
        ({"in_flight": 1.5}, "in_flight=1.5 is not a whole number"),
        ({"poll": 0}, "poll=0 is out of range"),
        ({"max_attempts": 0}, "max_attempts=0 is too small"),
        ({"backoff": 5}, "backoff=5 is no backoff"),
        ({"pipeline": "x"}, "pipeline='x' is no pipeline"),
        ({"drain": -1}, "drain=-1 is out of range"),
        ({"name": ""}, "name='' is no name"),
        ({"rng": 5}, "rng=5 cannot be called"),
    ],
)
def test_a_wrong_argument_is_refused(post: Post, wrong: Any, words: str) -> None:
    """Where it is given, with what would be right."""
    with pytest.raises((TypeError, ValueError), match=words):
        Relay(post.outbox, post.send, **wrong)
    with pytest.raises(TypeError, match="outbox=5 is no outbox"):
        Relay(5, post.send)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="send=5 cannot be called"):
        Relay(post.outbox, 5)  # type: ignore[arg-type]


@EMBEDDED
def test_what_is_told_can_be_logged(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """What was sent at DEBUG, what failed at WARNING."""
    post.add("a", "b")
    post.faults["b"] = ConnectionError("refused")
    with caplog.at_level(logging.DEBUG, "seawall"):
        post.pass_(name="mails")
    levels = {record.levelname: record.getMessage() for record in caplog.records if "mails" in record.getMessage()}
    assert {"DEBUG", "WARNING"} == set(levels)
    assert "'mails': attempt 1 to send" in levels["WARNING"]
    assert "again in 1 s: ConnectionError: refused" in levels["WARNING"]


@EMBEDDED
def test_a_message_that_is_dropped_while_it_is_sent(engine: Engine, post: Post) -> None:
    """It may arrive all the same; the relay goes on with the next one of its key."""
    gate = Gate()
    gate.hold(post)
    (first, _) = post.add("k1", "k2", key="k")
    dropped: list[bool] = []

    def inside() -> None:
        until(lambda: gate.waiting)
        drop = (lambda: asyncio.run(post.outbox.adrop(first, "ops"))) if engine.kind.is_async else None
        dropped.append(drop() if drop else post.outbox.drop(first, "ops"))
        gate.open()
        until(lambda: len(post.got) == 2)

    enter(post, post.relay(), inside)
    assert ([True], []) == (dropped, post.waiting())


@over("embedded")
def test_a_stolen_lease_is_told(post: Post) -> None:
    """Where a renewal finds it gone; what was being sent ends, and is not written down."""
    gate = Gate()
    gate.hold(post)
    post.add("a")
    relay, told = post.relay(lease=60, heartbeat=0.02), []
    relay.listen(told.append, LeaseLost, OutboxSent)

    def inside() -> None:
        until(lambda: gate.waiting)

        def steal() -> Script[None]:
            yield Statement("UPDATE seawall_outbox SET owner = 'thief', lease_until = {now} + 1000"), {}

        post.engine.store.run(steal)
        until(lambda: told)
        gate.open()

    enter(post, relay, inside)
    assert [LeaseLost] == [type(event) for event in told]
    assert ["a"] == post.waiting()
