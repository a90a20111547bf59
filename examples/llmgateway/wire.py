"""What the gateway's customers send and get, as JSON with camelCase names."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


def _number(value: Any) -> Any:
    """Refuses "5" and true, which would do as an integer elsewhere."""
    if isinstance(value, str | bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Key = Annotated[str, Field(pattern=r"^[!-~]{1,255}$")]
Kept = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""A text that goes into the database; PostgreSQL keeps any but U+0000."""
Whole = Annotated[int, BeforeValidator(_number)]
"""An integer as JSON Schema has it: 5 and 5.0."""
ProviderName = Literal["anthropic", "openai"]
Tier = Literal["small", "large"]
"""What a customer chooses; each provider has a model of its own for it."""


class Wire(BaseModel):
    """snake_case in Python, camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class ChatMessage(Wire):
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    content: str = Field(min_length=1, max_length=20_000)


AGENT_OF_A_PROJECT: Final[dict[str, Any]] = {
    "if": {"required": ["agentId"], "properties": {"agentId": {"type": "string"}}},
    "then": {"required": ["projectId"], "properties": {"projectId": {"type": "string"}}},
}


class ChatRequest(Wire):
    """A question. With `agentId` the agent of the project says how it is to be answered."""

    model_config = ConfigDict(json_schema_extra=AGENT_OF_A_PROJECT)

    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=100)
    project_id: Id | None = None
    agent_id: Id | None = None
    tier: Tier = "small"
    provider: ProviderName | None = Field(None, description="Who is asked first; default: the agent's, or in turn.")
    max_tokens: Whole = Field(256, ge=1, le=4096)
    stream: bool = Field(False, strict=True)


class Usage(Wire):
    """What an answer took."""

    input_tokens: int = 0
    output_tokens: int = 0


class ChatAnswer(Wire):
    """An answer. `usedFallback`: by another provider than the one asked first."""

    id: str
    provider: ProviderName
    model: str
    text: str
    usage: Usage
    used_fallback: bool


class ChatDelta(Wire):
    """A piece of a streamed answer, as `event: delta`."""

    text: str


class ChatDone(Wire):
    """The end of a streamed answer, as `event: done`: without it or `event: error`, a stream is not complete."""

    id: str
    provider: ProviderName
    model: str
    usage: Usage
    used_fallback: bool


class Project(Wire):
    """A project of a customer."""

    name: Kept = Field(min_length=1, max_length=200)


class ProjectView(Project):
    """A project as it is shown."""

    project_id: Id


class Agent(Wire):
    """How questions to an agent are answered."""

    name: Kept = Field(min_length=1, max_length=200)
    instructions: Kept = Field("", max_length=20_000)
    tier: Tier = "small"
    provider: ProviderName | None = None


class AgentView(Agent):
    """An agent as it is shown."""

    project_id: Id
    agent_id: Id


class ProjectUsage(Wire):
    """What the answers of a project took, as far as it has been counted."""

    project_id: Id
    requests: int
    input_tokens: int
    output_tokens: int


class Model(Wire):
    """A model that is on offer."""

    provider: str
    model: str
    input_price: float = Field(description="US dollars for a million tokens")
    output_price: float = Field(description="US dollars for a million tokens")


class ModelList(Wire):
    """The models on offer. `isFallback`: the last list that was had, since there is no newer one."""

    models: tuple[Model, ...]
    is_fallback: bool = False


class UsageMessage(Wire):
    """What is published for every answer; `messageId` is that of the answer, so that it counts once."""

    message_id: str
    project_id: str | None
    provider: str
    model: str
    usage: Usage
