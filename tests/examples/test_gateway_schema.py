"""The LLM gateway against its own /openapi.json: schemathesis makes requests, valid and wrong, and judges the answers.

It runs as a process of its own, seeded, over all operations and all its phases: examples, the edges of every field,
random data, and sequences of calls that follow from one another. In full in `make soak`, a tenth of it in `make test`.
"""

import asyncio
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

from examples.llmgateway.provider import Fault, Faults
from examples.llmgateway.system import System
from tests.examples.llmgateway import BRISK, customer, error_of, gateway, question

ROOT = Path(__file__).resolve().parents[2]
FULL = bool(os.environ.get("SEAWALL_SOAK"))
EXAMPLES = 100 if FULL else 10
OPERATIONS = 7
NOT_OURS = ["allow_header_conformance"]  # Starlette names the methods of one route only, where a path has several
IN_TROUBLE = [*NOT_OURS, "not_a_server_error", "positive_data_acceptance"]  # 503 and 408 are right then
SOON = {f"SEAWALL_POLICIES__{name}__BREAKER__OPEN_FOR": "0.2" for name in ("ANTHROPIC", "OPENAI")}
MIDWAY: tuple[Fault, ...] = ("error", "overloaded", "busy", "cut", "error midway")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """The URL of a database; None for the gateway's own."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgresql_database").url


async def judged(system: System, folder: Path, *options: str, excluded: list[str]) -> tuple[dict[str, Any], str]:
    """Let schemathesis loose on a gateway; return its report, and what it printed."""
    async with customer(
        system.url
    ) as client:  # that of all valid examples, or 404 would be the answer to wrong ones, too
        assert 200 == (await client.put("/v1/projects/0", json={"name": "0"})).status_code
        assert 200 == (await client.put("/v1/projects/0/agents/0", json={"name": "0"})).status_code
    report = folder / "report.json"
    (folder / "schemathesis.toml").write_text("max-stream-events = 1000\n")  # streams are read to their end
    command = ["run", f"{system.url}/openapi.json", "--seed", "1", "--mode", "all", "--checks", "all"]
    command += ["--exclude-checks", ",".join(excluded), "--max-examples", str(EXAMPLES), "--request-timeout", "30"]
    command += ["--generation-database", "none", "--report", "json", "--report-json-path", str(report), "--no-color"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", *command, *options),
        cwd=folder,  # where it keeps what it remembers
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.examples.gateway_schema"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    printed = output.decode("utf-8", "replace")
    assert report.exists(), printed
    return json.loads(report.read_text()), printed


def answered(system: System) -> dict[tuple[str, str], int]:
    """Return how many errors the gateway has answered, by code and status."""
    of_one = r'^seawall_http_errors_total\{code="(\w+)",http_response_status_code="(\d+)"\} (\d+)$'
    found = re.findall(of_one, system.metrics.render(), re.MULTILINE)
    return {(code, status): int(count) for code, status, count in found}


def check(report: dict[str, Any], printed: str) -> None:
    """Raise AssertionError unless all was tested, and nothing found."""
    assert [] == report["failures"], printed
    assert (0, True) == (report["exit_code"], report["complete"]), printed
    assert (OPERATIONS, OPERATIONS) == (report["operations"]["total"], report["operations"]["tested"])
    done = {phase: found["status"] for phase, found in report["phases"].items()}
    assert {"examples": "skip", "coverage": "success", "fuzzing": "success", "stateful": "success"} == done, printed
    assert report["test_cases"]["generated"] > 300
    print(f"{report['test_cases']['generated']:,} requests, nothing found")


@pytest.mark.soak
def test_the_gateway_answers_whatever_comes_as_its_openapi_says(database: str | None, tmp_path: Path) -> None:
    """No 500, no body outside the error format; what is valid is accepted, and what is not, refused."""

    async def test() -> None:
        async with gateway(database=database) as (system, _):
            check(*await judged(system, tmp_path, excluded=NOT_OURS))
            errors = answered(system)
        codes = {"VALIDATION_ERROR", "PROJECT_NOT_FOUND", "AGENT_NOT_FOUND", "METHOD_NOT_ALLOWED"}
        assert codes <= {code for code, _ in errors}, errors
        assert {"400", "404", "405"} == {status for _, status in errors}, errors

    asyncio.run(test())


@pytest.mark.soak
def test_it_does_so_while_those_it_asks_are_in_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Providers that fail, before and in the middle of an answer, and no list of models."""

    async def test() -> None:
        async with gateway(environ=BRISK | SOON) as (system, _):
            system.catalog.trouble = 500
            for number, provider in enumerate(system.providers.values()):
                provider.faults = Faults(0.8, MIDWAY, seed=number)
            check(*await judged(system, tmp_path, excluded=IN_TROUBLE))
            errors = answered(system)
            struck = {fault for provider in system.providers.values() for fault in provider.struck}
        assert {"400", "404", "405", "503"} <= {status for _, status in errors}, errors
        assert "MODELS_UNAVAILABLE" in {code for code, _ in errors}, errors
        assert set(MIDWAY) == struck

    caplog.set_level(logging.WARNING)
    asyncio.run(test())
    assert [text for text in caplog.messages if re.match("a stream of .* broke", text)] != []


@pytest.mark.soak
def test_it_does_so_for_customers_in_a_hurry(tmp_path: Path) -> None:
    """Whose time is up before anybody could have answered."""

    async def test() -> None:
        async with gateway() as (system, _):
            report, printed = await judged(
                system,
                tmp_path,
                *("--header", "X-Request-Timeout: 0.001", "--phases", "coverage"),
                excluded=IN_TROUBLE,
            )
            errors = answered(system)
        assert ([], 0, OPERATIONS) == (report["failures"], report["exit_code"], report["operations"]["tested"]), printed
        assert errors[("TIMEOUT", "408")] > 10

    asyncio.run(test())


@pytest.mark.parametrize("field", ["name", "instructions"])
def test_a_text_that_a_database_cannot_keep_is_refused_at_the_door(field: str) -> None:
    """PostgreSQL keeps no U+0000: found by schemathesis as a 500. Refused whatever the database, with its field."""

    async def test() -> None:
        async with gateway() as (_, client):
            response = await client.put("/v1/projects/p1/agents/a1", json={"name": "A", field: "a\0b"})
        error = error_of(response)
        expected = (400, "VALIDATION_ERROR", [f"body.{field}"])
        assert expected == (response.status_code, error["code"], [detail["field"] for detail in error["details"]])

    asyncio.run(test())


@pytest.mark.parametrize(
    ("given", "field"),
    [({"stream": 0}, "stream"), ({"maxTokens": "5"}, "maxTokens"), ({"maxTokens": True}, "maxTokens")],
)
def test_what_another_type_could_stand_for_is_refused_all_the_same(given: dict[str, object], field: str) -> None:
    """As the schema says; 5.0 is an integer to JSON Schema, though."""

    async def test() -> None:
        async with gateway() as (_, client):
            response = await client.post("/v1/chat", json=question(**given))
            whole = await client.post("/v1/chat", json=question(maxTokens=5.0))
        assert (400, f"body.{field}") == (response.status_code, error_of(response)["details"][0]["field"])
        assert (200, 5) == (whole.status_code, whole.json()["usage"]["outputTokens"])

    asyncio.run(test())
