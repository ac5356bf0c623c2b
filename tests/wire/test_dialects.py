"""Dialects are switched by a setting; what is not spoken is not there, and the rest of the house goes on."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from safelight.settings import DialectName
from safelight.wire import server

from .site import Site

ASKS: dict[DialectName, str] = {
    "a1111": "/sdapi/v1/txt2img",
    "console": "/console/make",
    "modelslab": "/api/v3/system_load",
    "openai": "/v1/images/generations",
    "tensorslab": "/v1/images/infobytaskid",
}

HERE = {"Origin": "http://localhost", "Host": "localhost"}


@pytest.mark.parametrize("spoken", ASKS)
def test_only_what_is_wanted_is_spoken(site: Site, spoken: DialectName) -> None:
    settings = site.settings.model_copy(update={"dialects": frozenset({spoken})})
    services = type(
        "Some", (), {"settings": settings, "accounts": site.services.accounts, "sessions": site.services.sessions}
    )()
    with TestClient(server.create(services)) as client:
        told = {dialect: client.post(path, json={}, headers=HERE).status_code for dialect, path in ASKS.items()}
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/jobs").status_code == 401
    assert told == {dialect: 401 if dialect == spoken else 404 for dialect in ASKS}
