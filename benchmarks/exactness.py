"""Proves exact mode on this device: every request alone, then all of them at once, and their pictures byte by byte.

python -m benchmarks.exactness [--checkpoint FOLDER | --architecture small|sd15|sdxl] [--device cuda] [--requests 20]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import architectures, workload
from benchmarks.peers import Ours, shelved
from safelight.checkpoints import BUNDLED
from safelight.engine.generation import Generation, Pixels


def main() -> None:
    options = parse()
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = options.checkpoint or BUNDLED
        if options.architecture:
            checkpoint = architectures.write(options.architecture, Path(scratch) / "checkpoint", dtype)
        side = architectures.native_side(checkpoint) or architectures.SIDES[options.architecture or "sd15"]
        flows = options.architecture in architectures.FLOWS
        asked = workload.requests(options.requests, side, options.seed, options.steps_share, flows=flows)
        shelf = shelved(checkpoint, device, dtype)
        peer = Ours("Safelight, exact", shelf, exact=True, rows_path=Path(scratch) / "rows.json")
        equal, made = compared(peer, asked)
        calls = peer.engine.load().timings
        peer.close()
    print(f"{equal} of {made} pictures are byte-equal, on {device}, {calls.ticks} calls")
    sys.exit(equal != made)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a diffusers folder; default: the bundled one")
    parser.add_argument("--architecture", choices=architectures.SIDES, help="random weights of a size")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--steps-share", type=float, default=0.3, help="shortens every request alike")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def compared(peer: Ours, asked: list[Generation]) -> tuple[int, int]:
    """How many pictures are byte-equal, made alone and all at once, and how many there are."""
    alone = [pictures(peer, [generation])[0] for generation in asked]
    company = pictures(peer, asked)
    pairs = [pair for mine, theirs in zip(alone, company, strict=True) for pair in zip(mine, theirs, strict=True)]
    return sum(np.array_equal(mine, theirs) for mine, theirs in pairs), len(pairs)


def pictures(peer: Ours, asked: list[Generation]) -> list[list[Pixels]]:
    made: list[Any] = [future.result() for future in [peer.submit(generation) for generation in asked]]
    return [[picture.pixels for picture in result.pictures] for result in made]


if __name__ == "__main__":
    main()
