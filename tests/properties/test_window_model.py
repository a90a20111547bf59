"""The windows agree with a list of all outcomes."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seawall._core.window import CountWindow, TimeWindow

QUARTERS = st.integers(0, 40).map(lambda quarters: quarters / 4)


class TimeWindowMachine(RuleBasedStateMachine):
    """Model: every outcome ever, with the number of the span in which it fell."""

    @initialize(span=st.sampled_from([0.25, 0.5, 1.0, 2.0, 8.0]), buckets=st.integers(1, 12), start=st.integers(0, 99))
    def begin(self, span: float, buckets: int, start: int) -> None:
        """Chooses the window's shape; spans are exact in binary, so that the model needs no tolerance."""
        self.window = TimeWindow(span * buckets, buckets)
        self.span, self.now = span, float(start)
        self.outcomes: list[tuple[int, bool, bool]] = []

    def _inside(self) -> list[tuple[int, bool, bool]]:
        newest = int(self.now // self.span)
        return [outcome for outcome in self.outcomes if outcome[0] > newest - self.window.buckets]

    @rule(failed=st.booleans(), slow=st.booleans())
    def add(self, failed: bool, slow: bool) -> None:
        """An outcome comes in, now."""
        self.window.add(failed, slow, self.now)
        self.outcomes.append((int(self.now // self.span), failed, slow))

    @rule(failed=st.booleans(), slow=st.booleans(), late=QUARTERS)
    def add_late(self, failed: bool, slow: bool, late: float) -> None:
        """An outcome comes in that was timed earlier than the newest: it counts with the newest."""
        self.window.move(self.now)
        self.window.add(failed, slow, self.now - late)
        self.outcomes.append((int(self.now // self.span), failed, slow))

    @rule(by=QUARTERS)
    def wait(self, by: float) -> None:
        """Time passes."""
        self.now += by

    @rule(by=st.sampled_from([100.0, 1e6]))
    def wait_long(self, by: float) -> None:
        """Time passes by more than the window."""
        self.now += by

    @invariant()
    def counts_are_those_of_the_list(self) -> None:
        """After a move, the counts are those of the outcomes whose span has not left."""
        if hasattr(self, "window"):
            self.window.move(self.now)
            inside = self._inside()
            expected = (len(inside), sum(failed for _, failed, _ in inside), sum(slow for _, _, slow in inside))
            assert expected == (self.window.total, self.window.failures, self.window.slow)


class CountWindowMachine(RuleBasedStateMachine):
    """Model: the last outcomes of a list of all."""

    @initialize(size=st.integers(1, 12))
    def begin(self, size: int) -> None:
        """Chooses the window's size."""
        self.window = CountWindow(size)
        self.outcomes: list[tuple[bool, bool]] = []

    @rule(failed=st.booleans(), slow=st.booleans(), now=st.floats(0, 1e9))
    def add(self, failed: bool, slow: bool, now: float) -> None:
        """An outcome comes in; time does not matter."""
        self.window.add(failed, slow, now)
        self.window.move(now)
        self.outcomes.append((failed, slow))

    @invariant()
    def counts_are_those_of_the_list(self) -> None:
        """The counts are those of the last outcomes."""
        if hasattr(self, "window"):
            last = self.outcomes[-self.window.size :]
            expected = (len(last), sum(failed for failed, _ in last), sum(slow for _, slow in last))
            assert expected == (self.window.total, self.window.failures, self.window.slow)


SETTINGS = settings(max_examples=80, stateful_step_count=40, deadline=None, derandomize=True)
TestTimeWindow = TimeWindowMachine.TestCase
TestTimeWindow.settings = SETTINGS
TestCountWindow = CountWindowMachine.TestCase
TestCountWindow.settings = SETTINGS
