"""Stage four: the image model (a UNet2DConditionModel that predicts velocity), trained on the stored latents.

Min-SNR weighting (Hang et al. 2023), captions dropped now and then for guidance, stratified timesteps, averaged
weights.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTokenizer

from training import latents, networks
from training.checkpoint import Average, Run, report, set_rate
from training.networks import Network
from training.pace import Pace, mixed
from training.sizes import Size
from training.text import tokenize

DROPPED = 0.1  # share of captions replaced by the empty one
HELD = 0.4  # of the time at the full rate; then it falls


def velocity_loss(net: Network, x0: Tensor, states: Tensor, signal: Tensor) -> Tensor:
    """`signal` is the cumulated alpha of each of the 1000 timesteps."""
    count = len(x0)
    spaced = (torch.arange(count) + torch.rand(count)) / count  # stratified: every batch sees every noise level
    t = (spaced * len(signal)).long().clamp(max=len(signal) - 1).to(x0.device)
    alpha = signal[t][:, None, None, None]
    noise = torch.randn_like(x0)
    x = (alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise).contiguous(memory_format=torch.channels_last)
    target = alpha.sqrt() * noise - (1 - alpha).sqrt() * x0
    with mixed(x0.device):
        predicted = net(x, t, encoder_hidden_states=states).sample
    ratio = 1 + (alpha / (1 - alpha)).flatten()
    weight = ratio.clamp(max=6) / ratio
    loss: Tensor = (weight * (predicted.float() - target).square().mean((1, 2, 3))).mean()
    return loss


def train(data: Path, size: Size, work: Path, minutes: float, device: torch.device) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(data / "tokenizer")
    words = latents.trained_text(size, tokenizer, work)
    stored = latents.read(work)
    kept, which = torch.unique(stored.tokens, dim=0, return_inverse=True)
    states = latents.caption_states(words, kept, device)
    empty = latents.caption_states(words, tokenize(tokenizer, [""]), device)
    net = networks.unet(size).to(device).train()
    if device.type == "cpu":  # together twice as fast: flash attention's backward pass is slow there
        net.to(memory_format=torch.channels_last).set_attn_processor(AttnProcessor())
    optimiser = torch.optim.AdamW(net.parameters(), lr=size.unet_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average = Average(net, size.average)
    signal = networks.scheduler().alphas_cumprod.to(device)
    recent, pace = 0.0, Pace()
    run = Run(work / "unet.pt", minutes, 120, net=net, average=average.net, optimiser=optimiser)
    average.steps = run.step
    while (share := run.share) < 1:
        rate = size.unet_rate * run.warmth(200) * fall(share)
        set_rate(optimiser, rate)
        pace.step()
        rows = torch.randint(0, len(stored.mean), (size.unet_batch,))
        said = states[which[rows]].to(device)
        said = torch.where(torch.rand(len(rows), 1, 1, device=device) < DROPPED, empty, said).float()
        total = velocity_loss(net, stored.sample(rows).to(device), said, signal)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        average.follow(net)
        run.stepped()
        recent += (total.item() - recent) * max(0.01, 1 / run.step)
        if run.step % 50 == 0:
            speed = run.steps_a_second * size.unet_batch
            numbers = {"loss": recent, "rate": rate, "threads": torch.get_num_threads(), "pictures_a_second": speed}
            report("unet", run.step, run.seconds, **numbers)
    run.finish()


def fall(share: float) -> float:
    return 1.0 if share < HELD else max(0.02, 0.5 * (1 + math.cos(math.pi * (share - HELD) / (1 - HELD))))
