"""Permits: the right to make one call, returned exactly once, with one of three ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from seawall._core.circuit_rules import Rules
from seawall._core.outcome import FAILURE, RELEASE, SUCCESS


class Pass(Protocol):
    """What a driver holds during a call. Where `in_a_row`, success is the store `failures = 0` and nothing else."""

    in_a_row: bool
    failures: int

    def failed(self, error: BaseException) -> None:
        """The call ended with an exception."""

    def succeeded(self, result: object) -> None:
        """The call returned."""


class _Settling(Protocol):
    """What a permit asks of its circuit."""

    rules: Rules

    def settle(self, state: Any, permit: CallPermit | None, verdict: str, error: BaseException | None) -> None: ...


class CallPermit:
    """The right to one call, tied to the state that gave it. The first end counts; later ones do nothing."""

    __slots__ = ("_circuit", "_state", "failures", "in_a_row", "start")

    def __init__(self, circuit: _Settling, state: object, start: float) -> None:
        self._circuit = circuit
        self._state: object | None = state
        self.start = start
        self.in_a_row = False
        self.failures = 0

    def success(self) -> None:
        """The dependency answered."""
        self._end(SUCCESS, None)

    def failure(self, error: BaseException | None = None) -> None:
        """The dependency failed; `error` is shown as the cause of the rejections that may follow."""
        self._end(FAILURE, error)

    def release(self) -> None:
        """The call was not made, or was cancelled: counts nowhere."""
        self._end(RELEASE, None)

    def failed(self, error: BaseException) -> None:
        """The call ended with an exception, which is judged."""
        try:
            verdict = self._circuit.rules.judge(error)
        except BaseException:
            self.release()  # the user's predicate failed, which says nothing about the dependency
            raise
        self._end(verdict, error)

    def succeeded(self, result: object) -> None:
        """The call returned `result`, which is judged."""
        bad = self._circuit.rules.bad_result
        try:
            failed = bad is not None and bad(result)
        except BaseException:
            self.release()
            raise
        self._end(FAILURE if failed else SUCCESS, None)

    def _end(self, verdict: str, error: BaseException | None) -> None:
        state, self._state = self._state, None
        if state is not None:
            self._circuit.settle(state, self, verdict, error)


class SlotPermit:
    """A permit that holds something which every end gives back alike."""

    __slots__ = ("_give",)

    def __init__(self, give: Callable[[], object]) -> None:
        self._give: Callable[[], object] | None = give

    def success(self) -> None:
        self.release()

    def failure(self, error: BaseException | None = None) -> None:
        self.release()

    def failed(self, error: BaseException) -> None:
        """The guarded block raised."""
        self.release()

    def release(self) -> None:
        give, self._give = self._give, None
        if give is not None:
            give()

    def __del__(self) -> None:
        self.release()
