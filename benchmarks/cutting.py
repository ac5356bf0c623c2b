"""How well backgrounds are removed: things with a known alpha on three kinds of background, by GrabCut or an ONNX network.

python -m benchmarks.cutting [--network u2net.onnx] [--sheet sheet.webp]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from safelight.engine.generation import Pixels
from safelight.engine.matting import Cut, cut_out
from safelight.engine.segmenters import Segmenter, Share, from_border
from training.dataset import Sprites

ROOT = Path(__file__).parents[1]
SIDE, THING = 512, 320  # pixels
KINDS = ("plain", "gradient", "photograph")
SHOWN = 4  # of each kind on the sheet
Case = tuple[Pixels, Share]


def cases(kind: str, count: int, seed: int = 5) -> Iterator[Case]:
    """Pictures of one of the training's drawings each, and its alpha there."""
    random, sprites = Random(f"{kind} {seed}"), Sprites(ROOT / "training/data").sprites
    for _ in range(count):
        drawing = Image.fromarray(random.choice(sprites).pixels.permute(1, 2, 0).numpy())
        thing = drawing.resize((THING, THING), Image.Resampling.LANCZOS)
        place = (random.randrange(40, 150), random.randrange(40, 150))
        picture, alpha = background(kind, random), Image.new("L", (SIDE, SIDE))
        picture.paste(thing, place, thing)
        alpha.paste(thing.getchannel("A"), place)
        yield np.asarray(picture), (np.asarray(alpha) / 255).astype(np.float32)


def background(kind: str, random: Random) -> Image.Image:
    if kind == "photograph":
        left, top = random.randrange(300), random.randrange(300)
        photo = Image.open(ROOT / "src/safelight/samples/photo.jpg").convert("RGB")
        return photo.crop((left, top, left + 200, top + 200)).resize((SIDE, SIDE))
    one, other = (np.array([random.randrange(256) for _ in range(3)]) for _ in range(2))
    share = np.linspace(0, 1 if kind == "gradient" else 0, SIDE)[:, None, None]
    return Image.fromarray((one * (1 - share) + other * share + np.zeros((SIDE, SIDE, 3))).astype(np.uint8))


def overlap(found: Share, known: Share) -> float:
    """Intersection over union."""
    a, b = found > 0.5, known > 0.5
    return float((a & b).sum() / max(1, (a | b).sum()))


def on_magenta(cut: Pixels) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), (255, 0, 255))
    picture.paste(Image.fromarray(cut), (0, 0), Image.fromarray(cut))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=Path)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    find = Segmenter(given.network) if given.network else from_border
    sheet = Image.new("RGB", (2 * SHOWN * SIDE // 2, len(KINDS) * SIDE // 2))
    for row, kind in enumerate(KINDS):
        overlaps, errors, seconds = [], [], 0.0
        for number, (picture, known) in enumerate(cases(kind, given.count)):
            began = time.perf_counter()
            front = find(picture)
            seconds += time.perf_counter() - began
            matted = cut_out(picture, front, Cut(matting=True))
            overlaps.append(overlap(front, known))
            errors.append([np.abs(share - known).mean() for share in (front, matted[..., 3] / 255)])
            for column, each in enumerate((Image.fromarray(picture), on_magenta(matted)) if number < SHOWN else ()):
                place = ((2 * number + column) * SIDE // 2, row * SIDE // 2)
                sheet.paste(each.resize((SIDE // 2, SIDE // 2)), place)
        hard, soft = np.mean(errors, axis=0)
        print(  # this is what it is for
            f"{kind:10} IoU mean {np.mean(overlaps):.3f} median {np.median(overlaps):.3f} least {min(overlaps):.3f}, "
            f"alpha's error {hard:.4f} hard, {soft:.4f} matted, {seconds / given.count:.2f} s a picture"
        )
    if given.sheet:
        sheet.save(given.sheet, quality=82)


if __name__ == "__main__":
    main()
