"""Which requests are idempotent operations: routes, declared once, matched by method and path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall.web.asgi import Scope

ServerErrors: TypeAlias = Literal["unknown", "replay", "release"]
_METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")
_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::(path|str|int|float|uuid))?\}")


@dataclass(frozen=True, kw_only=True)
class IdempotentRoute:
    """How the requests of one route are made to happen once.

    Args:
        required: whether a request without a key is refused with 400; else it is served as it comes. Default True.
        transactional: whether the handler commits its answer together with its effect, by `current_request_claim()`:
            then a claim whose process died is taken over at once after its lease, and a failed request may be repeated,
            since nothing of it happened. Default False: what a process that died had done is unknown.
        wait: seconds to wait for the end of an equal request in flight before 409 is answered; default 0.
        server_errors: what a 5xx or an exception of a route that is not transactional leaves behind: `unknown`, so that
            repeats get 409 `OUTCOME_UNKNOWN` until somebody settles it; `replay`: it is stored and given again, as any
            other answer; `release`: the next request runs anew, also where the process died, for handlers that may run
            twice. Default `unknown`. A transactional route has no use for it.
        max_body: bytes that a request may have, and that are kept of an answer; more is 413; default 1 MiB.
    """

    required: bool = True
    transactional: bool = False
    wait: Seconds = 0.0
    server_errors: ServerErrors = "unknown"
    max_body: int = 1 << 20

    def __post_init__(self) -> None:
        arguments.flag("required", self.required)
        arguments.flag("transactional", self.transactional)
        object.__setattr__(self, "wait", arguments.seconds("wait", self.wait, zero=True))
        arguments.choice("server_errors", self.server_errors, ("unknown", "replay", "release"))
        if self.transactional and self.server_errors != "unknown":
            raise ValueError(
                f"server_errors={self.server_errors!r} has no effect on a transactional route, whose failures leave "
                "nothing behind; leave it out"
            )
        arguments.whole("max_body", self.max_body, least=0)


@dataclass(frozen=True, slots=True)
class Declared:
    """A route under its name, which is a part of the scope of its keys."""

    name: str
    method: str
    path: re.Pattern[str]
    route: IdempotentRoute


class Routes:
    """The declared routes.

    Raises TypeError and ValueError for what is no route, or the same one twice.
    """

    def __init__(self, routes: Mapping[str, IdempotentRoute] | Iterable[str]) -> None:
        self._by_method: dict[str, list[Declared]] = {}
        self.transactional = ""  # the name of one that is, if there is any
        names = set[str]()
        for name, route in _pairs(routes):
            declared = _declared(name, route)
            if declared.name in names:
                raise ValueError(f"routes has {declared.name!r} twice; declare a route once")
            names.add(declared.name)
            self.transactional = self.transactional or (declared.name if declared.route.transactional else "")
            self._by_method.setdefault(declared.method, []).append(declared)
        if not names:
            raise ValueError("routes is empty; declare those that must happen once, such as 'POST /payments'")

    def find(self, scope: Scope) -> Declared | None:
        """Returns the route of a request; None where it is none of them."""
        declared = self._by_method.get(scope["method"].upper(), ())
        if not declared:
            return None
        path = _path_in(scope)
        return next((each for each in declared if each.path.fullmatch(path)), None)


def _path_in(scope: Scope) -> str:
    """The path below what the server mounts the application at."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] or "/" if root and (path == root or path.startswith(f"{root}/")) else path


def _pairs(routes: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(routes, Mapping):
        return routes.items()
    if isinstance(routes, str) or not isinstance(routes, Iterable):
        raise TypeError(f"routes={routes!r} is no list of routes; use ['POST /payments'] or {{'POST /payments': ...}}")
    return ((name, IdempotentRoute()) for name in routes)


def _declared(name: Any, route: Any) -> Declared:
    wanted = "use a method and a path, such as 'POST /payments' or 'PUT /payments/{id}'"
    if not isinstance(name, str):
        raise TypeError(f"routes has {name!r}, which is no text; {wanted}")
    if not isinstance(route, IdempotentRoute):
        raise TypeError(f"routes[{name!r}]={route!r} is no IdempotentRoute; use IdempotentRoute(required=True)")
    method, _, path = name.partition(" ")
    method, path = method.upper(), path.strip()
    if method not in _METHODS:
        raise ValueError(f"routes has {name!r}, whose method is none of {', '.join(_METHODS)}; {wanted}")
    if not path.startswith("/"):
        raise ValueError(f"routes has {name!r}, whose path does not begin with '/'; {wanted}")
    if "{" in _PARAMETER.sub("", path) or "}" in _PARAMETER.sub("", path):
        raise ValueError(f"routes has {name!r}, whose parameter is none; {wanted}")
    return Declared(f"{method} {path}", method, _pattern(path), route)


def _pattern(path: str) -> re.Pattern[str]:
    """A parameter takes one part of a path, or with `:path` all that is left. Other types change nothing."""
    parts, end = [], 0
    for found in _PARAMETER.finditer(path):
        parts += [re.escape(path[end : found.start()]), "(?s:.+)" if found[2] == "path" else "[^/]+"]
        end = found.end()
    return re.compile("".join([*parts, re.escape(path[end:])]))
