"""seawall keeps a Python service up when what it depends on goes down."""

from seawall._config.policies import Policies
from seawall._config.problems import PolicyError
from seawall._core.backoff import Backoff
from seawall._core.budget import RetryBudget
from seawall._core.clock import Clock
from seawall._core.correlation import correlation, correlation_id
from seawall._core.deadline import deadline, remaining
from seawall._core.errors import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitIsolatedError,
    CircuitOpenError,
    DeadlineExceededError,
    RateLimitedError,
    RejectedError,
    SeawallError,
)
from seawall._core.events import (
    BudgetRefused,
    CallEnded,
    CallOverran,
    CallRejected,
    CallTimedOut,
    CircuitChanged,
    Event,
    FellBack,
    Hedged,
    Recovered,
    Retried,
    RetryStopped,
)
from seawall._core.names import SeawallWarning
from seawall._core.outcome import Outcome
from seawall._core.strategy import Strategy
from seawall._pipeline.explain import Explanation, Finding
from seawall._pipeline.pipeline import Pipeline
from seawall._registry import listen, snapshot
from seawall._strategies.breaker import CircuitBreaker
from seawall._strategies.bulkhead import Bulkhead
from seawall._strategies.fallback import Fallback
from seawall._strategies.hedge import Hedge
from seawall._strategies.ratelimit import RateLimit
from seawall._strategies.retry import Retry
from seawall._strategies.timeout import Timeout
from seawall._strategies.workers import WorkerPool

__all__ = [
    "Backoff",
    "BudgetRefused",
    "Bulkhead",
    "BulkheadFullError",
    "CallEnded",
    "CallOverran",
    "CallRejected",
    "CallTimedOut",
    "CallTimeoutError",
    "CircuitBreaker",
    "CircuitChanged",
    "CircuitIsolatedError",
    "CircuitOpenError",
    "Clock",
    "DeadlineExceededError",
    "Event",
    "Explanation",
    "Fallback",
    "FellBack",
    "Finding",
    "Hedge",
    "Hedged",
    "Outcome",
    "Pipeline",
    "Policies",
    "PolicyError",
    "RateLimit",
    "RateLimitedError",
    "Recovered",
    "RejectedError",
    "Retried",
    "Retry",
    "RetryBudget",
    "RetryStopped",
    "SeawallError",
    "SeawallWarning",
    "Strategy",
    "Timeout",
    "WorkerPool",
    "correlation",
    "correlation_id",
    "deadline",
    "listen",
    "remaining",
    "snapshot",
]
