"""A check of a URL: asks it, with the standard library or the application's own client, and looks at the status."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal, NamedTuple, Unpack
from urllib.parse import SplitResult, urljoin, urlsplit

from seawall._core import arguments
from seawall.health.check import Check, CheckOptions, Look
from seawall.health.request import PORTS, Reply, ask
from seawall.health.status import BadStatus, Health

TIMEOUT: Final = 5.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 3

Method = Literal["GET", "HEAD"]


def url_check(
    url: str,
    *,
    name: str | None = None,
    method: Method = "GET",
    statuses: Collection[int] = range(200, 300),
    headers: Mapping[str, str] | None = None,
    client: Any = None,
    tls: ssl.SSLContext | None = None,
    **options: Unpack[CheckOptions],
) -> Check:
    """Returns a check that asks a URL and is healthy where it answers with one of `statuses`.

    It takes 5 seconds at most, unless `timeout` says else, over everything: name, connection, handshake, answer and
    redirects. The body is not read. A redirect is followed up to three times where it stays on the same host, and never
    from https to http; one to another host is a failure: that host's health says nothing about this one's.

    Args:
        url: http or https, without a user or a password.
        name: default: the URL's host.
        method: GET (default) or HEAD.
        statuses: which statuses are healthy; default 200 to 299.
        headers: sent with it; they are never shown.
        client: a client of httpx2 or httpx, sync or async, to ask with in the place of the standard library. Its
            breaker and its pool then count, as for any other request. An async one must belong to the monitor's event
            loop.
        tls: how https is verified; default `ssl.create_default_context()`. Not together with `client`.
        **options: see `Check`.
    """
    parts = _checked_url(url)
    arguments.choice("method", method, ("GET", "HEAD"))
    wanted = frozenset(statuses)
    if not wanted or not all(isinstance(each, int) and 100 <= each <= 599 for each in wanted):
        raise ValueError(f"statuses={statuses!r} are no HTTP statuses; use some such as [200, 204]")
    if client is not None and not callable(getattr(client, "stream", None)):
        raise TypeError(f"client={client!r} is no client of httpx2 or httpx; use one such as httpx2.AsyncClient()")
    if client is not None and tls is not None:
        raise ValueError("tls has no effect with client, which has its own; give one of them")
    given = options.get("timeout")
    options["timeout"] = limit = TIMEOUT if given is None else arguments.seconds("timeout", given)
    sent = {"Accept": "*/*", "User-Agent": "seawall-health", **(headers or {})}
    rules = _Rules(wanted, options.get("failure_status", "unhealthy"))
    look: Look
    if client is None:
        look = _with_sockets(url, method, sent, limit, tls, rules)
    elif hasattr(client, "aclose"):
        look = _with_async_client(url, method, sent, limit, client, rules)
    else:
        look = _with_client(url, method, sent, limit, client, rules)
    return Check(name or parts.hostname or url, look, **options)


def _checked_url(url: str) -> SplitResult:
    wanted = "use an address such as 'https://api.example.com/health'"
    if not isinstance(url, str):
        raise TypeError(f"url={url!r} is no text; {wanted}")
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("url holds a user or a password, which would be shown; give headers={'Authorization': ...}")
    if parts.scheme not in PORTS or not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"url={url!r} is no http or https address; {wanted}")
    parts.port  # noqa: B018 - raises ValueError where it is none
    return parts


class _Rules(NamedTuple):
    """What the answers mean."""

    wanted: frozenset[int]
    failing: BadStatus

    def judge(self, url: str, reply: Reply, left: int) -> Health | str:
        """Returns what a reply means, or where to ask next."""
        data = {"httpStatus": reply.status}
        if reply.status in self.wanted:
            return Health.healthy(f"answered {reply.status}", data)
        problem = ""
        if reply.status in _REDIRECTS and reply.location:
            here, there = urlsplit(url), urlsplit(urljoin(url, reply.location))
            if there.hostname != here.hostname or there.scheme not in PORTS:
                problem = f", which leads to another host: {there.hostname}"
            elif (here.scheme, there.scheme) == ("https", "http"):
                problem = ", which leads from https to http"
            elif not left:
                problem = ", one redirect too many"
            else:
                return there._replace(fragment="").geturl()
        return Health(self.failing, f"answered {reply.status}{problem}", data)


def _with_async_client(
    url: str, method: str, headers: Mapping[str, str], limit: float, client: Any, rules: _Rules
) -> Look:
    async def look() -> Health:
        at = url
        for left in range(_MOST_REDIRECTS, -1, -1):
            async with client.stream(method, at, headers=headers, follow_redirects=False, timeout=limit) as response:
                reply = Reply(response.status_code, response.headers.get("location"))
            found = rules.judge(at, reply, left)
            if isinstance(found, Health):
                return found
            at = found
        raise AssertionError("judge() allows no further redirect")

    return look


def _with_client(url: str, method: str, headers: Mapping[str, str], limit: float, client: Any, rules: _Rules) -> Look:
    def send(at: str) -> Reply:
        with client.stream(method, at, headers=headers, follow_redirects=False, timeout=limit) as response:
            return Reply(response.status_code, response.headers.get("location"))

    return lambda: _follow(url, rules, send)


def _with_sockets(
    url: str, method: str, headers: Mapping[str, str], limit: float, tls: ssl.SSLContext | None, rules: _Rules
) -> Look:
    def look() -> Health:
        end = time.monotonic() + limit
        return _follow(url, rules, lambda at: ask(at, method, headers, end, tls))

    return look


def _follow(url: str, rules: _Rules, send: Callable[[str], Reply]) -> Health:
    for left in range(_MOST_REDIRECTS, -1, -1):
        found = rules.judge(url, send(url), left)
        if isinstance(found, Health):
            return found
        url = found
    raise AssertionError("judge() allows no further redirect")
