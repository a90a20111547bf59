"""A view of health by its address, asked with a bound on everything: names, connection, headers, body."""

from __future__ import annotations

import json
import threading
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import click

from seawall.health.status import SEVERITY

TIMEOUT: Final = 5.0
"""Seconds for all of it."""
LONGEST: Final = 1_000_000
"""Bytes of an answer that are read."""


class UnreachableError(Exception):
    """An address that does not answer as one of health does."""


def checked_url(ctx: click.Context, param: click.Parameter, url: str | None) -> str | None:
    """Refuses what is no address to ask; a password in it is not shown again."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        parts, fine = None, False
    if parts is not None and "@" in parts.netloc:
        raise click.BadParameter("an address with a user or password is not asked.", ctx, param)
    if not fine or not url.isascii() or not url.isprintable() or " " in url:
        raise click.BadParameter("use an address such as http://127.0.0.1:8000/health/ready.", ctx, param)
    return url


def ask(url: str) -> tuple[int, dict[str, Any]]:
    """Returns the status code and the body of an answer, whose `status` is one of health's. Raises UnreachableError."""
    found: list[tuple[int, bytes] | str] = []
    asking = threading.Thread(target=lambda: found.append(_get(url)), daemon=True)
    asking.start()
    asking.join(TIMEOUT)  # a server that sends a byte now and then would last for ever
    if not found:
        raise UnreachableError(f"{url} did not answer within {TIMEOUT:g} s")
    answer = found[0]
    if isinstance(answer, str):
        raise UnreachableError(f"{url} cannot be reached: {answer}")
    code, content = answer
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("status"), str) or body["status"] not in SEVERITY:
        raise UnreachableError(f"{url} answered {code}, and nothing about health")
    return code, body


def _get(url: str) -> tuple[int, bytes] | str:
    """Returns the status code and the body, or why there is none."""
    opener = build_opener(ProxyHandler({}))
    request = Request(url, headers={"Accept": "application/json", "User-Agent": "seawall health"})
    try:
        try:
            answer = opener.open(request, timeout=TIMEOUT)
        except HTTPError as refused:  # 503 is an answer too
            answer = refused
        with answer:
            return answer.status or 0, answer.read(LONGEST)
    except (OSError, HTTPException, ValueError) as error:
        return str(getattr(error, "reason", None) or error) or type(error).__name__
