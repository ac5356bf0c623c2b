"""The enlarger of the engine, trained on pairs of a picture and the same picture small.

The drawings are drawn at 512 (`build_dataset --side 512`), so that what is learned for a 128x128 picture is how it
looks at 512. Half of the small ones have been through the bundled autoencoder: what an image model makes is that soft.

    python -m training.enlarger --large run/large --photographs run/photographs/learned --minutes 40
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from safelight.engine.enlarger import WEIGHTS, Network
from training import nouns, photographs, pictures
from training.checkpoint import Average, Run, cosine, report, set_rate
from training.dataset import Sprites
from training.pictures import Pipeline

SIDE, FACTORS = 128, (2, 4)
DRAWN = ("gradient", "flat")  # these are drawn from SVG; the 3d ones are pictures of 256
CROP, BATCH, RATE = 32, 16, 2e-3
MEASURED_NOUNS = tuple(sorted(nouns.NOUNS))[::5]  # 25 things, drawn in two styles: never seen in training
MEASURED_PHOTOGRAPHS = ("rocket", "hubble_deep_field")  # besides those that nothing is trained on
Pair = tuple[Tensor, Tensor]  # a small picture and the large one, (3, h, w) in bytes


def smaller(picture: Tensor, factor: int) -> Tensor:
    """As a good filter does it."""
    size = (picture.shape[-2] // factor, picture.shape[-1] // factor)
    small = functional.interpolate(picture[None].float(), size, mode="bicubic", antialias=True)[0]
    return small.clamp(0, 255).round().byte()


def drawings(folder: Path, side: int) -> Sprites:
    """Those that are sharp at this size, of things that are not measured."""
    return Sprites(folder, side, [noun for noun in nouns.NOUNS if noun not in MEASURED_NOUNS], styles=DRAWN)


@torch.inference_mode()
def softened(pipeline: Pipeline, small: Tensor) -> Tensor:
    """As the autoencoder of an image model hands it out."""
    made = pipeline.vae.decode(pipeline.vae.encode(small[None].float() / 127.5 - 1).latent_dist.mean).sample[0]
    soft: Tensor = made.add(1).mul(127.5).clamp(0, 255).round().byte()
    return soft


def drawn_pairs(sprites: Sprites, pipeline: Pipeline, count: int, random: Random) -> Iterator[tuple[int, Pair]]:
    for index in range(count):
        large = sprites.batch(1, random)[0][0].add(1).mul(127.5).round().byte()
        small = smaller(large, 4)
        if index % 2:
            small = softened(pipeline, small)
        yield 4, (small, large)
        yield 2, (small, smaller(large, 2))


def photographed_pairs(folder: Path, each: int, random: Random) -> Iterator[tuple[int, Pair]]:
    for name, photograph in photographs.read(folder):
        for _ in range(0 if name in MEASURED_PHOTOGRAPHS else each):
            large = photographs.cut(photograph, 2 * SIDE, random)
            for factor in FACTORS:
                yield factor, (smaller(large, factor), large)


def batch(pairs: list[Pair], factor: int, random: Random) -> Pair:
    """Crops of some of them, in [0, 1], turned and mirrored by chance."""
    smalls, larges = zip(*(crop(random.choice(pairs), factor, random) for _ in range(BATCH)), strict=True)
    turned = [torch.stack(each).float() / 255 for each in (smalls, larges)]
    turns, mirror = random.randrange(4), random.random() < 0.5
    small, large = (torch.rot90(each.flip(3) if mirror else each, turns, (2, 3)) for each in turned)
    return small.contiguous(memory_format=torch.channels_last), large


def crop(pair: Pair, factor: int, random: Random) -> Pair:
    """Of two places the busier one."""
    small, large = pair
    most = [extent - CROP for extent in small.shape[1:]]
    places = [(random.randint(0, most[0]), random.randint(0, most[1])) for _ in range(2)]
    y, x = max(places, key=lambda p: float(small[:, p[0] : p[0] + CROP, p[1] : p[1] + CROP].float().std()))
    wide = CROP * factor
    return small[:, y : y + CROP, x : x + CROP], large[:, y * factor :, x * factor :][:, :wide, :wide]


def train(pairs: dict[int, list[Pair]], work: Path, minutes: float, seed: int = 5) -> Network:
    net = Network().train()
    for last in (net.twice, net.fourfold):  # from a plain bicubic enlargement on
        torch.nn.init.zeros_(last.weight)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    average = Average(net, 0.995)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-4)
    run = Run(work / "enlarger.pt", minutes, 60, net=net, average=average.net, optimiser=optimiser)
    average.steps, random, recent = run.step, Random(seed + run.step), 0.0
    while (share := run.share) < 1:
        set_rate(optimiser, RATE * run.warmth(50) * cosine(share))
        factor = 4 if run.step % 3 else 2
        small, large = batch(pairs[factor], factor, random)
        lost = functional.l1_loss(net(small, factor), large)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(lost)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimiser.step()
        average.follow(net)
        run.stepped()
        recent += (lost.item() - recent) * max(0.02, 1 / run.step)
        if run.step % 25 == 0:
            report("enlarger", run.step, run.seconds, lost=recent)
    run.finish()
    trained: Network = average.net  # type: ignore[assignment]  # a copy of what it follows
    return trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=Path, required=True, help="the set of drawings at 512")
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("src/safelight/model"), help="whose softness it learns")
    parser.add_argument("--pictures", type=int, default=400, help="drawn for it")
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--work", type=Path, default=Path("run/training"))
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--nice", type=int, default=0)
    options = parser.parse_args()
    os.nice(options.nice)
    torch.manual_seed(5)
    random, pairs = Random(6), dict[int, list[Pair]]({factor: [] for factor in FACTORS})
    sprites, pipeline = drawings(options.large, SIDE * 4), pictures.load(options.model)
    for factor, pair in [
        *drawn_pairs(sprites, pipeline, options.pictures, random),
        *photographed_pairs(options.photographs, 12, random),
    ]:
        pairs[factor].append(pair)
    net = train(pairs, options.work, options.minutes)
    save_file({name: weights.half().contiguous() for name, weights in net.state_dict().items()}, options.out)


if __name__ == "__main__":
    main()
