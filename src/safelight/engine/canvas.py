"""One picture on its way from noise to latents: its own generator, its latents, and what its sampler remembers.

Noise is drawn on the CPU in the order in which the diffusers pipelines draw it, so a seed gives the same picture here
as there. Knows nothing of other pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from safelight.engine.controlnet import Cue, steered
from safelight.engine.families.autoencoder import Moments
from safelight.engine.families.family import Conditioning, Row
from safelight.engine.plan import Plan
from safelight.engine.tables import Step
from safelight.engine.views import joined


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """What a picture is held to after a step: the original, at the noise level of the moment.

    Outside its mask where it is inpainted; everywhere a little, and for a while, where a layout is kept.
    """

    init: Tensor  # (C, h, w)
    noise: Tensor
    mask: Tensor  # (1, h, w) or one number for all; 1 is repainted
    steps: int  # after how many it is let go

    def __call__(self, latents: Tensor, level: tuple[float, float]) -> Tensor:
        original = level[0] * self.init + level[1] * self.noise
        return (1 - self.mask) * original + self.mask * latents


@dataclass(slots=True, eq=False)
class Canvas:
    plan: Plan
    conditioning: tuple[Conditioning, ...]  # of each of its rows, the negative prompt first
    source: torch.Generator
    stack: Tensor  # (n, C, h, w): the latents, then what the sampler remembers
    blend: Blend | None = None
    extra: Tensor | None = None  # (E, h, w): mask and masked picture, or what was seen in the init image
    references: tuple[Tensor, ...] = ()  # (C, h', w') each: the pictures that its instruction speaks of
    cues: tuple[Cue, ...] = ()  # its ControlNets, with what they are shown
    calls: int = 0

    @property
    def latents(self) -> Tensor:
        return self.stack[0]

    @property
    def step(self) -> Step:
        return self.plan.table.steps[self.calls]

    @property
    def finished(self) -> bool:
        return self.calls == len(self.plan.table.steps)

    def rows(self) -> list[Row]:
        """What the model is shown at the step at hand."""
        x, (_, height, width) = self.latents * self.step.scale, self.plan.view
        views = [x[:, top : top + height, left : left + width] for top, left in self.plan.views]
        rows = [row for view in views for row in self._turns(view)]
        return steered(self.plan.model.family, rows, cues) if (cues := self._cues()) else rows

    def _turns(self, x: Tensor) -> list[Row]:
        step, guidance = self.step, self.plan.generation.guidance_scale
        rows = [Row(x, step.timestep, text, self.extra, guidance, self.references) for text in self.conditioning]
        if len(rows) < self.plan.turns:
            rows.insert(0, replace(rows[0], references=tuple(map(torch.zeros_like, self.references))))
        return rows

    def whole(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """What the model said of the rows, as if it had been shown the picture whole: one for each turn."""
        if len(self.plan.views) == 1:
            return list(outputs)
        turns, (_, height, width) = self.plan.turns, self.plan.shape
        return [joined(outputs[turn::turns], self.plan.views, height, width) for turn in range(turns)]

    def _cues(self) -> list[Cue]:
        """The ControlNets that count at the step at hand."""
        cues = [cue for cue in self.cues if cue.counts(self.calls, len(self.plan.table.steps))]
        if not cues and self.plan.bucket.steered:  # without any, a compiled network would answer, in other last bits
            return [replace(self.cues[0], scale=0.0)]
        return cues

    def draw(self) -> Tensor:
        """The noises of the step at hand, (draws, C, h, w)."""
        noises = [draw(self.source, self.plan.shape) for _ in range(self.step.draws)]
        return torch.stack(noises) if noises else torch.empty(0, *self.plan.shape)

    def advance(self, stack: Tensor) -> None:
        if self.blend is not None and self.plan.table.done(self.calls + 1) < self.blend.steps:
            stack[0] = self.blend(stack[0], self.step.renoise)
        self.stack = stack
        self.calls += 1


def draw(source: torch.Generator, shape: tuple[int, int, int]) -> Tensor:
    return torch.randn(1, *shape, generator=source)[0]


def begin(
    plan: Plan,
    seed: int,
    conditioning: tuple[Conditioning, ...],
    moments: Moments | None,
    masked: Moments | None,
    seen: Tensor | None = None,
    hints: Sequence[Moments] = (),
    beside: Sequence[Moments] = (),
) -> Canvas:
    """The first latents. ``moments`` are those of the init image, ``masked`` of the same with its masked part grey; ``seen``
    is what a network of the family's own made of it; ``hints`` are those of what ControlNets are shown as latents, ``beside``
    those of further pictures that the instruction speaks of.
    """
    source = torch.Generator().manual_seed(seed)
    device = plan.model.device

    def fresh() -> Tensor:
        return draw(source, plan.shape).to(device)

    cues = tuple(_shown(*each, plan, fresh) for each in zip(plan.cues, hints, strict=True)) if hints else plan.cues
    if plan.references and moments is not None:
        shown = tuple(map(plan.model.family.shown, (moments, *beside)))
        return Canvas(plan, conditioning, source, plan.table.start[1] * fresh()[None], references=shown)
    weight, noise_weight = plan.table.start
    init = None if moments is None else _sample(moments, fresh(), plan)
    noise = fresh()
    latents = noise_weight * noise if init is None or weight == 0 else weight * init + noise_weight * noise
    canvas = Canvas(plan, conditioning, source, latents[None], cues=cues, extra=seen)
    if init is not None and plan.generation.layout_share:
        canvas.blend = Blend(init, noise, torch.tensor(1 - plan.generation.layout_share), plan.layout_steps)
    if plan.source is None or plan.source.mask is None or plan.source.repainted is None:
        return canvas
    # The pipelines encode the masked picture for every checkpoint, so its draw is made even where it goes unused.
    masked_noise, mask = fresh(), plan.source.mask.to(device)
    if masked is not None:
        repainted = plan.source.repainted.to(device)
        canvas.extra = plan.model.family.masked_channels(repainted, _sample(masked, masked_noise, plan))
    elif init is not None:
        canvas.blend = Blend(init, noise, mask, plan.table.denoising_steps + 1)
    return canvas


def _shown(cue: Cue, moments: Moments, plan: Plan, fresh: Callable[[], Tensor]) -> Cue:
    """With its hint as latents."""
    control = plan.model.family.control
    noise = fresh() if control and control.drawn else torch.zeros_like(moments.mean[0])
    return replace(cue, hint=_sample(moments, noise, plan))


def _sample(moments: Moments, noise: Tensor, plan: Plan) -> Tensor:
    return plan.model.family.autoencoder.shrink(moments.mean[0] + moments.std[0] * noise)


def wants_moments(plan: Plan) -> bool:
    """Whether the init image's own latents are needed. An inpainting checkpoint may start from noise."""
    if plan.source is None:
        return False
    return not wants_masked_moments(plan) or plan.model.family.begins_with_picture(plan.generation.strength)


def wants_hints(plan: Plan) -> bool:
    """Whether its ControlNets are shown latents."""
    control = plan.model.family.control
    return control is not None and control.latents


def wants_masked_moments(plan: Plan) -> bool:
    return plan.source is not None and plan.model.family.masks
