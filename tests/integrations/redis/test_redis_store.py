"""The store on Redis: clients of each kind, what the server does to it, and what it forgets."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from seawall.durable import (
    Claim,
    Counter,
    Idempotency,
    InProgressError,
    Lock,
    OperationOutcome,
    Outbox,
    OutcomeUnknownError,
    Replay,
    StoreError,
    open_store,
)
from seawall.durable.locks import TakeLock
from seawall.integrations.redis import RedisStore
from tests.servers import Redis

QUICK: dict[str, Any] = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retry": None}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A sync client of the emptied server."""
    with redis.Redis.from_url(redis_url) as made:
        yield made


def keys(client: redis.Redis, pattern: str = "*") -> dict[str, int]:
    """Returns the keys with the seconds that they are kept, -1 for ever."""
    return {key.decode(): int(client.ttl(key)) for key in client.keys(pattern)}  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("decode", [False, True])
def test_a_sync_client_serves_both_colours(redis_url: str, decode: bool) -> None:
    """Whatever it makes of answers elsewhere: results come back to the byte."""
    result = {"bytes": bytes(range(256)), "text": "ü"}
    with redis.Redis.from_url(redis_url, decode_responses=decode) as client:
        operations = Idempotency(RedisStore(client), "payments")
        assert result == operations.call("k", lambda: result)

        async def again() -> Any:
            return await operations.acall_outcome("k", _never)

        assert OperationOutcome(result, True) == asyncio.run(again())


async def _never() -> None:
    raise AssertionError("executed again")


@pytest.mark.parametrize("decode", [False, True])
def test_an_async_client_serves_async_code(redis_url: str, decode: bool) -> None:
    """And says so where it is asked otherwise."""

    async def scenario() -> None:
        async with redis.asyncio.Redis.from_url(redis_url, decode_responses=decode) as client:
            store = RedisStore(client)
            operations = Idempotency(store, "payments")

            async def pay() -> bytes:
                return b"\xff"

            assert [b"\xff", b"\xff"] == [await operations.acall("k", pay) for _ in range(2)]
            async with Lock(store, "l") as token:
                assert token > 0
            assert 2 == await Counter(store, "c").aadd(2)
            with pytest.raises(StoreError, match="has an async client"):
                operations.show("k")

    asyncio.run(scenario())


def test_a_server_that_forgot_the_scripts_is_told_them_again(client: redis.Redis) -> None:
    """After a restart, or SCRIPT FLUSH."""
    counter = Counter(RedisStore(client), "c")
    counter.add()
    client.script_flush()

    assert 2 == counter.add()


def test_a_result_goes_with_its_time_and_a_claim_does_not(client: redis.Redis) -> None:
    """What runs or is unknown stays until it is known; what may run again may be forgotten."""
    operations = Idempotency(RedisStore(client), "ns", ttl=1000)
    operations.call("done", lambda: 1)
    operations.claim("running")
    operations.claim("again", transactional=True)
    claim = operations.claim("unknown")
    assert isinstance(claim, Claim)
    claim.mark_unknown("?")
    left = keys(client)

    assert {"done", "running", "again", "unknown"} == {key.rpartition(":")[2] for key in left}
    assert 990 <= left["seawall:claim:2:ns:done"] <= 1000
    assert 990 <= left["seawall:claim:2:ns:again"] <= 1030
    assert (-1, -1) == (left["seawall:claim:2:ns:running"], left["seawall:claim:2:ns:unknown"])
    operations.resolve("unknown", 1)
    assert 990 <= keys(client)["seawall:claim:2:ns:unknown"] <= 1000


def test_a_claim_after_a_failure_does_not_go_with_the_failure(client: redis.Redis) -> None:
    """The new one stays for as long as it runs."""
    operations = Idempotency(RedisStore(client), "ns")
    with pytest.raises(ValueError, match="no"):
        operations.call("k", _fail)
    assert 3590 <= keys(client)["seawall:claim:2:ns:k"] <= 3600
    operations.claim("k")

    assert -1 == keys(client)["seawall:claim:2:ns:k"]


def _fail() -> None:
    raise ValueError("no")


def test_a_long_operation_is_kept_beyond_the_time_of_its_result(client: redis.Redis) -> None:
    """Heartbeats see to it, where the ttl is shorter than the work."""
    operations = Idempotency(RedisStore(client), "ns", ttl=0.1, takeover="rerun")
    claim = operations.claim("k")
    assert isinstance(claim, Claim)
    client.pexpire("seawall:claim:2:ns:k", 500)
    claim.heartbeat()

    assert keys(client)["seawall:claim:2:ns:k"] > 20


def test_tokens_grow_although_the_server_forgot_them(client: redis.Redis) -> None:
    """They are at least its clock in microseconds."""
    store = RedisStore(client)
    first = store.run(TakeLock("l", "a", 30.0))
    client.flushall()
    second = store.run(TakeLock("l", "b", 30.0))

    assert isinstance(first, int)
    assert isinstance(second, int)
    assert first < second


def test_a_prefix_keeps_applications_apart(client: redis.Redis) -> None:
    """And is what all keys begin with."""
    one, other = (Idempotency(RedisStore(client, prefix=prefix), "ns") for prefix in ("one:", "other:"))
    one.call("k", lambda: 1)
    Counter(RedisStore(client, prefix="one:"), "c").add()

    assert 2 == other.call("k", lambda: 2)
    assert 3 == len(keys(client, "one:*"))


def test_keys_of_a_counter_are_in_one_slot_of_a_cluster(client: redis.Redis) -> None:
    """What is in braces is the same in both, whatever the name."""
    Counter(RedisStore(client), "a}b{c").add()
    slots = {client.execute_command("CLUSTER KEYSLOT", key) for key in keys(client)} if _knows(client) else {0}
    braces = {key.partition("{")[2].partition("}")[0] for key in keys(client)}

    assert (1, 1) == (len(slots), len(braces))


def _knows(client: redis.Redis) -> bool:
    try:
        client.execute_command("CLUSTER KEYSLOT", "a")
    except redis.ResponseError:
        return False
    return True


def test_an_execution_that_outlives_its_lease_is_unknown(client: redis.Redis) -> None:
    """By the server's clock; in real time, since there is no other."""
    operations = Idempotency(RedisStore(client), "ns", lease=0.2, heartbeat=0.05)
    operations.claim("k")
    with pytest.raises(InProgressError):
        operations.claim("k")
    _until(lambda: _is_unknown(operations))


def _is_unknown(operations: Idempotency) -> bool:
    try:
        operations.claim("k")
    except OutcomeUnknownError:
        return True
    except InProgressError:
        return False
    raise AssertionError("claimed")


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.02)


def test_a_server_that_is_away_or_silent_is_a_store_error(redis_server: Redis) -> None:
    """Named, without a password; and it works again when the server is back."""
    redis_server.flush()
    url = redis_server.url.replace("redis://", "redis://user:SECRET@")
    store = open_store(url, **QUICK)
    assert f"redis://127.0.0.1:{redis_server.port}/0" == store.name
    store.close()
    plain = open_store(redis_server.url, **QUICK)
    operations = Idempotency(plain, "ns")
    for break_it, mend in ((redis_server.kill, redis_server.start), (redis_server.silence, redis_server.wake)):
        break_it()
        with pytest.raises(StoreError, match=r"redis://127\.0\.0\.1") as raised:
            operations.claim("k")
        assert isinstance(raised.value.__cause__, redis.RedisError)
        mend()
        redis_server.recover()
        operations.call(f"after {break_it.__name__}", lambda: 1)
    plain.close()


def test_a_restart_of_a_server_that_writes_everything_down_forgets_nothing(redis_server: Redis) -> None:
    """`appendfsync always`, as the tests' server has it."""
    redis_server.flush()
    store = open_store(redis_server.url)
    operations = Idempotency(store, "ns")
    operations.call("k", lambda: "paid")
    redis_server.kill()
    redis_server.start()
    _until(lambda: _answers(operations))

    assert Replay("paid") == operations.claim("k")
    store.close()


def _answers(operations: Idempotency) -> bool:
    try:
        operations.show("k")
    except StoreError:
        return False
    return True


def test_a_full_server_refuses_and_drops_nothing(client: redis.Redis) -> None:
    """With `noeviction`, as the docs ask for. What has begun can be ended all the same."""
    operations = Idempotency(RedisStore(client), "ns")
    operations.call("before", lambda: "paid")
    begun, doubtful, failed = (operations.claim(key) for key in ("begun", "doubtful", "failed"))
    assert isinstance(begun, Claim)
    assert isinstance(doubtful, Claim)
    assert isinstance(failed, Claim)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreError, match=r"(?i)memory"):
            operations.claim("k")
        assert operations.show("before") is not None
        begun.heartbeat()
        begun.complete("x" * 1000)
        assert doubtful.mark_unknown("?")
        assert failed.release()
    finally:
        client.config_set("maxmemory", "0")

    assert Replay("paid") == operations.claim("before")
    assert Replay("x" * 1000) == operations.claim("begun")


def test_what_needs_transactions_is_refused(client: redis.Redis) -> None:
    """With what to use."""
    store: Any = RedisStore(client)
    with pytest.raises(StoreError, match=r"cannot live in redis://.*use a store on SQLite"):
        Outbox(store)
    with pytest.raises(StoreError, match="no transactions"):
        store.after(object(), "channel")
    assert "redis://" in repr(store)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: RedisStore(object()), TypeError, "is no client; use redis.Redis"),
        (lambda: RedisStore(redis.Redis(), prefix=7), TypeError, "prefix=7 is not a text"),  # type: ignore[arg-type]
        (lambda: open_store("redis://host:port/0"), StoreError, "is no address of a Redis server"),
        (lambda: open_store("redis://host", colour="red"), TypeError, "colour"),
    ],
)
def test_wrong_arguments_are_named(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    """With what would be right."""
    with pytest.raises(error, match=words):
        make()


def test_stores_are_named_by_their_server() -> None:
    """A socket, a host, or at least what kind of client it is."""
    assert "unix:///run/redis.sock" == RedisStore(redis.Redis(unix_socket_path="/run/redis.sock")).name
    assert "redis://a:7/2" == RedisStore(redis.asyncio.Redis(host="a", port=7, db=2, password="SECRET")).name


def test_one_hundred_equal_calls_at_once_execute_once(redis_url: str) -> None:
    """From many tasks over many connections (case durable 17)."""
    calls = []

    async def scenario() -> list[Any]:
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            operations = Idempotency(RedisStore(client), "ns", wait=20.0)

            async def pay() -> str:
                calls.append(1)
                await asyncio.sleep(0.1)
                return "paid"

            return await asyncio.gather(*(operations.acall("k", pay) for _ in range(100)))

    assert ["paid"] * 100 == asyncio.run(scenario())
    assert [1] == calls
