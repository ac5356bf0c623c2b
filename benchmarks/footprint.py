"""How much memory a row of a call takes beside the weights: the most that calls of one row and of three hold, in processes of their own.

python -m benchmarks.footprint [--architectures sd15,flux] [--side 512] [--depth 1] [--device cuda]

Activations of one layer are gone before the next, so one layer of each kind (``--depth 1``) tells what all of them take.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks import architectures
from safelight.engine.families.family import Row
from safelight.engine.model import Model

FEW, MANY = 1, 3
MIB = 2**20


def main() -> None:
    given = parse()
    if given.rows:
        print(json.dumps(held(given, given.architectures)))
        return
    print("| architecture | pixels | a row | encoders | denoiser | autoencoder |\n|---|---|---|---|---|---|")
    for name in given.architectures.split(","):
        few, many = (apart(given, name, rows) for rows in (FEW, MANY))
        row = (many["most"] - few["most"]) / (MANY - FEW)
        weights = " | ".join(f"{few[part] / MIB:.0f}" for part in ("encoders", "denoiser", "autoencoder"))
        print(f"| {name} | {given.side} | {row / MIB:.0f} MiB | {weights} |", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", default="sd15,sdxl,sd35,flux,zimage,qwen,pixart")
    parser.add_argument("--side", type=int, default=512, help="of the pictures, in pixels")
    parser.add_argument("--depth", type=int, help="layers of each kind that random weights have at most; default: all")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rows", type=int, help="measure this one call, in this process")
    return parser.parse_args()


def apart(given: argparse.Namespace, name: str, rows: int) -> dict[str, float]:
    """What ``held`` finds, in a fresh process, whose most nobody else has raised."""
    command = [sys.executable, "-m", "benchmarks.footprint", "--architectures", name, "--rows", str(rows)]
    command += ["--side", str(given.side), "--device", given.device]
    command += [] if given.depth is None else ["--depth", str(given.depth)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  # our own module
    found: dict[str, float] = json.loads(said.strip().splitlines()[-1])
    return found


def held(given: argparse.Namespace, name: str) -> dict[str, float]:
    """Bytes: the most that this process, or the device, held during one call, and the weights of each part."""
    device = torch.device(given.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with tempfile.TemporaryDirectory() as scratch:
        size = architectures.Size(given.depth)
        model = Model.load(
            architectures.write(name, Path(scratch) / "it", dtype, size, device), device=device, dtype=dtype
        )
        x = torch.randn(model.family.shape(given.side, given.side), device=device)
        text = model.encode_text(["a red apple on a wooden table"])[0]
        forget_most(device)
        model.denoise([Row(x, 500.0, text)] * given.rows)
        return {"most": most(device)} | model.footprint.apart


def forget_most(device: torch.device) -> None:
    """What loading held counts no more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        ctypes.CDLL(None).malloc_trim(0)  # else what loading left free is taken first, and a row seems to cost nothing
        Path("/proc/self/clear_refs").write_text("5")


def most(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


if __name__ == "__main__":
    main()
