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
from seawall.web.idempotency import IdempotentRequests
from seawall.web.idempotency_routes import IdempotentRoute
from seawall.web.operations import Operations
from seawall.web.request_claim import RequestClaim, current_request_claim

__all__ = [
    "ConflictError",
    "ErrorAnswered",
    "ExternalServiceError",
    "ForbiddenError",
    "HealthSource",
    "IdempotentRequests",
    "IdempotentRoute",
    "NotFoundError",
    "Operations",
    "RequestClaim",
    "ResponseCutError",
    "Seawall",
    "ServiceError",
    "UnauthorizedError",
    "ValidationError",
    "WebSnapshot",
    "current_request_claim",
    "error_body",
]
