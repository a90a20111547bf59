"""Clients of other services, each under its policy."""

from __future__ import annotations

import ssl
from functools import cache

import httpx2

from seawall import Pipeline
from seawall.integrations.httpx import StatusError, network, protect, timed_out


@cache
def _tls() -> ssl.SSLContext:
    """What all clients share: making one takes 40 ms."""
    return ssl.create_default_context()


def client(url: str, policy: Pipeline) -> httpx2.AsyncClient:
    """Returns a client of a service, protected.

    Args:
        url: of the service.
        policy: around every request.
    """
    transport = httpx2.AsyncHTTPTransport(verify=_tls(), trust_env=False)
    made = httpx2.AsyncClient(transport=transport, base_url=url, timeout=None)  # the policy's counts
    protect(made, policy)
    return made


def payment_may_pass(error: Exception) -> bool:
    """Network failures and time-outs of the payment gateway; what it answers is its answer."""
    return not isinstance(error, StatusError) and (network(error) or timed_out(error))
