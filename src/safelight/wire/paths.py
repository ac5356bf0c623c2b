"""Paths as clients join them from a base address and a rest: doubled slashes, and one at the end. Knows no route."""

from __future__ import annotations

import re


def tidy(path: str) -> str:
    return re.sub("/{2,}", "/", path).rstrip("/") or "/"
