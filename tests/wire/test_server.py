"""The server as operators and readers of its API page see it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest
import structlog
from openapi_spec_validator import validate
from starlette.routing import Match, Route
from starlette.testclient import TestClient

from safelight.wire import server

from .site import Json, Site


@pytest.fixture(scope="module")
def document(site: Site) -> Json:
    found: Json = site.http.get("/openapi.json").json()
    return found


def test_health_and_readiness(site: Site) -> None:
    assert site.http.get("/healthz").json() == {"status": "ok"}
    assert site.http.get("/readyz").json() == {"status": "ok"}
    site.ready = False
    try:
        away = site.http.get("/readyz")
    finally:
        site.ready = True
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert away.json() == {"status": "error", "message": "Service temporarily unavailable. Please try again later."}


def test_every_reply_has_a_request_id_and_a_sound_one_is_kept(site: Site) -> None:
    for path in ("/healthz", "/nothing", "/api/v3/img2img", "/generations/x.png"):
        assert re.fullmatch(r"[0-9a-f]{32}", site.http.get(path).headers["x-request-id"])
    assert site.http.get("/healthz", headers={"X-Request-Id": "trace-7"}).headers["x-request-id"] == "trace-7"
    assert site.http.get("/healthz", headers={"X-Request-Id": "a b\tc"}).headers["x-request-id"] != "a b\tc"


def test_the_document_is_valid_and_describes_every_route(document: Json) -> None:
    validate(document)
    from safelight.wire.modelslab.routes import TABLE
    from safelight.wire.tensorslab.routes import TABLE as TASKS

    wanted = {path for row in TABLE for path in row.paths} | set(TASKS) | {"/healthz", "/readyz", "/v1/erasures/{id}"}
    assert wanted <= set(document["paths"])
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            assert "200" in operation["responses"], (path, method)


def test_the_documents_examples_fit_its_schemas(document: Json) -> None:
    def check(content: Json) -> None:
        schema = content["schema"] | {"components": document["components"]}
        if content.get("example") is not None:
            jsonschema_rs.validate(schema, content["example"])

    bodies = 0
    for methods in document["paths"].values():
        for operation in methods.values():
            for holder in (operation.get("requestBody", {}), operation["responses"]["200"]):
                for content in holder.get("content", {}).values():
                    check(content)
                    bodies += 1
    for response in document["components"]["responses"].values():
        check(response["content"]["application/json"])
    assert bodies > 100


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def test_the_api_page_loads_nothing_from_anywhere_else(site: Site) -> None:
    page = site.http.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    links = Links()
    links.feed(page.text)
    assert len(links.found) == 4
    for link in links.found:
        reply = site.http.get(f"/{link}")
        assert (reply.status_code, reply.headers["x-content-type-options"]) == (200, "nosniff"), link
    assert site.http.get("/docs/LICENSE").status_code == 404


def test_the_api_page_has_a_group_for_each_family_v3_first_and_all_closed(site: Site) -> None:
    paths = site.http.get("/openapi.json").json()["paths"]
    groups = [*dict.fromkeys(tag for methods in paths.values() for one in methods.values() for tag in one["tags"])]
    assert (groups[0], groups[-1]) == ("v3", "Operation")
    assert {"v6/images", "v1/enterprise", "TensorsLab", "Jobs"} <= {*groups}
    assert not [path for path, methods in paths.items() if "head" in methods]
    assert 'docExpansion: "none"' in site.http.get("/docs/docs.js").text


def test_a_mistake_of_ours_is_answered_in_the_dialect_and_tells_nothing(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        settings = site.settings

        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError(f"secret {name}")

    app = server.create(Broken())  # type: ignore[arg-type]  # services that fail whatever is asked of them
    with TestClient(app, raise_server_exceptions=True) as client, structlog.testing.capture_logs() as lines:
        for path, body in {
            "/api/v3/system_load": {
                "status": "error",
                "message": "Internal server error. Please try again.",
                "messege": "Internal server error. Please try again.",
            },
            "/v1/images/infobytaskid": {"code": 9999, "msg": "Internal server error. Please try again."},
        }.items():
            reply = client.post(path, json={"key": "slk_a"})
            assert (reply.status_code, reply.json()) == (500, body)
            assert reply.headers["x-request-id"]
    assert [line["event"] for line in lines].count("request failed") == 2


def test_the_directory_finds_what_a_search_would(site: Site) -> None:
    """Whatever stands before it: no route with a parameter, nor a later one, takes a path from the first that fits."""
    directory, *routes = server.create(site.services).routes
    literal = [route for route in routes if isinstance(route, Route) and "{" not in route.path]
    assert len(literal) > 200
    for route in literal:
        scope = {"type": "http", "path": route.path, "method": next(iter(route.methods or ())), "headers": []}
        searched = next(each for each in routes if each.matches(dict(scope))[0] is Match.FULL)
        assert directory.matches(dict(scope))[1]["route"] is searched


def test_a_trusted_first_host_begins_the_addresses_and_probes_name_none(site: Site) -> None:
    settings = site.settings.model_copy(update={"trust_first_host": True})
    client = TestClient(server.create(replace(site.services, settings=settings)))
    client.get("/healthz", headers={"Host": "10.0.0.7"})
    for host in ("nas.local:8123", "later.example"):
        assert client.post("/api/v3/fetch", json={}, headers={"Host": host}).status_code == 401
        assert settings.base_url == "http://nas.local:8123"


def test_extra_routes_and_a_lifespan_are_the_callers(site: Site) -> None:
    from contextlib import asynccontextmanager

    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    lived = []

    @asynccontextmanager
    async def lifespan(_app: Any) -> Any:
        lived.append("began")
        yield
        lived.append("ended")

    route = Route("/metrics", lambda _: PlainTextResponse("up 1"))
    with TestClient(server.create(site.services, lifespan, extra_routes=[route])) as client:
        assert client.get("/metrics").text == "up 1"
    assert lived == ["began", "ended"]
