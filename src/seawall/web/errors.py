"""Errors that an application raises to answer with: each is a status, a code, and a message for the caller.

    SeawallError
    ├── ServiceError               500  INTERNAL_ERROR
    │   ├── ValidationError        400  VALIDATION_ERROR
    │   ├── UnauthorizedError      401  UNAUTHORIZED
    │   ├── ForbiddenError         403  FORBIDDEN
    │   ├── NotFoundError          404  NOT_FOUND
    │   ├── ConflictError          409  CONFLICT
    │   └── ExternalServiceError   503  EXTERNAL_SERVICE_ERROR
    └── ResponseCutError           to the server, never to a caller

A time-out needs no class of its own: Python's TimeoutError and seawall's are answered with 408.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.errors import SeawallError
from seawall.web.problem import EXTERNAL, INTERNAL, INVALID, of_status

_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def check_code(argument: str, code: object) -> str:
    """Returns `code`, in capitals; raises ValueError for anything else."""
    if not (isinstance(code, str) and _CODE.fullmatch(code)):
        raise ValueError(f"{argument}={code!r} is no error code; use capitals, digits and '_', such as 'SOLD_OUT'")
    return code


def check_status(argument: str, status: object) -> int:
    """Returns `status`, the status of an error; raises ValueError for anything else."""
    if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
        raise ValueError(f"{argument}={status!r} is no status of an error; use a number from 400 to 599")
    return int(status)


class ServiceError(SeawallError):
    """An answer to the caller. Its message is public: it is shown in production too.

    Derive from it, or from one of the classes below, for a status, code and message of your own::

        class SoldOutError(ConflictError):
            code = "SOLD_OUT"
            message = "No tickets are left for this event."

    Args:
        message: for the caller; default: the class's.
        code: in capitals; default: the class's.
        details: pairs of field and message.
        headers: of the response, beside those that every error has.
        retry_after: seconds until the caller may try again; sent as `Retry-After`, never earlier.
    """

    status: ClassVar[int] = INTERNAL.status
    code: str = INTERNAL.code
    message: str = INTERNAL.message

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_status(f"{cls.__name__}.status", cls.status)
        check_code(f"{cls.__name__}.code", cls.code)

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        details: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        retry_after: Seconds | None = None,
    ) -> None:
        if message is not None:
            self.message = str(message)
        if code is not None:
            self.code = check_code("code", code)
        self.details = tuple((str(field), str(said)) for field, said in details)
        self.headers = dict(headers or {})
        self.retry_after = None if retry_after is None else arguments.seconds("retry_after", retry_after, zero=True)
        super().__init__(self.message)


class ValidationError(ServiceError):
    """The request contains invalid data; `details` says what is wrong with which field."""

    status, code, message = INVALID.words


class UnauthorizedError(ServiceError):
    """The caller has not shown who they are.

    Without a `WWW-Authenticate` among its headers, `Bearer` is asked for (RFC 9110, section 15.5.2, wants one).
    """

    status, code, message = of_status(401).words


class ForbiddenError(ServiceError):
    """The caller is known, and may not do this."""

    status, code, message = of_status(403).words


class NotFoundError(ServiceError):
    """What was asked for does not exist."""

    status, code, message = of_status(404).words


class ConflictError(ServiceError):
    """The request does not fit the present state."""

    status, code, message = of_status(409).words


class ExternalServiceError(ServiceError):
    """A service that this one depends on failed or is away. Raise it `from` the failure, which is logged."""

    status, code, message = EXTERNAL.words


class ResponseCutError(SeawallError):
    """A request failed after its response had begun; raised to the server, so that it cuts the connection.

    The failure itself has been logged, under the correlation id that this error names.
    """
