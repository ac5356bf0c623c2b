"""Train the bundled model: `python -m training.train --stage autoencoder`, or all stages in turn.

Every stage saves where it is once a minute or two and goes on from there when it is started again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from training import autoencoder, export, latents, text, unet
from training.dataset import Sprites
from training.sizes import SIZES

STAGES = ("autoencoder", "text", "latents", "unet", "export")
SHARES = {"autoencoder": 0.25, "text": 0.06, "unet": 0.6}  # of --minutes; the rest goes into making latents
HERE = Path(__file__).parent


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", default="all", choices=["all", *STAGES])
    parser.add_argument("--size", default="cpu", choices=list(SIZES))
    parser.add_argument("--minutes", type=float, default=100.0, help="for this stage, or for all of them together")
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--work", type=Path, default=Path("run/training"), help="where checkpoints go")
    parser.add_argument("--out", type=Path, default=None, help="where the export goes (default: WORK/export)")
    parser.add_argument("--pictures", type=int, default=5000, help="composites encoded for the image model")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nice", type=int, default=0, help="leave the machine to others: 19 is the most polite")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    os.nice(options.nice)
    torch.manual_seed(options.seed)
    for stage in STAGES if options.stage == "all" else (options.stage,):
        share = SHARES.get(stage, 0.0) if options.stage == "all" else 1.0
        run(stage, options, options.minutes * share)


def run(stage: str, options: argparse.Namespace, minutes: float) -> None:
    size, work, device = SIZES[options.size], options.work, torch.device(options.device)
    match stage:
        case "autoencoder":
            autoencoder.train(Sprites(options.data, size.pixels), size, work, minutes, device, options.seed)
        case "text":
            text.train(Sprites(options.data, size.pixels), options.data, size, work, minutes, device, options.seed)
        case "latents":
            sprites = Sprites(options.data, size.pixels, size.nouns)
            latents.make(sprites, options.data, size, work, options.pictures, device, options.seed)
        case "unet":
            unet.train(options.data, size, work, minutes, device)
        case "export":
            out = options.out or work / "export"
            export.export(options.data, size, work, out)
            print(f"{out}: {export.bytes_in(out) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
