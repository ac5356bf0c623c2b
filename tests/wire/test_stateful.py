"""Calls that strangers make up from our own OpenAPI document and from those that the vendors print: for ten minutes.

Half of the time in chains, where what one call answers, the next one asks about: fetches, lists, deletes, deletes again. Chains reach
few operations, so the other half goes to all of them in turn. SAFELIGHT_TEST_SECONDS makes it shorter.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CheckContext
from schemathesis.core.failures import FailureGroup
from schemathesis.generation.stateful.state_machine import APIStateMachine

from .site import Json, Site
from .test_fuzz import CHECKS, small

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("SAFELIGHT_TEST_SECONDS", "600"))
PRINTED: list[Json] = json.loads(Path(__file__).with_name("printed_schemas.json").read_text())
ROUND = settings(
    max_examples=25, stateful_step_count=8, deadline=None, database=None,
    suppress_health_check=list(HealthCheck), phases=[Phase.generate],
)  # fmt: skip
MAKERS = [
    *(f"/api/{family}/{kind}" for family in ("v3", "v4/dreambooth", "v6/images", "v6/realtime") for kind in
      ("text2img", "img2img", "inpaint")),
    "/api/v4/dreambooth",
    "/api/v3/base64_crop",
]  # fmt: skip
TASKS = ["/v1/images/seedreamv4", "/v1/images/zimage", "/v1/images/quickedit"]
ASKED: dict[str, Json] = {  # of a picture that was made: who asks about it, and by what of the answer
    "post /api/v3/fetch": {"requestBody": {"request_id": "$response.body#/id"}},
    "post /api/v6/images/fetch": {"requestBody": {"request_id": "$response.body#/id"}},
    "get /api/v3/fetch/{id}": {"parameters": {"id": "$response.body#/id"}},
    "post /api/v3/delete_image": {"requestBody": {"request_id": "$response.body#/id"}},
    "get /v1/jobs/{id}": {"parameters": {"id": "$response.body#/id"}},
    "delete /v1/jobs/{id}": {"parameters": {"id": "$response.body#/id"}},
    "post /v1/images/deleteimagestask": {"requestBody": {"taskids": ["$response.body#/id"]}},
}
ASKED_OF_TASKS: dict[str, Json] = {
    "post /v1/images/infobytaskid": {"requestBody": {"taskid": "$response.body#/data/taskid"}},
    "post /v1/images/deleteimagestask": {"requestBody": {"taskids": ["$response.body#/data/taskid"]}},
}


def linked(document: Json) -> Json:
    """The document of both dialects and of what is our own, with what may follow what."""
    kept = ("/api/v3/", "/api/v4/", "/api/v5/", "/api/v6/images/", "/api/v6/realtime/", "/api/agents/", "/v1/")
    paths: Json = {
        path: told
        for path, told in document["paths"].items()
        if path.startswith(kept) and not path.endswith("/events")  # a stream, described as the text that it is
    }
    for makers, asked in ((MAKERS, ASKED), (TASKS, ASKED_OF_TASKS)):
        for maker in filter(paths.__contains__, makers):
            paths[maker]["post"]["responses"]["200"]["links"] = dict(_links(paths, asked))
    return document | {"paths": paths}


def _links(paths: Json, asked: dict[str, Json]) -> dict[str, Json]:
    links: dict[str, Json] = {}
    for name, told in asked.items():
        method, path = name.split()
        if method in paths.get(path, {}):
            links[name] = {"operationRef": f"#/paths/{path.replace('~', '~0').replace('/', '~1')}/{method}", **told}
    return links


def no_fault(_: CheckContext, response: Any, case: Any) -> None:
    """That something is not here is an answer; any other 5xx is our mistake."""
    assert response.status_code < 500 or response.status_code == 501, (
        f"{case.method} {case.path}: {response.text[:500]}"
    )


class Stranger(APIStateMachine):
    """With a key; 501 is described nowhere, and so not compared with what is described."""

    address: str
    key: str

    def call(self, case: Any, **_: Any) -> Any:
        return case.call(base_url=self.address, headers={"key": self.key})

    def validate_response(self, response: Any, case: Any, additional_checks: list[Any] | None = None, **_: Any) -> None:
        case.validate_response(response, checks=[no_fault] if response.status_code == 501 else [no_fault, *CHECKS[1:]])


def test_chains_of_calls_are_answered_as_described(site: Site) -> None:
    schema = schemathesis.openapi.from_dict(small(linked(site.http.get("/openapi.json").json())))
    until, rounds = time.monotonic() + SECONDS / 2, 0
    while time.monotonic() < until:
        machine = type(
            "Chain", (Stranger, schema.as_state_machine()), {"address": site.settings.base_url, "key": site.key()}
        )
        machine.run(settings=ROUND)  # type: ignore[attr-defined]
        rounds += 1
    assert rounds


def test_every_operation_is_answered_as_described(site: Site) -> None:
    """All there are, at least once each, with fields as they are described and otherwise; each with a key of its own, since some end it."""
    document = site.http.get("/openapi.json").json()
    document["paths"] = {path: told for path, told in document["paths"].items() if not path.endswith("/events")}
    schema: Any = schemathesis.openapi.from_dict(small(document))
    operations = [found.ok() for found in schema.get_all_operations()]
    until, asked, wrong = time.monotonic() + SECONDS / 2, 0, dict[str, str]()
    while not asked or time.monotonic() < until:
        for operation in operations:
            for mode in GenerationMode:
                try:
                    asked += _asked(site, operation, mode)
                except (AssertionError, FailureGroup) as fault:
                    wrong[f"{operation.method} {operation.path}"] = str(fault)
    print(f"{asked:,} calls of {len(operations)} operations")
    assert not wrong, "\n\n".join(f"{name}: {fault[:600]}" for name, fault in wrong.items())


def _asked(site: Site, operation: Any, mode: GenerationMode) -> int:
    key, calls = site.key(), 0

    @settings(ROUND, max_examples=3)
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        nonlocal calls
        reply, calls = case.call(base_url=site.settings.base_url, headers={"key": key}), calls + 1
        checks = [no_fault] if reply.status_code == 501 else [no_fault, *CHECKS[1:]]
        case.validate_response(reply, checks=checks)

    try:
        check()
    except Unsatisfiable:  # nothing can be wrong with an operation that takes nothing
        assert mode is GenerationMode.NEGATIVE
    return calls


@pytest.mark.parametrize("document", PRINTED, ids=lambda document: document["info"]["title"])
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_printed_schemas_hold(site: Site, document: Json, mode: GenerationMode) -> None:
    """What the vendor's page does not describe is not answered: with a key, it is 200 or 400."""
    (path,) = document["paths"]
    shown = json.loads(json.dumps(document))
    content = shown["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    content["properties"].pop("key", None)
    content["required"] = [name for name in content["required"] if name != "key"]
    operation = schemathesis.openapi.from_dict(shown)[path]["POST"]
    key = site.key()

    @settings(ROUND, max_examples=50)
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        reply = case.call(base_url=site.settings.base_url, headers={"key": key})
        case.validate_response(reply, checks=CHECKS)

    check()
