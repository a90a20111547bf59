"""A circuit breaker alone around a function: the same steps as in `guard`, in one frame.

It is what most users of a breaker do, and each frame costs a call 75 ns and a rejection 100.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any

from seawall._core.chain import Chain, refuse_coroutine
from seawall._core.circuit import Circuit
from seawall._core.context import current


def alone_call(chain: Chain, circuit: Circuit, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Protects a plain function by a breaker alone."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if current() is not None or chain.switched:
            result = chain.watch("call")(fn, args, kwargs)
            return refuse_coroutine(result, fn) if type(result) is CoroutineType else result
        state = circuit.state
        permit = state.permit
        if permit is None:
            now = circuit.clock.now()
            if state.until > now:
                raise state.refusal(now)
            permit = state.admit()
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            permit.failed(error)
            raise
        if permit.in_a_row:
            permit.failures = 0
        else:
            permit.succeeded(result)
        return refuse_coroutine(result, fn) if type(result) is CoroutineType else result

    return call


def alone_acall(chain: Chain, circuit: Circuit, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Protects an async function by a breaker alone."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        if current() is not None or chain.switched:
            return await chain.watch("acall")(fn, args, kwargs)
        state = circuit.state
        permit = state.permit
        if permit is None:
            now = circuit.clock.now()
            if state.until > now:
                raise state.refusal(now)
            permit = state.admit()
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            permit.failed(error)
            raise
        if permit.in_a_row:
            permit.failures = 0
        else:
            permit.succeeded(result)
        return result

    return call
