"""Lists of events for customers: fresh from the catalog, else the last one that was, else none."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

import httpx2

from examples.ticketwave.wire import EventList, EventPage, NoEvents
from seawall import DeadlineExceededError, Fallback, Pipeline

LOGGER = logging.getLogger("ticketwave")


class Query(NamedTuple):
    """What a customer asks for."""

    category: str | None
    page: int
    page_size: int

    def parameters(self) -> dict[str, str | int]:
        """Returns it as the catalog wants it."""
        category = {} if self.category is None else {"category": self.category}
        return {**category, "page": self.page, "pageSize": self.page_size}


class NothingKeptError(Exception):
    """No list is kept that answers a query, or it is too old."""


class KeptLists:
    """The last good answer to each query.

    Args:
        seconds: how long one is of use.
        most: how many are kept; beyond that, those go that were not asked for for longest.
        clock: where the time comes from.
    """

    def __init__(self, seconds: float, most: int = 1000, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._lists: OrderedDict[Query, tuple[float, EventPage]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lists)

    def keep(self, query: Query, page: EventPage) -> None:
        """Keeps a good answer."""
        self._lists[query] = self._clock(), page
        self._lists.move_to_end(query)
        if len(self._lists) > self._most:
            self._lists.popitem(last=False)

    def find(self, query: Query) -> EventList:
        """Returns what is kept, marked as such. Raises NothingKeptError."""
        when, page = self._lists.get(query, (-self._seconds, None))
        if page is None or self._clock() - when >= self._seconds:
            self._lists.pop(query, None)
            raise NothingKeptError(query)
        self._lists.move_to_end(query)
        return EventList(**dict(page), is_from_cache=True)


class Lists(Protocol):
    """Answers customers' queries, whatever the catalog does."""

    async def find(self, query: Query) -> EventList | NoEvents:
        """Returns a list, fresh or kept, or says that there is none."""


class BadAnswerError(Exception):
    """The catalog answered with something else than a list."""


async def ask_catalog(catalog: httpx2.AsyncClient, query: Query) -> EventPage:
    """Returns what the catalog answers. Raises where that is no list."""
    response = await catalog.get("/api/events", params=query.parameters())
    if not response.is_success:
        raise BadAnswerError(f"status {response.status_code}")
    return EventPage.model_validate_json(response.content)


class CarefulLists:
    """Any error of the catalog falls back to what is kept, and then to an answer that says that there is nothing.

    Args:
        catalog: a protected client.
        kept: the last good answers.
    """

    def __init__(self, catalog: httpx2.AsyncClient, kept: KeptLists) -> None:
        self._catalog, self._kept = catalog, kept
        self._pipeline = Pipeline("event lists", Fallback(self.last_known, NoEvents(), on=Exception))

    async def find(self, query: Query) -> EventList | NoEvents:
        """Returns a list, fresh or kept, or says that there is none."""
        try:
            return await self._pipeline.acall(self._fresh_list, query)
        except DeadlineExceededError as error:  # no time to start; what is kept takes none
            try:
                return self.last_known(error, query)
            except NothingKeptError:
                return NoEvents()

    async def _fresh_list(self, query: Query) -> EventList | NoEvents:
        page = await ask_catalog(self._catalog, query)
        self._kept.keep(query, page)
        return EventList(**dict(page))

    def last_known(self, failure: Exception, query: Query) -> EventList:
        """Returns the last good answer, marked as such. Raises NothingKeptError."""
        return self._kept.find(query)
