"""The few photographs that training sees, and those that it is measured with: sample pictures of two Python packages.

Each is free by what its own package says of it: public domain, CC0, or CC BY with its author named. They are read out
of the packages' wheels (`pip download --no-deps scikit-image==0.26.0 scikit-learn==1.9.1`), not kept here.

    python -m training.photographs --wheels FOLDER --out run/photographs
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

LEARNED = (
    "skimage/data/chelsea.png",
    "skimage/data/rocket.jpg",
    "skimage/data/hubble_deep_field.jpg",
    "skimage/data/grass.png",
    "skimage/data/gravel.png",
    "skimage/data/brick.png",
    "sklearn/datasets/images/china.jpg",
    "sklearn/datasets/images/flower.jpg",
)
HELD_OUT = (
    "skimage/data/astronaut.png",
    "skimage/data/camera.png",
    "skimage/data/clock_motion.png",
    "skimage/data/coffee.png",
    "skimage/data/retina.jpg",
    "skimage/data/cell.png",
    "skimage/data/coins.png",
    "skimage/data/ihc.png",
)


def unpack(wheels: Path, out: Path) -> None:
    """Into `learned` and `held-out` under the folder."""
    for path in sorted(wheels.glob("scikit_*.whl")):
        with zipfile.ZipFile(path) as wheel:
            for kind, names in (("learned", LEARNED), ("held-out", HELD_OUT)):
                for name in set(names) & set(wheel.namelist()):
                    picture = Image.open(io.BytesIO(wheel.read(name))).convert("RGB")
                    (out / kind).mkdir(parents=True, exist_ok=True)
                    picture.save(out / kind / f"{Path(name).stem}.png")


def read(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Each picture with its name, (3, height, width) in bytes."""
    for path in sorted(folder.glob("*.png")):
        yield path.stem, torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).contiguous()


def cut(photograph: Tensor, side: int, random: Random) -> Tensor:
    """A square from anywhere in it, at any scale, made `side` wide: mirrored, recoloured and brightened by chance."""
    most = min(photograph.shape[1:])
    wide = random.randint(min(side, most), most)
    y, x = random.randint(0, photograph.shape[1] - wide), random.randint(0, photograph.shape[2] - wide)
    square = photograph[None, :, y : y + wide, x : x + wide].float() / 255
    small = functional.interpolate(square, (side, side), mode="bilinear", antialias=True)[0].clamp(0, 1)
    if random.random() < 0.5:
        small = small.flip(2)
    if random.random() < 0.5:
        small = small[random.sample(range(3), 3)]
    return small.pow(random.uniform(0.7, 1.3)).mul(255).round().byte()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("run/photographs"))
    options = parser.parse_args()
    unpack(options.wheels, options.out)


if __name__ == "__main__":
    main()
