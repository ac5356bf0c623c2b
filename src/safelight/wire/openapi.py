"""How an endpoint is described in the OpenAPI document and registered with FastAPI. Knows no dialect's words."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from starlette.routing import Route, request_response

Endpoint = Callable[[Request], Awaitable[Response]]
Schema = dict[str, object]


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema under the name that it has in the document."""

    name: str
    schema: Schema

    @property
    def ref(self) -> Schema:
        return {"$ref": f"#/components/schemas/{self.name}"}


@dataclass(frozen=True, slots=True)
class Refusals:
    """The errors of a dialect: one shape, and for each status a text and an example."""

    shape: Shape
    examples: Mapping[int, tuple[str, object]]

    def responses(self) -> dict[str, Schema]:
        found = self.examples.items()
        return {self._name(status): _response(text, self.shape, example) for status, (text, example) in found}

    def refs(self) -> dict[str, Schema]:
        return {str(status): {"$ref": f"#/components/responses/{self._name(status)}"} for status in self.examples}

    def _name(self, status: int) -> str:
        return f"{self.shape.name}{status}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint: what it takes, what it gives when all is well, and how it refuses."""

    summary: str
    gives: Shape
    answer: object
    refusals: Refusals
    takes: Shape | None = None
    example: object = None
    forms: bool = True  # a form is taken as well as JSON
    files: bool = False  # and so is one with files
    repeatable: bool = False  # with an Idempotency-Key


def add(router: APIRouter, method: str, path: str, endpoint: Endpoint, operation: Operation) -> None:
    """FastAPI routes and describes the endpoint, and converts nothing: it reads and answers for itself. HEAD needs no description."""
    extra: dict[str, object] = {
        "parameters": _parameters(method, path, operation),
        "responses": {"200": _response("All is well", operation.gives, operation.answer), **operation.refusals.refs()},
    }
    if operation.takes and method in ("POST", "PUT"):
        extra["requestBody"] = _body(operation, operation.takes)
    router.add_api_route(
        path,
        endpoint,
        methods=[method],
        summary=operation.summary,
        operation_id=f"{method.lower()}{re.sub(r'[^a-z0-9]+', '_', path)}",
        openapi_extra=extra,
        include_in_schema=method != "HEAD",
        response_class=Response,
    )
    route = router.routes[-1]
    assert isinstance(route, Route)
    route.app = request_response(endpoint)  # what FastAPI does for parameters and answers would find nothing to do


def components(operations: Iterable[Operation]) -> dict[str, object]:
    """Every shape and refusal that the operations refer to, and where a key may stand."""
    found = list(operations)
    shapes = [shape for one in found for shape in (one.takes, one.gives, one.refusals.shape) if shape]
    return {
        "schemas": {shape.name: shape.schema for shape in shapes},
        "responses": {name: response for one in found for name, response in one.refusals.responses().items()},
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "key"},
            "Authorization": {"type": "apiKey", "in": "header", "name": "Authorization"},
        },
    }


_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Any text. The same request sent again with it within a day is answered with the first one's pictures.",
    "schema": {"type": "string", "maxLength": 255},
}


def _parameters(method: str, path: str, operation: Operation) -> list[Schema]:
    """What stands in the path; for GET, the fields stand in the query."""
    parameters: list[Schema] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)(?::\w+)?}", path)
    ]
    if operation.repeatable:
        parameters.append(_IDEMPOTENCY_KEY)
    if operation.takes and method == "GET":
        fields = operation.takes.schema["properties"]
        assert isinstance(fields, Mapping)
        parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]
    return parameters


def _body(operation: Operation, takes: Shape) -> Schema:
    content = {"application/json": {"schema": takes.ref, "example": operation.example}}
    form = {"application/x-www-form-urlencoded": {"schema": takes.ref}} if operation.forms else {}
    files = {"multipart/form-data": {"schema": takes.ref}} if operation.files else {}
    return {"required": False, "content": content | form | files}


def _response(text: str, shape: Shape, example: object) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": shape.ref, "example": example}}}
