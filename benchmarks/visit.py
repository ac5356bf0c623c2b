"""One architecture measured on one device, part by part: exactness, speed beside the peers, memory. See `gpu_day.py`.

The engine's weights are loaded once for all of its parts, then diffusers' once for all of theirs. What a part has found
is written down as soon as it has ended, and a part that was found before is not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmarks import architectures, exactness, run, workload
from benchmarks.peers import Batching, Compiled, Make, Ours, Pipelines, Serial, can_compile, shelved
from safelight.engine.generation import Generation
from safelight.engine.shelf import Shelf

GIB = 2**30
Found = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much of one architecture is drawn, so that its visit stays within a few minutes."""

    rows: int  # of a call, at most
    requests: int
    steps_share: float
    size: architectures.Size = architectures.WHOLE
    side: int | None = None


PLANS = {
    "sd15": Plan(rows=16, requests=40, steps_share=0.5),
    "sdxl": Plan(rows=8, requests=12, steps_share=0.4),
    "sd35": Plan(rows=4, requests=6, steps_share=0.3),
    "flux": Plan(rows=4, requests=8, steps_share=0.3),
    "zimage": Plan(rows=4, requests=10, steps_share=0.3),
    "qwen": Plan(rows=4, requests=4, steps_share=0.2),
}
TINY = Plan(rows=4, requests=4, steps_share=0.15, size=architectures.Size(depth=1, narrow=8), side=64)
PARTS = ("floor", "exact", "ours", "eager", "inline", "a", "b", "equal", "late", "c")  # in the order of what matters


class Visit:
    def __init__(self, architecture: str, plan: Plan, device: torch.device, folder: Path, scratch: Path) -> None:
        self._architecture = architecture
        self._plan = plan
        self._device = device
        self._dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._rows = folder / "rows.json"
        self._scratch = scratch
        self._side = plan.side or architectures.SIDES[architecture]

    @cached_property
    def _checkpoint(self) -> Path:
        place = self._scratch / "checkpoint"
        return architectures.write(self._architecture, place, self._dtype, self._plan.size, self._device)

    @cached_property
    def _shelf(self) -> Shelf:
        return shelved(self._checkpoint, self._device, self._dtype, compiled=False)

    @cached_property
    def _pipelines(self) -> Pipelines:
        """After the engine's parts: both sets of weights need not be in memory at once."""
        return Pipelines(self._checkpoint, self._device, self._dtype)

    def close(self) -> None:
        if "_shelf" in self.__dict__:
            self._shelf.close()

    @cached_property
    def _asked(self) -> list[Generation]:
        flows = self._architecture in architectures.FLOWS
        plan = self._plan
        return workload.requests(plan.requests, self._side, 0, plan.steps_share, flows=flows)

    @cached_property
    def _few(self) -> list[Generation]:
        """Of one picture each, for what is drawn twice; without a mask, which is no measure everywhere."""
        chosen = self._asked[: max(4, self._plan.requests // 4)]
        return [replace(g, samples=1, mask_image=None, steps=min(g.steps, 8)) for g in chosen]

    def _ours(self, **options: Any) -> Ours:
        options = {"exact": True, "rows_path": self._rows, "max_rows": self._plan.rows} | options
        return Ours("Safelight, exact", self._shelf, keep=True, **options)

    @property
    def makers(self) -> dict[str, Make]:
        return {
            "ours": self._ours,
            "eager": lambda: _named(self._ours(graphs=False), "Safelight, graphs off"),
            "inline": lambda: _named(self._ours(aside=False), "Safelight, decoder in line"),
            "a": lambda: Serial(self._pipelines),
            "b": lambda: Batching(self._pipelines),
            "c": lambda: Compiled(self._pipelines),
        }

    def part(self, name: str, found: Mapping[str, Any]) -> Any:
        if name in self.makers:
            return self._saturated(name)
        parts: dict[str, Callable[[], Any]] = {
            "floor": lambda: run.floor(self._shelf.wait(None), self._asked, None),
            "exact": self._exact,
            "equal": lambda: run.equality(self.makers, self._few),
            "late": lambda: self._late(found["a"]["requests_per_second"]),
        }
        return parts[name]()

    def _exact(self) -> Found:
        peer = self._ours()
        try:
            equal, made = exactness.compared(peer, self._few)
        finally:
            peer.close()
        return {"equal": equal, "made": made}

    def _saturated(self, name: str) -> Found:
        if name == "c" and not can_compile():
            return {}
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        found = run.saturate(self.makers[name], self._asked)
        if self._device.type == "cuda":
            found["peak_gib"] = torch.cuda.max_memory_allocated(self._device) / GIB
            if name in ("ours", "eager", "inline"):
                found["weights_gib"] = self._shelf.wait(None).bytes / GIB
        return found

    def _late(self, capacity: float) -> Found:
        """Latency at 0.9 of (a)'s capacity."""
        timed = workload.arrivals(self._asked, 0.9 * capacity, seed=1)
        return {name: run.open_loop(self.makers[name], timed, 0.9) for name in ("ours", "a")}


def _named(peer: Ours, name: str) -> Ours:
    peer.name = name
    return peer


def measure(architecture: str, plan: Plan, device: torch.device, folder: Path, parts: Sequence[str] = PARTS) -> Found:
    """All parts, those of ``folder``'s journal as they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    journal, draft = folder / "parts.json", folder / "parts.draft"
    found: Found = json.loads(journal.read_text()) if journal.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        visit = Visit(architecture, plan, device, folder, Path(scratch))
        for name in parts:
            if name not in found:
                found[name] = visit.part(name, found)
                draft.write_text(json.dumps(found, indent=1))
                draft.replace(journal)
                print(f"{architecture}: {name} has ended", flush=True)
        visit.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architecture", choices=PLANS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true", help="the whole path in small, on a CPU")
    parser.add_argument("--parts", default=",".join(PARTS))
    given = parser.parse_args()
    device = torch.device("cpu" if given.tiny else "cuda")
    plan = TINY if given.tiny else PLANS[given.architecture]
    measure(given.architecture, plan, device, given.out, given.parts.split(","))


if __name__ == "__main__":
    main()
