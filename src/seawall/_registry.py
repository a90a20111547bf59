"""Everything that is alive, in one place: snapshots by name, and listeners to all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seawall._core.events import EVERYWHERE, CallEnded, Event, Listener, add
from seawall._core.names import NAMES


def snapshot() -> dict[str, Any]:
    """Returns what each pipeline and named strategy says of itself now, by listed name. Looking changes nothing."""
    snapshots = {name: thing.snapshot() for name, thing in sorted(NAMES.listed().items())}
    return {name: state for name, state in snapshots.items() if state is not None}


def listen(listener: Listener, *types: type[Event]) -> Callable[[], None]:
    """Tells `listener` of the events of every strategy in the process; returns the function that stops it.

    The listener is called inline and must not block; what it raises is logged once. Without types it hears of all
    events but `CallEnded`, which is made for every call and only where a listener asks for it.
    """
    remove = add(EVERYWHERE, listener, types)
    if CallEnded not in types:
        return remove
    _relink_all()

    def remove_and_relink() -> None:
        remove()
        _relink_all()

    return remove_and_relink


def _relink_all() -> None:
    for thing in NAMES.listed().values():
        relink = getattr(thing, "meter_anew", None)
        if relink is not None:
            relink()
