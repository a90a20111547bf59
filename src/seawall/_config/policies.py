"""Policies: pipelines by name out of a configuration, which may change while calls are in flight."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seawall._config.build import Builder
from seawall._config.problems import PolicyError, Problem
from seawall._config.source import Source
from seawall._core.names import check_name
from seawall._core.nearest import nearest
from seawall._core.schemes import load
from seawall._core.strategy import Strategy
from seawall._pipeline.explain import Explanation
from seawall._pipeline.pipeline import Pipeline

LOGGER = logging.getLogger("seawall")


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload changed, by names of policies. `kept` are no longer configured and stay as they were."""

    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.added)


class Policies(Mapping[str, Pipeline]):
    """Pipelines by name, out of a TOML file or a dictionary.

        [policies.rates]                     # first listed = outermost
        retry = { on = ["ConnectionError", "transient"], max_attempts = 4, backoff = { exponential = 2.0 } }
        bulkhead = { max_concurrent = 20, max_waiting = 40, max_wait = 30.0 }
        breaker = { failures = 5, open_for = 60.0 }
        timeout = 10.0                       # a bare value is the constructor's first argument
        "timeout total" = 30.0               # a second one of a kind has a name

        [names]                              # what `on` and the like may name, beside Python's and seawall's errors
        transient = "seawall.integrations.httpx:transient"

    The words are those of the constructors, and so are the checks. The file may import modules, by `[names]`: trust it
    as you trust code. A single value is replaced by a variable such as
    `SEAWALL_POLICIES__RATES__RETRY__MAX_ATTEMPTS=2`.

    After a `reload` the same pipelines hold the new strategies: breakers keep their windows and states, limits their
    counts, and calls in flight end as they began. A configuration with a problem changes nothing.

    Args:
        source: the path of a TOML file, or a dictionary of what such a file would hold.
        names: what the configuration may name, beside its own `[names]`; these win.
        environ: where variables are looked up; default: those of the process.

    Attributes:
        problem: why the configuration as it was last looked at is not in force, for people; None: it is.

    Raises PolicyError, with every problem: file, key, value and reason.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Mapping[str, Any],
        *,
        names: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._source = Source(source, os.environ if environ is None else environ)
        self._names = dict(names or {})
        self._pipelines: dict[str, Pipeline] = {}
        self._tables: dict[str, dict[str, Any]] = {}
        self._reloading = threading.Lock()
        self._seen = self._version()
        self.problem: str | None = None
        self.reload()

    def __repr__(self) -> str:
        return f"Policies({self._source.name!r}: {', '.join(self) or 'none'})"

    def __getitem__(self, name: str) -> Pipeline:
        try:
            return self._pipelines[name]
        except KeyError:
            near = nearest(str(name), self)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(map(repr, self)) or 'none'}"
            raise KeyError(f"no policy {name!r} in {self._source.name}; {hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._pipelines))

    def __len__(self) -> int:
        return len(self._pipelines)

    def explain(self) -> list[Explanation]:
        """Returns each policy's settings, worst case in attempts and time, and findings; print them to read."""
        return [pipeline.explain() for pipeline in self._pipelines.values()]

    def reload(self) -> Reload:
        """Puts the configuration as of now in force; raises PolicyError, and changes nothing, where it cannot."""
        with self._reloading:
            try:
                tables = self._source.read()
                built, problems = self._build(tables)
                if problems:
                    raise PolicyError(problems)
            except PolicyError as error:
                self.problem = str(error)
                raise
            self.problem = None
            return self._put_in_force(tables.get("policies", {}), built)

    def refresh(self) -> Reload | None:
        """Reloads where the file has changed since it was last looked at; returns None where it has not.

        A problem is logged, once for each version of the file, and changes nothing.
        """
        version = self._version()
        if version == self._seen:
            return None
        self._seen = version
        try:
            done = self.reload()
        except PolicyError as error:
            LOGGER.error("%s\nthe policies in force stay as they are", error)  # noqa: TRY400 - it is all in the text
            return None
        LOGGER.warning("policies reloaded from %s: %s", self._source.name, done)
        return done

    def _version(self) -> tuple[int, int, int] | None:
        """Returns what differs when the file was changed; None: there is no file."""
        try:
            stat = None if self._source.path is None else os.stat(self._source.path)
        except OSError:
            stat = None
        return None if stat is None else (stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def _build(self, tree: dict[str, Any]) -> tuple[dict[str, dict[str, Strategy]], list[Problem]]:
        """Makes what is new or changed of every policy, by policy and key."""
        problems = [
            Problem(self._source.name, key, repr(value), "there is no such table; use [policies.NAME] and [names]")
            for key, value in tree.items()
            if key not in ("policies", "names")
        ]
        builder = Builder({**self._imported(tree.get("names", {}), problems), **self._names}, self._source.origin)
        tables = tree.get("policies", {})
        if not isinstance(tables, dict):
            builder.wrong(("policies",), tables, "use tables: [policies.NAME]")
            tables = {}
        built = {}
        for name, table in tables.items():
            try:
                check_name(name)
            except TypeError as error:
                builder.wrong(("policies", name), table, str(error))
            built[name] = builder.policy(("policies", name), table, self._unchanged(name, table))
        return built, problems + builder.problems

    def _imported(self, table: object, problems: list[Problem]) -> dict[str, Any]:
        names = {}
        for name, reference in table.items() if isinstance(table, dict) else [("", table)]:
            try:
                names[name] = load(str(reference))
            except Exception as error:
                problems.append(Problem(self._source.name, f"names.{name}", repr(reference), str(error)))
        return names

    def _unchanged(self, name: str, table: object) -> dict[str, Strategy]:
        """Returns the strategies in force whose table is the same as now, by key."""
        old = self._tables.get(name, {})
        if not isinstance(table, dict) or not old:
            return {}
        in_force = dict(zip(old, self._pipelines[name].strategies, strict=True))
        return {key: in_force[key] for key, value in table.items() if key in old and old[key] == value}

    def _put_in_force(self, tables: dict[str, Any], built: dict[str, dict[str, Strategy]]) -> Reload:
        changed, added = [], []
        for name, strategies in built.items():
            pipeline = self._pipelines.get(name)
            if pipeline is None:
                _call_them(name, strategies, ())
                self._pipelines[name] = Pipeline(name, *strategies.values())
                added.append(name)
            elif list(strategies.values()) != list(pipeline.strategies):
                _call_them(name, strategies, pipeline.strategies)
                pipeline.relink(*strategies.values())
                changed.append(name)
        kept = [name for name in self._pipelines if name not in built]
        self._tables = {**{name: self._tables[name] for name in kept}, **tables}
        return Reload(tuple(changed), tuple(added), tuple(kept))


def _call_them(policy: str, strategies: Mapping[str, Strategy], in_force: tuple[Strategy, ...]) -> None:
    """Gives those that the configuration names ("timeout total") their names; one in the place of another, quietly."""
    for key, strategy in strategies.items():
        _, _, name = key.partition(" ")
        full = f"{policy}.{name}"
        if not name or strategy in in_force:
            continue
        if any(old.name == full for old in in_force):
            strategy.hub.name = full  # so that it is found to be the other's successor
        else:
            strategy.call_it(full)
