"""Worker processes that do what they are told: one JSON command a line, one JSON answer a line.

`python -m tests.runtime.member SOCKET` has imported everything and forks a worker for each connection: a started
runtime, metrics, and a pipeline named "fleet". The first line names the runtime directory.
"""

import json
import os
import signal
import socket
import sys
import threading
from typing import Any

from seawall import Bulkhead, CircuitBreaker, Pipeline, Retry, Timeout
from seawall._runtime import locks
from seawall._runtime.runtime import Runtime
from seawall.observe import Metrics


class Member:
    """The worker, and what it can be told."""

    def __init__(self, path: str) -> None:
        self.runtime = Runtime("fleet", path=path)
        self.metrics = Metrics(self.runtime)
        self.told: list[Any] = []
        self.pipeline = Pipeline(
            "fleet",
            Retry(on=ConnectionError, max_attempts=2, backoff=0.0),
            Bulkhead(50),
            CircuitBreaker(failures=1000, open_for=60),
            Timeout(10.0),
        )
        self.loading = threading.Event()
        self.runtime.obey("switches", self.told.append)
        self.metrics.start()
        self.runtime.start()

    def calls(self, number: int, threads: int = 1) -> int:
        """Makes so many calls that succeed, on each of so many threads."""

        def work() -> None:
            for _ in range(number):
                self.pipeline.call(os.getpid)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return number * threads

    def load(self) -> None:
        """Goes on making calls in the background."""

        def work() -> None:
            while not self.loading.wait(0.001):
                for _ in range(20):
                    self.pipeline.call(os.getpid)

        threading.Thread(target=work, daemon=True).start()

    def isolate(self) -> None:
        """Opens the circuit by hand."""
        self.pipeline.get(CircuitBreaker).isolate()

    def scrape(self) -> str:
        """Renders the metrics of all workers."""
        return self.metrics.render()

    def hear(self) -> list[Any]:
        """Tells what it was told by the control file so far."""
        return self.told

    def change(self, entries: dict[str, Any]) -> Any:
        """Changes the control file."""
        return self.runtime.change("switches", lambda old: entries, actor="member", reason="test")

    def fork(self, number: int) -> str:
        """Lets a forked child make so many calls and die by SIGKILL; returns what the child has shown of itself."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            self.calls(number)
            os.write(writing, self.scrape().encode())
            os.kill(os.getpid(), signal.SIGKILL)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            shown = pipe.read().decode()
        os.waitpid(child, 0)
        return shown

    def fork_one_that_stays(self) -> int:
        """Lets a forked child live on; returns its process id."""
        child = os.fork()
        if child == 0:
            while True:
                signal.pause()
        return child

    def hold(self) -> None:
        """Holds the lock for ever."""
        directory = self.runtime._directory
        assert directory is not None
        self.held = locks.held(directory.lock, 5.0)
        assert self.held.__enter__()

    def end(self) -> None:
        """Stops in good order."""
        self.runtime.stop()


def serve(connection: socket.socket) -> None:
    """Is one worker."""
    with connection.makefile("rw", encoding="utf-8") as lines:

        def answer(said: Any) -> None:
            lines.write(json.dumps(said) + "\n")
            lines.flush()

        member = Member(json.loads(lines.readline()))
        answer([os.getpid(), member.runtime.worker])
        for line in lines:
            name, *arguments = json.loads(line)
            answer(getattr(member, name)(*arguments))


def main() -> None:
    """Forks workers; all end with their connections."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they end
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(sys.argv[1])
        listening.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                serve(connection)
                os._exit(0)
            connection.close()


if __name__ == "__main__":
    main()
