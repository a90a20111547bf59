"""What is started before an application and stopped after it, and its own lifespan between (operate 2.1)."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette

from seawall.web import Seawall
from tests.web.by_hand import Wire
from tests.web.services import DSN, SECRET, raw_service
from tests.web.serving import Served, lines_of, served

STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
STARTED, STOPPED = "lifespan.startup.complete", "lifespan.shutdown.complete"
NOT_STARTED, NOT_STOPPED = "lifespan.startup.failed", "lifespan.shutdown.failed"


class Steps:
    """What happened, in order; `noting` makes a hook that notes its turn."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def noting(self, step: str, error: BaseException | None = None) -> Callable[[], None]:
        """Returns a plain hook, which fails where an error is given."""

        def hook() -> None:
            self.all.append(step)
            if error is not None:
                raise error

        return hook

    def anoting(self, step: str) -> Callable[[], Any]:
        """Returns an async hook."""

        async def hook() -> None:
            await asyncio.sleep(0)
            self.all.append(step)

        return hook

    def framework(self, at_start: Exception | None = None, at_end: Exception | None = None) -> Starlette:
        """Returns an application with a lifespan, which fails where an error is given."""

        @contextlib.asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[dict[str, int]]:
            self.all.append("app starts")
            if at_start is not None:
                raise at_start
            yield {"answer": 42}
            self.all.append("app stops")
            if at_end is not None:
                raise at_end

        return Starlette(lifespan=lifespan)


@pytest.fixture
def steps() -> Steps:
    """What happens in one test."""
    return Steps()


def live(app: Any, *told: dict[str, Any], **options: Any) -> tuple[Wire, Seawall]:
    """Lives one life of an application; returns what the server was told, and the wrapper."""

    async def main() -> tuple[Wire, Seawall]:
        wire, wrapped = Wire(*(told or (STARTUP, SHUTDOWN))), Seawall(app, **options)
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        async with asyncio.timeout(5):
            await wrapped(scope, wire.receive, wire.send)
        return wire, wrapped

    return asyncio.run(main())


def test_hooks_run_around_the_applications_own_lifespan(steps: Steps) -> None:
    """In the order given, plain and async ones; the server is told once everything has been done."""
    wire, wrapped = live(
        steps.framework(),
        on_start=[steps.noting("one"), steps.anoting("two")],
        on_stop=[steps.anoting("three"), steps.noting("four")],
    )
    assert ["one", "two", "app starts", "app stops", "three", "four"] == steps.all
    assert [STARTED, STOPPED] == wire.types
    assert wrapped.draining


async def asserting(scope: Any, receive: Any, send: Any) -> None:
    """Knows nothing but HTTP, and says so."""
    assert "http" == scope["type"]


async def returning(scope: Any, receive: Any, send: Any) -> None:
    """Knows nothing but HTTP, and ignores the rest."""


async def hearing(scope: Any, receive: Any, send: Any) -> None:
    """Hears the start, and has nothing to say."""
    await receive()


@pytest.mark.parametrize("app", [asserting, returning, hearing])
def test_an_application_without_lifespan_is_served_with_hooks(steps: Steps, app: Any, caplog: Any) -> None:
    """Its refusal is no failure."""
    wire, _ = live(app, on_start=[steps.noting("start")], on_stop=[steps.noting("stop")])
    assert ([STARTED, STOPPED], ["start", "stop"]) == (wire.types, steps.all)
    assert [] == lines_of(caplog)


def test_a_failing_start_hook_ends_the_start(steps: Steps, caplog: Any) -> None:
    """The application is not started; what was started is stopped; the server learns which hook it was."""
    wire, _ = live(
        steps.framework(),
        STARTUP,
        on_start=[steps.noting("one"), steps.noting("two", RuntimeError(DSN)), steps.noting("three")],
        on_stop=[steps.noting("stop")],
    )
    assert ["one", "two", "stop"] == steps.all
    assert [NOT_STARTED] == wire.types
    assert "noting.<locals>.hook failed: RuntimeError: postgres://app:***@db.internal/orders" in wire.said[0]["message"]
    assert SECRET not in "".join(lines_of(caplog))


def test_a_failing_start_of_the_application_is_passed_on(steps: Steps, caplog: Any) -> None:
    """After everything was stopped again; Starlette's traceback goes on without the password."""
    wire, _ = live(
        steps.framework(at_start=RuntimeError(DSN)),
        STARTUP,
        on_start=[steps.noting("start")],
        on_stop=[steps.noting("stop")],
    )
    assert (["start", "app starts", "stop"], [NOT_STARTED]) == (steps.all, wire.types)
    assert "RuntimeError" in wire.said[0]["message"]
    assert SECRET not in wire.said[0]["message"]


def test_a_failing_end_of_the_application_is_passed_on(steps: Steps) -> None:
    """The hooks run all the same."""
    wire, _ = live(steps.framework(at_end=RuntimeError("app")), on_stop=[steps.noting("stop")])
    assert (["app starts", "app stops", "stop"], [STARTED, NOT_STOPPED]) == (steps.all, wire.types)


def test_every_stop_hook_runs_whatever_fails(steps: Steps, caplog: Any) -> None:
    """Each failure is logged and told."""
    hooks = [steps.noting("one", OSError("first")), steps.anoting("two"), steps.noting("three", OSError("second"))]
    wire, _ = live(steps.framework(), on_stop=hooks)
    assert ["app starts", "app stops", "one", "two", "three"] == steps.all
    assert [STARTED, NOT_STOPPED] == wire.types
    assert "first" in wire.said[1]["message"]
    assert "second" in wire.said[1]["message"]
    assert 2 == len(lines_of(caplog))


@pytest.mark.parametrize("says", [True, False])
def test_a_lifespan_that_dies_while_serving_ends_nothing_early(steps: Steps, says: bool, caplog: Any) -> None:
    """It is logged; the hooks run when the server asks for the end, and that end has failed."""

    async def dying(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": STARTED})
        if says:
            await send({"type": NOT_STOPPED, "message": DSN})
        raise RuntimeError(DSN)

    wire, _ = live(dying, on_stop=[steps.noting("stop")])
    assert ([STARTED, NOT_STOPPED], ["stop"]) == (wire.types, steps.all)
    (line,) = lines_of(caplog)
    assert "the application's lifespan failed" in line
    assert SECRET not in line + wire.said[1]["message"]


def test_a_lifespan_that_goes_on_listening_holds_nothing_up(steps: Steps) -> None:
    """The server is told when the application says that it has ended, not when it returns."""

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        while True:
            await send({"type": (await receive())["type"] + ".complete"})

    async def main() -> list[str]:
        wire = Wire(STARTUP, SHUTDOWN)
        wrapped = Seawall(endless, on_stop=[steps.noting("stop")])
        task = asyncio.create_task(wrapped({"type": "lifespan"}, wire.receive, wire.send))
        while STOPPED not in wire.types:  # noqa: ASYNC110 - a few turns of this loop, no time
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return wire.types

    assert ([STARTED, STOPPED], ["stop"]) == (asyncio.run(main()), steps.all)


@pytest.mark.parametrize("when", [0, 1, 2, 3, 5, 8])
def test_a_cancelled_lifespan_stops_what_was_started(steps: Steps, when: int) -> None:
    """At whichever await the cancellation comes, each stop hook runs once."""

    async def main() -> None:
        wire = Wire(STARTUP)
        wrapped = Seawall(steps.framework(), on_start=[steps.anoting("start")], on_stop=[steps.anoting("stop")])
        task = asyncio.create_task(wrapped({"type": "lifespan", "state": {}}, wire.receive, wire.send))
        for _ in range(when + 1):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert 1 == steps.all.count("stop")


def test_a_real_server_lives_it_too(steps: Steps) -> None:
    """The state of the application's lifespan reaches its requests."""
    app = FastAPI(openapi_url=None, lifespan=steps.framework().router.lifespan_context)

    @app.get("/")
    async def state(request: Request) -> int:
        return int(request.state.answer)

    with served(Seawall(app, on_start=[steps.noting("start")], on_stop=[steps.noting("stop")])) as client:
        assert 42 == client.get("/").json()
        assert ["start", "app starts"] == steps.all
    assert ["start", "app starts", "app stops", "stop"] == steps.all


def test_a_real_server_does_not_serve_after_a_failed_start(steps: Steps, caplog: Any) -> None:
    """It gives up, and its log has no password."""
    caplog.set_level(logging.INFO)
    server = Served(Seawall(raw_service, on_start=[steps.noting("start", RuntimeError(DSN))])).start()
    server.thread.join(5)
    assert (False, True) == (server.server.started, server.server.lifespan.startup_failed)
    server.socket.close()
    assert SECRET not in "".join(lines_of(caplog, "", logging.INFO))
