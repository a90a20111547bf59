"""RabbitMQ: a node of its own, with a name service (epmd) of its own, so that nothing outlives it or is shared."""

import itertools
import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.servers.needs import program
from tests.servers.process import Child, Server, free_port

NUMBERS = itertools.count(1)
HELLO = b"AMQP\x00\x00\x09\x01"
START = b"\x01"
"""The type of the frame with which a broker answers."""
LEAN = "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
"""Two schedulers that do not spin while they wait: tests share the processors with it."""
SETTLED = "mnesia:sync_log(), [dets:sync(Table) || Table <- dets:all()]"
PERMITTED = 'rabbit_auth_backend_internal:set_permissions(<<"guest">>, Name, All, All, All, <<"guest">>)'


class RabbitMQ(Server):
    """A RabbitMQ broker; the user is guest, with the password guest. It takes some seconds to start.

    Args:
        *settings: lines of rabbitmq.conf.
    """

    name = "rabbitmq"

    def __init__(self, *settings: str) -> None:
        self._program = program(self.name)
        super().__init__()
        self._epmd_port, self._between_nodes = free_port(), free_port()
        self._epmd: Child | None = None
        self._node = f"seawall{self.port}@localhost"
        limits = ["disk_free_limit.absolute = 50MB", "vm_memory_high_watermark.absolute = 512MB"]
        logs = ["log.file = false", "log.console = true"]
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", *limits, *logs, *settings]
        (self.folder / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in lines))
        (self.folder / "enabled_plugins").write_text("[].\n")

    @property
    def url(self) -> str:
        """The URL of its virtual host `/`."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def command(self) -> list[str]:
        """Returns what runs."""
        return [self._program]

    def environment(self) -> dict[str, str]:
        """Returns the variables that keep all that it writes in its folder, and its process the one that we start."""
        folder = self.folder
        own = {"CONF_ENV_FILE": "none", "CONFIG_FILE": "rabbitmq.conf", "ADVANCED_CONFIG_FILE": "advanced.config"}
        own |= {"BASE": ".", "MNESIA_BASE": "mnesia", "LOG_BASE": "logs", "GENERATED_CONFIG_DIR": "generated"}
        own |= {"ENABLED_PLUGINS_FILE": "enabled_plugins", "FEATURE_FLAGS_FILE": "feature_flags"}
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))},
            **{f"RABBITMQ_{name}": str(folder / file) for name, file in own.items()},
            "HOME": str(folder),  # with the cookie
            "ERL_CRASH_DUMP": str(folder / "crash.dump"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._between_nodes),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": LEAN,
            "RUNNING_UNDER_SYSTEMD": "true",  # its shell becomes the server, instead of waiting for it
        }

    def start(self) -> None:
        """Starts it, with the data that it has, and returns when it answers. Does nothing where it runs."""
        if self._epmd is None or not self._epmd.runs():  # else the node would start one that outlives it
            self._epmd = Child([_epmd(), "-port", str(self._epmd_port), "-address", "127.0.0.1"], self.folder)
        super().start()

    def answers(self) -> bool:
        """Whether it speaks AMQP."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(HELLO)
                return connection.recv(1) == START
        except OSError:
            return False

    def clients(self) -> int:
        """Returns how many connections it has."""
        return int(self.evaluate("length(rabbit_networking:connections())"))

    def evaluate(self, erlang: str) -> str:
        """Has the node evaluate an expression of Erlang; returns its value as text. `rabbitmqctl` would take 0.5 s."""
        cookie = (self.folder / ".erlang.cookie").read_text()
        ran = subprocess.run(
            [Path(_epmd()).resolve().with_name("erl_call"), "-c", cookie, "-sname", self._node, "-e"],
            input=f"{erlang}.\n",
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        value = ran.stdout.strip()
        if not value.startswith("{ok, "):
            raise RuntimeError(f"erl_call: {value or ran.stderr.strip()}")
        return value.removeprefix("{ok, ").removesuffix("}")

    def virtual_host(self) -> str:
        """Makes a virtual host with a name of its own; returns its URL. It stays until the server is closed."""
        name = f"fresh{next(NUMBERS)}"
        made = f'Name = <<"{name}">>, All = <<".*">>, ok = rabbit_vhost:add(Name, <<"guest">>), ok = {PERMITTED}'
        self.evaluate(made)
        return f"{self.url}{name}"

    def settle(self) -> None:
        """Has the node write down what was declared: a `kill` within seconds of declaring would lose quorum queues."""
        self.evaluate(SETTLED)

    def close(self) -> None:
        """Ends it for good, with its name service, and removes its data."""
        if self._epmd is not None:
            self._epmd.end()
        super().close()


def _epmd() -> str:
    found = shutil.which("epmd")
    if found is None:
        raise FileNotFoundError("epmd, a part of Erlang, is not on the path; RabbitMQ needs it")
    return found
