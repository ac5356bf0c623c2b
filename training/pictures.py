"""Pictures from an exported checkpoint, by diffusers' own pipelines, and sheets of them with their prompts.

    python -m training.pictures --model src/safelight/model --out docs/pictures

writes the grids of the card: text2img over forty prompts, img2img at four strengths on drawings and on photographs.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Picture = Image.Image
Pipeline = Any  # diffusers' pipelines are untyped
STEPS, GUIDANCE, STRENGTHS = 20, 4.0, (0.3, 0.5, 0.7, 0.9)

KNOWN = (
    "a cat",
    "a dog on a blue background",
    "a red apple",
    "a pizza",
    "a tree in a meadow",
    "a rocket at night",
    "a house",
    "a car on a yellow background",
    "a sunflower on a light blue background",
    "a happy face",
    "a panda on a pink background",
    "a fish in the sea",
    "a crown on a purple background",
    "a snowman in the snow",
    "a cup of coffee",
    "a robot on a grey background",
    "a butterfly on a green background",
    "a mushroom on an orange background",
    "a cat on the left, a dog on the right",
    "a strawberry on the left, a banana on the right",
)
UNSEEN = (
    "a feline",
    "a hound",
    "a sports car",
    "a jet aircraft",
    "a jack o lantern",
    "a grizzly",
    "a bouquet of flowers",
    "a glass of beer",
    "a horse",
    "a mug of hot chocolate",
    "a forest",
    "a smiling sun",
    "a kitten with a hat",
    "a spaceship landing on the moon",
    "a man with sunglasses",
    "a fluffy white rabbit eating a carrot",
    "an oil painting of a mountain",
    "a dragon",
    "a bowl of fruit",
    "a city skyline",
)
DRAWN = ("a house", "a rocket", "a mushroom", "a snowman")
PHOTOGRAPHED = ("a cup of coffee", "a donut", "a panda", "a football")


def load(folder: Path) -> Pipeline:
    kind: Any = StableDiffusionPipeline
    return quiet(kind.from_pretrained(folder, dtype=torch.float32, safety_checker=None))


def assemble(kind: Any, parts: dict[str, Any]) -> Pipeline:
    return quiet(kind(**parts, requires_safety_checker=False))


def quiet(pipeline: Pipeline) -> Pipeline:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def from_text(
    pipeline: Pipeline, prompts: Sequence[str], side: int, seed: int = 0, rows: int = 16, steps: int = STEPS
) -> list[Picture]:
    made: list[Picture] = []
    for start in range(0, len(prompts), rows):
        part = list(prompts[start : start + rows])
        seeds = [torch.Generator().manual_seed(seed + start + i) for i in range(len(part))]
        made += pipeline(
            part, height=side, width=side, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=seeds
        ).images
    return made


def from_picture(
    pipeline: Pipeline,
    prompts: Sequence[str],
    pictures: Sequence[Picture],
    strength: float,
    seed: int = 0,
    rows: int = 16,
    steps: int = STEPS,
) -> list[Picture]:
    other = assemble(StableDiffusionImg2ImgPipeline, pipeline.components)
    made: list[Picture] = []
    for start in range(0, len(prompts), rows):
        part, given = list(prompts[start : start + rows]), list(pictures[start : start + rows])
        seeds = [torch.Generator().manual_seed(seed + start + i) for i in range(len(part))]
        made += other(
            part, image=given, strength=strength, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=seeds
        ).images
    return made


def to_tensor(pictures: Sequence[Picture]) -> Tensor:
    """(n, 3, h, w) in [-1, 1]."""
    return torch.stack(
        [torch.from_numpy(np.array(p.convert("RGB"))).permute(2, 0, 1).float() / 127.5 - 1 for p in pictures]
    )


def to_pictures(pixels: Tensor) -> list[Picture]:
    arrays = pixels.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(a) for a in arrays]


def sheet(pictures: Sequence[Picture], words: Sequence[str], columns: int, side: int = 160) -> Picture:
    """Pictures in rows, each above its words."""
    font, tall = ImageFont.load_default(12), side + 32
    page = Image.new("RGB", (columns * (side + 4), -(-len(pictures) // columns) * tall), "white")
    pen = ImageDraw.Draw(page)
    for index, (picture, text) in enumerate(zip(pictures, words, strict=True)):
        x, y = index % columns * (side + 4), index // columns * tall
        page.paste(picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), (x, y))
        pen.multiline_text(
            (x + 2, y + side + 1), "\n".join(textwrap.wrap(text, 26)[:2]), fill="black", font=font, spacing=1
        )
    return page


def text_sheet(pipeline: Pipeline, prompts: Sequence[str], side: int) -> Picture:
    return sheet(from_text(pipeline, prompts, side), prompts, 10)


def strength_sheet(pipeline: Pipeline, given: Picture, prompts: Sequence[str], side: int) -> Picture:
    """One row a prompt: the starting picture, then rising strengths."""
    start = given.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    columns = [from_picture(pipeline, prompts, [start] * len(prompts), strength) for strength in STRENGTHS]
    pictures, words = [], []
    for row, prompt in enumerate(prompts):
        pictures += [start, *(column[row] for column in columns)]
        words += [f"start, for: {prompt}", *(f"strength {s}" for s in STRENGTHS)]
    return sheet(pictures, words, 1 + len(STRENGTHS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("src/safelight/model"))
    parser.add_argument("--samples", type=Path, default=Path("src/safelight/samples"))
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pipeline = load(options.model)
    side = pipeline.unet.config.sample_size * 8
    text_sheet(pipeline, KNOWN, side).save(options.out / "model-known.webp", quality=90)
    text_sheet(pipeline, UNSEEN, side).save(options.out / "model-unseen.webp", quality=90)
    for name, prompts in (("drawing.png", DRAWN), ("photo.jpg", PHOTOGRAPHED)):
        given = Image.open(options.samples / name)
        strength_sheet(pipeline, given, prompts, side).save(
            options.out / f"model-img2img-{Path(name).stem}.webp", quality=90
        )


if __name__ == "__main__":
    main()
