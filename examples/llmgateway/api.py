"""The gateway's HTTP interface."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Header, Request, Response
from fastapi import Path as InPath

from examples.llmgateway.chat import Answered, Chat, Opened
from examples.llmgateway.messages import Publisher
from examples.llmgateway.models import Models
from examples.llmgateway.presence import while_present
from examples.llmgateway.projects import Projects
from examples.llmgateway.streaming import EventStream
from examples.llmgateway.upstream import Question
from examples.llmgateway.wire import (
    Agent,
    AgentView,
    ChatAnswer,
    ChatDelta,
    ChatDone,
    ChatRequest,
    Key,
    ModelList,
    Project,
    ProjectUsage,
    ProjectView,
    ProviderName,
    Usage,
    UsageMessage,
    Wire,
)
from seawall.web import ValidationError

ABOUT = """\
One API in front of two providers of language models. While one of them is slow or fails, the other one answers.

Every response carries `X-Correlation-Id`: yours, if you send one of at most 128 letters, digits, `.`, `_` and `-`, else
a new one. `X-Request-Timeout` says how many seconds you will wait, such as `2.5`.

With `"stream": true` the answer comes as server-sent events: `delta`s, then `done`, or `error` where it broke off.
"""
InId = Annotated[str, InPath(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class ErrorDetail(Wire):
    """Which field is wrong, and why."""

    field: str
    message: str


class ErrorSaid(Wire):
    """What went wrong."""

    code: str
    message: str
    timestamp: str
    correlation_id: str
    details: tuple[ErrorDetail, ...]


class ErrorBody(Wire):
    """Every response that is an error."""

    error: ErrorSaid


def _event(name: str, said: type[Wire]) -> dict[str, Any]:
    """Returns what `/openapi.json` says of one kind of event in a stream."""
    schema = said.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # other endpoints tell of these
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
    return {"type": "object", "required": ["event", "data"], "properties": {"event": {"const": name}, "data": data}}


STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The answer; with `stream`, as events",
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "oneOf": [_event("delta", ChatDelta), _event("done", ChatDone), _event("error", ErrorBody)]
                }
            }
        },
    }
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns what `/openapi.json` says of the errors of an endpoint."""
    described: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorBody, "description": "Any other error"}}
    for status in (400, *statuses):
        described[status] = {"model": ErrorBody}
    return described


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints work with."""

    chat: Chat
    projects: Projects
    models: Models
    publisher: Publisher


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


router = APIRouter()


@router.post("/v1/chat", response_model=ChatAnswer, responses=STREAMED | documented(404, 408, 503))
async def chat(
    request: Request,
    asked: ChatRequest,
    idempotency_key: Annotated[Key | None, Header(description="Goes on to the providers; default: a new one.")] = None,
) -> Response:
    """Answers a question: whole, or as a stream of events with `"stream": true`."""
    return await while_present(request, _answer(_parts(request), asked, idempotency_key or uuid.uuid4().hex))


async def _answer(parts: Parts, asked: ChatRequest, key: str) -> Response:
    question, preferred = await _question(parts, asked, key)
    answer_id = f"chat-{uuid.uuid4().hex}"
    if asked.stream:
        opened = await parts.chat.open(question, preferred)
        return EventStream(opened, lambda usage: _done(parts, asked, question, answer_id, opened, usage))
    answered = await parts.chat.complete(question, preferred)
    told = _told(parts, asked, question, answer_id, answered, answered.reply.usage)
    return Response(
        ChatAnswer(**told, text=answered.reply.text).model_dump_json(by_alias=True), media_type="application/json"
    )


async def _question(parts: Parts, asked: ChatRequest, key: str) -> tuple[Question, ProviderName | None]:
    """Returns what the providers are asked, and which of them first."""
    if asked.agent_id is None:
        return Question(key, asked.messages, "", asked.tier, asked.max_tokens), asked.provider
    if asked.project_id is None:
        raise ValidationError(details=[("projectId", "An agent is one of a project; say which.")])
    agent = await parts.projects.agent(asked.project_id, asked.agent_id)
    question = Question(key, asked.messages, agent.instructions, agent.tier, asked.max_tokens)
    return question, asked.provider or agent.provider


def _done(
    parts: Parts, asked: ChatRequest, question: Question, answer_id: str, opened: Opened, usage: Usage
) -> ChatDone:
    return ChatDone(**_told(parts, asked, question, answer_id, opened, usage))


def _told(
    parts: Parts, asked: ChatRequest, question: Question, answer_id: str, answer: Answered | Opened, usage: Usage
) -> dict[str, Any]:
    """Tells the queue what an answer took; returns what the customer is told of it."""
    provider, model = answer.upstream.name, answer.upstream.model(question.tier)
    parts.publisher.send(
        UsageMessage(message_id=answer_id, project_id=asked.project_id, provider=provider, model=model, usage=usage)
    )
    fallback = answer.used_fallback
    return {"id": answer_id, "provider": provider, "model": model, "usage": usage, "used_fallback": fallback}


@router.get("/v1/models", responses=documented(503))
async def models(request: Request) -> ModelList:
    """Lists the models; while the source of the list is away, the last one, marked `isFallback`."""
    return await _parts(request).models.list()


@router.put("/v1/projects/{project_id}", responses=documented(503))
async def put_project(request: Request, project_id: InId, project: Project) -> ProjectView:
    """Makes a project, or changes it."""
    return await _parts(request).projects.put(project_id, project)


@router.get("/v1/projects/{project_id}", responses=documented(404, 503))
async def get_project(request: Request, project_id: InId) -> ProjectView:
    """Shows a project."""
    return await _parts(request).projects.get(project_id)


@router.put("/v1/projects/{project_id}/agents/{agent_id}", responses=documented(404, 503))
async def put_agent(request: Request, project_id: InId, agent_id: InId, agent: Agent) -> AgentView:
    """Makes an agent of a project, or changes it."""
    return await _parts(request).projects.put_agent(project_id, agent_id, agent)


@router.get("/v1/projects/{project_id}/agents/{agent_id}", responses=documented(404, 503))
async def get_agent(request: Request, project_id: InId, agent_id: InId) -> AgentView:
    """Shows an agent."""
    return await _parts(request).projects.agent(project_id, agent_id)


@router.get("/v1/projects/{project_id}/usage", responses=documented(404, 503))
async def get_usage(request: Request, project_id: InId) -> ProjectUsage:
    """Shows what a project's answers took, as far as it has been counted: a moment after the answer."""
    return await _parts(request).projects.usage(project_id)


def application(parts: Parts) -> FastAPI:
    """Returns the gateway's HTTP interface."""
    app = FastAPI(title="LLM gateway", description=ABOUT, version="1.0")
    app.state.parts = parts
    app.include_router(router)
    return app
