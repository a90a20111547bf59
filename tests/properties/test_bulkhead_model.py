"""The bulkhead agrees with a list of holders and a list of waiters, over two event loops that are run by hand."""

import asyncio
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seawall import Bulkhead, BulkheadFullError

NUMBERS = count()
WHICH = st.integers(0, 30)


class Caller:
    """One task: how it stands with its slot, and what was done to it since its loop last ran."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.loop = loop
        self.leave: asyncio.Future[None] = loop.create_future()
        self.task: asyncio.Task[None] | None = None
        self.entered = self.told = False
        self.cancelled = False


class BulkheadMachine(RuleBasedStateMachine):
    """Model: who holds a slot, and who waits, first come first served. A loop runs only when a rule says so."""

    @initialize(limit=st.integers(1, 3), room=st.integers(0, 4))
    def begin(self, limit: int, room: int) -> None:
        """Makes a bulkhead and two loops."""
        self.limit, self.room = limit, room
        self.bulkhead = Bulkhead(limit, max_waiting=room, name=f"bulkhead-model-{next(NUMBERS)}")
        self.loops = [asyncio.new_event_loop() for _ in range(2)]
        self.callers: list[Caller] = []
        self.holders: list[Caller] = []
        self.queue: list[Caller] = []
        self.inside: list[Caller] = []
        self.order: list[int] = []
        self.most = 0

        async def body(caller: Caller) -> None:
            self.inside.append(caller)
            self.order.append(caller.number)
            caller.entered = True
            self.most = max(self.most, len(self.inside))
            try:
                await caller.leave
            finally:
                self.inside.remove(caller)

        self.protected = self.bulkhead(body)

    def teardown(self) -> None:
        """Lets every call end, and sees that every slot is back."""
        if not hasattr(self, "loops"):
            return
        for caller in self.callers:
            if not caller.leave.done():
                caller.leave.set_result(None)
        for _ in range(len(self.callers) + 2):
            for loop in self.loops:
                self._tick(loop)
        for loop in self.loops:
            loop.close()
        assert (0, 0) == (self.bulkhead.snapshot().running, self.bulkhead.snapshot().waiting)
        assert all(caller.task is not None and caller.task.done() for caller in self.callers)

    # the model

    def _free(self, caller: Caller) -> None:
        self.holders.remove(caller)
        if self.queue:
            self.holders.append(self.queue.pop(0))

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(6):
            loop.call_soon(loop.stop)
            loop.run_forever()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Runs a loop until it is idle; first in the model."""
        progress = True
        while progress:
            progress = False
            for caller in [caller for caller in self.callers if caller.loop is loop and caller.task is not None]:
                done = caller.cancelled or caller.told
                if caller in self.holders and done:
                    self._free(caller)
                    progress = True
                elif caller in self.queue and caller.cancelled:
                    self.queue.remove(caller)
                    progress = True
        self._tick(loop)

    # what happens

    @rule(loop=st.integers(0, 1))
    def enter(self, loop: int) -> None:
        """A task of one loop asks for a slot; that loop runs."""
        self._run(self.loops[loop])
        caller = Caller(len(self.callers), self.loops[loop])
        caller.task = caller.loop.create_task(self.protected(caller))
        self._tick(caller.loop)
        if len(self.holders) < self.limit and not self.queue:
            self.holders.append(caller)
        elif len(self.queue) < self.room:
            self.queue.append(caller)
        else:
            assert isinstance(caller.task.exception(), BulkheadFullError)
            return
        self.callers.append(caller)
        assert not caller.task.done()

    @precondition(lambda self: self.holders)
    @rule(which=WHICH, run=st.booleans())
    def leave(self, which: int, run: bool) -> None:
        """A holder is told to leave; its loop may run later."""
        caller = self.holders[which % len(self.holders)]
        if not caller.leave.done():
            caller.leave.set_result(None)
        caller.told = True
        if run:
            self._run(caller.loop)

    @precondition(lambda self: self.queue or self.holders)
    @rule(which=WHICH, run=st.booleans())
    def cancel(self, which: int, run: bool) -> None:
        """Anybody is cancelled: queued, just handed a slot, inside, or told to leave; its loop may run later."""
        alive = [*self.queue, *self.holders]
        self._cancel(alive[which % len(alive)], run)

    @precondition(lambda self: any(not caller.entered for caller in self.holders))
    @rule(which=WHICH, run=st.booleans())
    def cancel_one_just_handed_a_slot(self, which: int, run: bool) -> None:
        """One that was handed a slot and has not run since is cancelled."""
        handed = [caller for caller in self.holders if not caller.entered]
        self._cancel(handed[which % len(handed)], run)

    def _cancel(self, caller: Caller, run: bool) -> None:
        assert caller.task is not None
        caller.task.cancel()
        caller.cancelled = True
        if run:
            self._run(caller.loop)

    @rule(loop=st.integers(0, 1))
    def run_loop(self, loop: int) -> None:
        """A loop runs until it is idle."""
        self._run(self.loops[loop])

    @precondition(lambda self: not any(caller.loop is self.loops[1] for caller in (*self.holders, *self.queue)))
    @rule()
    def replace_a_loop(self) -> None:
        """The second loop is closed, and another one takes its place."""
        self._run(self.loops[1])
        self.loops[1].close()
        self.loops[1] = asyncio.new_event_loop()

    @invariant()
    def slots_and_queue_are_those_of_the_model(self) -> None:
        """Running and waiting are as the lists say; the limit holds; whoever is inside holds a slot."""
        if not hasattr(self, "loops"):
            return
        seen = self.bulkhead.snapshot()
        assert (len(self.holders), len(self.queue)) == (seen.running, seen.waiting)
        assert self.most <= self.limit
        assert all(caller in self.holders for caller in self.inside)
        assert not any(caller.entered for caller in self.queue)

    @invariant()
    def those_who_stayed_entered_in_their_order(self) -> None:
        """Within one loop, calls enter in the order of asking."""
        if hasattr(self, "loops"):
            for loop in self.loops:
                own = [number for number in self.order if self.callers[number].loop is loop]
                assert sorted(own) == own


TestBulkhead = BulkheadMachine.TestCase
TestBulkhead.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
