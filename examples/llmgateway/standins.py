"""The stand-ins as HTTP servers: two providers, each with an interface like a real one's, and the list of models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from examples.llmgateway.presence import while_present
from examples.llmgateway.provider import Fault, Faults, Provider
from seawall import RateLimitedError

MODELS: Final = {
    "anthropic": {"small": "haiku-like", "large": "opus-like"},
    "openai": {"small": "mini-like", "large": "full-like"},
}
REFUSALS: Final[dict[Fault, tuple[int, dict[str, str]]]] = {
    "error": (500, {}),
    "overloaded": (503, {"Retry-After": "1"}),
    "busy": (429, {"Retry-After": "1"}),
}
Chunks = AsyncIterator[bytes]
Speak = Callable[[Provider, dict[str, Any], Fault | None], Chunks]


class _CutError(Exception):
    """Makes the server break the connection off, as a crash of the provider would."""


async def _words(provider: Provider, asked: dict[str, Any], fault: Fault | None) -> AsyncIterator[str]:
    """Says one word after the other; a fault strikes after the third."""
    await asyncio.sleep(provider.first_word)
    for number, word in enumerate(provider.words(asked["max_tokens"])):
        if number == 3 and fault == "cut":
            raise _CutError
        if number == 3 and fault == "stall midway":
            await asyncio.sleep(3600)
        if number == 3 and fault == "error midway":
            return
        yield word
        await asyncio.sleep(provider.word)


async def _thought(provider: Provider, asked: dict[str, Any]) -> list[str]:
    """Returns all words, after the time that it takes to say them."""
    with provider.at_work():
        words = provider.words(asked["max_tokens"])
        await asyncio.sleep(provider.first_word + provider.word * len(words))
    return words


def _event(event: str, **said: Any) -> bytes:
    return f"event: {event}\ndata: {json.dumps({'type': event, **said})}\n\n".encode()


async def _anthropic_stream(provider: Provider, asked: dict[str, Any], fault: Fault | None) -> Chunks:
    usage = {"input_tokens": _tokens(asked), "output_tokens": 0}
    began = False
    async for word in _words(provider, asked, fault):
        if not began:
            began = True
            yield _event("message_start", message={"id": "msg_1", "model": asked["model"], "usage": usage})
            yield _event("ping")
        usage["output_tokens"] += 1
        yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    if fault == "error midway":
        yield _event("error", error={"type": "overloaded_error", "message": "Overloaded"})
        return
    yield _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": usage["output_tokens"]})
    yield _event("message_stop")


async def _openai_stream(provider: Provider, asked: dict[str, Any], fault: Fault | None) -> Chunks:
    said = 0
    async for word in _words(provider, asked, fault):
        said += 1
        yield _chunk(asked, choices=[{"index": 0, "delta": {"content": word}, "finish_reason": None}])
    if fault == "error midway":
        yield b'data: {"error": {"message": "The server had an error", "type": "server_error"}}\n\n'
        return
    yield _chunk(asked, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    yield _chunk(asked, choices=[], usage={"prompt_tokens": _tokens(asked), "completion_tokens": said})
    yield b"data: [DONE]\n\n"


def _chunk(asked: dict[str, Any], **said: Any) -> bytes:
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": asked["model"], **said}
    return f"data: {json.dumps(chunk)}\n\n".encode()


def _tokens(asked: dict[str, Any]) -> int:
    return sum(len(str(message["content"]).split()) for message in asked["messages"])


def _anthropic_answer(asked: dict[str, Any], words: list[str]) -> dict[str, Any]:
    usage = {"input_tokens": _tokens(asked), "output_tokens": len(words)}
    content = [{"type": "text", "text": "".join(words)}]
    return {"id": "msg_1", "type": "message", "model": asked["model"], "content": content, "usage": usage}


def _openai_answer(asked: dict[str, Any], words: list[str]) -> dict[str, Any]:
    usage = {"prompt_tokens": _tokens(asked), "completion_tokens": len(words)}
    choices = [{"index": 0, "message": {"role": "assistant", "content": "".join(words)}, "finish_reason": "stop"}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": asked["model"],
        "choices": choices,
        "usage": usage,
    }


def _refusal(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"type": "error", "message": text}}, status, headers)


class _Abandoning(StreamingResponse):
    """A stream that its provider counts as abandoned when the client goes away."""

    def __init__(self, provider: Provider, chunks: Chunks) -> None:
        super().__init__(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._provider = provider

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        whole = False

        async def counting(message: Any) -> None:
            nonlocal whole
            await send(message)
            whole = message["type"] == "http.response.body" and not message.get("more_body")

        with self._provider.at_work():
            try:
                await super().__call__(scope, receive, counting)
            except _CutError:
                return
            if not whole:
                self._provider.abandoned += 1


def application(provider: Provider) -> Starlette:
    """Returns the HTTP interface of a provider; its name says which of the two it speaks."""
    path, stream, answer = {
        "anthropic": ("/v1/messages", _anthropic_stream, _anthropic_answer),
        "openai": ("/v1/chat/completions", _openai_stream, _openai_answer),
    }[provider.name]

    async def complete(request: Request) -> Response:
        asked = await request.json()
        fault = provider.notice(request.headers, asked.get("model", ""))
        if asked.get("model") not in MODELS[provider.name].values():
            return _refusal(404, "there is no such model")
        try:
            with provider.limit.guard():
                pass
        except RateLimitedError as error:
            return _refusal(429, "too many requests", {"Retry-After": f"{error.retry_after or 1:.0f}"})
        if fault in REFUSALS:
            status, headers = REFUSALS[fault]
            return _refusal(status, f"as ordered: {fault}", headers)
        if fault == "stall":
            await while_present(request, asyncio.sleep(3600))
        if asked.get("stream"):
            return _Abandoning(provider, stream(provider, asked, fault))
        words = await while_present(request, _thought(provider, asked))
        return JSONResponse(answer(asked, words))

    async def gone(request: Request, error: Exception) -> Response:
        return _refusal(499, "the client went away")

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def faults(request: Request) -> Response:
        if request.method == "PUT":
            try:
                provider.faults = Faults(**await request.json())
            except (TypeError, ValueError) as error:
                return _refusal(400, str(error))
        said = {"rate": provider.faults.rate, "kinds": list(provider.faults.kinds)}
        return JSONResponse({**said, "asked": provider.received, "struck": dict(provider.struck)})

    routes = [
        Route(path, complete, methods=["POST"]),
        Route("/health", health),
        Route("/faults", faults, methods=["GET", "PUT"]),  # how it fails, and how often it did
    ]
    return Starlette(routes=routes, exception_handlers={ClientDisconnect: gone})


class Catalog:
    """The list of models: an API of somebody else's. Set `trouble` to a status to let it fail; `asked` counts."""

    def __init__(self) -> None:
        self.trouble: int | None = None
        self.asked = 0

    def application(self) -> Starlette:
        """Returns its HTTP interface."""

        async def models(request: Request) -> Response:
            self.asked += 1
            if self.trouble is not None:
                return _refusal(self.trouble, "as ordered")
            listed = [
                {"provider": provider, "model": model, "inputPrice": price, "outputPrice": 5 * price}
                for provider, tiers in MODELS.items()
                for model, price in zip(tiers.values(), (1.0, 5.0), strict=True)
            ]
            return JSONResponse({"models": listed})

        return Starlette(routes=[Route("/models", models)])
