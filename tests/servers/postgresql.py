"""PostgreSQL: without a password, as the user `postgres`, nothing forced to the disk, nothing lost by a crash."""

import itertools
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.needs import program
from tests.servers.process import Server

NUMBERS = itertools.count(1)
HOW = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
SETTINGS = ["fsync=off", "shared_buffers=16MB", "max_connections=100", "max_prepared_transactions=20"]


@dataclass(frozen=True)
class Database:
    """A database of a server."""

    server: "PostgreSQL"
    name: str

    @property
    def url(self) -> str:
        """Its URL, as drivers read it."""
        return self._url("postgresql")

    @property
    def psycopg_url(self) -> str:
        """Its URL for SQLAlchemy with psycopg, sync or async."""
        return self._url("postgresql+psycopg")

    @property
    def asyncpg_url(self) -> str:
        """Its URL for SQLAlchemy with asyncpg."""
        return self._url("postgresql+asyncpg")

    def _url(self, scheme: str) -> str:
        return f"{scheme}://postgres@127.0.0.1:{self.server.port}/{self.name}"

    def sql(self, text: str) -> str:
        """Runs SQL by psql, without a driver; returns the rows as text, columns parted by `|`."""
        place = ["-h", "127.0.0.1", "-p", str(self.server.port), "-U", "postgres", "-d", self.name]
        command = [self.server.programs / "psql", *place, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if ran.returncode:
            raise RuntimeError(f"psql: {ran.stderr.strip()}")
        return ran.stdout.strip()


class PostgreSQL(Server):
    """A PostgreSQL server. `silence` and `kill` reach its children, one for each connection, as well.

    Args:
        *settings: of the server, such as `log_statement=all`.
    """

    name = "postgresql"
    stop_signal = signal.SIGINT  # at SIGTERM it would wait for its clients
    refuses_root = True

    def __init__(self, *settings: str) -> None:
        self.programs = Path(program(self.name)).resolve().parent
        super().__init__()
        self._settings = settings
        self.main = Database(self, "postgres")

    @property
    def url(self) -> str:
        """The URL of its database `postgres`, as drivers read it."""
        return self.main.url

    @property
    def psycopg_url(self) -> str:
        """The same for SQLAlchemy with psycopg, sync or async."""
        return self.main.psycopg_url

    @property
    def asyncpg_url(self) -> str:
        """The same for SQLAlchemy with asyncpg."""
        return self.main.asyncpg_url

    def start(self) -> None:
        """Starts it, with the data that it has, and returns when it answers. Does nothing where it runs."""
        data = self.folder / "data"
        if not data.exists():
            make, who = [self.programs / "initdb", "-D", data, *HOW], {"user": self.user, "cwd": self.folder}
            subprocess.run(make, check=True, stdout=subprocess.DEVNULL, **who)  # type: ignore[call-overload]
        super().start()

    def command(self) -> list[str]:
        """Returns what runs."""
        place = ["-D", str(self.folder / "data"), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.folder)]
        settings = [word for setting in (*SETTINGS, *self._settings) for word in ("-c", setting)]
        return [str(self.programs / "postgres"), *place, *settings]

    def answers(self) -> bool:
        """Whether it takes connections."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-t", "1"]
        return subprocess.run([self.programs / "pg_isready", "-q", *where], check=False).returncode == 0

    def clients(self) -> int:
        """Returns how many connections it has, its own question not counted."""
        who = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return int(self.main.sql(f"SELECT count(*) FROM pg_stat_activity WHERE {who}"))

    def create(self, name: str, *, template: str = "template1") -> Database:
        """Makes a database, as a copy of another one that nobody is connected with."""
        self.main.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return Database(self, name)

    @contextmanager
    def database(self, *, template: str = "template1") -> Iterator[Database]:
        """Makes a database with a name of its own, and drops it at the end, whoever is still connected with it."""
        fresh = self.create(f"fresh_{next(NUMBERS)}", template=template)
        try:
            yield fresh
        finally:
            self.recover()
            self.main.sql(f'DROP DATABASE "{fresh.name}" WITH (FORCE)')
