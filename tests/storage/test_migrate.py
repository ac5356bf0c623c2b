"""Bringing a database to today's tables, once, whoever asks and however often."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from safelight.errors import SetupFailed
from safelight.storage.migrate import MIGRATIONS, migrate

NEWEST = max(path.stem[:4] for path in (MIGRATIONS / "versions").glob("0*.py"))


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield make_conninfo(postgres_url, dbname=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def rows(url: str, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(question.encode())
        return cursor.fetchall() if cursor.description else []


def test_two_servers_at_once(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [empty_url] * 4))
    assert rows(empty_url, "SELECT version_num FROM alembic_version") == [(NEWEST,)]
    assert rows(empty_url, "SELECT count(*) FROM procrastinate_jobs") == [(0,)]


def test_what_came_to_the_queue_since_is_applied_once(empty_url: str) -> None:
    migrate(empty_url)
    newest = rows(empty_url, "SELECT max(name) FROM queue_migrations")[0][0]
    rows(empty_url, "DROP FUNCTION procrastinate_trigger_function_status_events_update_v1 CASCADE")
    rows(empty_url, f"DELETE FROM queue_migrations WHERE name = '{newest}'")
    migrate(empty_url)
    assert rows(empty_url, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%status_events_update%'") == [(1,)]
    assert rows(empty_url, "SELECT max(name) FROM queue_migrations") == [(newest,)]


def test_a_database_of_a_later_version_is_left_alone(empty_url: str) -> None:
    migrate(empty_url)
    rows(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SetupFailed, match="later version of Safelight"):
        migrate(empty_url)


def test_no_database_at_the_address() -> None:
    with pytest.raises(SetupFailed, match=r"does not answer.*--database-url"):
        migrate("postgresql://127.0.0.1:9/none?connect_timeout=2")


def test_ids_do_not_tell_how_many_came_before(empty_url: str) -> None:
    migrate(empty_url)
    first = rows(empty_url, "SELECT nextval('request_ids')")[0][0]
    assert isinstance(first, int)
    assert 100_000 < first < 1_100_000
