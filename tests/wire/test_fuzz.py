"""Strangers' requests by the thousand: whatever is sent, the answer is in shape and never a fault of ours."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .site import Json, Site

QUICK = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = [
    "POST /api/v3/text2img",
    "POST /api/v3/img2img",
    "POST /api/v3/inpaint",
    "POST /api/v3/fetch",
    "GET /api/v3/fetch/{id}",
    "POST /api/v3/system_load",
    "POST /api/v3/base64_crop",
    "POST /api/v3/delete_image",
    "GET /api/v5/clear_cache",
    "POST /api/v6/images/text2img",
    "POST /sdapi/v1/txt2img",
    "POST /v1/images/generations",
    "POST /v1/images/edits",
    "GET /v1/models",
    "POST /v1/images/infobytaskid",
    "POST /v1/images/deleteimagestask",
    "GET /v1/erasures/{id}",
    "GET /v1/jobs",
    "GET /v1/jobs/{id}",
    "DELETE /v1/jobs/{id}",
    "POST /api/v3/buy_subscription",
    "POST /api/v3/cancel_subscription",
    "POST /api/v3/dreambooth/buy_model",
    "GET /api/subscribed_products",
    "GET /api/agents/v1/wallet/transactions",
    "GET /api/agents/v1/usage/history",
    "PUT /api/agents/v1/api-keys/{id}",
    "POST /api/agents/v1/subscriptions",
    "GET /generations/{name}",
    "GET /readyz",
]
PATHS = ["v3/text2img", "v3/img2img", "v3/fetch", "v3/delete_image", "v3/base64_crop", "v6/images/inpaint"]
NAMES = st.sampled_from(["prompt", "init_image", "width", "samples", "seed", "request_id", "image", "track_id", "key"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=5), parts, max_size=4),
    max_leaves=8,
)


def small(schema: Json) -> Json:
    """The document without ``key``, which the caller sends as a header, and with pictures small enough to be quick."""
    found = copy.deepcopy(schema)
    for shape in found["components"]["schemas"].values():
        fields = shape.get("properties", {})
        fields.pop("key", None)
        for side in {"width", "height"} & fields.keys():
            fields[side] = {"enum": [64, "64", 72, 7, None]}
    return found


@pytest.fixture(scope="module")
def described(site: Site) -> Any:
    return schemathesis.openapi.from_dict(small(site.http.get("/openapi.json").json()))


@pytest.mark.parametrize(
    ("operation", "mode"),
    [(each, GenerationMode.POSITIVE) for each in OPERATIONS]
    + [(each, GenerationMode.NEGATIVE) for each in OPERATIONS if each.startswith("POST")],
)
def test_every_answer_is_as_described(
    site: Site, key: str, described: Any, operation: str, mode: GenerationMode
) -> None:
    method, path = operation.split()
    strategy = described[path][method].as_strategy(generation_mode=mode)
    session = requests.Session()

    @QUICK
    @given(case=strategy)
    def check(case: Any) -> None:
        reply = case.call(base_url=site.settings.base_url, session=session, headers={"key": key})
        case.validate_response(reply, checks=CHECKS)

    with session:
        check()


def test_each_operation_refuses_as_described(site: Site, key: str) -> None:
    """Every operation there is, asked with a key and neither fields nor a true id: the status is listed, and a refusal of its shape."""
    document = site.http.get("/openapi.json").json()
    refusals = {
        f"#/components/responses/{name}": jsonschema_rs.validator_for(_shape(document, told))
        for name, told in document["components"]["responses"].items()
    }
    wrong = []
    for path, method, responses in _operations(document):
        body = b"{}" if method in ("post", "put", "patch") else None
        reply = site.http.request(method, re.sub(r"{\w+}", "0", path), headers={"key": key}, content=body)
        listed = responses.get(str(reply.status_code), {} if reply.status_code != 501 else {"description": "Not here"})
        fits = refusals.get(listed.get("$ref", ""))
        if not listed or (fits and not fits.is_valid(reply.json())):
            wrong.append(f"{method} {path}: {reply.status_code} {reply.text[:200]}")
    assert not wrong


def _shape(document: Json, told: Json) -> Json:
    shape: Json = told["content"]["application/json"]["schema"]
    return shape | {"components": document["components"]}


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            if method != "head" and not path.endswith("/events"):
                yield path, method, told["responses"]


@pytest.fixture(scope="module")
def shared_key(site: Site) -> str:
    return site.key()


def told(reply: httpx.Response) -> None:
    assert reply.status_code < 500, reply.text
    body = reply.json()
    assert isinstance(body, dict)
    assert "status" in body or "code" in body


@MANY
@given(
    path=st.sampled_from(PATHS),
    content=st.binary(max_size=300),
    kind=st.sampled_from(["json", "x-www-form-urlencoded", "x"]),
)
@example(path="v3/fetch", content=b'{"a":' * 50_000, kind="json")
@example(path="v3/fetch", content=b"=" * 3000 + b"&" * 3000, kind="x-www-form-urlencoded")
@example(path="v3/fetch", content=b"\xff\xfe{\0", kind="json")
def test_any_bytes_are_answered(site: Site, path: str, content: bytes, kind: str) -> None:
    reply = site.http.post(f"/api/{path}", content=content, headers={"Content-Type": f"application/{kind}"})
    told(reply)
    assert reply.status_code in (400, 401)


@MANY
@given(path=st.sampled_from(PATHS), fields=st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_json_is_answered(site: Site, shared_key: str, path: str, fields: Json) -> None:
    key = fields.pop("key", None) or shared_key
    told(site.http.post(f"/api/{path}", content=json.dumps({"key": key, "width": 64, "height": 64, **fields})))


@MANY
@given(fields=st.dictionaries(NAMES, st.text(max_size=30), max_size=5))
def test_any_form_is_answered(site: Site, shared_key: str, fields: dict[str, str]) -> None:
    fields = {name: value for name, value in fields.items() if _encodes(value)}
    told(site.http.post("/api/v3/delete_image", data={"key": shared_key, **fields}))
    told(site.http.post("/api/v3/delete_image", params={"key": shared_key, **fields}))


def _encodes(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
