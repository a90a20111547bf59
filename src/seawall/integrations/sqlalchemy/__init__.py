"""SQLAlchemy, engines sync and async: durable work in the user's own database, and whether it answers."""

from seawall.integrations.sqlalchemy.health import database_check
from seawall.integrations.sqlalchemy.hooks import after_commit
from seawall.integrations.sqlalchemy.store import SqlStore
from seawall.integrations.sqlalchemy.tables import metadata
from seawall.integrations.sqlalchemy.transactions import TransactionOptions, run_transaction

__all__ = ["SqlStore", "TransactionOptions", "after_commit", "database_check", "metadata", "run_transaction"]
