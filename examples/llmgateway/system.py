"""The gateway and its stand-ins, put together and started in one event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Self

from examples.llmgateway import api, checks, standins
from examples.llmgateway.chat import Chat
from examples.llmgateway.database import Database
from examples.llmgateway.memory_queue import MemoryQueue
from examples.llmgateway.messages import Publisher, Queue
from examples.llmgateway.models import Models
from examples.llmgateway.projects import TABLES, Projects
from examples.llmgateway.provider import Provider
from examples.llmgateway.upstream import Upstream
from examples.llmgateway.wire import ProviderName
from examples.serving.site import GRACE, Site, listening
from seawall import Policies
from seawall.health import Monitor
from seawall.observe import Metrics
from seawall.web import Seawall

LOGGER = logging.getLogger("llmgateway")
PROVIDERS: Final[tuple[ProviderName, ...]] = ("anthropic", "openai")
POLICIES: Final = Path(__file__).with_name("seawall.toml")
LONGEST: Final = 300.0
"""Seconds that a request may take at most, streams included."""


class System:
    """Two providers, the list of models, the gateway.

    Args:
        port: of the gateway; 0: a free one, as for all others.
        database: a URL of SQLite or PostgreSQL; default: a file of SQLite's that ends with the system.
        broker: a URL of RabbitMQ; default: a queue of this process.
        environ: where variables that replace values of the policies are looked up; default: those of the process.
        health_token: opens the details of health.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        database: str | None = None,
        broker: str | None = None,
        environ: Mapping[str, str] | None = None,
        health_token: str | None = None,
    ) -> None:
        self.policies = Policies(POLICIES, environ=os.environ if environ is None else environ)
        self.providers: dict[ProviderName, Provider] = {name: Provider(name) for name in PROVIDERS}
        self.catalog = standins.Catalog()
        self._port, self._broker, self._health_token = port, broker, health_token
        self._folder = tempfile.TemporaryDirectory(prefix="llmgateway-")
        self.database = Database(
            database or f"sqlite:///{self._folder.name}/gateway.sqlite3",
            TABLES,
            policy=self.policies["database"],
            connecting=self.policies["database connection"],
        )
        self.queue: Queue = self._made_queue()
        self.publisher = Publisher(self.queue, self.policies["queue"])
        self.sites: dict[str, Site] = {}
        self.monitor: Monitor
        self.metrics: Metrics
        self.app: Seawall
        self._gateway: Site | None = None
        self._around = AsyncExitStack()

    def _made_queue(self) -> Queue:
        if self._broker is None:
            return MemoryQueue()
        from examples.llmgateway.rabbit_queue import RabbitQueue  # only who has a broker needs its client

        return RabbitQueue(self._broker)

    async def start(self) -> None:
        """Starts all, the gateway last. Raises OSError where its port is not free, StartError where it cannot start."""
        listener = listening(self._port)
        for name, provider in self.providers.items():
            self.sites[name] = Site(standins.application(provider), listening(0))
        self.sites["models"] = Site(self.catalog.application(), listening(0))
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
        return {**{name: site.url for name, site in self.sites.items()}, "gateway": self.url}

    def _made_app(self) -> Seawall:
        upstreams = {name: Upstream(name, self.sites[name].url, self.policies[name]) for name in PROVIDERS}
        models = Models(self.sites["models"].url, self.policies["external"])
        projects = Projects(self.database)
        for close in (*(upstream.aclose for upstream in upstreams.values()), models.aclose):
            self._around.push_async_callback(close)
        health: dict[str, str] = {name: f"{self.sites[name].url}/health" for name in PROVIDERS}
        self.monitor = checks.monitor(self.database, self.queue, health, self._folder.name)
        self.metrics = Metrics(health=self.monitor.report)

        async def start_queue() -> None:
            await self.queue.start(projects.record)
            self.publisher.start()

        chat = Chat(upstreams, self.policies["chat"])
        return Seawall(
            api.application(api.Parts(chat, projects, models, self.publisher)),
            name="llmgateway",
            deadline=LONGEST,
            health=self.monitor,
            health_token=self._health_token,
            metrics=self.metrics.render,
            on_start=[self.metrics.start, self.database.start, start_queue, self.monitor.start],
            on_stop=[
                self.monitor.astop,
                self.publisher.stop,
                self.queue.stop,
                self.database.stop,
                self._around.aclose,
                self.metrics.stop,
            ],
        )
