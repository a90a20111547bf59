"""Remote flags: asked in the background, and put in force by a switchboard."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakSet

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent

from seawall._core import arguments
from seawall._core.arguments import Random, Rng, Seconds
from seawall._core.clock import refuse_to_block
from seawall._core.events import LOGGER, Event, Hub, Listener
from seawall._core.names import check_name
from seawall._core.started import Started
from seawall.degrade.switchboard import Switchboard
from seawall.integrations.openfeature.asking import Asking
from seawall.integrations.openfeature.keys import Keys, flag_key
from seawall.integrations.openfeature.life import Life
from seawall.integrations.openfeature.round import Round
from seawall.integrations.openfeature.trouble import Trouble

_SOONEST: Final = 0.1
"""Seconds between two rounds at least, however often a provider says that something has changed."""
_LONGEST: Final = 60.0
"""Seconds between two rounds at most, where a provider fails again and again."""
_SPREAD: Final = 0.2
"""A period is shortened by up to this share of it at random, so that workers do not ask together."""
_JOIN: Final = 1.0
"""Seconds that `stop` waits for the thread, which may hang in a provider."""


class RemoteFlags(Started):
    """Flags of an OpenFeature provider as a source of switches: below the environment and run time, above code.

    `with RemoteFlags(board):`, or `start` and `stop` with the service. From then on a thread asks for the flag of every
    switch that there could be, every period and as soon as the provider says that something has changed, and puts what
    they say in force (`Switchboard.follow`). No call ever asks a flag, and a provider that hangs keeps nobody waiting:
    every word with it is spoken on that thread.

    A flag may be a boolean (on, off), a number (a percentage of the calls: 25 is a quarter, 1 is one in a hundred), a
    text ("on", "off", "25%") or an object (`{"percentage": 25}`, `{"enabled": false}`). A flag that is not there, or
    that answers with whatever default it is given, says nothing.

    What cannot be had, or cannot be used, stays as it was: the last known value holds, in a new worker what the service
    knew last, and `FlagsFailed` is logged and told, once. A provider that fails altogether is asked less and less
    often, at least every minute. After `stop` what flags said last stays in force.

    Args:
        board: puts in force what flags say.
        client: of OpenFeature; default: `openfeature.api.get_client()`.
        switches: the names of those to ask for; default: the seven patterns, every pipeline, and its patterns.
        key: returns a flag's key for the name of a switch, None for one that is not asked; default: `flag_key`.
        context: what the provider may choose by, such as the region; default: what is set globally.
        period: seconds between two rounds of asking, shortened by up to 20 % at random; default 2. Ask less often, or
            name the switches, where the provider asks a server for each flag.
        timeout: seconds for one answer after which a provider is said to hang; default 5.
        name: of the events and the thread; default "flags".
        rng: a random.Random, or a function that gives numbers in [0, 1); for the period.
    """

    def __init__(
        self,
        board: Switchboard,
        client: OpenFeatureClient | None = None,
        *,
        switches: Iterable[str] | None = None,
        key: Callable[[str], str | None] = flag_key,
        context: EvaluationContext | None = None,
        period: Seconds = 2.0,
        timeout: Seconds = 5.0,
        name: str = "flags",
        rng: Rng | Random | None = None,
    ) -> None:
        check_name(name)
        if not isinstance(board, Switchboard):
            raise TypeError(f"board={board!r} is no Switchboard; use one, such as that of Operations: its switches")
        if client is not None and not isinstance(client, OpenFeatureClient):
            raise TypeError(f"client={client!r} is no client; use openfeature.api.get_client(), or leave it out")
        if context is not None and not isinstance(context, EvaluationContext):
            raise TypeError(f"context={context!r} is none; use EvaluationContext(attributes={{...}}), or leave it out")
        self.name = name
        self._board = board
        self._client = api.get_client() if client is None else client
        self._keys = Keys(switches, arguments.function("key", key, "a function of a switch's name"))
        self._period = arguments.seconds("period", period)
        self._timeout = arguments.seconds("timeout", timeout)
        self._asking = Asking(self._client, context)
        self._rng = arguments.rng("rng", rng)
        self._hub = Hub(name)
        self._trouble = Trouble(self._hub, self._timeout)
        self._lifecycle = threading.Lock()
        self._life: Life | None = None

    def __repr__(self) -> str:
        return f"RemoteFlags({self.name!r}, period={self._period:g})"

    def start(self) -> None:
        """Begins to ask, on a thread of its own. A second call does nothing. Raises RuntimeError for want of threads.

        Does not wait for the first answers; see `refresh`.
        """
        with self._lifecycle:
            if self._life is None:
                life = Life()
                try:
                    for body, name in ((self._run, self.name), (self._watch, f"{self.name}-watch")):
                        threading.Thread(target=body, args=(life,), name=f"seawall-{name}", daemon=True).start()
                except BaseException:
                    life.stop()
                    raise
                self._life = life
                _RUNNING.add(self)

    def stop(self) -> None:
        """Asks no more; what flags said last stays in force. A second call does nothing."""
        with self._lifecycle:
            life, self._life = self._life, None
            _RUNNING.discard(self)
        if life is not None:
            life.stop()
            life.ended.wait(_JOIN)

    def after_fork(self) -> None:
        """Begins anew in a forked child, which has neither the thread nor that of the SDK's events."""
        self._lifecycle = threading.Lock()
        self._trouble.after_fork()
        self._life = None
        self.start()

    def refresh(self) -> bool:
        """Asks now, and waits until it is done, up to `timeout`; returns whether every flag could be had.

        Raises RuntimeError on a thread with a running event loop; see `arefresh`.
        """
        refuse_to_block("refresh()")
        life = self._life
        return life is not None and life.wait(self._timeout) and not self._trouble.there

    async def arefresh(self) -> bool:
        """The async twin of `refresh`."""
        return await asyncio.to_thread(self.refresh)

    def listen(self, listener: Listener, *types: type[Event]) -> Callable[[], None]:
        """Tells `listener` of `FlagsFailed` and `FlagsRecovered`; returns the function that stops it."""
        return self._hub.listen(listener, types)

    def _run(self, life: Life) -> None:
        """Asks, round by round, until it is stopped; the body of the thread."""
        failed = 0
        try:
            self._listen(life)
            while life.begin():
                failed = 0 if self._round(life) else failed + 1
                life.end(min(self._period, 1.0) if failed else _SOONEST, self._pause(failed))
        finally:
            self._forget(life)
            life.ended.set()

    def _listen(self, life: Life) -> None:
        try:
            with life.asking(Round(self._client, self._asking, {})):  # the SDK asks for the provider's name
                for event in ProviderEvent:
                    self._client.add_handler(event, life.wake_up)
        except Exception:
            LOGGER.exception("%r hears nothing of changes, and asks every %g s", self, self._period)

    def _forget(self, life: Life) -> None:
        for event in ProviderEvent:
            try:
                self._client.remove_handler(event, life.wake_up)
            except ValueError:  # the SDK was shut down, and has forgotten it already
                pass

    def _round(self, life: Life) -> bool:
        """Asks once for everything; returns whether the provider answers at all."""
        try:
            asked = Round(self._client, self._asking, self._keys.now())
            with life.asking(asked):
                asked.run(life.stopping)
            if life.stopping.is_set():
                return True
            if asked.hung:
                life.wake_up()  # it is back, and what it said before is old
                return True
            self._board.follow(asked.said, actor=f"openfeature:{asked.provider}")
            self._trouble.seen(asked)
        except Exception:
            LOGGER.exception("%r stumbled and goes on", self)
            self._trouble.there = True
            return False
        return asked.answers

    def _watch(self, life: Life) -> None:
        """Tells where a provider hangs; the body of a second thread, since the first one hangs with it."""
        while not life.stopping.wait(self._timeout / 2):
            asked = life.asked
            if asked is not None and asked.waited >= self._timeout and not asked.hung:
                asked.hung = True
                self._trouble.hangs(asked.provider, self._timeout)

    def _pause(self, failed: int) -> float:
        pause = min(self._period * 2.0 ** min(failed, 30), max(_LONGEST, self._period))
        return pause * (1 - _SPREAD * self._rng())


_RUNNING: Final[WeakSet[RemoteFlags]] = WeakSet()


def _begin_in_child() -> None:
    for flags in list(_RUNNING):
        flags.after_fork()


if hasattr(os, "register_at_fork"):  # after that of `_core.forks`, imported above: locks are renewed first
    os.register_at_fork(after_in_child=_begin_in_child)
