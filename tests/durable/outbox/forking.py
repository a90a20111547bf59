"""A process that has imported everything and forks those that are to be killed: a start costs milliseconds.

`python -m tests.durable.outbox.forking` reads orders from its input, a JSON object a line, and answers each with a
number: `run` waits for the child and answers with its exit code, `start` with its process id, `kill` kills it.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seawall.testing import CrashRunner


class Forks:
    """The process, from outside."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.durable.outbox.forking"]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def order(self, verb: str, argument: Any = None, **settings: str) -> int:
        """Gives an order; returns the answer."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps({"verb": verb, "argument": argument, **settings}) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """Ends it."""
        self._server.communicate(timeout=20)


class ForkRunner(CrashRunner):
    """Crashes forks: of `scenario` with its arguments."""

    def __init__(self, forks: Forks, folder: Path, scenario: Sequence[str]) -> None:
        super().__init__(["true"])
        self._forks, self._folder, self._scenario = forks, folder, list(scenario)

    def _run(self, extra: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        said = self._folder / "said"
        at, record = extra.get("SEAWALL_CRASH_AT", ""), extra.get("SEAWALL_CRASH_RECORD", "")
        code = self._forks.order("run", self._scenario, at=at, record=record, out=str(said))
        return subprocess.CompletedProcess([], code, "", said.read_text())


def main() -> None:
    """Forks what it is told to."""
    from tests.durable.outbox import crashing, member

    programs: dict[str, Callable[..., None]] = {"crashing": crashing.main, "member": member.main}
    for line in sys.stdin:
        order = json.loads(line)
        verb, argument = order["verb"], order["argument"]
        if verb == "kill":
            os.kill(argument, signal.SIGKILL)
            answer = os.waitpid(argument, 0)[1]
        else:
            child = os.fork()
            if child == 0:
                _become(programs[argument[0]], argument[1:], order)
            answer = child if verb == "start" else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(answer, flush=True)


def _become(program: Callable[..., None], arguments: list[str], order: dict[str, str]) -> None:
    """Does the child's work, and ends."""
    from seawall._core import crash

    code = 1
    try:
        os.dup2(os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
        os.dup2(1, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        crash._RECORD = order.get("record", "")  # type: ignore[misc]
        crash._CRASH = crash._place(order["at"]) if order.get("at") else None  # type: ignore[misc]
        crash._ARMED = bool(crash._RECORD or crash._CRASH)  # type: ignore[misc]
        program(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
