"""Whether a database has today's tables, and what they are. What brings it there, and takes long to load, is loaded where it has not."""

from __future__ import annotations

from pathlib import Path

import psycopg
from procrastinate.schema import SchemaManager

from safelight.errors import SetupFailed

MIGRATIONS = Path(__file__).parent / "migrations"
NO_ANSWER = "The database does not answer. Check that it runs, and the address given with --database-url."


def migrate(url: str, revision: str = "head") -> None:
    """Raises SetupFailed where the database cannot be reached or was made by a later Safelight."""
    if revision == "head" and _is_current(url):
        return
    from safelight.storage.upgrade import upgrade

    upgrade(url, revision)


def newest() -> str:
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def queue_schema() -> str:
    return SchemaManager.get_schema()


def queue_files() -> list[Path]:
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


def _is_current(url: str) -> bool:
    """False also where that cannot be read: then ``upgrade`` finds out why. Raises SetupFailed where nobody answers."""
    try:
        with psycopg.connect(url, connect_timeout=15) as connection:
            ours = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            queues = connection.execute("SELECT name FROM queue_migrations").fetchall()
    except psycopg.OperationalError as error:
        raise SetupFailed(NO_ANSWER) from error
    except psycopg.Error:
        return False
    return ours == [(newest(),)] and {name for (name,) in queues} >= {file.name for file in queue_files()}
