"""The tables of the store, one text for every database; a migration is a version with the statements that lead to it.

Times are seconds since 1970. All tables begin with `seawall_`, so that they can live in the user's own database.
"""

from __future__ import annotations

from typing import Final

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        # An operation that must happen once, under its key: running, done or unknown.
        """CREATE TABLE seawall_idempotency (
            namespace {text} NOT NULL, key {text} NOT NULL, fingerprint {text} NOT NULL, state {text} NOT NULL,
            owner {text} NOT NULL, epoch {int} NOT NULL, lease_until {float} NOT NULL, takeover {int} NOT NULL,
            result {blob}, result_type {text}, note {text},
            created_at {float} NOT NULL, updated_at {float} NOT NULL, expires_at {float} NOT NULL,
            PRIMARY KEY (namespace, key))""",
        "CREATE INDEX seawall_idempotency_expires ON seawall_idempotency (expires_at)",
        # Messages whose effect has been committed, by consumer.
        """CREATE TABLE seawall_inbox (
            consumer {text} NOT NULL, message_id {text} NOT NULL, done_at {float} NOT NULL,
            PRIMARY KEY (consumer, message_id))""",
        "CREATE INDEX seawall_inbox_done ON seawall_inbox (done_at)",
        # Messages on their way out: waiting, sent (a dropped one counts as such, and has a note), or stuck. Who sends
        # one without a key holds it by `owner`; one with a key belongs to who holds that; its `owner` is the last one.
        """CREATE TABLE seawall_outbox (
            id {id}, message_id {text} NOT NULL UNIQUE, destination {text} NOT NULL, headers {text} NOT NULL,
            body {blob} NOT NULL, ordering_key {text}, created_at {float} NOT NULL, available_at {float} NOT NULL,
            attempts {int} NOT NULL, owner {text}, lease_until {float} NOT NULL,
            sent_at {float}, stuck_at {float}, error {text}, note {text})""",
        """CREATE INDEX seawall_outbox_due ON seawall_outbox (available_at, id)
            WHERE sent_at IS NULL AND stuck_at IS NULL AND ordering_key IS NULL""",
        """CREATE INDEX seawall_outbox_order ON seawall_outbox (ordering_key, id)
            WHERE sent_at IS NULL AND ordering_key IS NOT NULL""",
        "CREATE INDEX seawall_outbox_stuck ON seawall_outbox (stuck_at) WHERE stuck_at IS NOT NULL",
        "CREATE INDEX seawall_outbox_sent ON seawall_outbox (sent_at) WHERE sent_at IS NOT NULL",
        """CREATE TABLE seawall_outbox_key (
            ordering_key {text} NOT NULL PRIMARY KEY, owner {text} NOT NULL, epoch {int} NOT NULL,
            lease_until {float} NOT NULL)""",
        # Sagas and their steps. `wake_at` is when a worker looks at one next; none: when somebody replies or decides.
        # `writing` is the last write of a holder, by which it finds out whether a commit came about.
        """CREATE TABLE seawall_saga (
            id {text} NOT NULL PRIMARY KEY, type {text} NOT NULL, version {int} NOT NULL, state {text} NOT NULL,
            data {text} NOT NULL, revision {int} NOT NULL, writing {text}, owner {text}, epoch {int} NOT NULL,
            lease_until {float} NOT NULL, wake_at {float}, deadline {float}, error {text}, blocked {text}, note {text},
            created_at {float} NOT NULL, updated_at {float} NOT NULL, ended_at {float})""",
        "CREATE INDEX seawall_saga_due ON seawall_saga (wake_at) WHERE wake_at IS NOT NULL",
        "CREATE INDEX seawall_saga_owner ON seawall_saga (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX seawall_saga_ended ON seawall_saga (ended_at) WHERE ended_at IS NOT NULL",
        """CREATE TABLE seawall_saga_step (
            saga_id {text} NOT NULL, name {text} NOT NULL, position {int} NOT NULL, kind {text} NOT NULL,
            state {text} NOT NULL, attempts {int} NOT NULL, undo_attempts {int} NOT NULL, failures {int} NOT NULL,
            wake_at {float}, result {text}, error {text}, note {text}, late {text},
            started_at {float} NOT NULL, undo_at {float}, ended_at {float}, PRIMARY KEY (saga_id, name))""",
        # Transactions whose end the client may not learn.
        "CREATE TABLE seawall_txn (id {text} NOT NULL PRIMARY KEY, at {float} NOT NULL)",
        "CREATE INDEX seawall_txn_at ON seawall_txn (at)",
        # Locks with fencing tokens, and counters.
        """CREATE TABLE seawall_lock (
            name {text} NOT NULL PRIMARY KEY, owner {text}, token {int} NOT NULL, lease_until {float} NOT NULL)""",
        """CREATE TABLE seawall_counter (
            name {text} NOT NULL PRIMARY KEY, value {int} NOT NULL, expires_at {float})""",
    ),
)
"""What leads from one version to the next, in order; the version is their number."""

VERSION: Final = len(MIGRATIONS)
