"""The five services, put together and started in one event loop."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import cache
from typing import Final, Self

import httpx2
from starlette.types import ASGIApp

from examples.serving.site import HOST, Site, listening
from examples.ticketwave import booking, catalog, gateway, policies, provider
from examples.ticketwave.bare import BareLists, BarePayer
from examples.ticketwave.bookings import Bookings
from examples.ticketwave.catalog import Catalog
from examples.ticketwave.counting import Counting, Tally
from examples.ticketwave.events import SEASON
from examples.ticketwave.frame import Frame
from examples.ticketwave.lists import CarefulLists, KeptLists, Lists
from examples.ticketwave.payments import CarefulPayer, Payer
from examples.ticketwave.policies import IN_EARNEST, Pace
from examples.ticketwave.provider import Provider
from examples.ticketwave.settling import Settler
from seawall import Pipeline
from seawall.chaos import Proxy
from seawall.integrations.httpx import protect

LOGGER = logging.getLogger("ticketwave")
PROVIDERS: Final = ("stripe", "paypal")


@cache
def tls() -> ssl.SSLContext:
    """Returns what all clients share: making one takes 40 ms, as long as ten requests."""
    return ssl.create_default_context()


class System:
    """TicketWave: catalog, Stripe, PayPal, booking, gateway.

    Args:
        pace: how much faster than in earnest it runs.
        bare: whether the two callers are the ones without seawall.
        port: of the gateway; 0: a free one, as for all others.
        proxied: whether the dependencies stand behind `proxies`.
    """

    def __init__(self, *, pace: Pace = IN_EARNEST, bare: bool = False, port: int = 0, proxied: bool = False) -> None:
        self.pace, self.bare = pace, bare
        self.tally = Tally()
        self.catalog = Catalog()
        self.providers = {name: Provider(name) for name in PROVIDERS}
        self.bookings = Bookings(SEASON)
        self.proxies: dict[str, Proxy] = {}
        self.sites: dict[str, Site] = {}
        self.payer: Payer
        self.desk: booking.Desk
        self.settler: Settler
        self._port, self._proxied = port, proxied
        self._around = AsyncExitStack()  # clients and proxies
        self._settling: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts all five, the gateway last. Raises OSError where its port is not free."""
        listener = listening(self._port)
        self._open("catalog", Frame(catalog.application(self.catalog), "catalog"))
        for name, each in self.providers.items():
            self._open(name, Frame(provider.application(each), name))
        if self._proxied:
            for name in ("catalog", *PROVIDERS):
                proxy = Proxy(HOST, self.sites[name].port)
                self.proxies[name] = await self._around.enter_async_context(proxy)
        self.payer = self._payer()
        self.desk = booking.Desk(self.bookings, self.payer)
        self._open("booking", Frame(booking.application(self.desk), "booking", booking.in_time(self.pace)))
        app = gateway.application(gateway.Backends(self._lists(), self._bookings_client()))
        self.sites["gateway"] = Site(Frame(app, "gateway", gateway.as_asked(self.pace)), listener)
        self.settler = Settler(self.bookings, self.payer, self.pace.settling)
        if not self.bare:
            self._settling.append(asyncio.create_task(self.settler.run()))

    async def drain(self) -> None:
        """Stops all, from the customers inwards, so that what is in flight can end."""
        await self.sites["gateway"].stop()
        self.settler.stop()
        await asyncio.gather(self.sites["booking"].stop(), *self._settling)
        if pending := len(self.bookings.pending()):
            LOGGER.warning("payments still pending: %d. Bookings are kept in memory, so this ends with them", pending)
        await self._around.aclose()
        await asyncio.gather(*(self.sites[name].stop() for name in ("catalog", *PROVIDERS)))

    async def abandon(self) -> None:
        """Breaks every connection to another service, so that nothing hangs in it: the program is about to end."""
        await self._around.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.drain()

    @property
    def urls(self) -> Mapping[str, str]:
        """Where each service listens."""
        return {name: site.url for name, site in self.sites.items()}

    def _open(self, name: str, app: ASGIApp) -> None:
        self.sites[name] = Site(app, listening(0))

    def _lists(self) -> Lists:
        kept = KeptLists(self.pace.kept)
        if self.bare:
            return BareLists(self._client("catalog"), kept)
        return CarefulLists(self._client("catalog", policies.service("catalog", self.pace)), kept)

    def _payer(self) -> Payer:
        if self.bare:
            return BarePayer({name: self._client(name) for name in PROVIDERS})
        shared = policies.external(self.pace)
        return CarefulPayer(
            {name: self._client(name, policies.provider(name, self.pace, shared)) for name in PROVIDERS}
        )

    def _bookings_client(self) -> httpx2.AsyncClient:
        return self._client("booking", None if self.bare else policies.service("booking", self.pace))

    def _client(self, name: str, policy: Pipeline | None = None) -> httpx2.AsyncClient:
        """Returns a client of a service: under a policy, which knows how long to wait, or with httpx2's time-outs."""
        port = self.proxies[name].port if name in self.proxies else self.sites[name].port
        transport: httpx2.AsyncBaseTransport = httpx2.AsyncHTTPTransport(verify=tls(), trust_env=False)
        if name != "booking":  # which is ours, and never struck
            transport = Counting(transport, name, self.tally)
        url = f"http://{HOST}:{port}"
        if policy is None:
            client = httpx2.AsyncClient(transport=transport, base_url=url)
        else:
            client = protect(httpx2.AsyncClient(transport=transport, base_url=url, timeout=None), policy)
        self._around.push_async_callback(client.aclose)
        return client
