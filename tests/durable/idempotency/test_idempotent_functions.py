"""Functions whose calls happen once."""

import asyncio
import inspect
from datetime import date
from typing import Any

import pytest

from seawall.durable import CodecError, Idempotency, KeyMismatchError, idempotent
from tests.durable.idempotency.conftest import Used


def called(result: Any) -> Any:
    """Returns the result of a call in either colour."""
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def counted(used: Used, **options: Any) -> Any:
    """Returns an idempotent function in the colour of the store; `calls` are its executions."""
    calls = []

    def invoice(customer: str, amount: int = 1, *, day: Any = None) -> Any:
        """Makes an invoice."""
        calls.append((customer, amount, day))
        return {"number": len(calls)}

    async def ainvoice(customer: str, amount: int = 1, *, day: Any = None) -> Any:
        """Makes an invoice."""
        return invoice(customer, amount, day=day)

    made: Any = idempotent(used.idempotency(), **options)(ainvoice if used.kind.is_async else invoice)
    made.calls = calls
    return made


def test_equal_content_is_one_call(used: Used) -> None:
    """However the arguments are given."""
    invoice = counted(used, key="content")
    calls = (("c-1",), {}), (("c-1", 1), {}), ((), {"customer": "c-1", "amount": 1}), (("c-1",), {"day": None})
    results = [called(invoice(*args, **kwargs)) for args, kwargs in calls]

    assert [{"number": 1}] * 4 == results
    assert {"number": 2} == called(invoice("c-1", 2))
    assert {"number": 3} == called(invoice("c-1", day=date(2026, 1, 1)))


def test_a_key_is_made_by_a_function_of_the_arguments(used: Used) -> None:
    """The same key for other arguments is another request."""
    invoice = counted(used, key=lambda customer, amount=1, *, day=None: customer)

    assert {"number": 1} == called(invoice("c-1")) == called(invoice("c-1", 1)) == called(invoice(customer="c-1"))
    with pytest.raises(KeyMismatchError):
        called(invoice("c-1", 2))
    assert 1 == len(invoice.calls)


def test_a_fingerprint_is_made_by_a_function_or_not_asked_for(used: Used) -> None:
    """Then arguments may be of any type."""
    by_amount = counted(used, key=lambda customer, *args, **kwargs: customer, fingerprint=lambda c, a=1, **k: str(a))
    assert {"number": 1} == called(by_amount("c-1", day=object())) == called(by_amount("c-1", 1))
    with pytest.raises(KeyMismatchError):
        called(by_amount("c-1", 2))
    free = counted(used, key=lambda customer, *args, **kwargs: f"free {customer}", fingerprint="")
    assert {"number": 1} == called(free("c-1", 1)) == called(free("c-1", 2, day=object()))


def test_it_stays_the_function_that_it_was(used: Used) -> None:
    """Of its kind, with its name and words; a wrong call is a TypeError, before anything runs."""
    invoice = counted(used, key="content")

    assert used.kind.is_async is inspect.iscoroutinefunction(invoice)
    assert "Makes an invoice." == invoice.__doc__
    with pytest.raises(TypeError, match="customer"):
        called(invoice())
    with pytest.raises(CodecError, match="part 0"):
        called(invoice(object()))
    assert [] == invoice.calls


def test_methods_take_a_key_of_their_own(sync_used: Used) -> None:
    """The object itself has no content."""

    class Desk:
        @idempotent(sync_used.idempotency(), key=lambda self, number: number, fingerprint="")
        def pay(self, number: str) -> str:
            """Pays."""
            return f"paid {number}"

    assert "paid 7" == Desk().pay("7") == Desk().pay("7")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": "contents"}, "key='contents' is no function"),
        ({"key": None}, "key=None is no function"),
        ({"key": "content", "fingerprint": "x"}, "fingerprint='x' is no function"),
    ],
)
def test_wrong_arguments_are_named(sync_used: Used, options: dict[str, Any], words: str) -> None:
    """With what would be right."""
    with pytest.raises(TypeError, match=words):
        idempotent(sync_used.idempotency(), **options)


def test_what_is_no_function_that_returns_is_refused(sync_used: Used) -> None:
    """Generators have no result to store; classes are none; a store is no Idempotency."""
    decorate = idempotent(sync_used.idempotency(), key="content")

    def items() -> Any:
        yield 1

    for wrong, words in ((items, "whose items cannot be stored"), (dict, "is a class")):
        with pytest.raises(TypeError, match=words):
            decorate(wrong)
    with pytest.raises(TypeError, match="use Idempotency"):
        idempotent(sync_used.store, key="content")
    assert isinstance(sync_used.idempotency(), Idempotency)
