"""Projects, their agents, and what their answers took, in the database.

Every function may be repeated: it writes what it is told under a key that it is given.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKeyConstraint, Integer, MetaData, String, Table, Text, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from examples.llmgateway.database import Database
from examples.llmgateway.wire import Agent, AgentView, Project, ProjectUsage, ProjectView, UsageMessage
from seawall.web import NotFoundError

TABLES = MetaData()
PROJECTS = Table(
    "projects", TABLES, Column("project_id", String(64), primary_key=True), Column("name", String(200), nullable=False)
)
AGENTS = Table(
    "agents",
    TABLES,
    Column("project_id", String(64), primary_key=True),
    Column("agent_id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("instructions", Text, nullable=False),
    Column("tier", String(20), nullable=False),
    Column("provider", String(20)),
    ForeignKeyConstraint(["project_id"], ["projects.project_id"]),
)
USAGE = Table(
    "usage",
    TABLES,
    Column("message_id", String(64), primary_key=True),
    Column("project_id", String(64), index=True),
    Column("provider", String(20), nullable=False),
    Column("model", String(100), nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
)


class ProjectNotFoundError(NotFoundError):
    """There is no such project."""

    code = "PROJECT_NOT_FOUND"
    message = "There is no such project."


class AgentNotFoundError(NotFoundError):
    """There is no such agent."""

    code = "AGENT_NOT_FOUND"
    message = "The project has no such agent."


class Projects:
    """Reads and writes them.

    Args:
        database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, project_id: str, project: Project) -> ProjectView:
        """Makes a project, or changes it."""
        view = ProjectView(project_id=project_id, **project.model_dump())
        await self._database.run(lambda connection: _put(connection, PROJECTS, view.model_dump()))
        return view

    async def get(self, project_id: str) -> ProjectView:
        """Returns a project. Raises ProjectNotFoundError."""
        found = await self._database.run(lambda connection: _get(connection, PROJECTS, project_id=project_id))
        if found is None:
            raise ProjectNotFoundError
        return ProjectView(**found)

    async def put_agent(self, project_id: str, agent_id: str, agent: Agent) -> AgentView:
        """Makes an agent of a project, or changes it. Raises ProjectNotFoundError."""
        view = AgentView(project_id=project_id, agent_id=agent_id, **agent.model_dump())

        async def put(connection: AsyncConnection) -> bool:
            if await _get(connection, PROJECTS, project_id=project_id) is None:
                return False
            await _put(connection, AGENTS, view.model_dump())
            return True

        if not await self._database.run(put):
            raise ProjectNotFoundError
        return view

    async def agent(self, project_id: str, agent_id: str) -> AgentView:
        """Returns an agent. Raises AgentNotFoundError."""
        found = await self._database.run(
            lambda connection: _get(connection, AGENTS, project_id=project_id, agent_id=agent_id)
        )
        if found is None:
            raise AgentNotFoundError
        return AgentView(**found)

    async def record(self, message: UsageMessage) -> None:
        """Takes down what an answer took: once, however often the message comes."""
        row = {
            "message_id": message.message_id,
            "project_id": message.project_id,
            "provider": message.provider,
            "model": message.model,
            **message.usage.model_dump(),
        }

        async def record(connection: AsyncConnection) -> None:
            await connection.execute(_insert(connection, USAGE).values(row).on_conflict_do_nothing())

        await self._database.run(record)

    async def usage(self, project_id: str) -> ProjectUsage:
        """Returns what a project's answers took. Raises ProjectNotFoundError."""
        await self.get(project_id)
        sums = select(
            func.count(),
            func.coalesce(func.sum(USAGE.c.input_tokens), 0),
            func.coalesce(func.sum(USAGE.c.output_tokens), 0),
        ).where(USAGE.c.project_id == project_id)

        async def add_up(connection: AsyncConnection) -> Any:
            return (await connection.execute(sums)).one()

        requests, read, written = await self._database.run(add_up)
        return ProjectUsage(project_id=project_id, requests=requests, input_tokens=read, output_tokens=written)


def _insert(connection: AsyncConnection, table: Table) -> Any:
    """Returns an INSERT that knows ON CONFLICT, which both databases have, and the standard has not."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


async def _put(connection: AsyncConnection, table: Table, row: dict[str, Any]) -> None:
    statement = _insert(connection, table).values(row)
    keys = [column.name for column in table.primary_key]
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=keys, set_={name: statement.excluded[name] for name in row if name not in keys}
        )
    )


async def _get(connection: AsyncConnection, table: Table, **keys: str) -> dict[str, Any] | None:
    statement = select(table).where(*(table.c[name] == value for name, value in keys.items()))
    found = (await connection.execute(statement)).mappings().one_or_none()
    return None if found is None else dict(found)
