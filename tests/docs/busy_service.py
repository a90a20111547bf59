"""A service in which every pattern has worked: recovered, opened and closed, rejected, fallen back, switched."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from seawall import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    RejectedError,
    Retry,
    Timeout,
    WorkerPool,
)
from seawall._core.events import Hub
from seawall.durable import (
    CommitUnknown,
    EmbeddedStore,
    Idempotency,
    LeaseLost,
    Outbox,
    OutboxMessage,
    Relay,
    Saga,
    Sagas,
    SagaStuck,
    Step,
)
from seawall.health import Check, Monitor, Recovery
from seawall.testing import FakeClock
from seawall.web import NotFoundError, Operations, Seawall


class Fault:
    """Fails as often as it is told, then answers."""

    def __init__(self, times: int) -> None:
        self.left = times

    def now(self, *_: object) -> str:
        """Does so at once."""
        self.left -= 1
        if self.left >= 0:
            raise ConnectionError("down")
        return "answer"

    async def __call__(self) -> str:
        """Does so."""
        return self.now()


def _send(message: OutboxMessage) -> None:
    if message.destination == "nowhere":
        raise ConnectionError("down")


async def slow() -> None:
    """Takes its time."""
    await asyncio.sleep(5)


class Busy:
    """The service, wrapped, with what it is operated by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.parent
        quick = Backoff.fixed(0.01)
        self.clock = FakeClock()
        self.rates = Pipeline(
            "rates",
            Fallback("last", on=(ConnectionError, RejectedError)),
            Retry(on=ConnectionError, max_attempts=3, backoff=quick),
            CircuitBreaker(failures=5, open_for=30.0, clock=self.clock),
            Timeout(30.0),
        )
        self.pages = Pipeline(
            "pages",
            Bulkhead(1),
            CircuitBreaker(failure_rate=0.5, window_calls=2, min_calls=2, clock=self.clock),
            Timeout(0.05),
        )
        self.quotes = CircuitBreaker(failure_rate=0.9, window_calls=9, min_calls=2, name="quotes")
        self.logins = RateLimit(1, per=3600.0, name="logins")
        self.search = Pipeline("search", Hedge(after=0.01), Timeout(30.0))
        self.pool = WorkerPool("reports", threads=1)
        self.well = True
        self.monitor = Monitor(
            [Check("stock", self._look, tags=["ready"], period=3600.0)],
            recoveries=[Recovery("stock", self._mend, backoff=quick)],
        )
        self.operations = Operations("busy", health=self.monitor, names="ticketwave", path=folder)
        self.app = Seawall(
            self._serve,
            health=self.monitor,
            operations=self.operations,
            on_start=[self.monitor.start],
            on_stop=[self.monitor.astop],
        )
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://busy")

    async def _look(self) -> bool:
        return self.well

    async def _mend(self) -> None:
        self.well = True

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        raise NotFoundError

    async def scrape(self) -> str:
        """Returns what `/metrics` says."""
        return (await self.client.get("/metrics")).text

    async def work(self) -> None:
        """Lets every pattern do what it is there for."""
        self.operations.switches.off("hedge@pages", actor="ann", reason="INC-1", lasts=None)
        await self.rates.acall(Fault(2))  # recovers at the third attempt
        await self.rates.acall(Fault(3))  # gives up, falls back
        await self.rates.acall(Fault(9))  # opens the circuit, falls back
        await asyncio.gather(self.rates.acall(Fault(0)), return_exceptions=True)  # rejected
        self.clock.advance(31.0)
        await self.rates.acall(Fault(0))  # closes it, and ends the time in fallback
        for _ in range(2):  # too late, twice: half of them and more, so it opens
            await asyncio.gather(self.pages.acall(slow), return_exceptions=True)
        quote = self.quotes(Fault(1).__call__)
        await asyncio.gather(quote(), quote(), return_exceptions=True)  # half of them fail, and that is few enough
        login = self.logins(Fault(0).__call__)
        await asyncio.gather(login(), login(), return_exceptions=True)  # the second one is beyond the rate
        full = Bulkhead(1, name="full")
        async with full.guard():
            await asyncio.gather(full(Fault(0).__call__)(), return_exceptions=True)
        await self.search.acall(asyncio.sleep, 0.05)
        await self.pool.run(len, "abc")
        await asyncio.to_thread(self._endure, self.folder / "busy.db")
        self.well = False
        await self._until_mended()
        await self.client.get("/nowhere")

    def _endure(self, path: Path) -> None:
        """Work that survives crashes: operations, messages, sagas; and what only a crash or a cut would tell."""
        store = EmbeddedStore(path)
        orders = Idempotency(store, "orders")
        for _ in range(2):
            orders.call("first", len, "abc")
        outbox = Outbox(store)
        outbox.add("nowhere", "a")
        outbox.add("somewhere", "b")
        relay = Relay(outbox, _send, max_attempts=1, name="mail")
        relay.pass_once()
        paid = Step[Any]("pay", Fault(1).now, compensate=str)
        sagas = Sagas(store, [Saga("checkout", paid)])
        sagas.run(sagas.start("checkout", {}))
        store.close()
        Hub("checkout").tell(SagaStuck("checkout", "a", ("pay",)))
        Hub("transactions").tell(CommitUnknown("transactions", "unknown", ConnectionError("cut")))
        Hub("a lock").tell(LeaseLost("a lock", "it was silent for too long"))

    async def _until_mended(self) -> None:
        async with asyncio.timeout(20):
            while not self.well:
                await self.monitor.arefresh()
                await asyncio.sleep(0.02)
            while "seawall_recovery_actions_total" not in await self.scrape():  # noqa: ASYNC110 - a listener tells it
                await asyncio.sleep(0.02)

    async def __aenter__(self) -> "Busy":
        self._receive: asyncio.Queue[Any] = asyncio.Queue()
        self._said: asyncio.Queue[Any] = asyncio.Queue()
        self._receive.put_nowait({"type": "lifespan.startup"})
        self._life = asyncio.create_task(self.app({"type": "lifespan"}, self._receive.get, self._said.put))
        assert "lifespan.startup.complete" == (await self._said.get())["type"]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._receive.put_nowait({"type": "lifespan.shutdown"})
        await self._life
        await self.client.aclose()
        self.pool.shutdown()


@asynccontextmanager
async def busy() -> AsyncIterator[Busy]:
    """Gives the service after its work."""
    with tempfile.TemporaryDirectory() as folder:
        async with Busy(Path(folder) / "run") as service:
            await service.work()
            yield service
