"""The public names, pinned: a change here is a change of the product and needs a line in the changelog."""

import importlib

import pytest

FACE = {
    "seawall": """
        Backoff BudgetRefused Bulkhead BulkheadFullError CallEnded CallOverran CallRejected
        CallTimedOut CallTimeoutError CircuitBreaker CircuitChanged CircuitIsolatedError
        CircuitOpenError Clock DeadlineExceededError Event Explanation Fallback FellBack Finding
        Hedge Hedged Outcome Pipeline Policies PolicyError RateLimit RateLimitedError Recovered RejectedError Retried
        Retry RetryBudget RetryStopped SeawallError SeawallWarning Strategy Timeout WorkerPool
        correlation correlation_id deadline listen remaining snapshot
    """,
    "seawall.chaos": """
        Answer Bin Conditions Counts Fault FaultPeriod Measures Progress Proxy Result Scenario
        ScenarioError Variant VariantProgress VariantResult run write_report
    """,
    "seawall.integrations.httpx": "PerHost StatusError network protect timed_out transient unprocessed",
    "seawall.degrade": """
        SwitchChanged Switchboard
    """,
    "seawall.durable": """
        NOT_DONE STILL_UNKNOWN Claim ClaimRecord Codec CodecError CommitUnknown CommitUnknownError
        Counter EmbeddedStore
        Idempotency InProgressError Inbox JsonCodec KeyMismatchError Later LeaseLost
        LeaseLostError Lock LockTimeoutError OperationEnded OperationInProgress
        OperationMismatched OperationOutcome OperationReplayed OperationSettled OperationStarted
        OperationTakenOver OperationUnknown Outbox OutboxFailed OutboxMessage OutboxSent
        OutboxStuck OutcomeUnknownError Reaped Reaper Relay RelayStalled Replay Retention Saga
        SagaBlocked SagaCompensating SagaEnded SagaInterrupted SagaReplyLate SagaReport
        SagaStarted SagaStateError SagaStepFailed SagaStuck SagaTakenOver Sagas Step StepContext StepRefusedError
        StepReport Store StoreError StoreStatus UnknownSagaError areap astatus aupgrade
        content_key idempotent open_store reap status upgrade
    """,
    "seawall.health": """
        Answer Check CheckOptions Entry Health HealthChanged LiveServer LoopProbe Monitor
        MonitorSnapshot Recovery RecoveryEnded RecoveryGaveUp RecoveryStarted Report
        UnknownViewError breakers_check collect_garbage disk_check loop_lag_check memory_check
        url_check
    """,
    "seawall.integrations.openfeature": "FlagsFailed FlagsRecovered RemoteFlags flag_key",
    "seawall.integrations.opentelemetry": """
        Traced add_events export_metrics
    """,
    "seawall.integrations.rabbitmq": """
        rabbitmq_check
    """,
    "seawall.integrations.redis": """
        RedisStore redis_check
    """,
    "seawall.integrations.sqlalchemy": """
        SqlStore TransactionOptions after_commit database_check metadata run_transaction
    """,
    "seawall.integrations.structlog": """
        add_correlation_id mask_secrets
    """,
    "seawall.observe": """
        CONTENT_TYPE TABLE Counter Gauge Histogram JsonFormatter Metrics Row TextFormatter
        configure_logging correlate_logs mask_secrets
    """,
    "seawall.web": """
        ConflictError ErrorAnswered ExternalServiceError ForbiddenError HealthSource IdempotentRequests
        IdempotentRoute NotFoundError Operations RequestClaim ResponseCutError Seawall ServiceError
        UnauthorizedError ValidationError WebSnapshot current_request_claim error_body
    """,
    "seawall.testing": "Crash CrashReport CrashRunner FakeClock Recorder instant no_retries point",
}


@pytest.mark.parametrize("package", FACE)
def test_the_public_names_are_these(package: str) -> None:
    """`__all__` is sorted as written, holds exactly the names above, and each of them exists."""
    module = importlib.import_module(package)
    assert FACE[package].split() == module.__all__
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("package", FACE)
def test_every_public_name_says_what_it_is(package: str) -> None:
    """Each public class and function has a docstring of its own."""
    module = importlib.import_module(package)
    assert [] == [name for name in module.__all__ if not getattr(module, name).__doc__]
