"""Health and metrics: served before the application, details for those who may see them (H1, operate 4 and 7)."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from seawall.health import Check, Monitor
from seawall.web import Seawall
from tests.web.by_hand import Wire, http_scope, request
from tests.web.services import DSN, SECRET, SERVICES, raw_service
from tests.web.serving import error_of, everything, lines_of, served, wait_for

TOKEN = "let-me-see"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}


class UnknownError(LookupError):
    """There is no such view; names those that there are."""

    known = ("all", "live", "critical")


class Source:
    """A source of health that says what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, bool]] = []
        self.refreshed: list[str] = []
        self.error: Exception | None = None

    def answer(self, view: str, *, check: str | None, details: bool) -> tuple[int, dict[str, Any]]:
        """Answers with one failing check."""
        self.asked.append((view, check, details))
        if self.error is not None:
            raise self.error
        entry = {"name": "database", "status": "unhealthy", **({"description": DSN} if details else {})}
        return 503 if view == "ready" else 200, {"status": "unhealthy", "checks": [entry], "totalDuration": 1.5}

    async def arefresh(self, view: str) -> None:
        """Takes note."""
        await asyncio.sleep(0)
        self.refreshed.append(view)


def metrics() -> str:
    """Metrics in two words, one of them not ASCII, and the thread that made them."""
    return f"# HELP größe {threading.current_thread().name}\n"


@pytest.fixture(scope="module", params=["fastapi", "raw"])
def service(request: pytest.FixtureRequest) -> Iterator[tuple[httpx2.Client, Source]]:
    """A service of each kind with health and metrics, and its source."""
    source = Source()
    app = Seawall(SERVICES[request.param](), health=source, health_token=TOKEN, metrics=metrics)
    with served(app) as client:
        yield client, source


@pytest.fixture
def client(service: tuple[httpx2.Client, Source]) -> httpx2.Client:
    """A client of that service."""
    return service[0]


@pytest.fixture
def source(service: tuple[httpx2.Client, Source]) -> Source:
    """Its source, asked nothing so far."""
    source = service[1]
    source.asked.clear()
    source.refreshed.clear()
    source.error = None
    return source


@pytest.mark.parametrize(
    ("path", "view", "status"),
    [
        ("/health", "all", 200),
        ("/health/", "all", 200),
        ("/health/live", "live", 200),
        ("/health/ready", "ready", 503),
        ("/health/startup", "startup", 200),
        ("/health/external", "external", 200),
        ("/health/critical", "critical", 200),
    ],
)
def test_each_view_is_asked_for_by_its_name(
    client: httpx2.Client, source: Source, path: str, view: str, status: int
) -> None:
    """Status and body are the source's, never cached, with the correlation id; the token changes the body alone."""
    public, private = client.get(path), client.get(path, headers=AUTHORISED)
    assert [(view, None, False), (view, None, True)] == source.asked
    for response in (public, private):
        assert (status, "application/json") == (response.status_code, response.headers["content-type"])
        assert "no-store" == response.headers["cache-control"]
        assert 1 == len(response.headers.get_list("x-correlation-id"))
        assert "database" == response.json()["checks"][0]["name"]
    assert SECRET not in everything(public)
    assert DSN == private.json()["checks"][0]["description"]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "ü"],
)
def test_a_wrong_token_is_as_good_as_none(client: httpx2.Client, source: Source, authorization: str) -> None:
    """Same status, public body, and no fresh run."""
    headers = {"Authorization": authorization.encode("latin-1")}
    assert 503 == client.get("/health/ready?fresh=1", headers=headers).status_code
    assert ([("ready", None, False)], []) == (source.asked, source.refreshed)


def test_a_fresh_run_is_for_those_with_the_token(client: httpx2.Client, source: Source) -> None:
    """The scheme's name is written in any case (RFC 9110, section 11.1)."""
    client.get("/health?fresh=1", headers={"Authorization": f"bearer {TOKEN}"})
    client.get("/health?fresh=0", headers=AUTHORISED)
    client.get("/health?fresh=1")
    assert ["all"] == source.refreshed
    assert [True, True, False] == [details for _, _, details in source.asked]


def test_one_check_may_be_asked_for(client: httpx2.Client, source: Source) -> None:
    """By its name."""
    client.get("/health/ready?check=database")
    assert [("ready", "database", False)] == source.asked


def test_what_health_does_not_know_is_404_and_says_what_it_does(client: httpx2.Client, source: Source) -> None:
    """The names of checks and tags are no secret."""
    source.error = UnknownError("nonsense")
    error = error_of(client.get("/health/nonsense"), 404, "NOT_FOUND")
    assert "Health knows all, live, critical." == error["message"]


def test_a_bug_of_the_source_is_no_404(client: httpx2.Client, source: Source, caplog: Any) -> None:
    """A KeyError is a LookupError too, and its text may be anything."""
    source.error = KeyError(DSN)
    response = client.get("/health")
    assert (200, "unknown") == (response.status_code, response.json()["status"])
    assert SECRET not in everything(response)


def test_a_monitor_is_a_source() -> None:
    """`seawall.health.Monitor` fits as it is."""
    monitor = Monitor([Check("broken", lambda: False, tags=["ready"]), Check("fine", lambda: True)], name="web monitor")
    app = Seawall(raw_service, health=monitor, health_token=TOKEN, on_start=[monitor.start], on_stop=[monitor.astop])
    with served(app) as client:
        wait_for(lambda: client.get("/health").json()["status"] == "unhealthy")
        statuses = [client.get(f"/health{view}").status_code for view in ("", "/live", "/ready", "/external")]
        assert [503, 200, 503, 200] == statuses
        assert ["fine"] == [each["name"] for each in client.get("/health?check=fine").json()["checks"]]
        fresh = client.get("/health?fresh=1", headers=AUTHORISED).json()
        assert {"tags", "age"} <= set(fresh["checks"][0])
        assert "tags" not in client.get("/health").json()["checks"][0]
        assert "external" in error_of(client.get("/health/nonsense"), 404, "NOT_FOUND")["message"]
    assert not monitor.running


@pytest.mark.parametrize("path", ["/health", "/health/live", "/metrics"])
def test_they_can_only_be_read(client: httpx2.Client, path: str) -> None:
    """HEAD is GET without a body; anything else is 405 in the format."""
    head = client.head(path)
    assert (200, b"") == (head.status_code, head.content)
    assert int(head.headers["content-length"]) > 0
    refused = client.post(path)
    error_of(refused, 405, "METHOD_NOT_ALLOWED")
    assert "GET, HEAD" == refused.headers["allow"]


@pytest.mark.parametrize(
    "path", ["/healthy", "/health/a/b", "/health/a b", f"/health/{'x' * 65}", "/metrics/x", "/heal"]
)
def test_what_looks_alike_is_the_applications(client: httpx2.Client, source: Source, path: str) -> None:
    """It answers, here with 404."""
    error_of(client.get(path), 404, "NOT_FOUND")
    assert [] == source.asked


@pytest.mark.parametrize(
    ("view", "status"), [("", 200), ("/live", 200), ("/external", 200), ("/ready", 503), ("/startup", 503)]
)
def test_a_source_that_fails_leaves_health_unknown(
    client: httpx2.Client, source: Source, view: str, status: int, caplog: Any
) -> None:
    """Unknown is 503 where traffic is decided on, 200 elsewhere: a bug in a check must not restart every process."""
    source.error = RuntimeError(DSN)
    response = client.get(f"/health{view}")
    assert (status, "unknown") == (response.status_code, response.json()["status"])
    assert SECRET not in everything(response)
    (line,) = lines_of(caplog)
    assert SECRET not in line


def test_metrics_are_made_on_a_thread_of_their_own(client: httpx2.Client) -> None:
    """In the format of Prometheus, never cached."""
    response = client.get("/metrics")
    assert (200, "# HELP größe seawall-metrics_0\n") == (response.status_code, response.text)
    assert "text/plain; version=0.0.4; charset=utf-8" == response.headers["content-type"]
    assert "no-store" == response.headers["cache-control"]


def test_a_slow_scrape_holds_no_request_up() -> None:
    """The event loop goes on."""
    scraping, go = threading.Event(), threading.Event()

    def slow() -> str:
        scraping.set()
        assert go.wait(10)
        return "done"

    with served(Seawall(raw_service, metrics=slow)) as client:
        got: list[str] = []
        thread = threading.Thread(target=lambda: got.append(httpx2.get(client.base_url.join("/metrics")).text))
        thread.start()
        assert scraping.wait(10)
        assert 200 == client.get("/").status_code
        go.set()
        thread.join()
    assert ["done"] == got


def test_metrics_that_fail_are_an_error_like_others(caplog: Any) -> None:
    """500 in the format, logged once."""

    def fail() -> str:
        raise RuntimeError(DSN)

    with served(Seawall(raw_service, metrics=fail, environment="production")) as client:
        error_of(client.get("/metrics"), 500, "INTERNAL_ERROR")
    (line,) = lines_of(caplog)
    assert SECRET not in line


def test_without_a_source_the_paths_are_the_applications() -> None:
    """Nothing is served that nobody asked for: an application's own health stays its own."""
    app = FastAPI(openapi_url=None)

    @app.get("/health")
    async def health() -> str:
        return "my own"

    with served(Seawall(app)) as client:
        assert "my own" == client.get("/health").json()
        error_of(client.get("/metrics"), 404, "NOT_FOUND")


def test_with_a_source_ours_come_before_the_applications() -> None:
    """Also before everything that the application would do first; other paths can be chosen."""
    app = FastAPI(openapi_url=None)

    @app.get("/{path:path}")
    async def everything_else(path: str) -> str:
        return f"app {path}"

    wrapped = Seawall(app, health=Source(), metrics=metrics, health_path="/-/health", metrics_path="/-/metrics")
    with served(wrapped) as client:
        assert "app health" == client.get("/health").json()
        assert "unhealthy" == client.get("/-/health/live").json()["status"]
        assert client.get("/-/metrics").text.startswith("# HELP")
        assert "app -/other" == client.get("/-/other").json()


def test_a_prefix_before_the_application_counts() -> None:
    """ASGI's root_path is part of the path."""
    with served(Seawall(raw_service, health=Source()), root_path="/api") as client:
        assert 200 == client.get("/health/live").status_code
    scope = http_scope("/api/health/live", root_path="/api")
    assert 200 == request(Seawall(raw_service, health=Source()), scope).said[0]["status"]


def test_what_cannot_be_written_as_json_is_written_as_text() -> None:
    """A check's data may hold anything."""

    class Odd(Source):
        def answer(self, view: str, *, check: str | None, details: bool) -> tuple[int, dict[str, Any]]:
            return 200, {"status": "healthy", "since": object, "path": {1, 2}, "text": "\udcff"}

    said = request(Seawall(raw_service, health=Odd()), http_scope("/health"))
    assert 200 == said.said[0]["status"]
    assert b"\\udcff" in said.said[1]["body"]


def test_live_answers_while_the_application_is_busy() -> None:
    """With 200 requests that wait, a probe takes no longer than its own work."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(3600)

    async def main() -> float:
        wrapped = Seawall(app, health=Source())
        tasks = [
            asyncio.create_task(wrapped(http_scope(f"/{number}"), Wire().receive, Wire().send)) for number in range(200)
        ]
        await asyncio.sleep(0)
        start = time.perf_counter()
        wire = Wire()
        await wrapped(http_scope("/health/live"), wire.receive, wire.send)
        took = time.perf_counter() - start
        assert (200, 200) == (wire.said[0]["status"], wrapped.in_flight)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return took

    assert asyncio.run(main()) < 1.0


def test_a_read_is_not_worth_a_line_in_the_log(client: httpx2.Client, source: Source, caplog: Any) -> None:
    """Probes come every few seconds, and 503 is what an unready service is supposed to say."""
    with caplog.at_level(logging.INFO):
        client.get("/health/ready")
    assert [] == lines_of(caplog, least=logging.INFO)
