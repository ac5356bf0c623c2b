"""Train the bundled model: `python -m training.train --stage autoencoder`, or all stages in turn.

Every stage saves where it is once a minute or two and goes on from there when it is started again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import torch
from torch import Tensor

from training import autoencoder, export, latents, photographs, start, text, unet
from training.checkpoint import spent
from training.dataset import PAIRS, Sprites
from training.sizes import SIZES, Size

STAGES = ("autoencoder", "text", "latents", "unet", "export")
SHARES = {"autoencoder": 0.25, "text": 0.06, "unet": 0.6}  # of --minutes; the rest goes into making latents
HERE = Path(__file__).parent


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", default="all", choices=["all", *STAGES])
    parser.add_argument("--size", default="cpu", choices=list(SIZES))
    parser.add_argument("--minutes", type=float, default=100.0, help="for this stage, or for all of them together")
    parser.add_argument("--until", help="HH:MM by the clock, instead of minutes: the rate has fallen by then")
    parser.add_argument("--start", type=Path, help="a checkpoint folder to go on from, instead of random weights")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the exported image model; the rest is as at --start"
    )
    parser.add_argument("--rate", type=float, help="learning rate of the image model (default: the size's)")
    parser.add_argument("--pairs", type=float, default=PAIRS, help="share of the composites that show two things")
    parser.add_argument("--photographs", type=Path, help="a folder of pictures that the autoencoder sees as well")
    parser.add_argument("--decoder-alone", action="store_true", help="leave the encoder, and so the codes, as they are")
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
    if options.start:
        start.begin(options.start, options.work)
    for stage in STAGES if options.stage == "all" else (options.stage,):
        share = SHARES.get(stage, 0.0) if options.stage == "all" else 1.0
        run(stage, options, options.minutes * share if not options.until else until(options, stage))


def until(options: argparse.Namespace, stage: str) -> float:
    """The budget over all calls that ends at the asked time of day."""
    hour, minute = map(int, options.until.split(":"))
    now = datetime.now().astimezone()
    end = now.replace(hour=hour, minute=minute, second=0)
    left = (end if end > now else end + timedelta(days=1)) - now
    return spent(options.work / f"{stage}.pt") + left.total_seconds() / 60


def read_photographs(folder: Path | None) -> list[Tensor]:
    return [] if folder is None else [picture for _, picture in photographs.read(folder)]


def sized(options: argparse.Namespace) -> Size:
    size = SIZES[options.size]
    return size if options.rate is None else replace(size, unet_rate=options.rate)


def run(stage: str, options: argparse.Namespace, minutes: float) -> None:
    size, work, device = sized(options), options.work, torch.device(options.device)
    match stage:
        case "autoencoder":
            sprites, seen = Sprites(options.data, size.pixels), read_photographs(options.photographs)
            autoencoder.train(
                sprites, size, work, minutes, device, options.seed, seen, decoder_alone=options.decoder_alone
            )
        case "text":
            text.train(Sprites(options.data, size.pixels), options.data, size, work, minutes, device, options.seed)
        case "latents":
            sprites = Sprites(options.data, size.pixels, size.nouns, options.pairs)
            latents.make(sprites, options.data, size, work, options.pictures, device, options.seed)
        case "unet":
            unet.train(options.data, size, work, minutes, device)
        case "export":
            out = options.out or work / "export"
            export.export(options.data, size, work, out, options.start, options.share)
            print(f"{out}: {export.bytes_in(out) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
