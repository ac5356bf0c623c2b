"""Stage three: thousands of composites encoded once, with their captions, so that the image model trains on small
tensors.

Stored are the posterior's mean and spread of each picture, and the text encoder's states of each caption.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from training import networks, text
from training.checkpoint import load, report, save
from training.dataset import Sprites
from training.networks import Network
from training.pace import mixed
from training.sizes import Size


@dataclass(frozen=True)
class Latents:
    mean: Tensor  # (n, 4, s, s) float16, scaled
    spread: Tensor  # (n, 4, s, s) float16, scaled
    tokens: Tensor  # (n, 77) int16

    def sample(self, rows: Tensor) -> Tensor:
        mean, spread = self.mean[rows].float(), self.spread[rows].float()
        return mean + spread * torch.randn_like(mean)


def trained_autoencoder(size: Size, work: Path) -> Network:
    net = networks.autoencoder(size)
    state = load(work / "autoencoder.pt", average=net)
    net.register_to_config(scaling_factor=state["scale"])
    return frozen(net)


def trained_text(size: Size, tokenizer: CLIPTokenizer, work: Path) -> Network:
    net = networks.text_encoder(size, len(tokenizer))
    load(work / "text.pt", net=net)
    return frozen(net)


def trained_unet(size: Size, work: Path) -> Network:
    net = networks.unet(size)
    load(work / "unet.pt", average=net)
    return frozen(net)


def frozen(net: Network) -> Network:
    return net.eval().requires_grad_(False)


def make(sprites: Sprites, data: Path, size: Size, work: Path, count: int, device: torch.device, seed: int = 1) -> None:
    """Encode `count` composites into `latents.pt`."""
    tokenizer = CLIPTokenizer.from_pretrained(data / "tokenizer")
    net = trained_autoencoder(size, work).to(device)
    random, parts, captions = Random(seed), [], []
    start = time.time()
    for done in range(0, count, 32):
        pictures, scenes = sprites.batch(32, random)
        with torch.no_grad(), mixed(device):
            posterior = net.encode(pictures.to(device)).latent_dist
        parts.append(
            torch.stack([posterior.mean.float(), posterior.std.float()]).mul(net.config.scaling_factor).half().cpu()
        )
        captions += [s.caption for s in scenes]
        if done % 1024 == 0:
            report("latents", done, time.time() - start)
    mean, spread = torch.cat(parts, 1)
    save(work / "latents.pt", mean=mean, spread=spread, tokens=text.tokenize(tokenizer, captions).short())


def read(work: Path) -> Latents:
    return Latents(**load(work / "latents.pt"))


@torch.no_grad()
def caption_states(net: Network, tokens: Tensor, device: torch.device) -> Tensor:
    """(n, 77, width) float16: the states of every caption, computed once."""
    net = net.to(device)
    return torch.cat([net(part.long().to(device)).last_hidden_state.half() for part in torch.split(tokens, 128)])
