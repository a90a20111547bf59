"""Any number of relays, living and dying at any moment, against what they promise."""

from collections import defaultdict
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from seawall.durable import EmbeddedStore, Outbox
from seawall.durable.script import Script, Statement
from seawall.testing import FakeClock
from tests.durable.outbox.by_hand import HandRelay, Sending

KEYS = st.sampled_from([None, "a", "b", "c"])
RELAYS = st.integers(0, 2)


def sent() -> Script[list[str]]:
    """Returns the ids of the messages that count as sent."""
    rows = yield Statement("SELECT message_id FROM seawall_outbox WHERE sent_at IS NOT NULL"), {}
    return [row[0] for row in rows]


class Relays(RuleBasedStateMachine):
    """Three relays; one that died is replaced by a new one. A message arrives while it is being sent, or is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.clock.__enter__()
        self.store = EmbeddedStore.in_memory()
        self.outbox = Outbox(self.store)
        self.relays = [HandRelay(self.store) for _ in range(3)]
        self.added: dict[str | None, list[str]] = defaultdict(list)
        self.arrived: dict[str | None, list[str]] = defaultdict(list)  # the first copy of each
        self.asleep: list[Sending] = []

    @rule(key=KEYS, delay=st.sampled_from([0, 0, 0, 2.0]))
    def add(self, key: str | None, delay: float) -> None:
        """Adds a message."""
        self.added[key].append(self.outbox.add("there", "x", ordering_key=key, delay=delay))

    @rule(number=RELAYS)
    def turn(self, number: int) -> None:
        """A relay does what is due."""
        self.relays[number].turn_if_due()

    @rule(number=RELAYS, which=st.integers(0, 20), arrives=st.booleans(), fails=st.booleans())
    def end(self, number: int, which: int, arrives: bool, fails: bool) -> None:
        """The sending of a message ends; one that fails may have arrived all the same."""
        sendings = self.relays[number].sendings
        if sendings:
            self._end(sendings[which % len(sendings)], arrives, fails)

    @rule(number=RELAYS)
    def die(self, number: int) -> None:
        """A relay dies. What it was sending may still arrive, much later."""
        self.asleep += self.relays[number].sendings
        self.relays[number] = HandRelay(self.store)

    @precondition(lambda self: self.asleep)
    @rule(which=st.integers(0, 20))
    def arrive_late(self, which: int) -> None:
        """What a dead relay was sending arrives; it sends nothing further."""
        sending = self.asleep.pop(which % len(self.asleep))
        assert sending.message is not None
        self._arrive(sending.message)

    @rule(number=RELAYS)
    def leave(self, number: int) -> None:
        """A relay stops in good order as far as it can now, and another one comes."""
        self.relays[number].desk.stop()
        self.relays[number].turn_if_due()
        self.die(number)

    @rule(seconds=st.sampled_from([0.1, 1.0, 9.0, 25.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes, for all of them."""
        self.clock.advance(seconds)

    @invariant()
    def each_key_arrives_in_order(self) -> None:
        """First copies arrive in the order in which they were added."""
        for key, ids in self.added.items():
            if key is not None:
                assert ids[: len(self.arrived[key])] == self.arrived[key]

    @invariant()
    def nobody_works_on_what_is_anothers(self) -> None:
        """Of the relays whose leases stand, at most one sends messages of a key, or a given message without one."""
        held = [each.lane for relay in self.relays for each in relay.sendings if each.lane.stands()]
        marks = [lane.mark for lane in held]
        assert len(marks) == len(set(marks))

    @invariant()
    def only_what_arrived_counts_as_sent(self) -> None:
        """No message is lost."""
        assert set(self.store.run(sent)) <= {each for ids in self.arrived.values() for each in ids}

    def teardown(self) -> None:
        """All relays die; another one sends what is left, in order."""
        self.clock.advance(31)
        last = HandRelay(self.store)
        for _ in range(200):
            last.turn_if_due()
            for each in list(last.sendings):
                while each.message is not None:
                    self._end(each, arrives=True, fails=False)
            self.clock.advance(1)
            if not self.outbox.waiting() and last.desk.due_in():
                break
        self.each_key_arrives_in_order()
        assert {key: sorted(ids) for key, ids in self.added.items()} == {
            key: sorted(self.arrived[key]) for key in self.added
        }
        self.store.close()
        self.clock.__exit__()

    def _end(self, sending: Sending, arrives: bool, fails: bool) -> None:
        message: Any = sending.message
        assert message.available_at <= self.clock.wall()
        if arrives or not fails:
            self._arrive(message)
        sending.end(ConnectionError() if fails else None)

    def _arrive(self, message: Any) -> None:
        seen = self.arrived[message.ordering_key]
        if message.message_id not in seen:
            seen.append(message.message_id)


TestRelays = Relays.TestCase
TestRelays.settings = settings(max_examples=60, stateful_step_count=40)
