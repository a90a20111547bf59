"""SQLAlchemy, engines sync and async: whether the database answers."""

from seawall.integrations.sqlalchemy.health import database_check

__all__ = ["database_check"]
