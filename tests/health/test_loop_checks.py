"""The event loop's lag, and the live server that answers when the loop does not."""

import asyncio
import gc
import http.client
import json
import os
import random
import socket
import threading
import time
from typing import Any

import pytest

from seawall.health import Check, Health, LiveServer, LoopProbe, loop_lag_check
from seawall.health.loop import Beat, lag_of
from seawall.testing import FakeClock
from tests.health.monitors import Found, monitor, until


def test_the_lag_is_of_the_time_and_not_of_the_beats() -> None:
    """Half of the time blocked is half of the time, though it is one beat of many."""
    beats = [Beat(0.05, 0.001)] * 100

    assert 0.0 == lag_of([])
    assert 0.001 == lag_of(beats)
    assert 5.0 == lag_of([*beats, Beat(0.05, 5.0)])
    assert 0.001 == lag_of([*beats, Beat(0.05, 0.3)])


def test_a_probe_sees_stalls_whatever_their_rhythm() -> None:
    """A loop that is blocked 40 ms in every 50: a regular probe would hide between the stalls, this one does not."""

    async def stall() -> None:
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            time.sleep(0.04)  # noqa: ASYNC251 - that is the point
            await asyncio.sleep(0.01)

    async def run() -> float:
        probe = LoopProbe(0.05, rng=random.Random(1))
        probe.start()
        await stall()
        lag = lag_of(probe.beats())
        probe.stop()
        return lag

    assert asyncio.run(run()) > 0.015


@pytest.mark.parametrize(
    ("lag", "expected"),
    [(0.0, "healthy"), (0.09, "healthy"), (0.11, "degraded"), (0.9, "degraded"), (1.1, "unhealthy")],
)
def test_the_lag_decides(lag: float, expected: str) -> None:
    """Degraded above 0.1 s, unhealthy above 1 s."""

    async def run(clock: FakeClock) -> Any:
        def late(*args: Any) -> Any:
            clock.advance(lag)
            return beat(*args)

        probe = LoopProbe(rng=lambda: 0.5)
        beat, probe.beat = probe.beat, late  # type: ignore[method-assign]
        async with monitor(loop_lag_check(probe=probe), timeout=60.0, period=60.0) as watching:
            return (await watching.arefresh()).checks[0]

    with FakeClock() as clock:
        entry = asyncio.run(run(clock))
    assert (expected, f"what is due waits up to {lag * 1000:.0f} ms") == (entry.status, entry.description)
    assert lag * 1000 == pytest.approx(entry.data["lag"])


def test_the_lag_of_the_real_loop() -> None:
    """An idle loop is healthy, one with much to do is not; the check works again in a second loop."""

    async def run() -> None:
        async with monitor(check, period=0.2, timeout=30.0) as watching:
            while watching.report().status != "degraded":
                time.sleep(0.12)  # noqa: ASYNC251 - that is the point
                await asyncio.sleep(0)
            await until(lambda: watching.report().status == "healthy")

    check = loop_lag_check(degraded_above=0.06, unhealthy_above=None, tags=["live"])
    for _ in range(2):
        asyncio.run(run())


def test_a_probe_nobody_has_stops() -> None:
    """It is kept alive neither by the loop nor by its timer, and leaves none behind."""

    async def run() -> None:
        probe = LoopProbe(0.01)
        probe.start()
        probe.start()
        beats = probe._beats
        await until(lambda: len(beats) > 2)
        loop: Any = asyncio.get_running_loop()
        assert 1 == len([each for each in loop._scheduled if "_beat" in repr(each) and not each.cancelled()])
        del probe
        gc.collect()
        await asyncio.sleep(0.05)
        assert [] == [each for each in loop._scheduled if "_beat" in repr(each)]

    asyncio.run(run())


def test_a_probe_stopped_forgets() -> None:
    """After stop there is no age and no beat, also of one that was due."""

    async def run() -> None:
        probe = LoopProbe(0.01)
        assert (None, []) == (probe.age(), probe.beats())
        probe.start()
        await until(lambda: len(probe._beats) > 0)
        assert probe.age() is not None
        probe.stop()
        await asyncio.sleep(0.03)
        assert (None, []) == (probe.age(), probe.beats())

    asyncio.run(run())


def ask(port: int, path: str = "/health/live", method: str = "GET") -> tuple[int, Any, dict[str, str]]:
    """Returns what a live server answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body) if body else None, {k.lower(): v for k, v in response.getheaders()}
    finally:
        connection.close()


def test_it_answers_while_the_loop_is_blocked() -> None:
    """A loop blocked for a second is still alive; once it is so for longer than it may, it is not; then it is again."""

    async def run() -> None:
        async with LiveServer(0, host="127.0.0.1", max_age=0.8) as server:
            answers: list[tuple[int, Any, Any]] = []

            def probe() -> None:
                for _ in range(10):
                    began = time.monotonic()
                    answers.append(ask(server.port))
                    assert time.monotonic() - began < 4.0
                    time.sleep(0.1)

            probing = threading.Thread(target=probe)
            probing.start()
            time.sleep(1.5)  # noqa: ASYNC251 - a handler that blocks
            probing.join()
            codes = [code for code, _, _ in answers]
            assert (200, 503) == (codes[0], codes[-1])
            assert sorted(codes) == codes
            body = answers[-1][1]
            assert ("unhealthy", "event-loop", 0.0) == (
                body["status"],
                body["checks"][0]["name"],
                body["totalDuration"],
            )
            assert body["checks"][0]["age"] > 800
            assert "no-store" == answers[0][2]["cache-control"]
            await asyncio.sleep(0.6)
            assert 200 == (await asyncio.to_thread(ask, server.port))[0]

    asyncio.run(run())


def test_what_else_it_answers() -> None:
    """Other paths are 404, other methods 405, nonsense is 400, and HEAD has no body."""

    def talk(port: int, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(data)
            said = b""
            while more := connection.recv(4096):
                said += more
            return said

    async def run() -> None:
        async with LiveServer(0, host="127.0.0.1") as server:

            def check() -> None:
                assert 404 == ask(server.port, "/health")[0]
                assert (405, "GET, HEAD") == (
                    ask(server.port, method="POST")[0],
                    ask(server.port, method="POST")[2]["allow"],
                )
                code, body, headers = ask(server.port, method="HEAD")
                assert (200, None, True) == (code, body, int(headers["content-length"]) > 10)
                assert 200 == ask(server.port, "/health/live?verbose=1")[0]
                assert b"HTTP/1.1 400 " == talk(server.port, b"\x00\xff nonsense\r\n\r\n")[:13]
                assert b"HTTP/1.1 400 " == talk(server.port, b"GET /health/live HTTP/2.0\r\n\r\n")[:13]

            await asyncio.to_thread(check)

    asyncio.run(run())


def test_those_who_say_nothing_hold_nobody_up() -> None:
    """With fifty silent connections open the next one is answered, and beyond the limit it answers again later."""

    async def run() -> None:
        async with LiveServer(0, host="127.0.0.1") as server:
            silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
            assert 200 == (await asyncio.to_thread(ask, server.port))[0]
            silent += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
            for each in silent:
                each.close()
            await asyncio.sleep(0.1)
            assert 200 == (await asyncio.to_thread(ask, server.port))[0]

    asyncio.run(run())


def test_the_checks_tagged_live_are_added() -> None:
    """An unhealthy local check is 503, one that was never run 200; no text of a check is shown."""

    async def run() -> None:
        look = Found(Health.unhealthy("SECRET"))
        watching = monitor(Check("memory", look, tags=["live"], local=True), Check("database", Found(False)))
        with LiveServer(0, host="127.0.0.1", monitor=watching) as server:
            assert (200, "unknown") == (server.answer().status_code, server.answer().body["status"])
            async with watching:
                await watching.arefresh()
                code, body, _ = await asyncio.to_thread(ask, server.port)
                assert (503, ["event-loop", "memory"]) == (code, [each["name"] for each in body["checks"]])
                assert "SECRET" not in json.dumps(body)

    asyncio.run(run())


def test_it_starts_and_stops_cleanly() -> None:
    """A port that is taken is said at once; after stop the port is free, the thread gone, and it may start again."""

    async def run() -> None:
        server = LiveServer(0, host="127.0.0.1")
        server.start()
        server.start()
        with pytest.raises(OSError, match="in use"):
            LiveServer(server.port, host="127.0.0.1").start()
        port = server.port
        server.stop()
        server.stop()
        assert "unknown" == server.answer().body["status"]
        assert "seawall-live" not in [thread.name for thread in threading.enumerate()]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        async with LiveServer(port, host="127.0.0.1") as again:
            assert 200 == (await asyncio.to_thread(ask, again.port))[0]

    with pytest.raises(RuntimeError, match="no running event loop"):
        LiveServer(0).start()
    asyncio.run(run())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_has_none() -> None:
    """The thread stays with the parent: a child may start one of its own."""

    async def run() -> int:
        async with LiveServer(0, host="127.0.0.1") as server:
            pid = os.fork()
            if pid == 0:
                os._exit(7 if server._thread is None else 1)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])  # noqa: ASYNC222 - it ends at once

    assert 7 == asyncio.run(run())
