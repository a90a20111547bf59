"""A check of the circuit breakers in this process: what fails for everybody who calls."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Unpack

from seawall._registry import snapshot
from seawall._strategies.breaker import BreakerSnapshot
from seawall.health.check import Check, CheckOptions
from seawall.health.status import Health

_OPEN: Final = ("open", "half_open", "isolated")


def breakers_check(
    names: Collection[str] | None = None,
    *,
    name: str = "circuit-breakers",
    unhealthy: Collection[str] | bool = False,
    **options: Unpack[CheckOptions],
) -> Check:
    """Returns a check of circuit breakers: degraded where one is open, half-open or isolated.

    An open breaker does not make a service unhealthy: it has a fallback, or other work to do, and its replicas have the
    same breaker open. Where a service is of no use without a dependency, say so with `unhealthy`.

    Args:
        names: the breakers to look at, as they are listed in `seawall.snapshot()`; default: all in the process. While
            one of them is not there, the check is unknown.
        name: default "circuit-breakers".
        unhealthy: the breakers that make it unhealthy while they are open or isolated, by name; True: every one.
        **options: see `Check`.
    """
    watched = None if names is None else _names("names", names)
    grave = None if unhealthy is True else _names("unhealthy", unhealthy or ())
    if watched is not None and grave is not None and not grave <= watched:
        raise ValueError(f"unhealthy={sorted(grave)} holds names that are not among names={sorted(watched)}")

    def look() -> Health:
        return _judged(watched, grave)

    return Check(name, look, **options)


def _names(argument: str, value: Collection[str] | bool) -> frozenset[str]:
    if isinstance(value, str | bool) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"{argument}={value!r} is no list of names; use one such as ['rates.breaker']")
    return frozenset(value)


def _judged(watched: frozenset[str] | None, grave: frozenset[str] | None) -> Health:
    states = {
        listed: state.state
        for listed, state in snapshot().items()
        if isinstance(state, BreakerSnapshot) and (watched is None or listed in watched)
    }
    missing = sorted(watched - states.keys()) if watched is not None else []
    opened = {listed: state for listed, state in states.items() if state in _OPEN}
    said = [f"{listed} is {state.replace('_', '-')}" for listed, state in opened.items()]
    said += [f"there is no breaker {each!r}" for each in missing]
    description = "; ".join(said)
    if any(state != "half_open" and (grave is None or listed in grave) for listed, state in opened.items()):
        return Health.unhealthy(description, states)
    if missing:
        return Health("unknown", description, states)
    if opened:
        return Health.degraded(description, states)
    return Health.healthy(description, states)
