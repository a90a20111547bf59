"""Errors as all services answer them: one shape, with a code for programs and a message for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from examples.ticketwave.wire import Wire
from seawall import correlation_id


class Detail(Wire):
    """Which field is wrong, and why."""

    field: str
    message: str


class Error(Wire):
    """What went wrong."""

    code: str
    message: str
    timestamp: str
    correlation_id: str | None
    details: tuple[Detail, ...] = ()


class Problem(Wire):
    """Every answer that is an error."""

    error: Error


class ProblemError(Exception):
    """Raised by an endpoint in place of an answer."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


def answer(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None, details: Sequence[Detail] = ()
) -> JSONResponse:
    """Returns the response that tells of an error."""
    error = Error(
        code=code,
        message=message,
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds"),
        correlation_id=correlation_id(),
        details=tuple(details),
    )
    return JSONResponse(Problem(error=error).model_dump(by_alias=True), status, headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns what `/openapi.json` says of the errors of an endpoint."""
    described = {status: HTTPStatus(status).phrase for status in (400, *statuses)} | {"default": "Any other error"}
    return {status: {"model": Problem, "description": text} for status, text in described.items()}


def install(app: FastAPI) -> None:
    """Lets every error of an application be answered in this shape."""

    @app.exception_handler(ProblemError)
    async def problem(request: Request, error: ProblemError) -> JSONResponse:
        return answer(error.status, error.code, error.message, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        details = [
            Detail(field=".".join(str(part) for part in each["loc"][1:]), message=each["msg"])
            for each in error.errors()
        ]
        return answer(400, "VALIDATION_ERROR", "The request is not valid.", details=details)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        return answer(status, status.name, f"{status.phrase}: {request.method} {request.url.path}", error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return answer(500, "INTERNAL_ERROR", "Something went wrong on our side.")
