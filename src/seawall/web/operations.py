"""How a service is operated while it runs: its workers, switches, policies and metrics, tied together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from seawall._config.policies import Policies
from seawall._core.events import LOGGER
from seawall._runtime.runtime import Runtime
from seawall.degrade.switchboard import Switchboard
from seawall.observe.metrics import Metrics, Names
from seawall.observe.sources import HealthReport

DRAIN = "drain"
RELOAD = "reload"


class Operations:
    """Everything by which a service is steered and looked at, over all its worker processes.

    `Seawall(app, operations=Operations("shop"))` starts it with each worker and stops it with the worker. From then on
    a switch, a reload of the policies' file and a drain, by the command line or by these objects in any worker, reach
    all workers within 2 s; `/metrics` speaks for all of them, whichever answers.

    Args:
        service: the name of the service; its workers find each other by it.
        policies: those that are to be reloaded when their file changes, or on command; default: none.
        health: the monitor whose checks are told as metrics; default: none.
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
        health: Callable[[str], HealthReport] | None = None,
        names: Names | None = None,
        path: str | Path | None = None,
    ) -> None:
        self.runtime = Runtime(service, path=path)
        self.switches = Switchboard(self.runtime)
        self.metrics = Metrics(self.runtime, names=names, health=health, switches=lambda: self.switches)
        self._policies = policies
        self._reloads: set[str] | None = None  # commands that were seen; None: not looked yet
        self._drain: Callable[[], object] | None = None
        if policies is not None:
            self.runtime.contribute("policies", self._look)
            self.runtime.obey(RELOAD, self._reload)
        self.runtime.obey(DRAIN, self._drain_if_told)

    def drains(self, drain: Callable[[], object]) -> None:
        """Says what a worker does when it is told to drain."""
        self._drain = drain

    def start(self) -> None:
        """Makes this process a worker of the service: obeys, tells, counts."""
        self.runtime.start()
        self.metrics.start()

    def stop(self) -> None:
        """Tells for the last time, and ceases to be a worker."""
        self.metrics.stop()
        self.runtime.stop()

    def _look(self) -> dict[str, Any]:
        """Looks at the policies' file, with every snapshot, and says what is in force."""
        assert self._policies is not None
        self._policies.refresh()
        return {"policies": {name: [repr(each) for each in self._policies[name].strategies] for name in self._policies}}

    def _reload(self, entries: dict[str, Any]) -> None:
        """Reloads the policies for every command that is new."""
        assert self._policies is not None
        fresh = self._reloads is not None and bool(set(entries) - self._reloads)
        self._reloads = set(entries)
        if fresh:
            LOGGER.warning("policies reloaded on command: %s", self._policies.reload())

    def _drain_if_told(self, entries: dict[str, Any]) -> None:
        if entries and self._drain is not None:
            self._drain()
