"""What type checkers must make of `protect`: a client stays the client that it was. Never run."""

from typing import assert_type

import httpx
import httpx2

from seawall import Pipeline, Retry, Timeout
from seawall.integrations.httpx import PerHost, protect, transient

pipeline = Pipeline("typed", Retry(on=transient), Timeout(1.0))

assert_type(protect(httpx2.Client(), pipeline), httpx2.Client)
assert_type(protect(httpx2.AsyncClient(), pipeline), httpx2.AsyncClient)
assert_type(protect(httpx.AsyncClient(), PerHost(lambda host: Pipeline(host, Timeout(1.0)))), httpx.AsyncClient)
assert_type(protect(httpx2.HTTPTransport(), pipeline), httpx2.HTTPTransport)
httpx2.AsyncClient(transport=protect(httpx2.AsyncHTTPTransport(), pipeline))
protect(httpx2.Client(), Retry(on=transient))  # type: ignore[arg-type]
