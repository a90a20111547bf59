"""Every kind of callable stays what it is under a pipeline and under each strategy alone."""

import asyncio
import functools
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Pipeline,
    RateLimit,
    Retry,
    Timeout,
)

NUMBERS = itertools.count()
Decorate = Callable[[Any], Any]


def five() -> Pipeline:
    """A pipeline of five strategies."""
    return Pipeline(
        f"kinds {next(NUMBERS)}",
        Fallback(None, on=OSError),
        Retry(on=OSError),
        Bulkhead(9),
        CircuitBreaker(failures=5),
        Timeout(10),
    )


DECORATORS: dict[str, Callable[[], Decorate]] = {
    "pipeline": five,
    "empty": lambda: Pipeline(f"empty {next(NUMBERS)}"),
    "retry": lambda: Retry(on=OSError, name=f"kinds {next(NUMBERS)}"),
    "fallback": lambda: Fallback(None, on=OSError, name=f"kinds {next(NUMBERS)}"),
    "bulkhead": lambda: Bulkhead(9, name=f"kinds {next(NUMBERS)}"),
    "breaker": lambda: CircuitBreaker(failures=5, name=f"kinds {next(NUMBERS)}"),
    "timeout": lambda: Timeout(10, name=f"kinds {next(NUMBERS)}"),
    "ratelimit": lambda: RateLimit(99, name=f"kinds {next(NUMBERS)}"),
}


@pytest.fixture(params=DECORATORS)
def protect(request: pytest.FixtureRequest) -> Decorate:
    """A pipeline, and each strategy alone."""
    return DECORATORS[request.param]()


def function(a: int, b: str = "x", *, c: float = 1.0) -> tuple[Any, ...]:
    """A function."""
    return a, b, c


async def afunction(a: int, b: str = "x", *, c: float = 1.0) -> tuple[Any, ...]:
    """An async function."""
    return a, b, c


def generator(a: int, b: str = "x", *, c: float = 1.0) -> Generator[Any, Any, str]:
    """A generator."""
    yield a
    yield b
    yield c
    return "end"


async def agenerator(a: int, b: str = "x", *, c: float = 1.0) -> AsyncIterator[Any]:
    """An async generator."""
    for item in (a, b, c):
        yield item


class Callee:
    """A callable object."""

    def __init__(self) -> None:
        self.b = "object"

    def __call__(self, a: int, *, c: float = 1.0) -> tuple[Any, ...]:
        """Calls."""
        return a, self.b, c


class AsyncCallee(Callee):
    """An async callable object."""

    async def __call__(self, a: int, *, c: float = 1.0) -> tuple[Any, ...]:  # type: ignore[override]
        """Calls."""
        return a, self.b, c


def outcome(fn: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """Calls, awaits or reads to the end, and returns what came out as a tuple."""
    result = fn(*args, **kwargs)
    if inspect.isasyncgen(result):

        async def read() -> tuple[Any, ...]:
            return tuple([item async for item in result])

        return asyncio.run(read())
    if inspect.iscoroutine(result):
        return asyncio.run(_wait(result))  # type: ignore[no-any-return]
    return tuple(result)


async def _wait(result: Any) -> Any:
    return await result


IS = ("iscoroutinefunction", "isasyncgenfunction", "isgeneratorfunction")


@pytest.mark.parametrize("fn", [function, afunction, generator, agenerator], ids=lambda fn: fn.__name__)
def test_a_function_keeps_its_face(protect: Decorate, fn: Any) -> None:
    """Name, doc, signature, annotations, kind, `__wrapped__`; and it still does what it did."""
    protected = protect(fn)
    for attribute in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
        assert getattr(fn, attribute) == getattr(protected, attribute)
    assert inspect.signature(fn) == inspect.signature(protected)
    assert fn is protected.__wrapped__
    assert inspect.isfunction(protected)
    for is_kind in IS:
        assert getattr(inspect, is_kind)(fn) == getattr(inspect, is_kind)(protected), is_kind
    assert asyncio.iscoroutinefunction(fn) == asyncio.iscoroutinefunction(protected)
    assert (1, "x", 1.0) == outcome(protected, 1)
    assert (1, "y", 2.5) == outcome(protected, 1, "y", c=2.5)


def test_attributes_of_a_function_are_kept(protect: Decorate) -> None:
    """As functools.wraps does."""

    def tagged() -> None:
        """Has a tag."""

    tagged.tag = "mine"  # type: ignore[attr-defined]
    assert "mine" == protect(tagged).tag


@pytest.mark.parametrize("fn", [function, afunction, generator, agenerator], ids=lambda fn: fn.__name__)
def test_wrong_arguments_are_the_functions_own_error(fn: Any) -> None:
    """A TypeError that names the function, not one of ours."""
    with pytest.raises(TypeError, match=fn.__name__):
        outcome(five()(fn))


def test_methods_of_every_kind(protect: Decorate) -> None:
    """They are bound, inherited and called on the class as undecorated ones."""

    class Thing:
        b = "thing"

        @protect
        def method(self, a: int, *, c: float = 1.0) -> tuple[Any, ...]:
            """A method."""
            return a, self.b, c

        @protect
        async def amethod(self, a: int, *, c: float = 1.0) -> tuple[Any, ...]:
            """An async method."""
            return a, self.b, c

        @protect
        def gmethod(self, a: int, *, c: float = 1.0) -> Iterator[Any]:
            """A generator method."""
            yield from (a, self.b, c)

        @protect
        async def agmethod(self, a: int, *, c: float = 1.0) -> AsyncIterator[Any]:
            """An async generator method."""
            for item in (a, self.b, c):
                yield item

    class Heir(Thing):
        b = "heir"

    for name in ("method", "amethod", "gmethod", "agmethod"):
        assert (1, "thing", 1.0) == outcome(getattr(Thing(), name), 1)
        assert (1, "heir", 2.0) == outcome(getattr(Heir(), name), a=1, c=2.0)
        assert (1, "thing", 1.0) == outcome(getattr(Thing, name), Thing(), 1)
        assert inspect.ismethod(getattr(Thing(), name))
        assert ["a", "c"] == list(inspect.signature(getattr(Thing(), name)).parameters)


def test_static_and_class_methods_from_above_and_below(protect: Decorate) -> None:
    """Whether the decorator is written above or below `staticmethod` and `classmethod`."""

    class Thing:
        @protect
        @staticmethod
        def static_above(a: int) -> tuple[Any, ...]:
            """A static method."""
            return (a,)

        @staticmethod
        @protect
        async def static_below(a: int) -> tuple[Any, ...]:
            """A static method."""
            return (a,)

        @protect
        @classmethod
        async def class_above(cls, a: int) -> tuple[Any, ...]:
            """A class method."""
            return cls.__name__, a

        @classmethod
        @protect
        def class_below(cls, a: int) -> tuple[Any, ...]:
            """A class method."""
            return cls.__name__, a

    class Heir(Thing):
        pass

    for owner in (Thing, Thing(), Heir, Heir()):
        name = owner.__name__ if isinstance(owner, type) else type(owner).__name__
        assert (1,) == outcome(owner.static_above, 1)
        assert (1,) == outcome(owner.static_below, 1)
        assert (name, 1) == outcome(owner.class_above, 1)
        assert (name, 1) == outcome(owner.class_below, 1)
    assert inspect.iscoroutinefunction(Thing.static_below)
    assert inspect.iscoroutinefunction(Thing.class_above)
    assert isinstance(vars(Thing)["static_above"], staticmethod)
    assert isinstance(vars(Thing)["class_above"], classmethod)
    assert "A static method." == Thing.static_above.__doc__


@pytest.mark.parametrize("fn", [function, afunction, generator, agenerator], ids=lambda fn: fn.__name__)
def test_partials(protect: Decorate, fn: Any) -> None:
    """Of every kind, also partials of partials: the kind is that of the function within."""
    protected = protect(functools.partial(functools.partial(fn, 1), c=2.0))
    assert (1, "x", 2.0) == outcome(protected)
    assert (1, "y", 3.0) == outcome(protected, "y", c=3.0)
    for is_kind in IS:
        assert getattr(inspect, is_kind)(fn) == getattr(inspect, is_kind)(protected), is_kind


def test_callable_objects(protect: Decorate) -> None:
    """Sync and async ones; the object itself is left alone."""
    assert (1, "object", 2.0) == outcome(protect(Callee()), 1, c=2.0)
    protected = protect(AsyncCallee())
    assert (1, "object", 1.0) == outcome(protected, 1)
    assert inspect.iscoroutinefunction(protected)
    assert "An async callable object." == protected.__doc__
    assert ["a", "c"] == list(inspect.signature(protected).parameters)


def test_bound_methods_and_builtins(protect: Decorate) -> None:
    """Methods of objects, of classes and of builtins."""
    assert (1, "object", 1.0) == outcome(protect(Callee().__call__), 1)
    assert (1, "object", 1.0) == outcome(protect(AsyncCallee().__call__), 1)
    assert 3 == protect(len)("abc")
    assert "a-b" == protect("-".join)(["a", "b"])


def test_a_protected_function_can_be_protected_again() -> None:
    """Pipelines nest, each with its own strategies."""
    inner, outer = five(), five()
    for fn in (function, afunction, generator, agenerator):
        protected = outer(inner(fn))
        assert (1, "x", 1.0) == outcome(protected, 1)
        assert [getattr(inspect, is_kind)(fn) for is_kind in IS] == [
            getattr(inspect, is_kind)(protected) for is_kind in IS
        ]
        assert fn is inspect.unwrap(protected)


def test_one_pipeline_protects_any_number_of_functions() -> None:
    """Of every kind, with one state."""
    shared = five()
    for fn in (function, afunction, generator, agenerator):
        assert (1, "x", 1.0) == outcome(shared(fn), 1)
    shared.get(CircuitBreaker).isolate()
    for fn in (function, afunction, generator, agenerator):
        with pytest.raises(Exception, match="is isolated by hand"):
            outcome(shared(fn), 1)


def test_names_of_arguments_do_not_clash() -> None:
    """A function may take `fn`, `args`, `kwargs` and `self` as keywords, decorated and through `call`."""

    def taking(**kwargs: int) -> dict[str, int]:
        return kwargs

    async def ataking(**kwargs: int) -> dict[str, int]:
        return kwargs

    guarded, names = five(), {"fn": 1, "args": 2, "kwargs": 3, "self": 4, "name": 5}
    assert names == guarded(taking)(**names)
    assert names == guarded.call(taking, **names)
    assert names == asyncio.run(_wait(guarded.acall(ataking, **names)))
    assert names == guarded.call_outcome(taking, **names).value
