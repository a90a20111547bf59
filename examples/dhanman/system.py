"""Dhanman and its stand-ins, put together and started in one event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Self

from opentelemetry import propagate

from examples.dhanman import api, checks, saga
from examples.dhanman.clients import client
from examples.dhanman.common_service import Common
from examples.dhanman.database import Database
from examples.dhanman.invoices import Invoices
from examples.dhanman.notifications import Notifications
from examples.dhanman.payments import Payments
from examples.dhanman.rates import Rates
from examples.dhanman.receiving import Receiver
from examples.dhanman.standins import StandIn
from examples.serving.site import GRACE, Site, listening
from seawall import Backoff, Policies
from seawall.durable import Outbox, Reaper, Relay
from seawall.health import Monitor
from seawall.observe import Metrics
from seawall.web import IdempotentRequests, Seawall

LOGGER = logging.getLogger("dhanman")
POLICIES: Final = Path(__file__).with_name("seawall.toml")
OTHERS: Final = ("payments", "rates", "email", "sms", "reports")
"""Who belongs to others: each is a stand-in, and a policy."""
RETRIES: Final = Backoff.listed(1.0, 5.0, 15.0)
"""Seconds after which a message that failed is sent again; the last one stays."""
LONGEST: Final = 330.0
"""Seconds that a request may take at most: a report takes 300."""


class System:
    """Dhanman, all of it in one process; several may be on one database.

    Args:
        port: of the gateway; 0: a free one, as for all others.
        database: a URL of SQLite or PostgreSQL; default: a file of SQLite's that ends with the system.
        environ: where variables that replace values of the policies are looked up; default: those of the process.
        health_token: opens the details of health.
        lease: seconds after which another process goes on with what a dead one held.
        elsewhere: URLs of those of `OTHERS` that are not to be stand-ins of this system's own: several processes on
            one database must ask the same payment gateway, say.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        database: str | None = None,
        environ: Mapping[str, str] | None = None,
        health_token: str | None = None,
        lease: float = 30.0,
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        self.policies = Policies(POLICIES, environ=os.environ if environ is None else environ)
        self._elsewhere = dict(elsewhere or {})
        self.others = {name: StandIn(name) for name in OTHERS if name not in self._elsewhere}
        self._port, self._health_token, self._lease = port, health_token, lease
        self._folder = tempfile.TemporaryDirectory(prefix="dhanman-")
        self.database = Database(database or f"sqlite:///{self._folder.name}/dhanman.sqlite3")
        self.outbox = Outbox(self.database.store, inject=propagate.inject)
        self.common = Common(self.database)
        self.sagas = saga.sagas_of(self.database.store, self.outbox, lease=lease, heartbeat=lease / 3)
        self.sites: dict[str, Site] = {}
        self.app: Seawall
        self.parts: api.Parts
        self.monitor: Monitor
        self._gateway: Site | None = None
        self._around = AsyncExitStack()

    async def start(self) -> None:
        """Starts all, the gateway last. Raises OSError where its port is not free, StartError where it cannot start."""
        listener = listening(self._port)
        self.sites = {name: Site(other.application(), listening(0)) for name, other in self.others.items()}
        for site in self.sites.values():
            await site.ready()
        self.app = self._made_app()
        self._gateway = Site(self.app, listener, lifespan=True)
        await self._gateway.ready()

    async def drain(self) -> None:
        """Stops all: first no more requests, then those in flight end, then what they used."""
        if self._gateway is not None:
            self.app.drain()
            if left := await self.app.drained(GRACE):
                LOGGER.error("%d requests were still in flight after %d s", left, GRACE)
            await self._gateway.stop()
        await asyncio.gather(*(site.stop() for site in self.sites.values()))
        self._folder.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.drain()

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        assert self._gateway is not None
        return self._gateway.url

    @property
    def urls(self) -> Mapping[str, str]:
        """Where each service listens, the gateway last."""
        return {**self._others_urls(), "gateway": self.url}

    def _others_urls(self) -> dict[str, str]:
        return {name: self._elsewhere.get(name) or self.sites[name].url for name in OTHERS}

    def _made_app(self) -> Seawall:
        urls = self._others_urls()
        clients = {name: client(urls[name], self.policies[name]) for name in OTHERS}
        for each in clients.values():
            self._around.push_async_callback(each.aclose)
        notifications = Notifications(self.database, clients["email"], clients["sms"])
        payments = Payments(self.database, clients["payments"])
        invoices = Invoices(self.database, self.outbox)
        rates = Rates(self.database, clients["rates"])
        self.parts = api.Parts(invoices, payments, rates, notifications, self.common, self.sagas, clients["reports"])
        receiver = Receiver(self.database, self.sagas, self.common, notifications)
        relay = Relay(
            self.outbox, receiver.deliver, lease=self._lease, heartbeat=self._lease / 3, backoff=RETRIES, in_flight=5
        )
        self.monitor = checks.monitor(self.database, self.outbox, f"{urls['rates']}/health")
        metrics = Metrics(health=self.monitor.report)

        async def begin() -> None:
            for worker in (Reaper(self.database.store), self.sagas, relay):
                await self._around.enter_async_context(worker)

        return Seawall(
            api.application(self.parts),
            name="dhanman",
            deadline=LONGEST,
            idempotency=IdempotentRequests(
                self.database.store, api.ROUTES, principal=_principal, lease=self._lease, heartbeat=self._lease / 3
            ),
            health=self.monitor,
            health_token=self._health_token,
            metrics=metrics.render,
            on_start=[metrics.start, self.database.start, begin, payments.start, self.monitor.start],
            on_stop=[self.monitor.astop, payments.stop, self._around.aclose, self.database.stop, metrics.stop],
        )


def _principal(scope: Mapping[str, object]) -> str:
    """Who asks: as the proxy says that has authenticated them. Without one there is one user."""
    headers: object = scope["headers"]
    assert isinstance(headers, list | tuple)
    return next((value.decode("latin-1") for name, value in headers if name == b"x-user-id" and value), "dhanman")
