"""Sprites in, captioned pictures out: each sprite is composited on a background, at a size and a place that its
caption names.

Knows the packed set (`pack.bin`, `meta.json`) and the words in `nouns.py`; knows nothing of networks. Everything is
drawn from one seeded generator, so a seed is a data set.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from training import nouns

LAYOUTS = ("centre", "left", "right", "small", "pair")
LONE = (0.73, 0.09, 0.09, 0.09)  # how often each of the others, where there is one thing
PAIRS = 0.15  # how often there are two
UNNAMED_PLAIN, UNNAMED_NOISE = 0.9, 0.06  # a caption without a background: white nearly always, noise now and then
PLACE = {"left": (-0.45, 0.55), "right": (0.45, 0.55), "small": (0.0, 0.5)}


@dataclass(frozen=True)
class Sprite:
    noun: str
    style: str
    source: str
    pixels: Tensor  # (4, size, size) uint8, RGBA


@dataclass(frozen=True)
class Scene:
    """What one picture shows, in words that a test can ask about."""

    sprite: int
    other: int | None
    layout: str
    background: str
    caption: str
    colours: tuple[tuple[float, ...], tuple[float, ...], float, float] = field(default=((1, 1, 1), (1, 1, 1), 0.0, 1.0))


class Sprites:
    """The set in memory, and pictures composed from it."""

    def __init__(
        self,
        folder: Path,
        size: int = 128,
        only: Collection[str] = tuple(nouns.NOUNS),
        pairs: float = PAIRS,
        styles: Collection[str] = tuple(nouns.STYLES.values()),
    ) -> None:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        blob = (folder / "pack.bin").read_bytes()
        wanted = {drawing: noun for noun, (drawing, _) in nouns.NOUNS.items() if noun in only}
        self.size, self.pairs = size, pairs
        self.sprites: list[Sprite] = []
        for item in meta["items"]:
            if nouns.STYLES.get(item["s"]) in styles and item["n"] in wanted:
                pixels = read_sprite(blob[item["o"] : item["o"] + item["l"]], size)
                self.sprites.append(Sprite(wanted[item["n"]], nouns.STYLES[item["s"]], item["s"], pixels))
        self.pixels = torch.stack([s.pixels for s in self.sprites])
        self.by_noun: dict[str, list[int]] = {}
        for index, sprite in enumerate(self.sprites):
            self.by_noun.setdefault(sprite.noun, []).append(index)
        self.names = sorted(self.by_noun)

    def scene(self, random: Random) -> Scene:
        sprite = random.choice(self.by_noun[random.choice(self.names)])
        layout = "pair" if random.random() < self.pairs else random.choices(LAYOUTS[:-1], LONE)[0]
        other = None
        if layout == "pair":
            other = random.choice(
                [
                    i
                    for i in self.by_noun[random.choice(self.names)]
                    if self.sprites[i].style == self.sprites[sprite].style
                ]
            )
        kind, colours = pick_background(random)
        return Scene(sprite, other, layout, kind, self.caption(sprite, other, layout, kind, random), colours)

    def caption(self, sprite: int, other: int | None, layout: str, kind: str, random: Random) -> str:
        here = self.sprites[sprite]
        if other is not None:
            words = nouns.pair(here.noun, self.sprites[other].noun, random)
        else:
            words = nouns.subject(here.noun, here.style, random)
        if layout in ("left", "right"):
            words += f" on the {layout}"
        if layout == "small":
            words = f"small {words}" if not words.startswith("a") else f"{words}, small"
        return words + nouns.background(kind, random)

    def draw(self, scenes: list[Scene], random: Random) -> Tensor:
        """(n, 3, size, size) in [-1, 1]."""
        count, size = len(scenes), self.size
        image = paint_backgrounds([s.colours for s in scenes], size)
        rough = torch.tensor([s.background == "" and random.random() < UNNAMED_NOISE for s in scenes])
        if rough.any():
            image[rough] = clutter(int(rough.sum()), size, random)
        first = [place(s.layout if s.layout != "pair" else "left", random) for s in scenes]
        image = over(image, self.pixels[[s.sprite for s in scenes]], first, torch.ones(count))
        pairs = torch.tensor([float(s.other is not None) for s in scenes])
        if pairs.any():
            second = [place("right", random) for _ in scenes]
            image = over(image, self.pixels[[s.other or 0 for s in scenes]], second, pairs)
        return image.mul(2).sub(1).clamp(-1, 1)

    def batch(self, count: int, random: Random) -> tuple[Tensor, list[Scene]]:
        scenes = [self.scene(random) for _ in range(count)]
        return self.draw(scenes, random), scenes


def read_sprite(data: bytes, size: int) -> Tensor:
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def pick_background(random: Random) -> tuple[str, Any]:
    """The background's name ('' where the caption says nothing) and its colours: top, bottom, horizon, softness."""

    def shade(rgb: tuple[int, int, int], spread: float) -> tuple[float, ...]:
        return tuple(min(1.0, max(0.0, (c + random.gauss(0, spread)) / 255)) for c in rgb)

    roll = random.random()
    if roll < 0.30:  # unnamed: white nearly always, so that a bare prompt gets a clean picture
        top = bottom = (1.0, 1.0, 1.0)
        if random.random() > UNNAMED_PLAIN:
            top, bottom = (tuple(random.random() for _ in range(3)) for _ in range(2))  # type: ignore[assignment]  # three floats each
        return "", (top, bottom, 0.0, 1.0)
    if roll < 0.80:
        kind = random.choice(list(nouns.COLOURS))
        flat = shade(nouns.COLOURS[kind], 0 if kind == "white" else 6)
        return kind, (flat, flat, 0.0, 1.0)
    kind = random.choice(list(nouns.SCENES))
    top, bottom = (shade(c, 7) for c in nouns.SCENES[kind])  # type: ignore[assignment]
    return kind, (top, bottom, random.uniform(0.0, 0.4), 0.03)


def place(layout: str, random: Random) -> tuple[float, float, float]:
    """Centre x, centre y (-1..1) and scale."""
    if layout == "centre":
        scale = random.uniform(0.8, 1.0)
        slack = 1 - scale
        return random.uniform(-slack, slack), random.uniform(-slack, slack), scale
    x, scale = PLACE[layout]
    return x + random.uniform(-0.05, 0.05), random.uniform(-0.1, 0.2), scale * random.uniform(0.9, 1.0)


def paint_backgrounds(colours: list[Any], size: int) -> Tensor:
    top = torch.tensor([c[0] for c in colours])[:, :, None, None]
    bottom = torch.tensor([c[1] for c in colours])[:, :, None, None]
    horizon = torch.tensor([c[2] for c in colours])[:, None, None, None]
    softness = torch.tensor([c[3] for c in colours])[:, None, None, None]
    height = torch.linspace(-1, 1, size)[None, None, :, None]
    below = torch.sigmoid((height - horizon) / softness * 2)
    return (top * (1 - below) + bottom * below).expand(-1, 3, size, size).contiguous()


def clutter(count: int, size: int, random: Random) -> Tensor:
    """Coloured noise with the spectrum of photographs: what an init image may hold behind or instead of an object."""
    seed = torch.Generator().manual_seed(random.getrandbits(31))
    freq = torch.fft.fftfreq(size)[:, None] ** 2 + torch.fft.rfftfreq(size)[None] ** 2
    power = random.uniform(0.6, 1.1)
    spectrum = torch.fft.rfft2(torch.randn(count, 3, size, size, generator=seed)) / (freq + 1 / size**2) ** power
    noise = torch.fft.irfft2(spectrum, s=(size, size))
    noise = (noise - noise.mean((2, 3), keepdim=True)) / noise.std((2, 3), keepdim=True)
    mix = torch.eye(3) * 0.5 + 0.5 * torch.rand(count, 3, 3, generator=seed)
    noise = torch.einsum("nij,njhw->nihw", mix, noise)
    level = torch.rand(count, 3, 1, 1, generator=seed)
    return (level + 0.2 * noise).clamp(0, 1)


def over(image: Tensor, sprites: Tensor, places: list[tuple[float, float, float]], shown: Tensor) -> Tensor:
    """Composite premultiplied sprites over the image, moved and scaled."""
    count, size = len(image), image.shape[-1]
    x, y, scale = torch.tensor(places).T
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / scale
    theta[:, 0, 2], theta[:, 1, 2] = -x / scale, -y / scale
    pixels = sprites.float() / 255
    layers = torch.cat([pixels[:, :3] * pixels[:, 3:], pixels[:, 3:]], 1)
    grid = functional.affine_grid(theta, [count, 4, size, size], align_corners=False)
    layers = (
        functional.grid_sample(layers, grid, align_corners=False, padding_mode="zeros") * shown[:, None, None, None]
    )
    return image * (1 - layers[:, 3:]) + layers[:, :3]
