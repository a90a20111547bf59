"""The list of models: asked for at an external API, else the last one that was had."""

from __future__ import annotations

import asyncio

import httpx2

from examples.llmgateway.clients import client
from examples.llmgateway.wire import ModelList
from seawall import DeadlineExceededError, Fallback, Pipeline
from seawall.integrations.httpx import protect
from seawall.web import ExternalServiceError


class NoModelsError(ExternalServiceError):
    """The external API does not answer, and never did."""

    code = "MODELS_UNAVAILABLE"
    message = "The list of models is not available. Try again later."


class Models:
    """Asks for the list.

    The last one that was had is kept for when there is none. How long a fresh one is of use is a cache's matter.

    Args:
        url: of the external API.
        policy: around every request.
        patience: seconds after which a customer gets the last list, where there is one, in the place of a fresh one.
    """

    def __init__(
        self, url: str, policy: Pipeline, *, patience: float = 1.0, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._client = protect(client(url, transport), policy)
        self._patience = patience
        self._last: ModelList | None = None
        self._answers = Pipeline("models", Fallback(self.last_known, on=Exception))

    async def list(self) -> ModelList:
        """Returns the models on offer. Raises NoModelsError."""
        try:
            return await self._answers.acall(self._fresh)
        except DeadlineExceededError as error:
            return self.last_known(error)

    async def _fresh(self) -> ModelList:
        # Without a list to fall back to, the customer waits as long as the policy does.
        async with asyncio.timeout(None if self._last is None else self._patience):
            response = await self._client.get("/models")
        response.raise_for_status()
        self._last = ModelList.model_validate_json(response.content)
        return self._last

    def last_known(self, failure: Exception) -> ModelList:
        """Returns the last list, marked as such. Raises NoModelsError."""
        if self._last is None:
            raise NoModelsError from failure
        return self._last.model_copy(update={"is_fallback": True})

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._client.aclose()
