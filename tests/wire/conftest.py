"""One running server for the whole session; tests keep apart by making accounts of their own."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg
import pytest
import structlog
from psycopg.conninfo import make_conninfo

from safelight.settings import Plan, Settings, read_settings
from tests.engine.networks import a_dense

from .site import SAID, Site, open_site


@pytest.fixture(scope="session")
def site_settings(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    name = f"site_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template_house".encode())
    return read_settings(
        data_dir=tmp_path_factory.mktemp("site"),
        database_url=make_conninfo(postgres_url, dbname=name),
        hold_seconds=5,
        heartbeat_seconds=1,
        account_queue=20,
        max_body_bytes=2**20,
        max_image_bytes=2**19,
        body_seconds=2,
        max_model_bytes=64 * 2**20,
        account_model_bytes=80 * 2**20,
        private_hosts=frozenset({"127.0.0.1"}),
        models={"plain": tmp_path_factory.getbasetemp(), "other": tmp_path_factory.getbasetemp()},
        model="plain",
        loras={"ink": tmp_path_factory.getbasetemp(), "wash": tmp_path_factory.getbasetemp()},
        vaes={"soft": tmp_path_factory.getbasetemp()},
        upscalers={"deep": a_dense(tmp_path_factory.mktemp("upscalers") / "deep.safetensors")},
    )


@pytest.fixture(scope="session")
def site(site_settings: Settings) -> Iterator[Site]:
    if not structlog.is_configured():  # a line for each request would drown the report
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with open_site(site_settings) as running:
        yield running


@pytest.fixture(scope="session")
def shop(site_settings: Settings, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with billing on."""
    name = f"shop_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template_house".encode())
    plans = {
        "pay_as_you_go": Plan(queue=3),
        "standard": Plan(queue=10, calls=2, monthly=Decimal(29), yearly=Decimal(290)),
        "premium": Plan(queue=15),
    }
    sold: dict[str, Any] = {"billing": True, "prices": {"generate": Decimal(4)}, "plans": plans}
    sold |= {"data_dir": tmp_path_factory.mktemp("shop"), "database_url": make_conninfo(postgres_url, dbname=name)}
    with open_site(site_settings.model_copy(update=sold)) as running:
        yield running


def left_half(_name: str, pixels: Any, words: str) -> Any:
    """In place of a network: a ball is on the left, and there is nothing else."""
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[:, : mask.shape[1] // 2] = 255 if "ball" in words else 0
    return mask


def in_words(_name: str, pixels: Any, length: str) -> str:
    """In place of a network."""
    return f"{SAID}, {length}, {pixels.shape[1]} wide"


@pytest.fixture(scope="session")
def seeing(site_settings: Settings, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that finds what words name, and puts pictures into words."""
    name, own = f"seeing_{secrets.token_hex(6)}", tmp_path_factory.mktemp("seeing")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template_house".encode())
    more = {"data_dir": own, "database_url": make_conninfo(postgres_url, dbname=name)}
    more |= {"finders": {"clipseg": own}, "captioners": {"blip": own}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.wire.site.finding", lambda _: left_half)
        patch.setattr("tests.wire.site.captioning", lambda _: in_words)
        with open_site(site_settings.model_copy(update=more)) as running:
            yield running


@pytest.fixture
def key(site: Site) -> str:
    return site.key()
