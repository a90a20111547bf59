"""What a relay does with messages, pass by pass: order, failures, attempts, what operators decide."""

from typing import Any

import pytest

from seawall import Backoff, BulkheadFullError, CircuitBreaker, Pipeline, RateLimitedError, Retry, Timeout
from seawall.durable import OutboxFailed, OutboxSent, OutboxStuck
from seawall.testing import FakeClock
from tests.both import NUMBERS
from tests.durable.engines import Engine, over
from tests.durable.outbox.posts import Post

EMBEDDED = over("embedded", "embedded-async")
USUAL = over("embedded", "embedded-async", "psycopg", "asyncpg")
NOW = Backoff.fixed(0)


def test_what_was_added_is_sent_once(engine: Engine, post: Post) -> None:
    """On every store: with the words it was added with, those of a key in order; a second pass finds nothing."""
    ids = [*post.add("k1", "k2", key="k"), *post.add("free"), *post.add("k3", key="k"), *post.add("j1", key="j")]
    assert 5 == post.pass_()
    assert sorted(ids) == sorted(message.message_id for message in post.messages)
    assert ["k1", "k2", "k3"] == [text for text in post.got if text.startswith("k")]
    assert (0, []) == (post.pass_(), post.waiting())


@USUAL
def test_a_failed_message_holds_up_its_key_and_nobody_else(post: Post) -> None:
    """What is behind it waits, in order; other keys and messages without one leave."""
    post.add("k1", "k2", "k3", key="k")
    post.add("j1", "j2", key="j")
    post.add("free")
    post.faults["k1"] = ConnectionError("no route")
    assert 3 == post.pass_()
    assert {"j1", "j2", "free"} == set(post.got)
    assert ["k1", "k2", "k3"] == post.waiting()
    (failed, *_) = post.engine.call(post.outbox, "waiting")
    assert (1, "ConnectionError: no route") == (failed.attempts, failed.error)
    assert 0 == post.pass_()
    post.faults.clear()
    post.engine.call(post.outbox, "retry", failed.message_id)
    assert 3 == post.pass_()
    assert ["k1", "k2", "k3"] == post.got[3:]


@EMBEDDED
def test_failures_wait_as_the_backoff_says(post: Post, clock: FakeClock) -> None:
    """1, 2, 4 seconds; then it is sent."""
    post.add("a")
    post.faults["a"] = TimeoutError()
    tried: list[float] = []
    relay = post.relay(backoff=Backoff.exponential(1, cap=300))
    end = relay.listen(lambda event: tried.append(clock.now()), OutboxFailed)
    for _ in range(16):
        if clock.now() == 7.0:
            post.faults.clear()
        post.engine.call(relay, "pass_once")
        clock.advance(0.5)
    end()
    assert ([0.0, 1.0, 3.0], ["a"]) == (tried, post.got)


@USUAL
def test_too_many_failures_make_a_message_stuck(post: Post) -> None:
    """It is told, seen, and holds up its key, until it is retried, with all attempts before it."""
    (first, *_) = post.add("k1", "k2", key="k")
    post.faults["k1"] = ValueError("not that")
    events: list[Any] = []
    relay = post.relay(max_attempts=3, backoff=NOW)
    relay.listen(events.append, OutboxFailed, OutboxStuck)
    for _ in range(5):
        post.engine.call(relay, "pass_once")
    assert ["OutboxFailed", "OutboxFailed", "OutboxStuck"] == [type(event).__name__ for event in events]
    assert OutboxStuck("relay", first, "there", "k", 3, "ValueError: not that") == events[-1]
    assert "is stuck after 3 attempts; somebody must look: ValueError: not that" in str(events[-1])
    assert (["k1"], ["k2"]) == (post.stuck(), post.waiting())
    assert [first] == post.engine.call(post.outbox, "retry", first, "unknown")
    for _ in range(2):
        post.engine.call(relay, "pass_once")
    assert ([], ["k1", "k2"]) == (post.stuck(), post.waiting())
    post.faults.clear()
    post.engine.call(relay, "pass_once")
    assert ["k1", "k2"] == post.got


@USUAL
def test_a_stuck_message_is_dropped(engine: Engine, post: Post) -> None:
    """With a note; what is behind it leaves. A message that was sent, or dropped, is there no more."""
    (first, second) = post.add("k1", "k2", key="k")
    post.faults["k1"] = ValueError()
    post.pass_(max_attempts=1)
    assert ["k1"] == post.stuck()
    assert engine.call(post.outbox, "drop", first, "ops: it was never meant to be sent")
    assert ([], 1, ["k2"]) == (post.stuck(), post.pass_(), post.got)
    assert [False, False] == [engine.call(post.outbox, "drop", each, "again") for each in (first, second)]
    assert [] == engine.call(post.outbox, "retry", first, second)
    with pytest.raises(ValueError, match="note=' ' says nothing; say who drops"):
        engine.call(post.outbox, "drop", first, " ")


@USUAL
def test_all_that_are_stuck_are_retried(engine: Engine, post: Post) -> None:
    """At once, and counted."""
    post.add("a", "b", "c")
    post.faults.update({"a": ValueError(), "b": ValueError()})
    post.pass_(max_attempts=1)
    post.faults.clear()
    assert 2 == engine.call(post.outbox, "retry_stuck")
    assert (2, 0) == (post.pass_(), engine.call(post.outbox, "retry_stuck"))


@EMBEDDED
def test_a_delayed_message_waits_and_holds_up_its_key(post: Post, clock: FakeClock) -> None:
    """Other keys do not wait for it."""
    post.add("k1", key="k", delay=10)
    post.add("k2", key="k")
    post.add("free", delay=5)
    post.add("j", key="j")
    post.pass_()
    clock.advance(5)
    post.pass_()
    assert ["j", "free"] == post.got
    clock.advance(5)
    post.pass_()
    assert ["j", "free", "k1", "k2"] == post.got


@USUAL
@pytest.mark.parametrize("keys", [0, 1, 7, 250])
def test_passes_of_any_size_send_everything_in_order(post: Post, keys: int) -> None:
    """Many keys or one: each pass claims at most a batch, and all of it leaves in the end."""
    for number in range(250):
        post.add(f"{number:03}", key=f"key {number % keys}" if keys else None)
    passes = [post.pass_(batch=40, in_flight=3)]
    while passes[-1]:
        passes.append(post.pass_(batch=40, in_flight=3))
    assert (250, []) == (sum(passes), post.waiting())
    assert max(passes) <= 2 * 40
    for key in range(keys):
        own = [text for text in post.got if int(text) % keys == key]
        assert sorted(own) == own
    assert sorted(post.got) == sorted(set(post.got))


@EMBEDDED
def test_a_rejection_is_no_attempt(post: Post, clock: FakeClock) -> None:
    """What `send` itself could not get through is sent later, when it said, as often as needed; others go on."""
    post.add("a", "b")
    events: list[Any] = []
    relay = post.relay(max_attempts=1)
    relay.listen(events.append, OutboxFailed, OutboxStuck)
    post.faults["a"] = RateLimitedError("receiver", 7.0)
    for _ in range(5):
        post.engine.call(relay, "pass_once")
        clock.advance(6.9)
        assert 0 == post.engine.call(relay, "pass_once")
        clock.advance(0.2)
    (waiting,) = post.engine.call(post.outbox, "waiting")
    assert (0, "RateLimitedError: 'receiver' is at its rate limit; try again in 7 s") == (
        waiting.attempts,
        waiting.error,
    )
    assert [] == events
    post.faults.clear()
    post.engine.call(relay, "pass_once")
    assert ["b", "a"] == post.got


@EMBEDDED
def test_a_breaker_keeps_messages_from_being_used_up(post: Post, clock: FakeClock) -> None:
    """While the pipeline refuses, no message is tried or changed: an hour without the receiver costs no attempts."""
    post.add(*(f"m{number}" for number in range(20)))
    for number in range(20):
        post.faults[f"m{number}"] = ConnectionError()
    guarded = Pipeline(f"relay {next(NUMBERS)}", CircuitBreaker(failures=3, open_for=30.0), Timeout(5))
    relay = post.relay(pipeline=guarded, in_flight=1, max_attempts=20)
    for _ in range(60):
        post.engine.call(relay, "pass_once")
        clock.advance(60)
    attempts = [message.attempts for message in post.engine.call(post.outbox, "waiting")]
    assert 20 == len(attempts)
    assert 62 == sum(attempts)  # three until it opened, and one probe a minute
    assert [] == post.stuck()
    post.faults.clear()
    clock.advance(300)
    post.engine.call(relay, "pass_once")
    assert 20 == len(set(post.got))


@EMBEDDED
def test_a_rejection_inside_send_does_not_pause_the_pipeline(post: Post, clock: FakeClock) -> None:
    """It is about one message, whose receiver has a breaker of its own, say; the next pass sends the others."""
    post.add("a", "b", "c")
    post.faults["a"] = RateLimitedError("receiver", 60.0)
    relay = post.relay(pipeline=Pipeline(f"relay {next(NUMBERS)}", Timeout(5)), in_flight=1)
    post.engine.call(relay, "pass_once")
    assert ["b", "c"] == post.got
    (waiting,) = post.engine.call(post.outbox, "waiting")
    assert (0, clock.wall() + 60) == (waiting.attempts, waiting.available_at)


@EMBEDDED
def test_a_receivers_wish_is_followed(post: Post, clock: FakeClock) -> None:
    """`retry_after` of an error counts as an attempt, and is the delay."""

    class Busy(Exception):
        retry_after = "90"

    post.add("a")
    post.faults["a"] = Busy()
    post.pass_()
    (waiting,) = post.engine.call(post.outbox, "waiting")
    assert (1, clock.wall() + 90) == (waiting.attempts, waiting.available_at)


@EMBEDDED
def test_a_retry_in_the_pipeline_is_part_of_an_attempt(post: Post) -> None:
    """Quick retries come first; what they cannot help is one failed attempt."""
    post.add("a")
    calls: list[str] = []
    post.sending = lambda: calls.append("called")
    post.faults["a"] = ConnectionError()
    retrying = Pipeline(f"relay {next(NUMBERS)}", Retry(on=ConnectionError, max_attempts=3, backoff=0.0), Timeout(5))
    post.pass_(pipeline=retrying)
    (waiting,) = post.engine.call(post.outbox, "waiting")
    assert (1, 3) == (waiting.attempts, len(calls))


@EMBEDDED
@pytest.mark.parametrize("fault", [SystemExit(3), BulkheadFullError("x")], ids=repr)
def test_whatever_send_raises_is_about_its_message_alone(post: Post, fault: BaseException) -> None:
    """The relay goes on with the others."""
    post.add("a", "b")
    post.faults["a"] = fault
    assert (1, ["b"], ["a"]) == (post.pass_(), post.got, post.waiting())


@EMBEDDED
def test_what_is_sent_is_told(post: Post, clock: FakeClock) -> None:
    """With its age; after it was written down."""
    (first,) = post.add("a")
    clock.advance(3)
    told: list[tuple[Any, list[str]]] = []
    relay = post.relay(name="mails")
    relay.listen(lambda event: told.append(event), OutboxSent)
    post.engine.call(relay, "pass_once")
    assert [OutboxSent("mails", first, "there", 3.0)] == told


@over("embedded")
def test_a_message_is_sent_under_its_correlation_id(engine: Engine, post: Post) -> None:
    """What `send` logs and calls carries it; somebody's own header of that name does no harm."""
    from seawall import correlation, correlation_id

    seen: list[str | None] = []
    post.sending = lambda: seen.append(correlation_id())
    with correlation("order-7"):
        post.outbox.add("there", "a")
        post.outbox.add("there", "b", headers={"x-correlation-id": "not an id!"})
        post.pass_(in_flight=1)
    assert ["order-7", None] == seen
