"""The reference of the HTTP API tells every route and every field that the server really has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from safelight.wire import house
from safelight.wire.modelslab.images import MASKED
from safelight.wire.modelslab.routes import TABLE
from safelight.wire.modelslab.without_effect import FIELDS
from safelight.wire.tensorslab import routes as tensorslab

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/http.md").read_text()
PATHS = {path for row in TABLE for path in row.paths} | set(tensorslab.TABLE) | set(house.OPERATIONS)
PATHS |= {"/v1/assets/{id}", "/v1/erasures", "/v1/erasures/{id}"}


@pytest.mark.parametrize("path", sorted(PATHS))
def test_every_route_is_told(path: str) -> None:
    assert f"`{path}`" in PAGE or (path.endswith("/fetch") and f"`{path}/{{id}}`" in PAGE)


@pytest.mark.parametrize("name", sorted({*MASKED} - {"key"}))
def test_every_field_is_told(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_the_fields_without_effect_are_told_with_their_reasons() -> None:
    section = PAGE.partition("## Fields without effect")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", section, re.MULTILINE)) == FIELDS
    assert not set(FIELDS) & set(MASKED)
