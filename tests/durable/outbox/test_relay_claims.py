"""How a relay claims: past what is blocked, beside others who claim, and when it is to look again."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from seawall import Backoff
from seawall.durable import EmbeddedStore, Outbox
from seawall.durable.dialect import SQLITE
from seawall.durable.outbox_scripts import STUCK, WAITING
from seawall.durable.relay_rules import NotNowError
from seawall.durable.relay_scripts import (
    CLAIM_FREE,
    CLAIM_KEYS,
    FAILED,
    KEEP_FREE,
    KEEP_KEYS,
    OF_KEYS,
    SENT,
    WALK,
    Answer,
    Claim,
    turn,
)
from seawall.durable.script import Script, Statement
from seawall.testing import FakeClock
from tests.durable.engines import Engine, over
from tests.durable.outbox.by_hand import RULES, HandRelay
from tests.durable.outbox.posts import Post

CLAIM = Claim("me", limit=10, keyed=10, after="")


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Time that the test moves."""
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def store(clock: FakeClock) -> Iterator[EmbeddedStore]:
    """A store of this test alone."""
    with EmbeddedStore.in_memory() as store:
        yield store


def claiming(claim: Claim = CLAIM) -> Callable[[], Script[Answer]]:
    """Returns the script of a transaction that claims, and nothing else."""
    return partial(turn, [], claim, 30.0)


def spoken(store: EmbeddedStore, script: Callable[[], Script[Any]]) -> list[Statement]:
    """Runs a script; returns the statements that it made."""
    made: list[Statement] = []

    def listening() -> Script[None]:
        speaking = script()
        try:
            step = next(speaking)
            while True:
                made.append(step[0])
                step = speaking.send((yield step))
        except StopIteration:
            return

    store.run(listening)
    return made


def texts(answer: Answer) -> list[str]:
    """Returns what was claimed."""
    return [row.message.body.decode() for run in answer.runs for row in run]


def fill(store: EmbeddedStore, rows: list[tuple[str, str | None, float | None]]) -> None:
    """Adds many messages at once: id, key, and since when stuck."""

    def adding() -> Script[None]:
        insert = Statement(
            """INSERT INTO seawall_outbox (message_id, destination, headers, body, ordering_key, created_at,
                available_at, attempts, lease_until, stuck_at)
            SELECT json_extract(value, '$[0]'), 'there', '{}', CAST(json_extract(value, '$[0]') AS BLOB),
                json_extract(value, '$[1]'), 0, 0, 0, 0, json_extract(value, '$[2]') FROM json_each(:listed)"""
        )
        yield insert, {"listed": json.dumps(rows)}

    store.run(adding)


def test_what_is_behind_a_blocked_message_is_not_even_looked_at(store: EmbeddedStore, clock: FakeClock) -> None:
    """Stuck, delayed, or in other hands: its key is passed over in one step, and nothing is written."""
    fill(store, [("stuck 0", "stuck", 1.0), *((f"stuck {n}", "stuck", None) for n in range(1, 50))])
    outbox = Outbox(store)
    outbox.add("there", "later", ordering_key="delayed", delay=60)
    outbox.add("there", "after that", ordering_key="delayed")
    outbox.add("there", "taken 1", ordering_key="taken")
    store.run(claiming(Claim("somebody else", 10, 10, "")))
    outbox.add("there", "taken 2", ordering_key="taken")
    assert [] == texts(store.run(claiming()))
    assert [WALK, CLAIM_FREE] == spoken(store, claiming())


def test_a_message_that_is_not_due_ends_what_is_claimed_of_its_key(store: EmbeddedStore, clock: FakeClock) -> None:
    """Neither it nor a later one leaves early."""
    outbox = Outbox(store)
    outbox.add("there", "1", ordering_key="k")
    outbox.add("there", "2", ordering_key="k", delay=60)
    outbox.add("there", "3", ordering_key="k")
    assert ["1"] == texts(store.run(claiming()))


def test_keys_are_found_behind_any_number_that_are_blocked(store: EmbeddedStore, clock: FakeClock) -> None:
    """Each pass goes on where the last one ended, and looks again at once as long as there are more."""
    fill(store, [(f"m{number}", f"blocked {number:03}", 1.0) for number in range(100)])
    Outbox(store).add("there", "found", ordering_key="zz")
    relay = HandRelay(store, rules=RULES._replace(batch=4))
    for _ in range(4):  # of 10 rounds of 2 or 4 keys each
        assert 0 == relay.desk.due_in()
        relay.turn()
    assert ["zz"] == [each.lane.key for each in relay.sendings]


def test_all_keys_have_their_turn(store: EmbeddedStore, clock: FakeClock) -> None:
    """With more keys than a batch holds, each pass takes others."""
    fill(store, [(f"{key:02} {number}", f"k{key:02}", None) for number in range(3) for key in range(25)])
    relay, order = HandRelay(store), []
    while relay.turn_if_due():
        while relay.sendings:
            order.append(relay.sendings[0].end().body.decode())
    assert sorted(order) == sorted(set(order))
    assert 75 == len(order)
    firsts = [text for text in order if text.endswith("0")]
    assert len(set(order[:40]) & set(firsts)) >= 20


@over("psycopg", "asyncpg")
def test_claims_at_the_same_time_share_nothing(engine: Engine, post: Post) -> None:
    """On PostgreSQL, where transactions run beside each other: each message belongs to one of them."""
    for number in range(30):
        post.add(f"k{number} 1", f"k{number} 2", key=f"k{number}")
    post.add(*(f"free {number}" for number in range(30)))
    for round_ in range(5):
        claims = [Claim(f"{round_} {number}", 30, 15, "") for number in range(4)]
        answers = engine.together([claiming(claim) for claim in claims])
        claimed = [text for answer in answers for text in texts(answer)]
        assert sorted(claimed) == sorted(set(claimed))
        keys = [{row.message.ordering_key for run in answer.runs for row in run} - {None} for answer in answers]
        assert sum(map(len, keys)) == len(set().union(*keys))

        def lapse() -> Script[None]:
            yield Statement("UPDATE seawall_outbox SET lease_until = 0"), {}
            yield Statement("UPDATE seawall_outbox_key SET lease_until = 0"), {}

        engine.run(lapse)


def test_a_key_that_was_emptied_meanwhile_is_given_back(store: EmbeddedStore, clock: FakeClock) -> None:
    """Another relay sent its last message between the look and the claim."""

    def with_a_ghost() -> Script[Answer]:
        speaking = turn([], CLAIM, 30.0)
        step = next(speaking)
        try:
            while True:
                rows = yield step
                step = speaking.send([("ghost", True)] if step[0] is WALK else rows)
        except StopIteration as end:
            answer: Answer = end.value
            return answer

    def keys() -> Script[int]:
        rows = yield Statement("SELECT COUNT(*) FROM seawall_outbox_key"), {}
        return int(rows[0][0])

    assert ([], 0) == (store.run(with_a_ghost).runs, store.run(keys))


def test_a_pipeline_that_refuses_stops_all_claims_for_a_while(store: EmbeddedStore, clock: FakeClock) -> None:
    """What was claimed is not begun, and given back unchanged; after the time, it is claimed again."""
    outbox = Outbox(store)
    for number in range(3):
        outbox.add("there", f"k{number}", ordering_key="k")
        outbox.add("there", f"j{number}", ordering_key="j")
    relay = HandRelay(store)
    relay.turn()
    refused, other = relay.sendings
    refused.end(NotNowError(20.0))
    other.end()
    assert [] == relay.sendings
    relay.turn()
    assert ([], 20.0) == (relay.sendings, relay.desk.due_in())
    outbox.add("there", "free")
    relay.desk.wake()
    assert 20.0 == relay.desk.due_in()
    assert [0] * 6 == [message.attempts for message in outbox.waiting()]
    clock.advance(20)
    relay.turn()
    assert ["k0", "j1", "free"] == [each.message.body.decode() for each in relay.sendings if each.message]


def test_it_looks_again_when_a_failed_message_is_due(store: EmbeddedStore, clock: FakeClock) -> None:
    """Sooner than it polls, where the backoff is shorter."""
    Outbox(store).add("there", "a")
    relay = HandRelay(store, rules=RULES._replace(backoff=Backoff.fixed(0.25)))
    relay.turn()
    relay.sendings[0].end(ConnectionError())
    relay.turn()
    assert 0.25 == relay.desk.due_in()


def test_what_is_sent_in_a_burst_is_written_down_together(store: EmbeddedStore, clock: FakeClock) -> None:
    """Marks wait a moment for others, and not at all where nothing else is at work, or much has come together."""
    fill(store, [(f"m{number}", None, None) for number in range(8)])
    relay = HandRelay(store)
    relay.turn()
    relay.turn_if_due()
    assert 8 == len(relay.sendings)
    relay.sendings[0].end()
    assert 0.05 == relay.desk.due_in()
    for _ in range(4):
        relay.sendings[0].end()
    assert 0 == relay.desk.due_in()  # half a batch
    relay.turn()
    while relay.sendings:
        relay.sendings[0].end()
    assert 0 == relay.desk.due_in()


def test_a_relay_holds_no_more_than_it_can_send_soon(store: EmbeddedStore, clock: FakeClock) -> None:
    """As many as it sends at once, and a batch."""
    fill(store, [(f"m{number}", None, None) for number in range(100)])
    relay = HandRelay(store)
    while relay.turn_if_due():
        assert len(relay.sendings) <= RULES.in_flight + RULES.batch
    assert RULES.in_flight + RULES.batch - 3 <= len(relay.sendings)


def test_no_statement_of_a_relay_reads_the_whole_outbox(store: EmbeddedStore) -> None:
    """Millions of messages that were sent, or are blocked, cost nothing: each statement goes by an index."""
    values: dict[str, Any] = {
        "now": 0, "owner": "me", "lease": 1, "limit": 9, "count": 9, "after": "", "listed": "[]",
        "attempts": 1, "delay": 1, "error": "", "flag": 0,
    }  # fmt: skip

    def plans(connection: Any) -> list[str]:
        found = []
        for statement in (WALK, CLAIM_KEYS, OF_KEYS, CLAIM_FREE, KEEP_KEYS, KEEP_FREE, SENT, FAILED, WAITING, STUCK):
            rows = connection.execute("EXPLAIN QUERY PLAN " + SQLITE.render(statement.text), values).fetchall()
            found += [row[3] for row in rows]
        return found

    steps = store.transact(plans)
    assert any("seawall_outbox_order" in step for step in steps)
    assert any("seawall_outbox_due" in step for step in steps)
    small = (
        "SCAN w",
        "SCAN r",
        "SCAN l",
        "SCAN json_each",
        "SCAN k",
        "SCAN due",
        "SCAN seawall_outbox_key",
        "SCAN CONST",
        "SCAN seawall_outbox USING INDEX",  # of those that wait, or are stuck
    )
    assert [] == [step for step in steps if step.startswith("SCAN") and not step.startswith(small)]
