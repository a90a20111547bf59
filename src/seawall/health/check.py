"""A check: a function that says how one thing is, and how often, how long and with what consequence it is asked."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeAlias, TypedDict

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.chain import IN_WORDS, check_callable, kind_of, name_of
from seawall._core.names import check_name
from seawall.health.made import Made
from seawall.health.status import BAD, BadStatus, Health

Found: TypeAlias = Health | bool | None
"""What a check may return: True and None are healthy, False is its `failure_status`."""

Look: TypeAlias = Callable[[], Found] | Callable[[], Awaitable[Found]]
"""The function of a check, without arguments, sync or async."""

LIVE: Final = "live"
READY: Final = "ready"
STARTUP: Final = "startup"
EXTERNAL: Final = "external"
ALL: Final = "all"
"""The view of every check, so no tag."""

_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class CheckOptions(TypedDict, total=False):
    """What every check takes by name; see `Check`."""

    tags: Iterable[str]
    period: Seconds | None
    timeout: Seconds | None
    failure_status: BadStatus
    failure_threshold: int
    success_threshold: int


class Check(Made):
    """Asks how one thing is, when a `Monitor` runs it.

    An exception, False and a time-out are its `failure_status`; True and None are healthy; a `Health` says it all. A
    plain function runs on a thread of the monitor's own, an async one in the monitor's event loop: it must not block
    there. A function that does not end in time is abandoned, and not run again before it has ended.

    Args:
        name: shown to everybody, so it should hold no secret.
        look: the function, without arguments, sync or async.
        tags: views that it is part of: `live` (restart me?), `ready` (send me traffic?), `startup` (still booting?),
            `external` (what others run; routes no traffic), and any of your own; letters, digits, `.`, `_` and `-`.
        period: seconds from one run to the next; default: the monitor's, and at least 60 where it is tagged `external`.
        timeout: seconds that a run may take; default: the monitor's.
        failure_status: what a failure means: "unhealthy" (default) or "degraded".
        failure_threshold: results in a row that it takes to report something worse; default 1.
        success_threshold: results in a row that it takes to report something better; default 1. The first result of
            all counts at once.
        local: that it looks at this process and machine alone. Only such a check may be tagged `live`: when a
            dependency is away, a restart of all who depend on it helps nobody.
        figures: gives figures that are shown with every result, also after a time-out; it must not wait.

    Raises ValueError for a check tagged `live` that is not local.
    """

    example = "Check('stock', count_stock, tags=['ready'])"

    def __init__(
        self,
        name: str,
        look: Look,
        *,
        tags: Iterable[str] = (),
        period: Seconds | None = None,
        timeout: Seconds | None = None,
        failure_status: BadStatus = "unhealthy",
        failure_threshold: int = 1,
        success_threshold: int = 1,
        local: bool = False,
        figures: Callable[[], Mapping[str, object]] | None = None,
    ) -> None:
        check_name(name)
        check_callable(look)
        kind = kind_of(look)
        if kind not in ("call", "acall"):
            raise TypeError(f"look={name_of(look)} is {IN_WORDS[kind]}; use a plain or an async function")
        self.name = name
        self.look = look
        self.local = arguments.flag("local", local)
        self.tags = _tags(name, tags, self.local)
        self.period = None if period is None else arguments.seconds("period", period)
        self.timeout = None if timeout is None else arguments.seconds("timeout", timeout)
        self.failure_status: BadStatus = arguments.choice("failure_status", failure_status, BAD)
        self.failure_threshold = arguments.whole("failure_threshold", failure_threshold, least=1)
        self.success_threshold = arguments.whole("success_threshold", success_threshold, least=1)
        wanted = "a function that returns a dict of figures"
        self.figures = None if figures is None else arguments.function("figures", figures, wanted)

    def __repr__(self) -> str:
        tags = f", tags={sorted(self.tags)}" if self.tags else ""
        return f"Check({self.name!r}, {name_of(self.look)}{tags})"


def _tags(name: str, tags: Iterable[str], local: bool) -> frozenset[str]:
    wanted = "use a list of texts such as ['ready', 'database']"
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise TypeError(f"tags={tags!r} is no list of texts; {wanted}")
    got = frozenset(tags)
    for tag in got:
        if not (isinstance(tag, str) and _TAG.fullmatch(tag)) or tag == ALL:
            raise ValueError(f"tags holds {tag!r}; {wanted}: up to 64 letters, digits, '.', '_' and '-', and not 'all'")
    if LIVE in got and not local:
        raise ValueError(
            f"tags={sorted(got)} of {name!r} holds 'live', but the check may depend on others, and a restart mends no "
            "dependency; use 'ready', or give local=True to a check that looks at this process and machine alone"
        )
    return got
