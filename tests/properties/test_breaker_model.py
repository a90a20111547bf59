"""The circuit breaker agrees with a naive model, whatever happens in whatever order."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seawall import CircuitBreaker, CircuitChanged, CircuitIsolatedError, CircuitOpenError
from seawall.testing import FakeClock, Recorder

NUMBERS = count()
OPEN_FOR = 4.0
SHAPES: list[dict[str, Any]] = [
    {"failures": 1},
    {"failures": 3},
    {"failures": 2, "window_calls": 4},
    {"failures": 3, "window_calls": 3},
    {"failures": 2, "window": 10.0},
    {"failures": 2, "window": 10.0, "min_calls": 4},
    {"failure_rate": 0.5, "window_calls": 6, "min_calls": 3},
    {"failure_rate": 0.5, "window": 10.0, "min_calls": 3},
    {"failure_rate": 1.0, "window": 5.0, "min_calls": 2},
]
HALF_SECONDS = st.integers(1, 12).map(lambda halves: halves / 2)


@dataclass
class Epoch:
    """One state, from its beginning to its end."""

    word: str
    until: float = 0.0
    opened: int = 0
    outcomes: list[tuple[float, bool]] = field(default_factory=list)
    issued: int = 0
    running: list["Held"] = field(default_factory=list)


@dataclass(eq=False)
class Held:
    """A permit of the real breaker, with the epoch that gave it."""

    permit: Any
    epoch: Epoch
    lease_end: float = 0.0
    ended: bool = False


class BreakerMachine(RuleBasedStateMachine):
    """Model: the present epoch, with a list of all its outcomes."""

    @initialize(
        shape=st.sampled_from(SHAPES), probes=st.integers(1, 3), more=st.booleans(), factor=st.sampled_from([1.0, 2.0])
    )
    def begin(self, shape: dict[str, Any], probes: int, more: bool, factor: float) -> None:
        """Makes a breaker of some shape."""
        self.shape, self.probes, self.factor = shape, probes, factor
        self.rated = "failure_rate" in shape
        self.successes = probes if more and not self.rated else 1
        self.clock = FakeClock()
        self.mode = "active"
        self.breaker = CircuitBreaker(
            **shape,
            open_for=OPEN_FOR,
            open_for_factor=factor,
            open_for_cap=16.0,
            probes=probes,
            successes=self.successes,
            clock=self.clock,
            name=f"breaker-model-{next(NUMBERS)}",
        )
        self.recorder = Recorder()
        self.breaker.listen(self.recorder, CircuitChanged)
        self.epoch = Epoch("closed")
        self.held: list[Held] = []
        self.holds: list[Any] = []
        self.openings = 0
        self.lease = 0.0

    # the model

    def _counts(self) -> tuple[int, int]:
        """Returns calls and failures, from the list of all outcomes of this epoch."""
        outcomes = self.epoch.outcomes
        if self.epoch.word not in ("closed", "metrics_only"):
            return 0, 0
        if "window" in self.shape:
            span = self.shape["window"] / 10
            newest = self.clock.now() // span
            outcomes = [outcome for outcome in outcomes if outcome[0] // span > newest - 10]
        elif "window_calls" in self.shape:
            outcomes = outcomes[-self.shape["window_calls"] :]
        else:
            row = 0
            for _, failed in outcomes:
                row = row + 1 if failed else 0
            return row, row
        return len(outcomes), sum(failed for _, failed in outcomes)

    def _trips(self) -> bool:
        calls, failures = self._counts()
        wanted = self.shape.get("failures")
        if calls < self.shape.get("min_calls", wanted or 0):
            return False
        return failures >= wanted if wanted is not None else failures / calls >= self.shape["failure_rate"]

    def _open(self, opened: int) -> None:
        lasts = min(16.0, OPEN_FOR * self.factor**opened)
        self.lease = lasts
        self.openings += 1
        self.epoch = Epoch("open", until=self.clock.now() + lasts, opened=opened)

    def _settle_probe(self, failed: bool) -> None:
        epoch = self.epoch
        epoch.outcomes.append((self.clock.now(), failed))
        bad = sum(failed for _, failed in epoch.outcomes)
        good = len(epoch.outcomes) - bad
        if self.rated:
            judged = len(epoch.outcomes) >= self.probes
            worse = judged and bad / len(epoch.outcomes) >= self.shape["failure_rate"]
            better = judged and not worse
        else:
            worse, better = bad > 0, good >= self.successes
        if worse:
            self._open(epoch.opened + 1)
        elif better:
            self.epoch = Epoch("closed")

    def _expected_rejection(self) -> tuple[type[Exception], float | None] | None:
        """Says whether and how the next call is refused; takes the probe's place where it is not."""
        now, epoch = self.clock.now(), self.epoch
        if epoch.word == "isolated":
            return CircuitIsolatedError, None
        if epoch.word == "open":
            if now < epoch.until:
                return CircuitOpenError, epoch.until - now
            self.epoch = epoch = Epoch("half_open", opened=epoch.opened)
        if epoch.word == "half_open":
            if epoch.issued >= self.probes:
                hung = [held for held in epoch.running if held.lease_end <= now]
                if not hung:
                    ends = [held.lease_end for held in epoch.running]
                    return CircuitOpenError, min(ends) - now if ends else None
                epoch.running.remove(hung[0])
                epoch.issued -= 1
            epoch.issued += 1
        return None

    # what happens

    @rule()
    def acquire(self) -> None:
        """A call asks."""
        expected = self._expected_rejection()
        try:
            permit = self.breaker.acquire()
        except (CircuitOpenError, CircuitIsolatedError) as error:
            refused: object = (type(error), error.retry_after)
        else:
            refused = None
        assert expected == refused
        if refused is not None:
            return
        held = Held(permit, self.epoch, self.clock.now() + self.lease)
        self.held.append(held)
        if self.epoch.word == "half_open":
            self.epoch.running.append(held)

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 30), verdict=st.sampled_from(["success", "failure", "failure", "release"]))
    def end(self, which: int, verdict: str) -> None:
        """Any call that was ever let through ends, now, late, or a second time."""
        held = self.held[which % len(self.held)]
        getattr(held.permit, verdict)()
        if held.ended or held.epoch is not self.epoch:
            held.ended = True
            return
        held.ended = True
        epoch = self.epoch
        if epoch.word == "half_open":
            running = held in epoch.running
            if running:
                epoch.running.remove(held)
            if verdict == "release":
                epoch.issued -= running
            else:
                self._settle_probe(verdict == "failure")
        elif epoch.word in ("closed", "metrics_only") and verdict != "release":
            epoch.outcomes.append((self.clock.now(), verdict == "failure"))
            if epoch.word == "closed" and self._trips():
                self._open(0)

    @rule(verdicts=st.lists(st.sampled_from(["success", "failure"]), min_size=1, max_size=6))
    def some_calls(self, verdicts: list[str]) -> None:
        """A few calls come and end at once."""
        for verdict in verdicts:
            before = len(self.held)
            self.acquire()
            if len(self.held) > before:
                self.end(before, verdict)

    @rule(seconds=HALF_SECONDS)
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @precondition(lambda self: self.epoch.word == "open")
    @rule()
    def wait_for_the_break_to_end(self) -> None:
        """Exactly the rest of the break passes."""
        self.clock.advance(max(0.0, self.epoch.until - self.clock.now()))

    @rule()
    def isolate(self) -> None:
        """An operator holds the circuit open."""
        self.holds.append(self.breaker.isolate())
        if self.epoch.word != "isolated":
            self.epoch = Epoch("isolated")

    @precondition(lambda self: self.holds)
    @rule(which=st.integers(0, 5))
    def let_go(self, which: int) -> None:
        """An operator lets go."""
        self.holds.pop(which % len(self.holds)).close()
        if not self.holds and self.epoch.word == "isolated":
            self.epoch = self.passing()

    @rule()
    def reset(self) -> None:
        """An operator resets."""
        self.breaker.reset()
        self.holds.clear()
        self.epoch = self.passing()

    @rule(mode=st.sampled_from(["active", "active", "metrics_only", "disabled"]))
    def set_mode(self, mode: Any) -> None:
        """An operator changes the mode."""
        self.breaker.mode = mode
        if mode != self.mode:
            self.mode = mode
            self.holds.clear()
            self.epoch = self.passing()

    def passing(self) -> Epoch:
        """The state in which calls pass, which is the mode's."""
        return Epoch("closed" if self.mode == "active" else self.mode)

    @invariant()
    def state_and_counts_are_those_of_the_model(self) -> None:
        """Looking tells what the model knows, and changes nothing."""
        if not hasattr(self, "breaker"):
            return
        epoch = self.epoch
        over = epoch.word == "open" and self.clock.now() >= epoch.until
        seen = self.breaker.snapshot()
        assert ("half_open" if over else epoch.word) == self.breaker.state == seen.state
        assert self._counts() == (seen.calls, seen.failures)
        assert self.openings == sum(event.new == "open" for event in self.recorder.of(CircuitChanged))
        assert len(epoch.running) <= self.probes


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)
