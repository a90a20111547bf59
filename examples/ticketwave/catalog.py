"""The catalog service: lists of events."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, Query, Request, Response

from examples.ticketwave import problems
from examples.ticketwave.events import SEASON
from examples.ticketwave.wire import EventPage

Category = Annotated[str | None, Query(max_length=40, description="concert, theatre, sport or comedy; none: all")]
Page = Annotated[int, Query(ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(alias="pageSize", ge=1, le=100)]


class Catalog:
    """What the service works on. Set `trouble` to let it fail; `asked` counts the requests that reached it."""

    work = 0.004
    """Seconds that a list takes."""

    def __init__(self) -> None:
        self.trouble: Literal["errors"] | None = None
        self.asked = 0

    async def page(self, category: str | None, page: int, page_size: int) -> EventPage:
        """Returns a page of the events, always the same ones in the same order."""
        self.asked += 1
        await asyncio.sleep(self.work)
        if self.trouble == "errors":
            raise problems.ProblemError(500, "CATALOG_BROKEN", "The catalog's index is broken.")
        found = [each.event for each in SEASON.values() if category in (None, each.event.category)]
        first = (page - 1) * page_size
        return EventPage(
            events=tuple(found[first : first + page_size]), page=page, page_size=page_size, total=len(found)
        )


router = APIRouter()


@router.get("/api/events", response_model=EventPage, responses=problems.documented())
async def events(request: Request, category: Category = None, page: Page = 1, page_size: PageSize = 20) -> Response:
    """Lists events."""
    catalog: Catalog = request.app.state.catalog
    return (await catalog.page(category, page, page_size)).as_response()


def application(catalog: Catalog) -> FastAPI:
    """Returns the catalog's HTTP interface."""
    app = FastAPI(title="TicketWave catalog")
    app.state.catalog = catalog
    app.include_router(router)
    problems.install(app)
    return app
