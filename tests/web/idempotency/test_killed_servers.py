"""Servers that are killed -9 at every crash point, stand still, or serve in numbers: one effect, one answer."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from seawall.testing import Crash, CrashRunner
from tests.servers import PostgreSQL
from tests.web.idempotency.ledger import Ledger
from tests.web.idempotency.shop import KEY, replayed
from tests.web.idempotency.till_server import application, ask
from tests.web.serving import wait_for

FULL = bool(os.environ.get("SEAWALL_SOAK"))
PROGRAM = [sys.executable, "-m", "tests.web.idempotency.till_server"]
LAPSE = "UPDATE seawall_idempotency SET lease_until = lease_until - 3600"
PAID = {"paid": True, "by": "commit"}


class Place:
    """Where the servers of one test keep what they did."""

    def __init__(self, kind: str, place: str, witness: Path) -> None:
        self.kind, self.place, self.witness = kind, place, witness

    def order(self, **more: Any) -> dict[str, Any]:
        """Returns an order for a server here."""
        return {"kind": self.kind, "place": self.place, "witness": str(self.witness), **more}

    def sql(self, *statements: str) -> list[Any]:
        """Says something to the database, on a store of its own."""

        async def main() -> list[Any]:
            ledger = await Ledger(self.kind, self.place).open()
            try:
                return [await ledger.sql(each) for each in statements]
            finally:
                await ledger.close()

        return asyncio.run(main())

    def fresh(self) -> None:
        """Begins anew."""
        self.witness.unlink(missing_ok=True)
        self.sql("DELETE FROM payments", "DELETE FROM seawall_idempotency")

    def asked(self, path: str, times: int = 2) -> list[httpx2.Response]:
        """Repeats the request here, long after."""

        async def main() -> list[httpx2.Response]:
            app = await application(self.kind, self.place, str(self.witness))
            return [await ask(app, path) for _ in range(times)]

        return asyncio.run(main())

    @property
    def payments(self) -> int:
        """How many were committed."""
        return int(self.sql("SELECT COUNT(*) FROM payments")[0][0][0])

    @property
    def orders(self) -> int:
        """How many effects were had outside."""
        return len(self.witness.read_text().split()) if self.witness.exists() else 0


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Of the kind that the test asks for."""
    with ExitStack() as stack:
        url = str(tmp_path / "seawall.db")
        if request.param not in ("embedded", "aiosqlite"):
            server: PostgreSQL = request.getfixturevalue("postgresql_server")
            url = stack.enter_context(server.database()).url
        yield Place(request.param, url, tmp_path / "witness")


def transactional(place: Place) -> Callable[[Crash], str | None]:
    """Returns what is wrong after a crash: there must be one payment and one answer."""

    def wrong(crash: Crash) -> str | None:
        place.sql(LAPSE)
        seen = [(each.status_code, each.json()) for each in place.asked("/payments")]
        count = place.payments
        return None if (seen, count) == ([(201, PAID)] * 2, 1) else f"{seen}, {count} payments"

    return wrong


def plain(place: Place) -> Callable[[Crash], str | None]:
    """Returns what is wrong after a crash: one order with its answer, or at most one, and nobody says more."""

    def wrong(crash: Crash) -> str | None:
        place.sql(LAPSE)
        answers = place.asked("/orders")
        seen = {(each.status_code, each.json().get("error", {}).get("code")) for each in answers}
        count = place.orders
        fine = (seen == {(201, None)} and count == 1) or (seen == {(409, "OUTCOME_UNKNOWN")} and count <= 1)
        return None if fine else f"{seen}, {count} orders"

    return wrong


class Forks(CrashRunner):
    """Crashes children of one process, which has imported everything once."""

    def __init__(self, order: dict[str, Any], errors: Path) -> None:
        super().__init__(["true"])
        self._order, self._errors = order, errors
        self._server = subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _run(self, extra: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        at, record = extra.get("SEAWALL_CRASH_AT", ""), extra.get("SEAWALL_CRASH_RECORD", "")
        self._errors.write_text("")
        self._server.stdin.write(json.dumps({**self._order, "at": at, "record": record, "errors": str(self._errors)}))
        self._server.stdin.write("\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return subprocess.CompletedProcess([], code, "", self._errors.read_text())

    def close(self) -> None:
        """Ends it."""
        self._server.communicate(timeout=30)


SOME = 5
ALWAYS = [("embedded", "/payments"), ("embedded", "/orders"), ("asyncpg", "/payments")]
MORE = [("asyncpg", "/orders"), ("psycopg", "/payments"), ("psycopg", "/orders"), ("aiosqlite", "/payments")]
CHECKS = {"/payments": transactional, "/orders": plain}


@pytest.mark.soak
@pytest.mark.parametrize(("place", "path"), ALWAYS + MORE * FULL, indirect=["place"])
def test_killed_at_every_point(place: Place, path: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """kill -9 between any two steps; repeats with the same key have the answer, or learn that nobody knows."""
    place.fresh()
    with closing(Forks(place.order(ask=path), tmp_path / "errors")) as runner:
        _kill(place, path, runner, capsys)


def _kill(place: Place, path: str, runner: Forks, capsys: pytest.CaptureFixture[str]) -> None:
    crashes = runner.record()
    assert {"idempotency.claim.before", "store.commit.after"} <= {crash.point for crash in crashes}
    check, problems, killed = CHECKS[path](place), [], 0
    for crash in crashes if FULL else crashes[:: max(1, len(crashes) // SOME)]:
        place.fresh()
        runner.crash(crash)
        killed += 1
        problem = check(crash)
        if problem is not None:
            problems.append(f"{crash}: {problem}")
    with capsys.disabled():
        print(f"\n{place.kind} {path}: {len({each.point for each in crashes})} points, {killed} of {len(crashes)} runs")
    assert [] == problems


class Process:
    """A server process."""

    def __init__(self, **order: Any) -> None:
        command = [*PROGRAM, json.dumps(order)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{self.line()}"

    def line(self) -> str:
        """Returns what it prints next."""
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()

    def go_on(self) -> None:
        """Tells it to go on."""
        assert self.child.stdin is not None
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def end(self) -> None:
        """Kills it."""
        self.child.send_signal(signal.SIGCONT)
        self.child.kill()
        self.child.communicate(timeout=30)


@pytest.fixture
def processes() -> Iterator[Callable[..., Process]]:
    """Starts servers that end with the test."""
    with ExitStack() as stack:

        def start(**order: Any) -> Process:
            made = Process(**order)
            stack.callback(made.end)
            return made

        yield start


@pytest.mark.parametrize("place", ["asyncpg"], indirect=True)
def test_several_servers_on_one_store(place: Place, processes: Callable[..., Process]) -> None:
    """Equal requests to two processes: one payment, and everybody who has an answer has the same one."""
    place.sql()
    urls = [processes(**place.order()).url for _ in range(2)]

    async def main() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(timeout=30) as client:
            asked = [client.post(f"{urls[number % 2]}/payments", json={}, headers=KEY) for number in range(20)]
            first = await asyncio.gather(*asked)
            return [*first, *[await client.post(f"{url}/payments", json={}, headers=KEY) for url in urls]]

    answers = asyncio.run(main())
    assert {(201, True), (409, False)} >= {(each.status_code, each.status_code == 201) for each in answers}
    assert {"paid"} == {name for each in answers if each.status_code == 201 for name in list(each.json())[:1]}
    assert (1, [True, True]) == (place.payments, [replayed(each) for each in answers[-2:]])
    assert 1 == sum(each.status_code == 201 and not replayed(each) for each in answers)


@pytest.mark.parametrize(
    ("place", "path"),
    [("embedded", "/payments"), ("embedded", "/orders"), ("asyncpg", "/payments")],
    indirect=["place"],
)
def test_a_server_that_stood_still_for_its_lease(place: Place, path: str, processes: Callable[..., Process]) -> None:
    """SIGSTOP in mid-request: once awake it can neither commit nor answer what is another's by then."""
    place.sql()
    stopped = processes(**place.order(slow=True, lease=1.0))
    answers: list[httpx2.Response] = []

    async def ask_it() -> None:
        async with httpx2.AsyncClient(timeout=30) as client:
            answers.append(await client.post(f"{stopped.url}{path}", json={}, headers=KEY))

    async def main() -> list[httpx2.Response]:
        asked = asyncio.create_task(ask_it())
        assert "paid" == await asyncio.to_thread(stopped.line)
        stopped.child.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(lapsed, place)
        app = await application(place.kind, place.place, str(place.witness))
        others = [await ask(app, path) for _ in range(2)]
        stopped.child.send_signal(signal.SIGCONT)
        stopped.go_on()
        await asked
        return [*others, await ask(app, path)]

    def lapsed(place: Place) -> None:
        lease = "SELECT COUNT(*) FROM seawall_idempotency WHERE lease_until > {now}"
        wait_for(lambda: place.sql(lease)[0][0][0] == 0)

    others = asyncio.run(main())
    if path == "/payments":
        assert ([(201, PAID)] * 3, 1) == ([(each.status_code, each.json()) for each in others], place.payments)
        assert (503, True) == (answers[0].status_code, replayed(others[-1])) or (201, PAID) == (
            answers[0].status_code,
            answers[0].json(),
        )
    else:
        assert (409, "OUTCOME_UNKNOWN", 1) == (others[0].status_code, others[0].json()["error"]["code"], place.orders)
