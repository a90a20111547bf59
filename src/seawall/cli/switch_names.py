"""The names of switches on a command line: checked, and completed from what there is."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from seawall._core.switch import PATTERNS, key_of, share_of
from seawall.cli.service import Service
from seawall.cli.snapshots import Snapshot


class Name(click.ParamType[str]):
    """The name of a switch: retry, @payments or retry@payments."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns a name that is one."""
        try:
            key_of(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Returns the names that begin so: patterns, policies, and patterns of policies."""
        names = [*PATTERNS, *(f"@{policy}" for policy in _policies(ctx))]
        pattern, at, _ = incomplete.partition("@")
        if at and pattern:
            names = [f"{pattern}{name}" for name in names if name.startswith("@")]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class Share(click.ParamType[float]):
    """A share of the calls: 25%, on, off."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the share that a text stands for."""
        if isinstance(value, float):
            return value
        try:
            return share_of(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def _policies(ctx: click.Context) -> list[str]:
    """Returns the policies that the workers tell; none where something is amiss: completion says nothing of it."""
    try:
        path = ctx.params.get("runtime_dir") or os.environ.get("SEAWALL_RUNTIME_DIR") or None
        name = ctx.params.get("service_name") or os.environ.get("SEAWALL_SERVICE") or "app"
        return policies_of(Service(str(name), None if path is None else Path(path)).look())
    except Exception:
        return []


def policies_of(workers: Iterable[Snapshot]) -> list[str]:
    """Returns the names of the policies that the workers tell, and of those that have a switch."""
    told = {name for worker in workers for name in worker.policies or ()}
    told.update(switch.policy for worker in workers for switch in worker.switches if switch.policy)
    return sorted(told)


def meant(name: str, workers: Sequence[Snapshot]) -> str | None:
    """Returns the policy that may have been meant, where none of the workers tells the one of a switch's name."""
    _, policy = key_of(name)
    told = {each for worker in workers for each in worker.policies or ()}
    near = difflib.get_close_matches(policy or "", sorted(told), 1)
    return near[0] if policy and near and policy not in told else None
