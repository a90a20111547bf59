"""Leases of relays: kept while they work, taken over when they died, lost when they were too slow."""

from collections.abc import Iterator

import pytest

from seawall.durable import EmbeddedStore, Outbox
from seawall.durable.events import LeaseLost, OutboxFailed, OutboxSent
from seawall.durable.script import Script, Statement
from seawall.testing import FakeClock
from tests.durable.outbox.by_hand import HandRelay


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


@pytest.fixture
def outbox(store: EmbeddedStore) -> Outbox:
    """Two messages of a key, and one without."""
    outbox = Outbox(store)
    for number in (1, 2):
        outbox.add("there", f"k{number}", ordering_key="k")
    outbox.add("there", "free")
    return outbox


def texts(relay: HandRelay) -> list[str]:
    """Returns what a relay is sending."""
    return [each.message.body.decode() for each in relay.sendings if each.message is not None]


def test_relays_exclude_each_other(store: EmbeddedStore, outbox: Outbox, clock: FakeClock) -> None:
    """What one has claimed, or has in its key, no other one gets; what comes new with a free key, it does."""
    one, other = HandRelay(store), HandRelay(store)
    one.turn()
    assert ["k1", "free"] == texts(one)
    outbox.add("there", "k3", ordering_key="k")
    outbox.add("there", "j1", ordering_key="j")
    other.turn()
    assert ["j1"] == texts(other)


def test_a_dead_relays_claims_are_taken_over_after_the_lease(
    store: EmbeddedStore, outbox: Outbox, clock: FakeClock
) -> None:
    """Not a moment earlier; from the first message that was not written down as sent."""
    dead, heir = HandRelay(store), HandRelay(store)
    dead.turn()
    for each in list(dead.sendings):
        each.end()  # sent, and never written down
    clock.advance(29.9)
    heir.turn()
    assert [] == texts(heir)
    clock.advance(0.2)
    heir.turn()
    assert ["k1", "free"] == texts(heir)


def test_a_lease_is_kept_while_its_relay_works(store: EmbeddedStore, outbox: Outbox, clock: FakeClock) -> None:
    """Every 10 seconds, for as long as it takes; then what was sent counts as sent."""
    slow, other = HandRelay(store), HandRelay(store)
    slow.turn()
    for _ in range(20):
        clock.advance(10)
        assert slow.turn_if_due()
        other.turn()
        assert [] == texts(other)
    assert all(each.lane.stands() for each in slow.sendings)
    for _ in range(3):
        slow.sendings[0].end()
    slow.turn()
    assert ([], [OutboxSent] * 3) == (outbox.waiting(), [type(event) for event in slow.events])


def test_a_relay_that_was_asleep_sends_no_more(store: EmbeddedStore, outbox: Outbox, clock: FakeClock) -> None:
    """Its lease ends by its own clock before anybody else's begins: nothing further of the key leaves it."""
    asleep = HandRelay(store)
    asleep.turn()
    clock.advance(30.0)
    key, free = asleep.sendings
    assert "k1" == key.end().body.decode()
    assert (None, "free") == (key.message, free.end().body.decode())


def test_what_a_relay_sent_too_late_is_still_written_down(
    store: EmbeddedStore, outbox: Outbox, clock: FakeClock
) -> None:
    """Where nobody has taken over: it need not be sent again."""
    late = HandRelay(store)
    late.turn()
    clock.advance(31)
    for each in list(late.sendings):
        each.end()
    late.turn()
    assert ["k2"] == [message.body.decode() for message in outbox.waiting()]
    assert ["k2"] == texts(late)  # its key was given back, and claimed anew


def test_a_relay_that_lost_its_claims_writes_nothing(store: EmbeddedStore, outbox: Outbox, clock: FakeClock) -> None:
    """Neither that a message was sent, nor that it failed, nor a lease; it is told, and lets the rest alone."""
    lost, heir = HandRelay(store), HandRelay(store)
    lost.turn()
    clock.advance(31)
    heir.turn()
    key, free = list(lost.sendings)
    key.end(ConnectionError())
    free.end()
    lost.turn()
    told = {event.name: event.reason for event in lost.events if isinstance(event, LeaseLost)}
    ids = [message.message_id for message in outbox.waiting()]
    assert {"ordering key 'k'", f"message {ids[2]}"} == set(told)
    assert {"another relay has taken over, or somebody dropped it; it may have been sent twice"} == set(told.values())
    assert [0, 0, 0] == [message.attempts for message in outbox.waiting()]
    assert [] == texts(lost)
    for _ in range(3):
        heir.sendings[0].end()
    heir.turn()
    assert [] == outbox.waiting()


def test_a_renewal_that_comes_too_late_finds_the_lease_lost(
    store: EmbeddedStore, outbox: Outbox, clock: FakeClock
) -> None:
    """No message of it is begun any more."""
    late, heir = HandRelay(store), HandRelay(store)
    late.turn()
    clock.advance(31)
    heir.turn()
    late.turn()
    assert [LeaseLost, LeaseLost] == [type(event) for event in late.events]
    assert [False, False] == [each.lane.stands() for each in late.sendings]
    late.sendings[0].end()
    assert ["free"] == texts(late)
    late.turn()
    clock.advance(10)
    late.turn()
    assert late.desk.due_in()  # what is lost is not renewed again and again


def test_nothing_further_of_a_key_that_was_taken_is_sent(
    store: EmbeddedStore, outbox: Outbox, clock: FakeClock
) -> None:
    """Not even while the lease would still stand by this process's clock."""
    relay = HandRelay(store)
    relay.turn()

    def steal() -> Script[None]:
        yield Statement("UPDATE seawall_outbox_key SET owner = 'thief'"), {}

    store.run(steal)
    clock.advance(10)
    relay.turn()
    key, free = relay.sendings
    assert ([False, True], None) == ([each.lane.stands() for each in (key, free)], key.end() and key.message)


def test_what_is_given_back_can_be_claimed_at_once(store: EmbeddedStore, outbox: Outbox, clock: FakeClock) -> None:
    """A relay that stops gives back what it has not begun; a key, when its message has been sent."""
    leaving, other = HandRelay(store), HandRelay(store)
    leaving.turn()
    leaving.desk.stop()
    for each in list(leaving.sendings):
        each.end()
    assert leaving.turn_if_due()
    assert leaving.desk.due_in() is None
    other.turn()
    assert ["k2"] == texts(other)


def test_a_transaction_that_is_run_twice_gives_the_same_answer(
    store: EmbeddedStore, outbox: Outbox, clock: FakeClock
) -> None:
    """Its commit may have come about before the connection was lost: nothing is claimed twice, nothing called lost."""
    relay = HandRelay(store)

    def turn_twice() -> None:
        plan = relay.desk.plan()
        answers = [store.run(plan.script()), store.run(plan.script())]
        first, second = ((sorted(answer.written), answer.runs, answer.after) for answer in answers)
        assert first == second
        relay.begin(relay.desk.settle(plan, answers[1]))

    turn_twice()
    relay.sendings[0].end()
    relay.sendings[0].end(ConnectionError())
    relay.sendings[0].end()
    turn_twice()
    clock.advance(1)
    turn_twice()
    assert ["k2"] == texts(relay)
    relay.sendings[0].end()
    turn_twice()
    assert [] == outbox.waiting()
    assert [OutboxSent, OutboxFailed, OutboxSent, OutboxSent] == [type(event) for event in relay.events]


def test_nothing_is_left_of_a_key_that_is_done(store: EmbeddedStore, outbox: Outbox, clock: FakeClock) -> None:
    """The claims of keys do not pile up."""
    relay = HandRelay(store)
    relay.turn()
    while relay.sendings:
        relay.sendings[0].end()
    relay.turn()

    def keys() -> Iterator[object]:
        rows = yield Statement("SELECT * FROM seawall_outbox_key"), {}
        return rows

    assert [] == list(store.run(keys))  # type: ignore[arg-type]
