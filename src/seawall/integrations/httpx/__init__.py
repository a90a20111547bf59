"""Protected HTTP clients: httpx2, and httpx 0.28, sync and async.

`protect(client, pipeline)` is all that most services need. Neither library is imported here: what is needed of it is
taken from the client at hand, so both may be in use, and httpx2 under the name of httpx too.
"""

from seawall.integrations.httpx.hosts import PerHost
from seawall.integrations.httpx.transport import protect
from seawall.integrations.httpx.verdict import StatusError, network, timed_out, transient, unprocessed

__all__ = ["PerHost", "StatusError", "network", "protect", "timed_out", "transient", "unprocessed"]
