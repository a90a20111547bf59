"""Which flag is asked for which switch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from seawall._core.events import LOGGER
from seawall._core.names import NAMES
from seawall._core.strategy import Strategy
from seawall._core.switch import PATTERNS, key_of, name_of
from seawall._pipeline.pipeline import Pipeline

MOST: Final = 1000
"""Flags that are asked: with a pipeline for each host there might be any number of them."""
_PLAIN: Final = re.compile(r"[\w.-]{1,100}", re.ASCII)


def flag_key(switch: str) -> str | None:
    """Returns the flag's key for a switch; None where the name of its policy is no part of a key.

    `retry` is `seawall.retry`, `@rates` is `seawall.rates`, `retry@rates` is `seawall.rates.retry`. A policy's name has
    1 to 100 letters, digits, `.`, `_` and `-` then.
    """
    pattern, policy = key_of(switch)
    if policy is not None and not _PLAIN.fullmatch(policy):
        return None
    return ".".join(part for part in ("seawall", policy, pattern) if part)


def switches_now() -> list[str]:
    """Returns the switches that there could be now: patterns, and those of every pipeline and strategy in use alone."""
    policies: dict[str, set[str]] = {}
    parts: set[int] = set()
    alone: list[Strategy] = []
    for thing in NAMES.listed().values():
        if isinstance(thing, Pipeline):
            strategies = thing.strategies
            policies.setdefault(thing.name, set()).update(each.word for each in strategies)
            parts.update(map(id, strategies))
        elif isinstance(thing, Strategy):
            alone.append(thing)
    for strategy in alone:
        if id(strategy) not in parts:
            policies.setdefault(strategy.name, set()).add(strategy.word)
    inner = [name_of(word, policy) for policy, words in policies.items() for word in PATTERNS if word in words]
    return [*PATTERNS, *inner, *(name_of(None, policy) for policy in policies)]


class Keys:
    """The flags' keys of switches.

    Args:
        switches: those to be asked for; None: all that there are at each time.
        key: returns the key for a switch; None: it is not asked for.
    """

    def __init__(self, switches: Iterable[str] | None, key: Callable[[str], str | None]) -> None:
        self._switches = None if switches is None else _checked(switches)
        self._key = key
        self._warned: set[str] = set()

    def now(self) -> dict[str, str]:
        """Returns the keys by switch. Of switches with the same key the first one has it, and the others have none."""
        owners: dict[str, str] = {}
        for switch in switches_now() if self._switches is None else self._switches:
            key = self._key(switch)
            if key is None:
                continue
            if len(owners) >= MOST:
                self._warn(
                    "", f"there are more than {MOST} flags to ask for, and the rest is not asked; give switches="
                )
                break
            owner = owners.setdefault(key, switch)
            if owner != switch:
                self._warn(key, f"the flag {key!r} would be about {switch!r} too; it is about {owner!r} alone")
        return {switch: key for key, switch in owners.items()}

    def _warn(self, about: str, text: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            LOGGER.warning("%s", text)


def _checked(switches: Iterable[str]) -> tuple[str, ...]:
    if isinstance(switches, str):
        raise TypeError(f"switches={switches!r} is a text; use a list of names, such as ['retry', '@payments']")
    got = tuple(switches)
    for name in got:
        key_of(name)
    return got
