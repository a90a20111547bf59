"""Around a finished ASGI application: `app = Seawall(app)`.

Errors in one format, correlation, deadlines, health, metrics and an orderly end, for FastAPI, Starlette and every other
ASGI application. Pure ASGI: no framework is imported.
"""

from seawall.web.app import Seawall, WebSnapshot
from seawall.web.error_body import error_body
from seawall.web.errors import (
    ConflictError,
    ExternalServiceError,
    ForbiddenError,
    NotFoundError,
    ResponseCutError,
    ServiceError,
    UnauthorizedError,
    ValidationError,
)
from seawall.web.events import ErrorAnswered
from seawall.web.health_source import HealthSource
from seawall.web.operations import Operations

__all__ = [
    "ConflictError",
    "ErrorAnswered",
    "ExternalServiceError",
    "ForbiddenError",
    "HealthSource",
    "NotFoundError",
    "Operations",
    "ResponseCutError",
    "Seawall",
    "ServiceError",
    "UnauthorizedError",
    "ValidationError",
    "WebSnapshot",
    "error_body",
]
