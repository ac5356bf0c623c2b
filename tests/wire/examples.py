"""The vendors' printed examples as data, and how an answer of ours is compared with one of theirs. Knows nothing of HTTP.

A file of ``vendor_examples`` holds the pages of one family and year: what each page sends, byte for byte, and what it prints as the
answer (the spaces between its tokens gone). Answers of pages that print none but carry an OpenAPI schema are the sample that the
page shows for it: ``"<string>"``, 123, 123.5, and ``"<any>"`` where the schema leaves the type open.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

Json = Any

HERE = Path(__file__).parent / "vendor_examples"
FIXED = ("status", "message", "messege", "msg", "code", "tip")
WILD = ("<string>", "<any>", 123, "Error message")


@dataclass(frozen=True, eq=False)
class Example:
    """One request as printed, and every answer that its page prints for it."""

    source: str
    page: str
    method: str
    path: str
    language: str
    body: str | None
    headers: dict[str, str] = field(default_factory=dict)
    answers: tuple[Json, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.source}/{self.page} {self.method} {self.path} {self.language}"

    def prints(self, *statuses: str) -> bool:
        return any(isinstance(answer, dict) and answer.get("status") in statuses for answer in self.answers)


@dataclass(frozen=True)
class Difference:
    """``is_`` tells what our answer has at ``field`` that the printed one has not."""

    example: str
    field: str
    is_: str


@dataclass(frozen=True)
class Allowance:
    """Differences that stand, and why. The three patterns are those of the shell."""

    example: str
    field: str
    is_: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        return all(fnmatchcase(getattr(difference, name), getattr(self, name)) for name in ("example", "field", "is_"))


@cache
def examples() -> tuple[Example, ...]:
    """All of them: a file or page that is added is among them by itself."""
    return tuple(example for file in sorted(HERE.glob("*/*.json")) for example in _of_file(file))


def _of_file(file: Path) -> Iterator[Example]:
    source = f"{file.parent.name}/{file.stem}"
    for page in json.loads(file.read_text()):
        answers = tuple(json.loads(answer) for answer in page["answers"])
        for request in page["requests"]:
            yield Example(source, page["page"], page["method"], page["path"], **request, answers=answers)


@cache
def named_paths() -> tuple[tuple[str, str], ...]:
    """Every path that the vendors' pages name, with each method that they name for it."""
    told = json.loads((HERE / "paths.json").read_text())
    return tuple((method, one["path"]) for one in told for method in one["methods"])


@cache
def allowances() -> tuple[Allowance, ...]:
    told = json.loads((HERE / "differences.json").read_text())
    return tuple(
        Allowance(example, one["field"], one["is"], one["reason"]) for one in told for example in one["examples"]
    )


def nearest(example: Example, ours: Json) -> Json | None:
    """The printed answer to compare ours with: one of the same status, or else the first that reports a success, if any does."""
    state = ours.get("status") if isinstance(ours, dict) else None
    same = [answer for answer in example.answers if isinstance(answer, dict) and answer.get("status") == state]
    well = [answer for answer in example.answers if not _reports_trouble(answer)]
    return next(iter(same or well), None)


def _reports_trouble(answer: Json) -> bool:
    return isinstance(answer, dict) and answer.get("status") in ("error", "failed", "processing")


def compare(printed: Json, ours: Json, at: str = "") -> Iterator[tuple[str, str]]:
    """Where ours differs, and how: keys, JSON types, and the words that programs look for."""
    if printed == "<any>":
        return
    if kind(printed) != kind(ours):
        if (kind(printed), kind(ours)) != ("float", "integer"):
            yield at, f"{kind(ours)} for {kind(printed)}"
    elif isinstance(printed, dict):
        yield from _compare_objects(printed, ours, at)
    elif isinstance(printed, list):
        if printed and ours:
            yield from compare(printed[0], ours[0], at)
    elif at.rpartition(".")[2] in FIXED and printed not in WILD and printed != ours:
        yield at, f"{ours!r} for {printed!r}"


def _compare_objects(printed: dict[str, Json], ours: dict[str, Json], at: str) -> Iterator[tuple[str, str]]:
    for name in printed | ours:
        below = f"{at}.{name}" if at else name
        if name not in ours:
            yield below, "missing"
        elif name not in printed:
            yield below, "extra"
        else:
            yield from compare(printed[name], ours[name], below)


def kind(value: Json) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "integer", float: "float"}
    return names.get(type(value), "null")
