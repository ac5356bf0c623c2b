"""How good is the enlarger? Beside Lanczos, on 50 drawings and 10 photographs that it was not trained on.

    python -m training.enlarger_scores --large run/large --photographs run/photographs --sheet docs/pictures/enlarger.webp

Each picture is made small by a filter, enlarged again and compared with itself; both ways see the same bytes.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from safelight.engine import enlarger, images
from safelight.engine.generation import Pixels
from training import nouns, photographs, pictures
from training.dataset import Scene, Sprites
from training.enlarger import DRAWN, FACTORS, MEASURED_NOUNS, MEASURED_PHOTOGRAPHS, SIDE, smaller

Way = Callable[[Pixels, int], Pixels]  # a small picture and the factor to the large one
SHOWN_PHOTOGRAPHS = ("astronaut", "coffee")


def network(small: Pixels, factor: int) -> Pixels:
    return enlarger.times(small, factor)


def lanczos(small: Pixels, factor: int) -> Pixels:
    return images.resize(small, small.shape[1] * factor, small.shape[0] * factor)


WAYS: dict[str, Way] = {"Lanczos": lanczos, "enlarger": network}


def drawings(folder: Path) -> dict[str, Tensor]:
    """Every drawing of the things kept back, on one of the twelve colours."""
    sprites, random = Sprites(folder, SIDE * 4, MEASURED_NOUNS, styles=DRAWN), Random(9)
    palette = list(nouns.COLOURS.items())
    found = {}
    for index, sprite in enumerate(sprites.sprites):
        colour, rgb = palette[index % len(palette)]
        flat = tuple(c / 255 for c in rgb)
        scene = Scene(index, None, "centre", colour, "", (flat, flat, 0.0, 1.0))
        drawn = pictures.to_pictures(sprites.draw([scene], random))[0]
        found[f"{sprite.noun}, {sprite.style}"] = to_bytes(np.asarray(drawn))
    return found


def photographed(folder: Path) -> dict[str, Tensor]:
    """At most 512 wide and high, sides multiples of four."""
    found = dict(photographs.read(folder / "held-out"))
    found |= {name: seen for name, seen in photographs.read(folder / "learned") if name in MEASURED_PHOTOGRAPHS}
    return {name: trimmed(seen) for name, seen in found.items()}


def trimmed(picture: Tensor, most: int = SIDE * 4) -> Tensor:
    height, width = (min(most, extent // 4 * 4) for extent in picture.shape[1:])
    top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
    return picture[:, top : top + height, left : left + width]


def to_bytes(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def to_pixels(picture: Tensor) -> Pixels:
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())


def psnr(made: Pixels, real: Pixels) -> float:
    return float(-10 * np.log10(np.mean((made.astype(np.float64) - real) ** 2) / 255**2))


def ssim(made: Pixels, real: Pixels) -> float:
    """Of Wang et al. 2004: luminance, a Gaussian window of 11 with a spread of 1.5."""
    at = torch.arange(11.0) - 5
    line = torch.exp(-at.square() / (2 * 1.5**2))
    window = (line / line.sum()).double()[None, None, None]
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    x, y = ((to_bytes(p).double() * luma[:, None, None]).sum(0)[None, None] for p in (made, real))
    products = torch.cat([x, y, x * x, y * y, x * y])
    means = functional.conv2d(functional.conv2d(products, window), window.mT)
    mx, my = means[0], means[1]
    vx, vy, both = means[2] - mx * mx, means[3] - my * my, means[4] - mx * my
    one, two = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    alike = (2 * mx * my + one) * (2 * both + two) / ((mx * mx + my * my + one) * (vx + vy + two))
    return float(alike.mean())


def scores(real: dict[str, Tensor], factor: int, way: Way) -> tuple[float, float]:
    """Mean PSNR and mean SSIM."""
    rows = []
    for picture in real.values():
        made, wanted = way(to_pixels(smaller(picture, factor)), factor), to_pixels(picture)
        rows.append((psnr(made, wanted), ssim(made, wanted)))
    alike, similar = np.mean(rows, axis=0).tolist()
    return alike, similar


def table(sets: dict[str, dict[str, Tensor]]) -> str:
    lines = ["| pictures | times | Lanczos | enlarger |", "|---|---|---|---|"]
    for name, real in sets.items():
        for factor in FACTORS:
            cells = [f"{p:.1f} dB, SSIM {s:.3f}" for p, s in (scores(real, factor, way) for way in WAYS.values())]
            lines.append(f"| {len(real)} {name} | {factor} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cost(side: int, factor: int, repeats: int = 5) -> str:
    """The best of some runs, and what the process holds at most afterwards."""
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        enlarger.times(picture, factor)
        spent.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    threads = torch.get_num_threads()
    return f"{side} to {side * factor}: {min(spent) * 1e3:.0f} ms on {threads} threads, process {peak:.0f} MB"


def sheet(real: dict[str, Tensor], side: int = 224) -> pictures.Picture:
    """Rows of the middle of each: small, enlarged both ways, as it was."""
    tiles, words = [], []
    for name, picture in real.items():
        small = to_pixels(smaller(picture, 4))
        blocks = np.asarray(
            Image.fromarray(small).resize((picture.shape[2], picture.shape[1]), Image.Resampling.NEAREST)
        )
        ways = {word: way(small, 4) for word, way in WAYS.items()}
        for word, made in ({name: blocks} | ways | {"as it was": to_pixels(picture)}).items():
            top, left = (made.shape[0] - side) // 2, (made.shape[1] - side) // 2
            tiles.append(Image.fromarray(made[top : top + side, left : left + side]))
            words.append(word)
    return pictures.sheet(tiles, words, 4, side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=Path, required=True, help="the set of drawings at 512")
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    drawn, seen = drawings(options.large), photographed(options.photographs)
    print(f"{cost(128, 4)}\n{cost(512, 4)}\n\n{table({'drawings': drawn, 'photographs': seen})}")
    if options.sheet:
        shown = dict(list(drawn.items())[:34:17]) | {name: seen[name] for name in SHOWN_PHOTOGRAPHS}
        sheet(shown).save(options.sheet, quality=90)


if __name__ == "__main__":
    main()
