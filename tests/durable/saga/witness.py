"""A witness of what sagas do, and steps that it watches; each test runs its sagas sync or async through `Bench`."""

import asyncio
from collections.abc import Iterable
from typing import Any, Literal

from seawall.durable.saga import Kind, Saga, Step, StepContext
from seawall.durable.saga_report import SagaReport
from seawall.durable.sagas import Sagas
from seawall.durable.store import Store

Colour = Literal["sync", "async"]


class Witness:
    """Notes every call; `acts` and `undoes` make the functions of steps, which play their outcomes, the last for ever.

    An exception is raised, a function is called with the context, anything else is returned.
    """

    def __init__(self, colour: Colour = "sync") -> None:
        self.colour = colour
        self.calls: list[str] = []
        self.contexts: list[StepContext[Any]] = []

    def does(self, name: str, *outcomes: Any) -> Any:
        """Returns an action that is noted by `name`."""
        made: list[Any] = []

        def play(context: StepContext[Any]) -> Any:
            self.calls.append(name)
            self.contexts.append(context)
            made.append(outcomes[min(len(made), len(outcomes) - 1)] if outcomes else f"{name} done")
            outcome = made[-1]
            if isinstance(outcome, BaseException) and not callable(outcome):
                raise outcome
            return outcome(context) if callable(outcome) else outcome

        async def aplay(context: StepContext[Any]) -> Any:
            await asyncio.sleep(0)
            return play(context)

        return play if self.colour == "sync" else aplay

    def step(
        self, name: str, *outcomes: Any, undo: Iterable[Any] | None = (), kind: Kind = "compensatable"
    ) -> Step[Any]:
        """Returns a step; what undoes it is noted as `-name`. `undo`: its outcomes; None: nothing undoes it."""
        undoes = None if undo is None or kind == "retriable" else self.does(f"-{name}", *undo)
        return Step(name, self.does(name, *outcomes), kind=kind, compensate=undoes)

    def run(self, store: Store, saga: Saga[Any], data: Any = None, **options: Any) -> SagaReport:
        """Starts a saga and works at it until it ends or waits."""
        return self.go_on(Sagas(store, [saga], **options), saga, data)

    def go_on(self, sagas: Sagas, saga: Saga[Any], data: Any = None) -> SagaReport:
        """Starts a saga among others, and works at it."""
        given = {} if data is None else data
        if self.colour == "sync":
            return sagas.run(sagas.start(saga.name, given))

        async def run() -> SagaReport:
            return await sagas.arun(await sagas.astart(saga.name, given))

        return asyncio.run(run())


def states(report: SagaReport) -> dict[str, str]:
    """Returns the state of each step that was begun."""
    return {step.name: step.state for step in report.steps}
