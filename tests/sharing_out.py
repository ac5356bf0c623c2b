"""How the processes of ``scripts/test`` share the suite: files whole, in random order but for the long ones, which go first.

Files that start the same slow thing (a house, OpenVINO's networks, the program that workers are forked from) go to one process,
so that it is started once.
"""

from __future__ import annotations

from fnmatch import fnmatch

from xdist.scheduler import LoadFileScheduling

TOGETHER = {
    "whole": ("tests/whole/*",),
    "crashes": (
        "tests/crashes/*",
        *(f"tests/service/test_{name}.py" for name in ("crashes", "company", "editing_jobs")),
    ),
    "openvino": tuple(
        f"tests/engine/test_{name}.py"
        for name in ("openvino", "tuning", "exactness", "controlnet", "emphasis", "pipelines", "shelf")
    ),
}
LONG = (
    *(pattern for patterns in TOGETHER.values() for pattern in patterns),
    "tests/engine/test_example.py",
    "tests/training/*",
    "tests/wire/test_vendor_examples.py",
    "tests/wire/test_console_*.py",
    "tests/wire/test_installing.py",
)


def is_long(nodeid: str) -> bool:
    return any(fnmatch(_file(nodeid), pattern) for pattern in LONG)


class Rooms(LoadFileScheduling):  # type: ignore[misc]  # xdist's classes have no types that reach mypy
    """As ``--dist loadfile``, but for what belongs together."""

    def _split_scope(self, nodeid: str) -> str:
        file = _file(nodeid)
        return next(
            (name for name, patterns in TOGETHER.items() if any(fnmatch(file, each) for each in patterns)), file
        )


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
