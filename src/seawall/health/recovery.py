"""Recovery: an action of the user's that is run when a check is bad, and how often at most."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.backoff import Backoff
from seawall._core.chain import IN_WORDS, check_callable, kind_of, name_of
from seawall._core.names import check_name
from seawall.health.check import Check
from seawall.health.made import Made
from seawall.health.status import BAD, SEVERITY, BadStatus, Status

Action: TypeAlias = Callable[[], object] | Callable[[], Awaitable[object]]
"""What is done to mend something: a function without arguments, sync or async, whose result is ignored."""

BACKOFF: Final = Backoff.listed(60.0, 120.0, 240.0)


class Recovery(Made):
    """Runs an action when a check has been bad so many times in a row, and looks whether it helped.

    After the action the check is run anew; as long as it is bad the action is repeated, after each delay of `backoff`.
    When `max_runs` runs within `within` seconds have not helped, it gives up, loudly: a `RecoveryGaveUp` event, logged
    as an error; nothing is run until the check has been good again. There are never two runs of one recovery at once;
    an action that outlives its time-out and cannot be stopped counts as failed, and is not run again before it ends.

    A plain function runs on a thread of the monitor's own, an async one in the monitor's event loop. Every worker
    process runs its own recoveries.

    Args:
        check: the check, or its name; each has at most one recovery.
        action: the function, without arguments, sync or async.
        after: bad results in a row before the first run; default 1.
        on: what is bad: "unhealthy" (default), or "degraded", which includes it. `unknown` is neither bad nor good.
        timeout: seconds that a run may take; default 30.
        backoff: seconds from the end of a run to the next one; default 1, 2, then 4 minutes.
        max_runs: runs within `within`, over all that goes wrong; default 3; None: no limit, where backoff is enough.
        within: seconds; default 600.
        verify: runs the check right after the action, and ends where it is good; default True. False: the check's next
            results tell.
    """

    example = "Recovery('database', reset_pool, after=3)"

    def __init__(
        self,
        check: Check | str,
        action: Action,
        *,
        after: int = 1,
        on: BadStatus = "unhealthy",
        timeout: Seconds = 30.0,
        backoff: Backoff = BACKOFF,
        max_runs: int | None = 3,
        within: Seconds = 600.0,
        verify: bool = True,
    ) -> None:
        name = check.name if isinstance(check, Check) else check
        check_name(name)
        check_callable(action)
        kind = kind_of(action)
        if kind not in ("call", "acall"):
            raise TypeError(f"action={name_of(action)} is {IN_WORDS[kind]}; use a plain or an async function")
        if not isinstance(backoff, Backoff):
            raise TypeError(f"backoff={backoff!r} is no Backoff; use one such as Backoff.listed(60, 120, 240)")
        self.check = name
        self.action = action
        self.after = arguments.whole("after", after, least=1)
        self.on: BadStatus = arguments.choice("on", on, BAD)
        self.timeout = arguments.seconds("timeout", timeout)
        self.backoff = backoff
        self.max_runs = None if max_runs is None else arguments.whole("max_runs", max_runs, least=1)
        self.within = arguments.seconds("within", within)
        self.verify = arguments.flag("verify", verify)

    def __repr__(self) -> str:
        return f"Recovery({self.check!r}, {name_of(self.action)}, after={self.after}, on={self.on!r})"

    def is_bad(self, status: Status) -> bool | None:
        """Whether a status calls for recovery; None: it says nothing."""
        return None if status == "unknown" else SEVERITY[status] >= SEVERITY[self.on]


def collect_garbage() -> None:
    """A recovery action: frees what only cycles keep alive, also what finalizers have let go of."""
    gc.collect()
    gc.collect()
