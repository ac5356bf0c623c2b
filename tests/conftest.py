"""Fixtures for every room: one embedded PostgreSQL for the whole session, and a fresh database and folder for each test."""

from __future__ import annotations

import gc
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from safelight.settings import Settings, read_settings
from safelight.storage.migrate import migrate
from safelight.storage.postgres import CONFIGURATION, EmbeddedPostgres
from tests.sharing_out import Rooms, is_long

if TYPE_CHECKING:  # torch is loaded by the processes that test, not by the one that hands tests out to them
    from safelight.service.services import Services
    from tests.house import House


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After they were shuffled: whoever is left with a long file at the end keeps the others waiting."""
    items.sort(key=lambda item: not is_long(item.nodeid))


def pytest_collection_finish() -> None:
    """What is loaded by now stays: collecting garbage looks only at what the tests make, as in a server."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Rooms | None:
    return Rooms(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def folders() -> Iterator[Path]:
    """A place for servers' data. Not pytest's own: every session that starts closes that to the user that root lends a server."""
    with tempfile.TemporaryDirectory(prefix="safelight-tests-") as folder:
        yield Path(folder)


@pytest.fixture
def data_dir(folders: Path) -> Path:
    """For a server of the test's own."""
    return Path(tempfile.mkdtemp(dir=folders))


@pytest.fixture(scope="session")
def postgres_url(folders: Path) -> Iterator[str]:
    """A server of its own for the session, with an empty Safelight database to copy. No test here cuts the power."""
    server = EmbeddedPostgres(folders / "session", {**CONFIGURATION, "fsync": "off"})
    url = server.start()
    try:
        _administer(url, "CREATE DATABASE template_house")
        migrate(make_conninfo(url, dbname="template_house"))
        yield url
    finally:
        server.stop()


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """An empty, migrated database."""
    name = f"test_{secrets.token_hex(6)}"
    _administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE template_house STRATEGY FILE_COPY")  # half the work
    try:
        yield make_conninfo(postgres_url, dbname=name)
    finally:
        _administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Short leases, so that a test can watch one end."""
    return read_settings(data_dir=tmp_path, database_url=database_url, heartbeat_seconds=0.2, stalled_seconds=2.0)


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[House]:
    from tests.house import open_house

    async with open_house(settings) as made:
        yield made


@pytest.fixture
def services(house: House) -> Services:
    return house.services


def _administer(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of an operator's, who may do everything."""
    from botocore.session import Session

    given = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
    for name, value in {**given, "AWS_ENDPOINT_URL": s3_server, "AWS_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(name, value)
    return Session().create_client("s3", endpoint_url=s3_server, region_name="us-east-1")


@pytest.fixture
def s3_url(s3: Any) -> str:
    """An empty bucket."""
    bucket = f"bucket-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=bucket)
    return f"s3://{bucket}/some/prefix"
