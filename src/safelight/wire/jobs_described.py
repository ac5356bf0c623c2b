"""Safelight's own endpoints for jobs as OpenAPI: what each takes and answers."""

from __future__ import annotations

from typing import Any

from safelight.records import JobState, Task
from safelight.wire.house import REFUSALS
from safelight.wire.openapi import Operation, Shape

_MOMENT = {"type": ["string", "null"], "description": "ISO 8601, in UTC."}
_FIELDS: dict[str, object] = {
    "id": {"type": "integer"},
    "task": {"enum": [task.value for task in Task], "description": "What it is for."},
    "status": {"enum": [state.value for state in JobState]},
    "step": {"type": "integer", "description": "Steps done."},
    "steps": {"type": "integer"},
    "created_at": _MOMENT,
    "started_at": _MOMENT,
    "finished_at": _MOMENT,
    "expires_at": {
        "type": ["string", "null"],
        "description": "When it is erased by itself; null: never, or not known yet.",
    },
    "seconds": {"type": ["number", "null"], "description": "On the engine."},
    "model": {"type": ["string", "null"], "description": "The checkpoint that was really used."},
    "output": {"type": "array", "items": {"type": "string"}},
    "nsfw": {"type": "array", "items": {"type": "boolean"}},
    "error": {"type": ["string", "null"]},
    "request": {"type": "object", "description": "What was asked, after defaults."},
}
_JOB = Shape(
    "Job", {"type": "object", "properties": _FIELDS, "required": ["id", "status", "step", "steps", "output", "request"]}
)
_EXAMPLE = {
    "id": 302455,
    "task": "generate",
    "status": "succeeded",
    "step": 20,
    "steps": 20,
    "created_at": "2026-11-21T12:00:00Z",
    "started_at": "2026-11-21T12:00:00Z",
    "finished_at": "2026-11-21T12:00:03Z",
    "expires_at": None,
    "seconds": 2.9,
    "model": "bundled",
    "output": ["http://127.0.0.1:8000/generations/05c3260d-6a2e-4aa5-82f0-e952f2a5fa10-0.png"],
    "nsfw": [False],
    "error": None,
    "request": {"operation": "text2img", "prompt": "a red apple", "width": 512, "height": 512, "seed": 7},
}
_QUERY = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    "before": {"type": "integer", "description": "The `next` of the page before."},
    "status": {"type": "string", "description": "One or more of the states, separated by commas."},
    "task": {"enum": [task.value for task in Task]},
    "model": {"type": "string"},
    "since": {"type": "string", "description": "A date, or a date and time."},
    "until": {"type": "string"},
    "search": {"type": "string", "description": "Words of the prompt."},
}
_PAGE = Shape(
    "JobPage",
    {
        "type": "object",
        "properties": {"jobs": {"type": "array", "items": _JOB.ref}, "next": {"type": ["integer", "null"]}},
        "required": ["jobs"],
    },
)
_ERASED = Shape(
    "JobErased",
    {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "status": {"const": "erased"}, "receipt": {"type": "string"}},
        "required": ["id", "status", "receipt"],
    },
)
JOBS = Operation(
    "Your own jobs, newest first and page by page",
    _PAGE,
    {"jobs": [_EXAMPLE], "next": None},
    REFUSALS,
    Shape("JobQuery", {"type": "object", "properties": _QUERY}),
)
JOB = Operation("One job", _JOB, _EXAMPLE, REFUSALS)
ERASED = Operation(
    "Cancel and erase a job, whatever its state",
    _ERASED,
    {"id": 302455, "status": "erased", "receipt": "7b1c6a52-53c8-4d1b-8a5e-0d7a0c7f3a11"},
    REFUSALS,
)
OPERATIONS = (JOBS, JOB, ERASED)
EVENTS: dict[str, Any] = {
    "summary": "What happens to a job, as Server-Sent Events: queued, step, then done, failed or erased",
    "operation_id": "get_v1_jobs_id_events",
    "responses": {
        200: {"description": "The events", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        204: {"description": "With Last-Event-ID: the end has been told already"},
    },
    "openapi_extra": {
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "previews", "in": "query", "schema": {"type": "boolean"}, "description": "With small pictures."},
            {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},
        ],
        "responses": REFUSALS.refs(),
    },
}
