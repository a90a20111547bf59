"""Functions whose calls happen once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

from seawall._core.chain import IN_WORDS, check_callable, kind_of, name_of
from seawall.durable.idempotency import Idempotency
from seawall.durable.keys import content_key, fingerprint_of

P = ParamSpec("P")
R = TypeVar("R")


def idempotent(
    idempotency: Idempotency,
    *,
    key: Callable[..., str] | Literal["content"],
    fingerprint: Callable[..., str] | Literal[""] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes the calls of a plain or async function happen once per key: a decorator.

    What is guaranteed, and what is raised, is said at `Idempotency.call`.

    Args:
        idempotency: where, and on what terms.
        key: a function of the same arguments that returns the key; or "content", for a key made of the function's name
            and its arguments by `content_key`: then two honest calls that say the same are one, for as long as results
            are kept.
        fingerprint: a function of the same arguments that returns what tells this call from another with the same key
            by mistake; "" for no such check. Default: made of the arguments.
    """
    if not isinstance(idempotency, Idempotency):
        raise TypeError(f"idempotency={idempotency!r} is none; use Idempotency(store, 'payments')")
    if key != "content" and not callable(key):
        raise TypeError(
            f"key={key!r} is no function; use one of the call's arguments that returns its key, or 'content'"
        )
    if fingerprint not in (None, "") and not callable(fingerprint):
        raise TypeError(f"fingerprint={fingerprint!r} is no function; use one of the call's arguments, or ''")

    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        check_callable(fn)
        kind = kind_of(fn)
        if kind not in ("call", "acall"):
            raise TypeError(f"{name_of(fn)} is {IN_WORDS[kind]}, whose items cannot be stored; return them as a list")
        told = _Told(fn, key, fingerprint)
        if kind == "acall":

            @functools.wraps(fn)
            async def acall(*args: Any, **kwargs: Any) -> Any:
                of, about = told.about(args, kwargs)
                call = functools.partial(fn, *args, **kwargs)
                return await idempotency.acall(of, call, fingerprint=about)  # type: ignore[arg-type]

            return acall  # type: ignore[return-value]

        @functools.wraps(fn)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            of, about = told.about(args, kwargs)
            return idempotency.call(of, functools.partial(fn, *args, **kwargs), fingerprint=about)

        return call

    return decorate


class _Told:
    """What key and fingerprint a call has."""

    def __init__(self, fn: Any, key: Any, fingerprint: Any) -> None:
        self._signature = inspect.signature(fn)
        self._operation = name_of(fn)
        self._key = key
        self._fingerprint = fingerprint

    def about(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str]:
        """Returns both. A wrong call is a TypeError, as without us."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if self._key == "content":
            return content_key(self._operation, bound.arguments), ""
        key: str = self._key(*args, **kwargs)
        if self._fingerprint is None:
            return key, fingerprint_of((), bound.arguments)
        return key, "" if self._fingerprint == "" else self._fingerprint(*args, **kwargs)
