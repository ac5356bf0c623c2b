"""What of a tick is in no network: requests of different samplers and steps, at a fixed row count, on weights of a true size.

python -m benchmarks.tick [--architecture small|sd15|sdxl] [--rows 8] [--ticks 4] [--device cuda]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks import architectures
from benchmarks.peers import Ours, shelved
from benchmarks.workload import SAMPLERS
from safelight.engine.generation import Generation


def main() -> None:
    options = parse()
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = architectures.write(options.architecture, Path(scratch) / "checkpoint", dtype)
        peer = Ours("Safelight", shelved(checkpoint, device, dtype), exact=False, max_rows=options.rows)
        run(peer, options.rows, 1, architectures.SIDES[options.architecture])
        before = asdict(peer.engine.load().timings)
        run(peer, options.rows, options.ticks, architectures.SIDES[options.architecture])
        after = asdict(peer.engine.load().timings)
        peer.close()
    report({part: after[part] - before[part] for part in after})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", choices=architectures.SIDES, default="sd15")
    parser.add_argument("--rows", type=int, default=8, help="of each call; half as many guided requests")
    parser.add_argument("--ticks", type=int, default=4)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def run(peer: Ours, rows: int, steps: int, side: int) -> None:
    samplers = list(SAMPLERS)
    asked = [
        Generation(f"thing {i}", width=side, height=side, steps=steps, seed=i, sampler=samplers[i % len(samplers)])
        for i in range(rows // 2)
    ]
    for future in [peer.submit(generation) for generation in asked]:
        future.result()


def report(spent: dict[str, float]) -> None:
    rows = spent["rows"] / spent["ticks"]
    inside = spent["unet"] + spent["rest"]
    print(f"{spent['ticks']:.0f} ticks of {rows:.1f} rows: {inside / spent['ticks']:.4f} s a tick")
    print(f"outside the UNet and the autoencoder: {spent['rest']:.4f} s, or {spent['rest'] / inside:.2%} of the ticks")
    for part in ("unet", "vae", "text", "rest", "aside"):
        print(f"  {part:6} {spent[part]:.4f} s")


if __name__ == "__main__":
    main()
