"""Brings a database to today's tables: ours by Alembic, the queue's by its own files, all in one transaction.

Two servers that start at once do not disturb each other: the second waits for the first and then finds nothing to do.
"""

from __future__ import annotations

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError as NoAnswer
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from safelight.errors import SetupFailed
from safelight.storage.migrate import MIGRATIONS, NO_ANSWER, queue_files, queue_schema

LOCK = 7_013_201  # any number; everybody who migrates takes the same one


def upgrade(url: str, revision: str) -> None:
    """Raises SetupFailed where the database cannot be reached or was made by a later Safelight."""
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url, connect_timeout=15), poolclass=NullPool
    )
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            _migrate_queue(connection)
            _migrate_ours(connection, revision)
    except CommandError as error:
        raise SetupFailed(
            f"The database was made by a later version of Safelight ({error}). Install that version."
        ) from error
    except (NoAnswer, psycopg.OperationalError) as error:
        raise SetupFailed(NO_ANSWER) from error
    except (SQLAlchemyError, psycopg.Error) as error:
        raise SetupFailed(
            f"The database cannot be prepared: {type(error).__name__}. Check the user's rights."
        ) from error


def _migrate_ours(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _migrate_queue(connection: Connection) -> None:
    """A new database gets today's schema of the queue; an older one the files that came since, each once."""
    _execute(connection, "CREATE TABLE IF NOT EXISTS queue_migrations (name text PRIMARY KEY)")
    applied = set(connection.scalars(text("SELECT name FROM queue_migrations")))
    if not applied:
        _execute(connection, queue_schema())
    for file in queue_files():
        if file.name in applied:
            continue
        if applied:
            _execute(connection, file.read_text("utf-8"))
        connection.execute(text("INSERT INTO queue_migrations VALUES (:name)"), {"name": file.name})


def _execute(connection: Connection, script: str) -> None:
    """As it stands: several statements, and no parameters for a colon or a percent sign to be mistaken for."""
    connection.connection.cursor().execute(script)
