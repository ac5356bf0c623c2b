"""Stage one: the autoencoder (diffusers' AutoencoderKL, f8, 4 channels), trained on crops and then on whole pictures.

Group normalisation with one channel per group forgets absolute colour; four channels or more per group keep it. A
loss on 8x8 averages puts colour first, a loss on differences of neighbours puts edges second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training import networks
from training.checkpoint import Average, Run, cosine, load, report, set_rate
from training.dataset import Sprites, clutter
from training.networks import Network
from training.pace import Pace, mixed
from training.photographs import cut
from training.sizes import Size

PHOTOGRAPHED = 0.15  # share of what it sees, where there are photographs


def loss(made: Tensor, real: Tensor) -> Tensor:
    """Pixels, colour of each cell, and edges."""
    total = functional.l1_loss(made, real) + functional.l1_loss(
        functional.avg_pool2d(made, 8), functional.avg_pool2d(real, 8)
    )
    for step in (1, 2):
        a, b = functional.avg_pool2d(made, step), functional.avg_pool2d(real, step)
        total = total + 0.5 * functional.l1_loss(a[..., 1:, :] - a[..., :-1, :], b[..., 1:, :] - b[..., :-1, :])
        total = total + 0.5 * functional.l1_loss(a[..., 1:] - a[..., :-1], b[..., 1:] - b[..., :-1])
    return total


class Pool:
    """Composites made once and re-cropped at every step; a few are renewed each time."""

    def __init__(self, sprites: Sprites, count: int, seed: int, photographs: Sequence[Tensor] = ()) -> None:
        self.random, self.sprites, self.photographs = Random(seed), sprites, photographs
        self.pictures = torch.cat([self.fresh(min(64, count)) for _ in range(max(1, count // 64))])

    def fresh(self, count: int) -> Tensor:
        pictures, _ = self.sprites.batch(count, self.random)
        plain = max(1, count // 16)  # one in sixteen is clutter alone, so that photographs are not wholly strange
        pictures[:plain] = clutter(plain, self.sprites.size, self.random) * 2 - 1
        return pictures.add(1).mul(127.5).round().byte()

    def renew(self, count: int) -> None:
        at = torch.randint(0, len(self.pictures), (count,))
        self.pictures[at] = self.fresh(count)

    def batch(self, count: int, crop: int) -> Tensor:
        """(count, 3, crop, crop) in [-1, 1]; of two candidate crops the busier one."""
        picks = [self.one(crop) for _ in range(count)]
        return torch.stack(picks).float() / 127.5 - 1

    def one(self, crop: int) -> Tensor:
        if self.photographs and self.random.random() < PHOTOGRAPHED:
            picture = cut(self.random.choice(self.photographs), self.sprites.size, self.random)
        else:
            picture = self.pictures[self.random.randrange(len(self.pictures))]
        room = picture.shape[-1] - crop
        if not room:
            return picture
        crops = []
        for _ in range(2):
            y, x = self.random.randint(0, room), self.random.randint(0, room)
            crops.append(picture[:, y : y + crop, x : x + crop])
        return max(crops, key=lambda c: float(c[:, ::4, ::4].float().std()))


def train(
    sprites: Sprites,
    size: Size,
    work: Path,
    minutes: float,
    device: torch.device,
    seed: int = 0,
    photographs: Sequence[Tensor] = (),
    decoder_alone: bool = False,
) -> None:
    """Train until the budget over all calls is spent; goes on from `autoencoder.pt`.

    The decoder alone leaves the codes as they are, and an image model that draws in them need not be trained anew.
    """
    net = networks.autoencoder(size).to(device).train()
    for part in (net.encoder, net.quant_conv):
        part.requires_grad_(not decoder_alone)
    average = Average(net, 0.995)
    learning = [weights for weights in net.parameters() if weights.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=size.autoencoder_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    path = work / "autoencoder.pt"
    before = load(path)
    scale = before.get("scale", 1.0)
    pool, pace = Pool(sprites, size.pool, seed + before.get("step", 0), photographs), Pace()
    run = Run(path, minutes, 60, net=net, average=average.net, optimiser=optimiser, scale=scale)
    while (share := run.share) < 1:
        whole = share > 0.65
        rate = size.autoencoder_rate * run.warmth(50) * cosine(share)
        set_rate(optimiser, rate)
        count, crop = size.autoencoder_batch // (4 if whole else 1), size.pixels if whole else size.pixels // 2
        real = pool.batch(count, crop).to(device)
        pace.step()
        numbers = learn(net, optimiser, real, device)
        average.follow(net)
        run.stepped()
        if run.step % 8 == 0:
            pool.renew(8)
        if run.step % 25 == 0:
            report("autoencoder", run.step, run.seconds, threads=torch.get_num_threads(), rate=rate, **numbers)
    if not decoder_alone:
        scale = latent_scale(average.net, pool.batch(min(64, size.pool), size.pixels).to(device))
    run.finish(scale=scale)


def learn(net: Network, optimiser: torch.optim.Optimizer, real: Tensor, device: torch.device) -> dict[str, float]:
    with mixed(device):
        posterior = net.encode(real).latent_dist
        made = net.decode(posterior.sample()).sample.float()
    divergence = posterior.kl().float().mean() / posterior.mean[0].numel()
    total = loss(made, real) + 1e-4 * divergence
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    return {"loss": total.item(), "kl": divergence.item(), "psnr": psnr(made.detach(), real)}


def psnr(made: Tensor, real: Tensor) -> float:
    return -10 * math.log10(functional.mse_loss(made.clamp(-1, 1), real).item() / 4)


@torch.no_grad()
def latent_scale(net: Network, real: Tensor) -> float:
    """One over the spread of the codes, the `scaling_factor` of the checkpoint."""
    codes: Any = torch.cat([net.encode(part).latent_dist.mean for part in torch.split(real, 8)])
    return float(1 / codes.std())
