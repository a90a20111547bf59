"""Clients of other services: every time-out is their policy's, and what they share is made once."""

from __future__ import annotations

import ssl
from functools import cache

import httpx2


@cache
def tls() -> ssl.SSLContext:
    """Returns what all clients share: making one takes 40 ms, as long as ten requests."""
    return ssl.create_default_context()


def client(url: str, transport: httpx2.AsyncBaseTransport | None = None) -> httpx2.AsyncClient:
    """Returns a client without limits of its own: its policy's time-out and bulkhead are the limits.

    Args:
        url: of the service.
        transport: makes connections; default: httpx2's own.
    """
    if transport is None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
        transport = httpx2.AsyncHTTPTransport(verify=tls(), trust_env=False, limits=limits)
    return httpx2.AsyncClient(transport=transport, base_url=url, timeout=None)
