"""A stand-in for an AMQP broker: enough of the protocol to connect and to open channels, on our own terms."""

import socket
import time
from typing import Any

from pamqp import commands, frame
from pamqp.heartbeat import Heartbeat

from tests.health.stand_in import StandIn


class Broker(StandIn):
    """Opens connections and channels, after `delay` seconds, or not at all while it is `silent`."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.silent = False
        self.opened = self.closed = 0
        super().__init__(self._converse)

    def _converse(self, connection: socket.socket) -> None:
        data = connection.recv(8)
        assert data[:4] == b"AMQP"
        properties = {"product": "stand-in", "capabilities": {"publisher_confirms": True}}
        start = commands.Connection.Start(mechanisms="PLAIN", locales="en_US", server_properties=properties)
        self._say(connection, 0, start)
        data = b""
        while True:
            more = connection.recv(65536)
            if not more:
                return
            data += more
            while data:
                try:
                    used, channel, said = frame.unmarshal(data)
                except Exception:
                    break  # half a frame
                data = data[used:]
                if not isinstance(said, Heartbeat):
                    self._reply(connection, channel, said)

    def _reply(self, connection: socket.socket, channel: int, said: Any) -> None:
        if isinstance(said, commands.Connection.StartOk):
            self._say(connection, 0, commands.Connection.Tune(channel_max=2047, frame_max=131072, heartbeat=60))
        elif isinstance(said, commands.Connection.Open):
            self._say(connection, 0, commands.Connection.OpenOk())
        elif isinstance(said, commands.Connection.Close):
            self._say(connection, 0, commands.Connection.CloseOk())
        elif self.silent:
            return
        elif isinstance(said, commands.Channel.Open):
            self.opened += 1
            time.sleep(self.delay)
            self._say(connection, channel, commands.Channel.OpenOk())
        elif isinstance(said, commands.Channel.Close):
            self.closed += 1
            self._say(connection, channel, commands.Channel.CloseOk())

    def _say(self, connection: socket.socket, channel: int, what: Any) -> None:
        connection.sendall(frame.marshal(what, channel))
