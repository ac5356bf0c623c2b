"""A small picture encoder trained on the real sprites alone, apart from the generator: it says what a picture shows.

It never sees a generated picture, an encoded one or a latent. Blur, noise and shifts of colour keep it from leaning
on texture.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.checkpoint import load, report, save
from training.dataset import Scene, Sprites

SIDE = 64  # what it looks at


class Judge(nn.Module):
    """Pictures to unit vectors; every noun has one too, and their product says how well the two agree."""

    def __init__(self, names: list[str], width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels, stride in ((width, 2), (width * 2, 2), (width * 4, 2), (width * 4, 2)):
            layers += [nn.Conv2d(before, channels, 3, stride, 1), nn.GroupNorm(8, channels), nn.GELU()]
            layers += [nn.Conv2d(channels, channels, 3, 1, 1), nn.GroupNorm(8, channels), nn.GELU()]
            before = channels
        self.names = names
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(before * 2, 128)
        self.nouns = nn.Parameter(torch.randn(len(names), 128))

    def embed(self, pictures: Tensor) -> Tensor:
        seen = functional.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        features = self.body(seen)
        return functional.normalize(self.head(torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)), dim=-1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, nouns): agreement of each picture with each noun, -1..1."""
        return self.embed(pictures) @ functional.normalize(self.nouns, dim=-1).T


def spoil(pictures: Tensor) -> Tensor:
    """Blur, noise and a shift of colour, each of random strength."""
    smaller = int(torch.randint(24, SIDE + 1, ()))
    pictures = functional.interpolate(
        pictures, size=(smaller, smaller), mode="bilinear", antialias=True, align_corners=False
    )
    shift = 1 + 0.15 * torch.randn(len(pictures), 3, 1, 1)
    return (
        pictures * shift
        + 0.1 * torch.randn(len(pictures), 3, 1, 1)
        + 0.05 * torch.rand(()) * torch.randn_like(pictures)
    ).clamp(-1, 1)


def single(sprites: Sprites, count: int, random: Random) -> tuple[Tensor, Tensor]:
    """Pictures of one object each, and which."""
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sprites.scene(random)
        if scene.other is None:
            scenes.append(scene)
    answers = torch.tensor([sprites.names.index(sprites.sprites[s.sprite].noun) for s in scenes])
    return sprites.draw(scenes, random), answers


def train(sprites: Sprites, work: Path, minutes: float, seed: int = 7) -> Judge:
    """From `judge.pt` where there is one, else trained for the given time."""
    net = Judge(sprites.names)
    if load(work / "judge.pt", net=net):
        return net.eval()
    random = Random(seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    start, step = time.time(), 0
    while (part := (time.time() - start) / (minutes * 60)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50) * (1.02 - part)
        pictures, answers = single(sprites, 64, random)
        guess = net(spoil(pictures)) * 16
        total = functional.cross_entropy(guess, answers, label_smoothing=0.05)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        optimiser.step()
        step += 1
        if step % 20 == 0:
            report(
                "judge",
                step,
                time.time() - start,
                loss=total.item(),
                right=(guess.argmax(1) == answers).float().mean().item(),
            )
    save(work / "judge.pt", net=net)
    return net.eval()
