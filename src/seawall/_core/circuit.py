"""The circuit breaker's state machine, without waiting.

A call remembers the state object that let it through and settles with that object alone; once the circuit has moved on,
the object is dead and a late result changes nothing. Outcomes are settled under a lock that nobody waits for: who finds
it taken leaves the outcome in an inbox, which the holder empties. So a finalizer (an abandoned generator) may settle
at any moment, also on the thread that holds the lock.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final

from seawall._core.circuit_rules import Rules
from seawall._core.clock import Clock, DefaultClock
from seawall._core.errors import CircuitIsolatedError, CircuitOpenError
from seawall._core.events import EVERYWHERE, CircuitChanged, Hub
from seawall._core.forks import renew_after_fork
from seawall._core.outcome import FAILURE, RELEASE, SUCCESS
from seawall._core.permit import CallPermit, Pass

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"
ISOLATED: Final = "isolated"
DISABLED: Final = "disabled"
METRICS_ONLY: Final = "metrics_only"
LEAST_LEASE: Final = 30.0
"""A probe's lease, in seconds, where neither an opening nor a time-out suggests one."""


class _NotRefusing:
    """A state whose refusals, if any, do not depend on time alone: a driver does not get as far as `refusal`."""

    __slots__ = ()
    until: ClassVar[float] = -math.inf

    def refusal(self, now: float) -> CircuitOpenError:
        raise AssertionError("this state refuses nothing")


class Closed(_NotRefusing):
    """Calls pass and are counted. Where exceptions alone decide, the state is itself the permit of all its calls."""

    __slots__ = ("_circuit", "failures", "in_a_row", "permit", "window", "word")

    def __init__(self, circuit: Circuit, word: str = CLOSED) -> None:
        self._circuit = circuit
        self.word = word
        self.failures = 0
        self.window = circuit.rules.new_window()
        self.in_a_row = self.window is None
        self.permit: Pass | None = self if circuit.rules.quick else None

    def admit(self) -> CallPermit:
        circuit = self._circuit
        return CallPermit(circuit, self, 0.0 if circuit.rules.slow_after is None else circuit.clock.now())

    def failed(self, error: BaseException) -> None:
        self._circuit.settle(self, None, self._circuit.rules.judge(error), error)

    def succeeded(self, result: object) -> None:
        """A call succeeded. The short way through `Circuit.settle`, since it is what nearly every call does."""
        circuit = self._circuit
        if self.window is None:
            self.failures = 0
            return
        if circuit.inbox or not circuit.lock.acquire(False):
            circuit.settle(self, None, SUCCESS, None)
            return
        changed = None
        try:
            if circuit.state is self:
                window = self.window
                window.add(False, False, circuit.clock.now())
                if window.failures and circuit.rules.trips(window) and self.word == CLOSED:
                    changed = circuit.move(Open(circuit, 0, None))
        finally:
            circuit.lock.release()
        if changed is not None or circuit.inbox:
            circuit.after(changed)

    def settle(self, permit: CallPermit | None, verdict: str, error: BaseException | None, now: float) -> State | None:
        rules = self._circuit.rules
        failed = verdict == FAILURE
        if self.window is None:
            self.failures = self.failures + 1 if failed else 0
            tripped = rules.failures is not None and self.failures >= rules.failures
        else:
            slow = rules.slow_after is not None and permit is not None and now - permit.start >= rules.slow_after
            self.window.add(failed, slow, now)
            tripped = rules.trips(self.window)
        return Open(self._circuit, 0, error) if tripped and self.word == CLOSED else None


class Open:
    """Calls are rejected until `until`: first the cap, then what `open_for` says, which is asked without the lock."""

    __slots__ = ("_circuit", "attempt", "error", "exact", "until")
    word = OPEN
    permit: ClassVar[None] = None

    def __init__(self, circuit: Circuit, attempt: int, error: BaseException | None) -> None:
        self._circuit = circuit
        self.attempt = attempt
        self.error = error
        self.until = circuit.clock.now() + circuit.rules.open_for_cap
        self.exact = False

    def admit(self) -> CallPermit:
        return self._circuit.probe()

    def refusal(self, now: float) -> CircuitOpenError:
        """Returns the error for a call that is not let through.

        It is made here and raised elsewhere: in a local variable of the raising frame it would be a reference cycle.
        """
        hub = self._circuit.hub
        error = CircuitOpenError(hub.name, self.until - now)
        error.__cause__ = self.error
        return hub.refuse(error) if hub.listeners or EVERYWHERE else error


class HalfOpen(_NotRefusing):
    """A few calls are let through, and judged. One object is one epoch."""

    __slots__ = ("_bad", "_circuit", "_good", "_issued", "_running", "_slow", "error", "opened")
    word = HALF_OPEN
    permit: ClassVar[None] = None

    def __init__(self, circuit: Circuit, opened: Open) -> None:
        self._circuit = circuit
        self.opened = opened
        self.error = opened.error
        self._issued = self._good = self._bad = self._slow = 0
        self._running: dict[CallPermit, float] = {}

    def admit(self) -> CallPermit:
        return self._circuit.probe()

    def take(self, permit: CallPermit, now: float) -> bool:
        """Lets a call through, if another one may be. Called with the lock."""
        rules = self._circuit.rules
        if self._issued >= rules.probes:
            hung = next((old for old, end in self._running.items() if end <= now), None)
            if hung is None:
                return False
            del self._running[hung]  # its slot is free; its result still counts while this epoch lives
            self._issued -= 1
        self._issued += 1
        self._running[permit] = now + self._circuit.lease
        return True

    def no_probe_left(self, retry_after: float | None) -> CircuitOpenError:
        """Returns the error for a call that is not let through."""
        hub = self._circuit.hub
        error = CircuitOpenError(hub.name, retry_after)
        error.__cause__ = self.error
        return hub.refuse(error)

    def next_lease(self) -> float | None:
        """Returns when the next hung probe makes room. Called with the lock."""
        return min(self._running.values(), default=None)

    def settle(self, permit: CallPermit | None, verdict: str, error: BaseException | None, now: float) -> State | None:
        rules = self._circuit.rules
        held = permit is not None and self._running.pop(permit, None) is not None
        if verdict == RELEASE:
            self._issued -= held
            return None
        self._bad += verdict == FAILURE
        self._good += verdict == SUCCESS
        self._slow += rules.slow_after is not None and permit is not None and now - permit.start >= rules.slow_after
        total = self._good + self._bad
        worse = rules.failures is not None and rules.failure_rate is None and self._bad > 0
        if rules.failure_rate is None and rules.slow_rate is None:
            better = self._good >= rules.successes
        else:
            worse = worse or (total >= rules.probes and rules.too_bad(total, self._bad, self._slow))
            better = total >= rules.probes
        if worse:
            return Open(self._circuit, self.opened.attempt + 1, error or self.error)
        return Closed(self._circuit) if better else None


class Isolated:
    """Every call is rejected until the last holder lets go."""

    __slots__ = ("_circuit",)
    word = ISOLATED
    permit: ClassVar[None] = None
    until: ClassVar[float] = math.inf

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit

    def admit(self) -> CallPermit:
        raise self.refusal(0.0)

    def refusal(self, now: float) -> CircuitIsolatedError:
        hub = self._circuit.hub
        return hub.refuse(CircuitIsolatedError(hub.name, None))


class Disabled(_NotRefusing):
    """Every call passes and none is counted."""

    __slots__ = ("_circuit", "failures", "in_a_row", "permit")
    word = DISABLED

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit
        self.failures = 0
        self.in_a_row = False
        self.permit: Pass | None = self

    def admit(self) -> CallPermit:
        return CallPermit(self._circuit, self, 0.0)

    def failed(self, error: BaseException) -> None:
        """Nothing is counted."""

    def succeeded(self, result: object) -> None:
        """Nothing is counted."""


State = Closed | Open | HalfOpen | Isolated | Disabled


class Circuit:
    """One circuit: its present state, and the transitions between states. `state` is replaced, never changed back."""

    def __init__(self, hub: Hub, rules: Rules, clock: Clock | DefaultClock) -> None:
        self.hub = hub
        self.rules = rules
        self.clock = clock
        self.lease = 0.0
        self.timeout = 0.0
        self.inbox: deque[tuple[State, CallPermit | None, str, BaseException | None, float]] = deque()
        self.state: State = Closed(self)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Makes a new lock; what was in the inbox is the parent's to settle."""
        self.lock = threading.Lock()
        self.inbox.clear()

    def admit(self) -> CallPermit:
        """Lets a call through, or raises CircuitOpenError or CircuitIsolatedError."""
        state = self.state
        now = self.clock.now()
        if state.until > now:
            raise state.refusal(now)
        return state.admit()

    def probe(self) -> CallPermit:
        """Lets a call through while half-open, or goes half-open for it. Raises CircuitOpenError."""
        now = self.clock.now()
        changed: CircuitChanged | None = None
        rest: float | None = None
        with self.lock:
            state = self.state
            if isinstance(state, Open) and now >= state.until:
                state = HalfOpen(self, state)
                changed = self.move(state)
            permit = CallPermit(self, state, now)
            admitted = isinstance(state, HalfOpen) and state.take(permit, now)
            if isinstance(state, HalfOpen) and not admitted:
                rest = state.next_lease()
        self.after(changed)
        if admitted:
            return permit
        if not isinstance(state, HalfOpen):
            return state.admit()  # it moved on between the look and the lock
        raise state.no_probe_left(None if rest is None else max(0.0, rest - now))

    def settle(self, state: State, permit: CallPermit | None, verdict: str, error: BaseException | None) -> None:
        """Takes the end of a call. Never waits; safe in a finalizer."""
        if self.state is not state or (verdict == RELEASE and not isinstance(state, HalfOpen)):
            return
        now = self.clock.now()
        if self.inbox or not self.lock.acquire(blocking=False):
            self.inbox.append((state, permit, verdict, error, now))
        else:
            try:
                changed = self._settle(state, permit, verdict, error, now)
            finally:
                self.lock.release()
            if changed is not None:
                self._announce(changed)
        if self.inbox:
            self._drain()

    def _drain(self) -> None:
        while self.inbox and self.lock.acquire(blocking=False):
            changed: CircuitChanged | None = None
            try:
                if self.inbox:
                    changed = self._settle(*self.inbox.popleft())
            finally:
                self.lock.release()
            self._announce(changed)

    def _settle(
        self, state: State, permit: CallPermit | None, verdict: str, error: BaseException | None, now: float
    ) -> CircuitChanged | None:
        """Settles one outcome with the state that admitted it. Called with the lock."""
        if self.state is not state or not (isinstance(state, Closed) or isinstance(state, HalfOpen)):  # noqa: SIM101
            return None
        new = state.settle(permit, verdict, error, now)
        return None if new is None else self.move(new)

    def move(self, new: State) -> CircuitChanged:
        """Replaces the state. Called with the lock."""
        old, self.state = self.state, new
        return CircuitChanged(self.hub.name, old.word, new.word, getattr(new, "error", None))

    def after(self, changed: CircuitChanged | None) -> None:
        """After the lock: tells of a change, and takes what others have left in the inbox."""
        self._announce(changed)
        self._drain()

    def _announce(self, changed: CircuitChanged | None) -> None:
        if changed is None:
            return
        state = self.state
        if changed.new == OPEN and isinstance(state, Open) and not state.exact:
            state.exact = True
            duration = self.rules.opening(state.attempt, self.hub.name)
            self.lease = self.rules.probe_lease or max(duration, 2 * self.timeout) or LEAST_LEASE
            state.until = self.clock.now() + duration
            changed = CircuitChanged(changed.name, changed.old, changed.new, changed.failure, duration)
        self.hub.tell(changed)

    def counts(self) -> tuple[int, int, int]:
        """Returns calls, failures and slow calls of the window as of now."""
        with self.lock:
            state = self.state
            if not isinstance(state, Closed):
                counts = (0, 0, 0)
            elif state.window is None:
                counts = (state.failures, state.failures, 0)
            else:
                state.window.move(self.clock.now())
                counts = (state.window.total, state.window.failures, state.window.slow)
        self.after(None)
        return counts

    def change(self, choose: Callable[[], State]) -> None:
        """Moves to another state by hand; calls in flight end on the old one."""
        with self.lock:
            new = choose()
            changed = None if new is self.state else self.move(new)
        self.after(changed)

    def adopt(self, rules: Rules) -> None:
        """Goes on under other rules. The state stays; a window of another shape starts empty."""
        with self.lock:
            old, self.rules = self.rules, rules
            if isinstance(self.state, Closed) and (not rules.same_shape(old) or rules.quick != old.quick):
                failures = self.state.failures
                self.state = Closed(self, self.state.word)
                self.state.failures = failures
        self.after(None)
