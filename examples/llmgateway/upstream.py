"""What is said to the providers: questions in each one's own words, over a client under its policy."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import httpx2

from examples.llmgateway import sse
from examples.llmgateway.clients import client
from examples.llmgateway.failures import ProviderFailedError, ProviderRefusedError, StreamBrokenError
from examples.llmgateway.standins import MODELS
from examples.llmgateway.wire import ChatMessage, ProviderName, Tier, Usage
from seawall import Pipeline, correlation_id, remaining
from seawall.integrations.httpx import StatusError, protect

OURS: Final = (401, 403)
"""Statuses that blame our account with a provider: the other one may do better."""
BLAMING: Final = range(400, 500)


class Question(NamedTuple):
    """What a provider is asked. `key` is made once and goes with every attempt, at whichever provider."""

    key: str
    messages: tuple[ChatMessage, ...]
    instructions: str
    tier: Tier
    max_tokens: int


class Reply(NamedTuple):
    """A whole answer."""

    text: str
    usage: Usage


Piece: TypeAlias = str | Usage
"""Of a streamed answer: text, or, as the last one, what it took."""


class Dialect(Protocol):
    """How one provider is spoken to."""

    path: str

    def asked(self, model: str, question: Question) -> dict[str, Any]:
        """Returns the body of a request."""

    def understood(self, body: dict[str, Any]) -> Reply:
        """Returns what a whole answer says. Raises KeyError, IndexError or TypeError where it is none."""

    def pieces(self, events: AsyncIterator[sse.ServerEvent]) -> AsyncGenerator[Piece, None]:
        """Returns what a stream says. Raises StreamBrokenError where it tells of an error, or has no proper end."""


class Anthropic:
    """Like Anthropic's Messages API."""

    path = "/v1/messages"

    def asked(self, model: str, question: Question) -> dict[str, Any]:
        messages = [message.model_dump() for message in question.messages]
        system = {"system": question.instructions} if question.instructions else {}
        return {"model": model, "max_tokens": question.max_tokens, "messages": messages, **system}

    def understood(self, body: dict[str, Any]) -> Reply:
        text = "".join(part["text"] for part in body["content"] if part["type"] == "text")
        return Reply(text, Usage(**body["usage"]))

    async def pieces(self, events: AsyncIterator[sse.ServerEvent]) -> AsyncGenerator[Piece, None]:
        usage = {"input_tokens": 0, "output_tokens": 0}
        async for event, data in events:
            said = json.loads(data)
            match event:
                case "content_block_delta":
                    yield str(said["delta"].get("text", ""))
                case "message_start":
                    usage |= said["message"]["usage"]
                case "message_delta":
                    usage |= said["usage"]
                case "message_stop":
                    yield Usage(**usage)
                    return
                case "error":
                    raise StreamBrokenError("anthropic ended a stream with an error")
        raise StreamBrokenError("a stream of anthropic has no end")


class OpenAI:
    """Like OpenAI's Chat Completions API."""

    path = "/v1/chat/completions"

    def asked(self, model: str, question: Question) -> dict[str, Any]:
        system = [{"role": "system", "content": question.instructions}] if question.instructions else []
        messages = [*system, *(message.model_dump() for message in question.messages)]
        return {"model": model, "max_tokens": question.max_tokens, "messages": messages}

    def understood(self, body: dict[str, Any]) -> Reply:
        return Reply(str(body["choices"][0]["message"]["content"]), _openai_usage(body["usage"]))

    async def pieces(self, events: AsyncIterator[sse.ServerEvent]) -> AsyncGenerator[Piece, None]:
        usage = Usage()
        async for _, data in events:
            if data == "[DONE]":
                yield usage
                return
            said = json.loads(data)
            if "error" in said:
                raise StreamBrokenError("openai ended a stream with an error")
            if said.get("usage"):
                usage = _openai_usage(said["usage"])
            for choice in said["choices"]:
                if text := choice["delta"].get("content"):
                    yield str(text)
        raise StreamBrokenError("a stream of openai has no end")


def _openai_usage(usage: Mapping[str, int]) -> Usage:
    return Usage(input_tokens=usage["prompt_tokens"], output_tokens=usage["completion_tokens"])


DIALECTS: Final[dict[ProviderName, Dialect]] = {"anthropic": Anthropic(), "openai": OpenAI()}


class Upstream:
    """One provider, under its policy. Whole answers and streams share one breaker, and one count of calls at once.

    Args:
        name: of the provider.
        url: where it is.
        policy: every call goes through it; a stream, in which a retry happens before the first word only, holds its
            place in the bulkhead until it ends, and its time-out bounds the waiting for it.
        transport: makes connections; default: httpx2's own.
    """

    def __init__(
        self, name: ProviderName, url: str, policy: Pipeline, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self.name = name
        self.policy = policy
        self._dialect = DIALECTS[name]
        # `protect` governs a stream until its first byte, so streams have a client of their own and the policy around.
        self._client = protect(client(url, transport), policy)
        self._streams = client(url, transport)
        self._pieces = policy(self._stream)

    def model(self, tier: Tier) -> str:
        """Returns the provider's own model for what a customer chose."""
        return MODELS[self.name][tier]

    async def complete(self, question: Question) -> Reply:
        """Returns a whole answer.

        Raises ProviderRefusedError, ProviderFailedError, and what the policy and the client raise.
        """
        response = await self._client.post(
            self._dialect.path,
            json=self._dialect.asked(self.model(question.tier), question),
            headers={"Idempotency-Key": question.key},
        )
        if not response.is_success:
            raise self._refused(response.status_code, response.headers.get("Retry-After"))
        try:
            return self._dialect.understood(response.json())
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ProviderFailedError(code="PROVIDER_NOT_UNDERSTOOD") from error

    def stream(self, question: Question) -> AsyncGenerator[Piece, None]:
        """Returns an answer piece by piece. Close it, and the provider is told to stop."""
        return self._pieces(question)

    async def _stream(self, question: Question) -> AsyncGenerator[Piece, None]:
        """Makes one attempt of a stream; the policy is around it."""
        asked = self._dialect.asked(self.model(question.tier), question)
        body = {**asked, "stream": True}
        async with self._streams.stream("POST", self._dialect.path, json=body, headers=_sent_on(question)) as response:
            if not response.is_success:
                raise self._failed(response)
            events = sse.events(response.aiter_lines())
            async with aclosing(events), aclosing(self._dialect.pieces(events)) as pieces:
                try:
                    async for piece in pieces:
                        yield piece
                except (ValueError, KeyError, IndexError, TypeError) as error:
                    raise StreamBrokenError(f"a stream of {self.name} was not understood") from error

    def _failed(self, response: httpx2.Response) -> Exception:
        """Returns a failing status of a stream, so that its policy sees it as it sees those of whole answers."""
        status, hint = response.status_code, response.headers.get("Retry-After")
        if status >= 500 or status in (408, 429):
            return StatusError(status, response.url.netloc.decode("ascii"), hint)
        return self._refused(status, hint)

    def _refused(self, status: int, hint: str | None) -> Exception:
        """Returns what an answer that is none means to the customer."""
        if status in BLAMING and status not in (*OURS, 408, 429):
            return ProviderRefusedError()
        failure = ProviderFailedError()
        failure.__cause__ = StatusError(status, self.name, hint)
        return failure

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._client.aclose()
        await self._streams.aclose()


def _sent_on(question: Question) -> dict[str, str]:
    """Returns the headers that a protected client would send by itself, and the key."""
    headers = {"Idempotency-Key": question.key}
    if (correlation := correlation_id()) is not None:
        headers["X-Correlation-Id"] = correlation
    if (left := remaining()) is not None and left != float("inf"):
        headers["X-Request-Timeout"] = f"{left:.3f}"
    return headers
