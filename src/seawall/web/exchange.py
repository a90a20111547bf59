"""One HTTP request and its response, between the server and the wrapped application."""

from __future__ import annotations

from typing import Any, Final

from seawall.web.answering import Answering
from seawall.web.asgi import Headers, Message, Receive, Scope, Send, header
from seawall.web.errors import ResponseCutError
from seawall.web.problem import Problem, of_status

CORRELATION: Final = b"x-correlation-id"
KEY: Final = "seawall"
"""Where the scope of a request holds its exchange."""


class Exchange:
    """Watches one response pass by: gives it the correlation id, and replaces errors that are in no format of ours.

    A response passes unbuffered. Only the start of an error that might have to be replaced is held back, until the
    first part of its body comes.
    """

    __slots__ = (
        "_answering",
        "_closing",
        "_held",
        "_receive",
        "_replaced",
        "_reported",
        "_send",
        "complete",
        "correlation_id",
        "final",
        "framework",
        "gone",
        "ours",
        "raised",
        "scope",
        "started",
        "status",
    )
    prefix = "http"
    disconnect = "http.disconnect"
    begin = "http.response.start"
    part = "http.response.body"

    def __init__(
        self, answering: Answering, scope: Scope, receive: Receive, send: Send, correlation_id: str, framework: bool
    ) -> None:
        self._answering = answering
        self._receive = receive
        self._send = send
        self.scope = {**scope, KEY: self}
        self.correlation_id = correlation_id
        self.framework = framework  # whether the application answers exceptions through our handlers
        self.final = False  # whether the response passes as it is, since it has been through this before
        self.ours = False  # whether the response is in our format already
        self.started = False
        self.complete = False
        self.gone = False  # whether the client went away
        self.status = 0
        self.raised: type[BaseException] | None = None  # what the application failed with
        self._held: Message | None = None
        self._replaced = False
        self._closing = False
        self._reported: BaseException | None = None

    def close_after(self) -> None:
        """Asks the client to use another connection for its next request (HTTP/1 only: RFC 9113, section 8.2.2)."""
        self._closing = self.scope.get("http_version", "1.1").startswith("1")

    async def receive(self) -> Message:
        """Hands on what the server says."""
        message = await self._receive()
        if message["type"] == self.disconnect:
            self.gone = True
        return message

    async def send(self, message: Message) -> None:
        """Hands on what the application says, or what is said in its place."""
        kind = message["type"]
        if kind == self.begin:
            await self._start(message)
        elif self._held is not None:
            await self._replace()
        elif not self._replaced:
            await self._pass(message)
            if (kind == self.part and not message.get("more_body", False)) or kind == "http.response.pathsend":
                self.complete = True

    async def _start(self, message: Message) -> None:
        status = message["status"]
        if status >= 400 and not self.final and not self._is_own(status, message.get("headers", ())):
            self._held = message
            return
        self.started, self.status = True, status
        await self._pass({**message, "headers": self.marked(message.get("headers", ()))})

    async def _pass(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self.gone = True
            raise

    def marked(self, headers: Any) -> Headers:
        """Returns a response's headers with the correlation id as the only one of its name."""
        marked = [pair for pair in headers if pair[0].lower() != CORRELATION]
        marked.append((CORRELATION, self.correlation_id.encode("ascii")))
        if self._closing:
            marked = [pair for pair in marked if pair[0].lower() != b"connection"]
            marked.append((b"connection", b"close"))
        return marked

    def _is_own(self, status: int, headers: Any) -> bool:
        """Whether an error is the application's own, not to be replaced.

        A framework's exceptions have been answered by our handlers or by the user's. What is left of it to replace
        are the plain refusals of middlewares that stand before its router.
        """
        kind = (header(headers, b"content-type") or b"").decode("latin-1").lower()
        if self.ours:  # unless a middleware has put its plain refusal in the place of our answer
            return not _is_plain(kind)
        if self._answering.own_errors is not None:
            return self._answering.own_errors(status, kind.partition(";")[0].strip())
        if not self.framework:
            return False
        return "router" in self.scope or status == 500 or not _is_plain(kind)

    async def _replace(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        self._replaced = True
        await self._answer(self._plain_problem(held), None)

    def _plain_problem(self, start: Message) -> Problem:
        """Returns what is said in the place of an error that is in no format of ours, and logs it."""
        headers = tuple((bytes(key), bytes(value)) for key, value in start.get("headers", ()))
        known = of_status(start["status"])
        problem = Problem(known.status, known.code, known.message, headers=headers, deliberate=True)
        if self._reported is None:
            self._answering.journal.error(self.scope, self.correlation_id, problem, None)
        return problem

    def instead_of(self, start: Message) -> tuple[Message, Message] | None:
        """Returns what is going to be said in the place of a response that begins so; None where it passes."""
        if start["status"] < 400 or self._is_own(start["status"], start.get("headers", ())):
            return None
        return self.messages(self._plain_problem(start), None)

    async def _answer(self, problem: Problem, error: BaseException | None) -> None:
        start, body = self.messages(problem, error)
        self.ours, self.started, self.status = True, True, start["status"]
        await self._pass({**start, "headers": self.marked(start["headers"])})
        await self._pass(body)
        self.complete = True

    def messages(self, problem: Problem, error: BaseException | None) -> tuple[Message, Message]:
        """Returns the messages of an error's response, as this request wants them."""
        accept, head = header(self.scope["headers"], b"accept"), self.scope.get("method") == "HEAD"
        return self._answering.messages(self.prefix, problem, self.correlation_id, error, accept, head)

    def body(self, error: BaseException) -> dict[str, Any]:
        """Returns the body that `error` is answered with, as this request wants it, and has the error logged."""
        accept = header(self.scope["headers"], b"accept")
        return self._answering.body(self.judge(error), self.correlation_id, error, accept)

    def judge(self, error: BaseException) -> Problem:
        """Returns what the caller is told of `error`, and has it logged where it was not yet."""
        problem = self._answering.verdicts.on(error)
        if error is not self._reported:
            self._reported, self.raised = error, type(error)
            self._report(problem, error)
        return problem

    def _report(self, problem: Problem, error: BaseException) -> None:
        journal = self._answering.journal
        if problem.status < 400:
            return  # raised to redirect, say
        if problem.gone or (self.gone and isinstance(error, OSError)):
            journal.gone(self.scope, self.correlation_id)
        else:
            journal.error(self.scope, self.correlation_id, problem, error, self.stage())

    def stage(self) -> str:
        """How far the response has come, for the log; empty where it can still be replaced."""
        if self.complete:
            return f"after the response {self.status} was sent"
        return f"in the middle of the response {self.status}" if self.started else ""

    async def failed(self, error: BaseException) -> None:
        """Ends the exchange after the application has raised.

        Raises ResponseCutError where the response had begun: it cannot be mended, and must not look whole.
        """
        problem = self.judge(error)
        self._reported = None
        self._held = None
        if self.complete or self.gone:
            return
        if self.started:
            raise ResponseCutError(f"the response was cut; the log has the reason [{self.correlation_id}]") from None
        await self._answer(problem, error)

    async def ended(self) -> None:
        """Ends the exchange after the application has returned."""
        self._reported = None
        if self._held is not None:
            await self._replace()
        elif not self.started and not self.gone:
            await self.failed(RuntimeError("the application returned without a response"))


def _is_plain(kind: str) -> bool:
    return kind == "" or kind.startswith("text/plain")
