"""How a service is operated while it runs: its workers, switches, policies and metrics, tied together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, Protocol

from seawall._config.policies import Policies
from seawall._config.problems import PolicyError
from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.events import LOGGER
from seawall._core.masking import mask_secrets
from seawall._runtime.runtime import Runtime
from seawall.degrade.switchboard import Switchboard
from seawall.health.loop import LoopProbe, lag_of
from seawall.observe.metrics import Metrics, Names

DRAIN: Final = "drain"
RELOAD: Final = "reload"
VIEWS: Final = ("all", "live", "ready", "startup", "external")
LASTING: Final = 120.0
"""Seconds for which workers that are started later obey an order to drain too."""


class Application(Protocol):
    """What is asked of the application that is operated; `Seawall` is such."""

    @property
    def in_flight(self) -> int:
        """Requests that are being served."""
        ...

    @property
    def draining(self) -> bool:
        """Whether it takes leave."""
        ...

    def drain(self) -> None:
        """Begins to take leave."""
        ...


class Operations:
    """Everything by which a service is steered and looked at, over all its worker processes.

    `Seawall(app, operations=Operations("shop"))` starts it with each worker and stops it with the worker. From then on
    a switch, a reload of the policies' file and a drain, by the command line or by these objects in any worker, reach
    all workers within 2 s; `/metrics` speaks for all of them, whichever answers.

    Args:
        service: the name of the service; its workers find each other by it.
        policies: those that are to be reloaded when their file changes, or on command; default: none.
        health: the monitor, whose checks are told as metrics and in snapshots; default: none.
        names: further names for metrics; see `seawall.observe.Metrics`.
        path: the runtime directory; default: see `Runtime`.

    Attributes:
        runtime: the workers, their snapshots and the control file.
        switches: the switchboard.
        metrics: the metrics of all workers.
    """

    def __init__(
        self,
        service: str,
        *,
        policies: Policies | None = None,
        health: Any = None,
        names: Names | None = None,
        path: str | Path | None = None,
    ) -> None:
        self.runtime = Runtime(service, path=path)
        self.switches = Switchboard(self.runtime)
        report = None if health is None else health.report
        self._loop_probe = LoopProbe()
        self.metrics = Metrics(
            self.runtime, names=names, health=report, switches=lambda: self.switches, loop_lag=self._loop_lag
        )
        self._policies = policies
        self._health = health
        self._reloads: set[str] | None = None  # commands that were seen; None: not looked yet
        self._application: Application | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.runtime.contribute("switches", self._set)
        if health is not None:
            self.runtime.contribute("health", self._well)
        if policies is not None:
            self.runtime.contribute("policies", self._look)
            self.runtime.obey(RELOAD, self._reload)
        self.runtime.obey(DRAIN, self._drain_if_told)

    def serve(self, application: Application) -> None:
        """Says which application is operated: its requests in flight are told, and it drains when it is told to."""
        self._application = application
        self.runtime.contribute("web", self._served)

    def drain(self, *, actor: str, reason: str) -> None:
        """Tells all workers to drain: ready answers 503, and requests in flight are served to their end."""
        until = DEFAULT_CLOCK.wall() + LASTING
        self.runtime.change(DRAIN, lambda entries: {**entries, actor: {"until": until}}, actor=actor, reason=reason)

    def reload(self, *, actor: str, reason: str) -> None:
        """Tells all workers to reload the policies' file."""
        now = DEFAULT_CLOCK.wall()
        entry = {f"{actor} {now}": {"until": now + LASTING}}
        self.runtime.change(RELOAD, lambda entries: {**entries, **entry}, actor=actor, reason=reason)

    def start(self) -> None:
        """Makes this process a worker of the service: obeys, tells, counts."""
        self._loop = asyncio._get_running_loop()
        if self._loop is not None:
            self._loop_probe.start()
        self.metrics.start()
        self.runtime.start()

    def stop(self) -> None:
        """Tells for the last time, and ceases to be a worker."""
        self.metrics.stop()
        self.runtime.stop()
        self._loop_probe.stop()

    def _look(self) -> dict[str, Any]:
        """Looks at the policies' file, with every snapshot, and says what is in force."""
        assert self._policies is not None
        self._policies.refresh()
        problem = self._policies.problem
        return {
            "problem": None if problem is None else mask_secrets(problem),
            "policies": {name: [repr(each) for each in self._policies[name].strategies] for name in self._policies},
        }

    def _reload(self, entries: dict[str, Any]) -> None:
        """Reloads the policies for every command that is new."""
        assert self._policies is not None
        fresh = self._reloads is not None and bool(set(entries) - self._reloads)
        self._reloads = set(entries)
        if not fresh:
            return
        try:
            LOGGER.warning("policies reloaded on command: %s", self._policies.reload())
        except PolicyError as error:
            LOGGER.error("%s\nthe policies in force stay as they are", error)

    def _drain_if_told(self, entries: dict[str, Any]) -> None:
        if not entries or self._application is None:
            return
        if self._loop is None:
            self._application.drain()
        else:  # orders come on a thread
            self._loop.call_soon_threadsafe(self._application.drain)

    def _loop_lag(self) -> float | None:
        """Returns how late the worker's event loop has been since this was last asked; None where that is not known."""
        beats = self._loop_probe.beats()
        return lag_of(beats) if beats else None

    def _served(self) -> dict[str, Any]:
        assert self._application is not None
        return {"in_flight": self._application.in_flight, "draining": self._application.draining}

    def _set(self) -> dict[str, Any]:
        told = ("name", "share", "source", "actor", "reason", "until")
        return {"switches": [{each: getattr(switch, each) for each in told} for switch in self.switches]}

    def _well(self) -> dict[str, Any]:
        health: Any = self._health
        return {"views": {view: health.answer(view).body for view in VIEWS}}
