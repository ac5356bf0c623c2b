"""A GPU's visit: what is found is told as claims, and what was found before is not measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_day
from benchmarks.visit import PARTS, TINY, measure


def found(**changes: Any) -> dict[str, Any]:
    speeds = {
        name: {"pictures_per_second": 1.0, "seconds": 8.0, "name": name} for name in ("ours", "eager", "inline", "a")
    }
    speeds["ours"] |= {"pictures_per_second": 2.0, "peak_gib": 9.0, "weights_gib": 5.0}
    late = {"ours": {"p95": 1.0}, "a": {"p95": 4.0}}
    return speeds | {"exact": {"equal": 3, "made": 4}, "floor": {"workload": 4e12}, "late": late} | changes


def test_claims_say_what_holds() -> None:
    told = [str(claim) for claim in gpu_day.claims("sd15", found(), peak=1.0)]
    assert told[0].startswith("refuted    sd15: 3 of 4 pictures byte-equal")
    assert any(line.startswith("confirmed  sd15: 2.00 times (a)") for line in told)
    assert any(line.startswith("confirmed  sd15: p95 at 0.9 is 0.25") for line in told)
    assert any(line.startswith("measured   sd15: 50% of the arithmetic floor") for line in told)
    assert list(gpu_day.missing({name: {key: {} for key in PARTS} for name in gpu_day.ARCHITECTURES})) == []


def test_what_was_found_is_not_measured_again(tmp_path: Path) -> None:
    known = {key: {"known": True} for key in PARTS}
    (tmp_path / "parts.json").write_text(json.dumps(known))
    assert measure("flux", TINY, torch.device("cpu"), tmp_path) == known
