"""Real servers for tests and by hand, each a private child process on a free port of 127.0.0.1, with data of its own.

In a test, ask for a fixture (tests/conftest.py has them): the server starts when the first test needs it, is shared by
all tests of the run, and is gone at its end. After every test it is brought back, whatever the test did to it::

    def test_it(postgresql_server, redis_server, rabbitmq_server):  # or only those that are needed
        postgresql_server.url, postgresql_server.psycopg_url, postgresql_server.asyncpg_url  # of its database postgres
        redis_server.url, rabbitmq_server.url
        rabbitmq_server.stop()  # in good order; `start()` brings it back: same port, same data
        rabbitmq_server.kill()  # SIGKILL, children too; `start()` as before
        rabbitmq_server.silence()  # accepts connections and never answers, until `wake()`; or `with server.silent():`
        rabbitmq_server.recover()  # back to normal from whatever it was, and ready when this returns
        rabbitmq_server.clients()  # how many connections it has, to find leaks

All of these block; a coroutine says `await asyncio.to_thread(server.recover)`. What a server holds is shared too, so:

- `postgresql_database` is a fresh database for one test, with the three URLs and `sql(text)`. To begin with tables,
  make a template once, `postgresql_server.create("mine")`, and copies of it in each test:
  `with postgresql_server.database(template="mine") as fresh:`. Nobody may be connected with a template meanwhile.
- `rabbitmq_url` is the URL of a fresh virtual host for one test.
- `redis_server.flush()` empties it; `redis_url` is its URL after a flush.

`kill()` within seconds of declaring queues or virtual hosts loses them, by RabbitMQ's own doing: `settle()` before it.

A server with other settings is a context manager: `with Redis("--requirepass", "SECRET") as server:`, in a test after
`needs("redis")`, which skips or fails the test where there is no such program, as the fixtures do.

From a shell: `python -m tests.servers postgresql redis rabbitmq` prints the URLs and runs them until it is interrupted.
"""

from tests.servers.needs import needs
from tests.servers.postgresql import Database, PostgreSQL
from tests.servers.process import Server
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis

__all__ = ["Database", "PostgreSQL", "RabbitMQ", "Redis", "Server", "needs"]
