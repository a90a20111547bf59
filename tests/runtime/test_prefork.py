"""Servers of several processes: uvicorn's, which are spawned, and those that fork after the import."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.runtime.fleet import ROOT, calls_in, environment, until

REQUESTS = 200


def free_port() -> int:
    """Returns a port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_four_workers_of_uvicorn_speak_with_one_voice(tmp_path: Path) -> None:
    """Whichever answers: all calls, once; a worker killed is replaced and its calls stay."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.runtime.served:app", "--workers", "4", "--port", str(port)]
    env = environment(SEAWALL_RUNTIME_DIR=str(tmp_path / "run"))
    server = subprocess.Popen([*command, "--log-level", "error"], cwd=ROOT, env=env)

    def get(path: str) -> str:
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except (URLError, OSError):
            return ""

    def up() -> list[str]:
        return re.findall(r'seawall_worker_up\{worker="(\d+)-\d+"\} 1', get("/metrics"))

    try:
        until(lambda: len(up()) == 4)
        answered = {get("/call") for _ in range(REQUESTS)}
        until(lambda: calls_in(get("/metrics")) == REQUESTS)
        assert [REQUESTS] * 8 == [calls_in(get("/metrics")) for _ in range(8)]
        killed = answered.pop()
        os.kill(int(killed), signal.SIGKILL)
        until(lambda: len(up()) == 4 and killed not in up())
        assert REQUESTS == calls_in(get("/metrics"))
    finally:
        server.terminate()
        server.wait(20)
    assert [] == list((tmp_path / "run" / "workers").iterdir())


PREFORK = """
import os, sys, time

from seawall import Pipeline, Timeout
from seawall._runtime.runtime import Runtime
from seawall.observe import Metrics

runtime = Runtime("fleet", path=sys.argv[1])
metrics = Metrics(runtime)
pipeline = Pipeline("fleet", Timeout(10.0))
metrics.start()
for _ in range(100):
    pipeline.call(os.getpid)  # before the fork, of nobody's worker
children, (waiting, holding) = [], os.pipe()
for number in range(3):
    child = os.fork()
    if child == 0:
        os.close(holding)
        runtime.start()
        os.read(waiting, 1)  # until the master sees all three
        for _ in range(1000 * (number + 1)):
            pipeline.call(os.getpid)
        runtime.stop() if number == 0 else runtime.write_now() and os.kill(os.getpid(), 9)
        os._exit(0)
    children.append(child)
while len(runtime.workers()) < 3:
    time.sleep(0.01)
os.close(holding)
for child in children:
    os.waitpid(child, 0)
runtime.start()
print(metrics.render())
"""


QUOTING = """
import os, sys
from seawall._runtime.runtime import Runtime

answers = iter([{"counters": {"calls": {"[]": 5}}}])
runtime = Runtime("fleet", path=sys.argv[1])
runtime.contribute("m", lambda: next(answers))
runtime.start()
child = os.fork()
if child == 0:
    runtime.write_now()
    os.kill(os.getpid(), 9)
os.waitpid(child, 0)
gathering = runtime.gather()
print([worker["sections"] for worker in gathering.workers], gathering.retired)
"""


def test_a_child_does_not_quote_its_parent(tmp_path: Path) -> None:
    """A part that fails is quoted from the last time; what the parent said last is not the child's."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", QUOTING, str(tmp_path / "run")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "[{'m': {'counters': {'calls': {'[]': 5}}}}] {}\n" == ran.stdout, ran.stderr


def test_children_of_a_master_that_has_only_imported_count_for_themselves(tmp_path: Path) -> None:
    """Each starts for itself, ends well or is killed; what the master did before is told once, by the master."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PREFORK, str(tmp_path / "run")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "" == ran.stderr
    assert 100 + 1000 + 2000 + 3000 == calls_in(ran.stdout)
    assert 1 == ran.stdout.count("seawall_worker_up{")
