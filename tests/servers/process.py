"""A server as a child process: started, stopped, killed, silenced, and started again with the same data."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

PATIENCE = 60.0
"""Seconds for a server to start or to stop: ten times what the slowest one needs."""
LOG_SHOWN = 2000
"""Characters of a server's log that are shown when it does not start."""


def free_port() -> int:
    """Returns a port that nobody listens on; an odd one on Linux, so no client connects to itself on it by chance."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A child process in a session of its own, so that Ctrl-C is not its matter; it ends when this process ends.

    A shell waits for the end of this process, however it comes, and then kills the child and removes its folder.

    Args:
        command: what runs.
        folder: where it runs, with its file `log`.
        user: who runs it; None: who runs this process.
        environment: its variables; None: those of this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        user: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment,
                start_new_session=True,
                user=user,
            )
        self.pid = self._process.pid
        self._watching = subprocess.Popen(
            ["sh", "-c", 'read -r never; kill -KILL "$0"; rm -rf "$1"', str(self.pid), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, number: int) -> None:
        """Sends a signal to it and, after it, to its children: there are no new ones once it is stopped."""
        send(number, self.pid)
        send(number, *descendants(self.pid))

    def end(self, number: int = signal.SIGKILL) -> None:
        """Asks it to end by a signal, and waits. SIGKILL is for its children too."""
        if self.runs():
            if number == signal.SIGKILL:
                self._kill()
            else:
                send(number, self.pid)
        self._process.wait(PATIENCE)
        self._watching.kill()
        self._watching.communicate()

    def _kill(self) -> None:
        send(signal.SIGSTOP, self.pid)  # from now on it makes no more children
        family = descendants(self.pid)
        send(signal.SIGKILL, self.pid, *family)
        self._process.wait(PATIENCE)
        until(lambda: not family & living())  # a busy child may hold what the next start needs


def send(number: int, *pids: int) -> None:
    """Sends a signal to processes, as far as they are there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _processes() -> list[tuple[int, int]]:
    """Returns the id and the parent's id of every process that lives; those not yet buried do not."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return [(int(pid), int(parent)) for pid, parent, state, *_ in rows if not state.startswith("Z")]


def living() -> set[int]:
    """Returns the ids of the processes that live."""
    return {pid for pid, _ in _processes()}


def descendants(pid: int) -> set[int]:
    """Returns the ids of a process's children, their children, and so on."""
    found, family = {pid}, _processes()
    while more := {child for child, parent in family if parent in found} - found:
        found |= more
    return found - {pid}


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Waits for something to come true. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"did not come true within {seconds:g} s")
        time.sleep(0.02)


class Server:
    """A server on a port of its own, whose data outlive a stop and a crash, and are removed by `close`.

    A subclass says what runs and when it answers.
    """

    name: ClassVar[str]
    """As in `tests.provision.SERVERS`."""
    stop_signal: ClassVar[int] = signal.SIGTERM
    refuses_root: ClassVar[bool] = False

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"seawall-{self.name}-"))
        self.user = "nobody" if self.refuses_root and os.getuid() == 0 else None
        if self.user is not None:
            shutil.chown(self.folder, self.user)
        self._child: Child | None = None
        self._silent = False

    def command(self) -> list[str]:
        """Returns what runs."""
        raise NotImplementedError

    def environment(self) -> dict[str, str] | None:
        """Returns the variables of the server; None: those of this process."""
        return None

    def answers(self) -> bool:
        """Whether it does what it is there for."""
        raise NotImplementedError

    def clients(self) -> int:
        """Returns how many connections of clients it has, its own questions not counted."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """Its process id; None while it is stopped."""
        return self._child.pid if self._child is not None and self._child.runs() else None

    def start(self) -> None:
        """Starts it, with the data that it has, and returns when it answers. Does nothing where it runs."""
        if self.pid is not None:
            return
        self._forget()
        self._child = Child(self.command(), self.folder, user=self.user, environment=self.environment())
        try:
            until(lambda: self.pid is None or self.answers())
        except TimeoutError:
            self.kill()
        if self.pid is None:
            said = (self.folder / "log").read_text(errors="replace")[-LOG_SHOWN:]
            raise RuntimeError(f"{self.name} did not start; it said: {said}")

    def stop(self) -> None:
        """Stops it in good order: it does not wait for its clients. Does nothing where it is stopped."""
        self.wake()
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Kills it and its children with SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._child is not None:
            self._child.end(number)
        self._forget()

    def _forget(self) -> None:
        if self._child is not None:
            self._child.end()  # of one that has ended by itself, what watched it
        self._child, self._silent = None, False

    def restart(self) -> None:
        """Stops it in good order and starts it again: the same port, the same data."""
        self.stop()
        self.start()

    def silence(self) -> None:
        """Stops it in the middle of whatever it does: the system accepts connections, and nobody answers."""
        if self._child is not None:
            self._child.send(signal.SIGSTOP)
            self._silent = True

    def wake(self) -> None:
        """Lets it go on after `silence`."""
        if self._child is not None and self._silent:
            self._child.send(signal.SIGCONT)
            self._silent = False

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Is silent as long as the block lasts, which a test that hangs with it needs."""
        self.silence()
        try:
            yield
        finally:
            self.wake()

    def recover(self) -> None:
        """Brings it back from whatever state it is in; returns when it answers. Costs nothing where all is well."""
        if self.pid is not None and not self._silent:
            return
        self.wake()
        self.start()
        until(self.answers)

    def close(self) -> None:
        """Ends it for good, and removes its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
