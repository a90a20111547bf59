"""What type checkers must make of sagas: steps and data fit together. Never run."""

from dataclasses import dataclass
from typing import Any, assert_type

from seawall.durable import Later, Saga, SagaReport, Sagas, Step, StepContext, open_store


@dataclass
class Order:
    """What a saga is started with."""

    customer: str


def reserve(context: StepContext[Order]) -> int:
    """Is a plain action."""
    assert_type(context.data, Order)
    return len(context.data.customer)


async def charge(context: StepContext[Order]) -> str | Later:
    """Is an async action."""
    return Later(5) if context.attempt == 1 else context.key


def note(context: StepContext[dict[str, Any]]) -> None:
    """Works on a dict."""


typed = Saga("typed", Step("reserve", reserve, compensate=reserve), Step("charge", charge, kind="pivot"), data=Order)
assert_type(typed, Saga[Order])
plain = Saga("plain", Step("note", note), Step("ship", command=lambda context: ("warehouse", context.data, "key")))
assert_type(plain, Saga[dict[str, Any]])
sagas = Sagas(open_store("sqlite:///shop.db"), [typed, plain])
assert_type(sagas.start("typed", Order("ann")), str)
assert_type(sagas.run("id"), SagaReport)
assert_type(sagas.list(state="stuck"), tuple[SagaReport, ...])
Saga("wrong", Step("note", note), data=Order)  # type: ignore[misc]
Saga("wrong", Step("reserve", reserve))  # type: ignore[arg-type]
sagas.list(state="lost")  # type: ignore[arg-type]
