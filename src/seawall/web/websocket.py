"""One WebSocket, from its handshake to its end, between the server and the wrapped application."""

from __future__ import annotations

from typing import Final

from seawall.web.asgi import Message
from seawall.web.errors import ResponseCutError
from seawall.web.exchange import Exchange
from seawall.web.problem import Problem, of_status

INTERNAL_ERROR: Final = 1011
"""RFC 6455, section 7.4.1: the server met an unexpected condition."""

_DENIAL: Final = "websocket.http.response"
_POLICY: Final = 1008


class WebSocketExchange(Exchange):
    """Watches a WebSocket: the handshake gets the correlation id, an exception closes with 1011.

    A handshake that is refused is answered like any other request, in the format of errors, where the server knows the
    ASGI extension `websocket.http.response`; otherwise the server answers with a bare 403.
    """

    __slots__ = ()
    prefix = "websocket.http"
    disconnect = "websocket.disconnect"
    begin = "websocket.http.response.start"
    part = "websocket.http.response.body"

    @property
    def _accepted(self) -> bool:
        return self.started and not self.status

    async def send(self, message: Message) -> None:
        """Hands on what the application says, or what is said in its place."""
        kind = message["type"]
        if kind == "websocket.send":
            await self._pass(message)
        elif kind == "websocket.accept":
            self.started = True
            await self._pass({**message, "headers": self.marked(message.get("headers") or ())})
        elif kind == "websocket.close":
            if not self._accepted and not self.complete and self._can_deny():
                refusal = of_status(403)
                self._answering.journal.error(self.scope, self.correlation_id, refusal, None)
                await self._answer(refusal, None)
            else:
                self.complete = True
                await self._pass(message)
        else:
            await super().send(message)

    def _can_deny(self) -> bool:
        return _DENIAL in (self.scope.get("extensions") or {})

    async def failed(self, error: BaseException) -> None:
        """Ends the WebSocket after the application has raised."""
        problem = self.judge(error)
        self._reported = self._held = None
        if self.complete or self.gone:
            return
        if self._accepted:
            await self._close(INTERNAL_ERROR, problem)
        elif self.started:
            raise ResponseCutError(f"the refusal was cut; the log has the reason [{self.correlation_id}]") from None
        elif self._can_deny():
            await self._answer(problem, error)
        else:
            await self._close(_POLICY, problem)

    async def _close(self, code: int, problem: Problem) -> None:
        self.complete = True
        await self._pass({"type": "websocket.close", "code": code, "reason": problem.code})

    async def ended(self) -> None:
        """Ends the WebSocket after the application has returned."""
        self._reported = None
        if self._held is not None:
            await self._replace()
        elif not self.started and not self.complete and not self.gone:
            await self.failed(RuntimeError("the application returned without an answer to the handshake"))

    def _report(self, problem: Problem, error: BaseException) -> None:
        if not (self.gone and problem.gone):  # a client that hangs up is how most WebSockets end
            super()._report(problem, error)

    def stage(self) -> str:
        """How far the WebSocket has come, for the log."""
        return "in an open WebSocket" if self._accepted else super().stage()
