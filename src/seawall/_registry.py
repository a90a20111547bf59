"""Everything that is alive, in one place: snapshots by name, and listeners to all of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from seawall._core.chain import relink_all
from seawall._core.events import EVERYWHERE, CallEnded, Event, Listener, add
from seawall._core.names import NAMES, warn
from seawall._core.switch import SWITCHES, VARIABLE, Source, Switch, from_environment


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


def set_switches(source: Source, switches: list[Switch]) -> None:
    """Makes `switches` all that a source says, and puts them in force for every call that begins from now on."""
    SWITCHES.replace(source, switches)
    relink_all()


def _obey_environment() -> None:
    try:
        SWITCHES.replace("env", from_environment(os.environ.get(VARIABLE, "")))
    except ValueError as error:
        warn(f"{VARIABLE} is ignored: {error}")


_obey_environment()
