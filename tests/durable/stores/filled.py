"""Rows of every kind, as the parts of durable work leave them; what is named `old...` has had its time."""

from seawall.durable.script import Script, Statement

DAY = 86400.0
TABLES = (
    "schema", "idempotency", "inbox", "outbox", "outbox_key", "saga", "saga_step", "txn", "lock", "counter",
)  # fmt: skip

_OPERATION = Statement(
    "INSERT INTO seawall_idempotency (namespace, key, fingerprint, state, owner, epoch, lease_until, takeover, "
    "created_at, updated_at, expires_at) VALUES ('n', :key, '', :state, '', 1, 0, 0, 0, 0, {now} - :ttl)"
)
_INBOX = Statement("INSERT INTO seawall_inbox (consumer, message_id, done_at) VALUES ('c', :key, {now} - :ttl)")
_OUTBOX = Statement(
    "INSERT INTO seawall_outbox (message_id, destination, headers, body, ordering_key, created_at, available_at, "
    "attempts, lease_until, sent_at, stuck_at) VALUES (:key, 'd', '{}', :body, :ordering, 0, 0, 0, 0, "
    "CASE WHEN :state = 'sent' THEN {now} - :ttl END, CASE WHEN :state = 'stuck' THEN {now} - :ttl END)"
)
_KEY = Statement(
    "INSERT INTO seawall_outbox_key (ordering_key, owner, epoch, lease_until) VALUES (:key, '', 1, {now} - :ttl)"
)
_SAGA = Statement(
    "INSERT INTO seawall_saga (id, type, version, state, data, revision, epoch, lease_until, blocked, created_at, "
    "updated_at, ended_at) VALUES (:key, 't', 1, :state, '{}', 1, 1, 0, "
    "CASE WHEN :blocked = 'yes' THEN 'why' END, 0, 0, CASE WHEN :state = 'completed' THEN {now} - :ttl END)"
)
_STEP = Statement(
    "INSERT INTO seawall_saga_step (saga_id, name, kind, position, state, attempts, undo_attempts, failures, "
    "started_at) VALUES (:key, :step, 'retriable', 1, 'done', 1, 0, 0, 0)"
)
_TXN = Statement("INSERT INTO seawall_txn (id, at) VALUES (:key, {now} - :ttl)")
_COUNTER = Statement(
    "INSERT INTO seawall_counter (name, value, expires_at) VALUES (:key, 1, CASE WHEN :ttl <> 0 THEN {now} - :ttl END)"
)
_NAMES = Statement(
    "SELECT key FROM seawall_idempotency UNION ALL SELECT message_id FROM seawall_inbox "
    "UNION ALL SELECT message_id FROM seawall_outbox UNION ALL SELECT ordering_key FROM seawall_outbox_key "
    "UNION ALL SELECT id FROM seawall_saga UNION ALL SELECT saga_id FROM seawall_saga_step "
    "UNION ALL SELECT id FROM seawall_txn UNION ALL SELECT name FROM seawall_counter ORDER BY 1"
)
KEPT = sorted(
    [
        "fresh-result", "ran-for-ages", "unknown-for-ages", "fresh-inbox", "fresh-sent", "stuck-for-ages",
        "waiting-for-ages", "waiting-behind", "held-key", "waiting-key", "fresh-saga", "fresh-saga", "running-saga",
        "blocked-saga", "fresh-txn", "fresh-counter", "counter-for-ever",
    ]
)  # fmt: skip


def fill() -> Script[None]:
    """Writes rows of every kind: of each some that must be kept and one that must go."""
    for key, state, ttl in (
        ("old-result", "done", 1.0),
        ("fresh-result", "done", -60.0),
        ("ran-for-ages", "running", 400 * DAY),
        ("unknown-for-ages", "unknown", 400 * DAY),
    ):
        yield _OPERATION, {"key": key, "state": state, "ttl": ttl}
    yield _INBOX, {"key": "old-inbox", "ttl": 7.1 * DAY}
    yield _INBOX, {"key": "fresh-inbox", "ttl": 6.9 * DAY}
    for key, state, ttl, ordering in (
        ("old-sent", "sent", 7.1 * DAY, None),
        ("fresh-sent", "sent", 6.9 * DAY, "old-key"),
        ("stuck-for-ages", "stuck", 400 * DAY, None),
        ("waiting-for-ages", "waiting", 400 * DAY, None),
        ("waiting-behind", "waiting", 400 * DAY, "waiting-key"),
    ):
        yield _OUTBOX, {"key": key, "state": state, "ttl": ttl, "ordering": ordering, "body": b""}
    for key, ttl in (("old-key", 1.1 * DAY), ("held-key", 0.9 * DAY), ("waiting-key", 400 * DAY)):
        yield _KEY, {"key": key, "ttl": ttl}
    for key, state, ttl, blocked, steps in (
        ("old-saga", "completed", 7.1 * DAY, "no", 2),
        ("fresh-saga", "completed", 6.9 * DAY, "no", 1),
        ("running-saga", "running", 400 * DAY, "no", 0),
        ("blocked-saga", "running", 400 * DAY, "yes", 0),
    ):
        yield _SAGA, {"key": key, "state": state, "ttl": ttl, "blocked": blocked}
        for number in range(steps):
            yield _STEP, {"key": key, "step": f"step {number}"}
    yield _TXN, {"key": "old-txn", "ttl": 1.1 * DAY}
    yield _TXN, {"key": "fresh-txn", "ttl": 0.9 * DAY}
    for key, ttl in (("old-counter", 1.0), ("fresh-counter", -60.0), ("counter-for-ever", 0.0)):
        yield _COUNTER, {"key": key, "ttl": ttl}


def many(count: int) -> Script[None]:
    """Writes so many rows whose time has come."""
    for number in range(count):
        yield _INBOX, {"key": f"old {number}", "ttl": 8 * DAY}


def names() -> Script[list[str]]:
    """Returns the names of all rows."""
    rows = yield _NAMES, {}
    return sorted(row[0] for row in rows)


def drop_tables() -> Script[None]:
    """Takes all tables away."""
    for table in TABLES:
        yield Statement(f"DROP TABLE seawall_{table}"), {}


def say_version(number: int) -> Script[None]:
    """Has the tables be of another version."""
    yield (
        Statement("INSERT INTO seawall_schema (version, applied_at) VALUES (CAST(:version AS BIGINT), {now})"),
        {"version": number},
    )
