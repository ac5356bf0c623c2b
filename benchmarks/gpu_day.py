"""A GPU's visit in one command and under nine minutes: is exact mode exact there, and how fast is it beside the peers.

python -m benchmarks.gpu_day [--out run/gpu-day] [--minutes 9] [--peak-tflops 800] [--tiny]

Architecture by architecture, each in a process of its own; what has ended is kept in ``--out`` and not run again, so a
connection that breaks costs one part. ``--tiny`` walks the same way on any CPU, with small networks and few requests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import architectures, plots
from benchmarks.visit import PARTS, TINY

ARCHITECTURES = ("sd15", "sdxl", "flux", "zimage")
LAST = ("c",)  # compiling takes minutes, so it comes when everything else has been seen
WANTED = 1.3  # times peer (a)'s pictures a second
LATE = 0.5  # of peer (a)'s p95, at most
EVEN = 0.97  # times the speed without: what is within noise is no loss
LEVELS = 2  # of 255, between our pictures and diffusers'; told of float32
PEERS = ("ours", "eager", "inline", "a", "b", "c")
Found = dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """A sentence of the documentation, and whether what was found on this device bears it out."""

    where: str
    says: str
    holds: bool | None  # None: measured, with nothing promised

    def __str__(self) -> str:
        word = "measured" if self.holds is None else "confirmed" if self.holds else "refuted"
        return f"{word:10} {self.says}  [{self.where}]"


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    passes = [(name, [part for part in PARTS if part not in LAST]) for name in ARCHITECTURES]
    passes += [(name, list(LAST)) for name in ARCHITECTURES]
    for name, parts in passes:
        visit(name, parts, options, end - time.monotonic())
    day = {name: found for name in ARCHITECTURES if (found := read(options.out / name / "parts.json"))}
    told = [claim for name, found in day.items() for claim in claims(name, found, options.peak_tflops)]
    lines = [str(claim) for claim in told] + list(missing(day))
    for name, found in day.items():
        draw(name, found, options)
    whole = {"device": device(options), "claims": lines, "architectures": day}
    (options.out / "day.json").write_text(json.dumps(whole, indent=1))
    print("\n".join(lines))
    if options.tiny:
        print("In small, on a CPU: the path is tried, the speeds say nothing.")
    sys.exit(any(claim.holds is False for claim in told) or any(missing(day)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("run/gpu-day"))
    parser.add_argument("--minutes", type=float, default=9, help="for all parts of this call together")
    parser.add_argument("--peak-tflops", type=float, help="of the device; with it the fraction of the floor is told")
    parser.add_argument("--tiny", action="store_true", help="the whole path in small, on a CPU")
    return parser.parse_args()


def device(options: argparse.Namespace) -> str:
    return "a CPU, in small" if options.tiny else torch.cuda.get_device_name()


def visit(name: str, parts: list[str], options: argparse.Namespace, seconds: float) -> None:
    """What is not done when the time is up is left to the next call."""
    found = read(options.out / name / "parts.json")
    if all(part in found for part in parts):
        return
    if seconds < 1:
        print(f"{name}: no time was left for {', '.join(parts)}; run the command again", flush=True)
        return
    command = [sys.executable, "-m", "benchmarks.visit", name, "--out", str(options.out / name)]
    command += ["--parts", ",".join(parts), *(["--tiny"] if options.tiny else [])]
    try:
        ended = subprocess.run(command, timeout=seconds, check=False)  # noqa: S603  # our own module
    except subprocess.TimeoutExpired:
        print(f"{name}: not done after {seconds:.0f} s; run the command again", flush=True)
        return
    if ended.returncode:
        print(f"{name}: ended with {ended.returncode}", flush=True)


def read(journal: Path) -> Found:
    found: Found = json.loads(journal.read_text()) if journal.exists() else {}
    return found


def claims(name: str, found: Found, peak: float | None) -> Iterator[Claim]:
    """From what has ended."""
    if exact := found.get("exact"):
        says = f"{name}: {exact['equal']} of {exact['made']} pictures byte-equal, alone and in company"
        yield Claim("docs/reference/engine.md, Exactness", says, exact["equal"] == exact["made"])
    if equal := found.get("equal"):
        says = f"{name}: at most {equal['largest']:.0f} of 255 levels from diffusers (promised of float32: {LEVELS})"
        yield Claim("docs/how-to/checkpoints.md", says, None)
    ours = found.get("ours")
    if ours and (serial := found.get("a")):
        times = ours["pictures_per_second"] / serial["pictures_per_second"]
        yield Claim("README.md, Fast", f"{name}: {times:.2f} times (a) at saturation", times >= WANTED)
    if late := found.get("late"):
        share = late["ours"]["p95"] / late["a"]["p95"]
        yield Claim("README.md, Fast", f"{name}: p95 at 0.9 is {share:.2f} of (a)'s", share <= LATE)
    yield from _ablations(name, found)
    if ours and peak and (floor := found.get("floor")):
        share = floor["workload"] / (peak * 1e12) / ours["seconds"]
        yield Claim("docs/benchmarks.md", f"{name}: {share:.0%} of the arithmetic floor", None)
    if ours and "peak_gib" in ours:
        says = f"{name}: at most {ours['peak_gib']:.1f} GiB, of which weights {ours['weights_gib']:.1f}"
        yield Claim("docs/how-to/checkpoints.md, Memory", says, None)


def _ablations(name: str, found: Found) -> Iterator[Claim]:
    for part, what in (("eager", "graphs"), ("inline", "the decoder's own stream")):
        if part in found and "ours" in found:
            times = found["ours"]["pictures_per_second"] / found[part]["pictures_per_second"]
            yield Claim(
                "docs/reference/engine.md", f"{name}: {what}: {times:.2f} times the speed without", times >= EVEN
            )


def missing(day: dict[str, Found]) -> Iterator[str]:
    for name in ARCHITECTURES:
        if left := [part for part in PARTS if part not in day.get(name, {})]:
            yield f"open       {name}: {', '.join(left)}; run the command again"


def draw(name: str, found: Found, options: argparse.Namespace) -> None:
    """The figures of `plots.py`, from as many parts as there are."""
    rates = {peer: found[peer] for peer in PEERS if found.get(peer)}
    if not rates:
        return
    floor = dict(found.get("floor", {}))
    if floor and options.peak_tflops:
        floor["seconds"] = floor["workload"] / (options.peak_tflops * 1e12)
    loads = {"0.9": found["late"]} if "late" in found else {}
    where = {
        "device": device(options),
        "checkpoint": f"random {name}",
        "side": TINY.side if options.tiny else architectures.SIDES[name],
    }
    plots.draw(where | {"saturation": rates, "floor": floor, "loads": loads}, options.out / name)


if __name__ == "__main__":
    main()
