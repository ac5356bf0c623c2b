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
from benchmarks.peers import Ours
from safelight.checkpoints import BUNDLED
from safelight.engine.generation import Generation, Pixels
from safelight.engine.model import Model


def main() -> None:
    options = parse()
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = options.checkpoint or BUNDLED
        if options.architecture:
            checkpoint = architectures.write(options.architecture, Path(scratch) / "checkpoint", dtype)
        side = Model.load(checkpoint).native_size or architectures.SIDES[options.architecture or "sd15"]
        asked = workload.requests(options.requests, side, options.seed, options.steps_share)
        peer = Ours("Safelight, exact", checkpoint, device, dtype, exact=True, rows_path=Path(scratch) / "rows.json")
        alone = [pictures(peer, [generation])[0] for generation in asked]
        company = pictures(peer, asked)
        calls = peer.engine.load().timings
        peer.close()
    pairs = [pair for mine, theirs in zip(alone, company, strict=True) for pair in zip(mine, theirs, strict=True)]
    equal = sum(np.array_equal(mine, theirs) for mine, theirs in pairs)
    print(f"{equal} of {len(pairs)} pictures are byte-equal, on {device}, {calls.ticks} calls")
    sys.exit(equal != len(pairs))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a diffusers folder; default: the bundled one")
    parser.add_argument("--architecture", choices=architectures.SIDES, help="random weights of a size")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--steps-share", type=float, default=0.3, help="shortens every request alike")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def pictures(peer: Ours, asked: list[Generation]) -> list[list[Pixels]]:
    made: list[Any] = [future.result() for future in [peer.submit(generation) for generation in asked]]
    return [[picture.pixels for picture in result.pictures] for result in made]


if __name__ == "__main__":
    main()
