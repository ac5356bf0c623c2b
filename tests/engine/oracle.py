"""Pictures by the diffusers pipelines and by our engine, from the same parts, as latents that can be compared."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from safelight.engine.decode import Decoder
from safelight.engine.encode import Encoder
from safelight.engine.families.family import Conditioning, Row
from safelight.engine.generation import Generation, LoraUse, Pixels
from safelight.engine.graphs import Graphs
from safelight.engine.model import Model
from safelight.engine.pace import Pace
from safelight.engine.plan import make_plan
from safelight.engine.rows import Rows
from safelight.engine.samplers import Samplers
from safelight.engine.studio import Studio
from safelight.engine.ticket import Ticket

from .stand_ins import MicroModel, as_model, embed

KINDS: dict[str, Any] = {
    "text2img": StableDiffusionPipeline,
    "img2img": StableDiffusionImg2ImgPipeline,
    "inpaint": StableDiffusionInpaintPipeline,
}


def picture(width: int = 64, height: int = 64, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def half_mask(width: int = 64, height: int = 64) -> Pixels:
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    return mask


def by_pipeline(micro: MicroModel, scheduler: Any, generation: Generation) -> Tensor:
    """The latents that the diffusers pipeline ends with. Raises whatever the pipeline raises."""
    g = generation
    kind = "text2img" if g.init_image is None else "img2img" if g.mask_image is None else "inpaint"
    parts = {"text_encoder": None, "tokenizer": None, "safety_checker": None, "feature_extractor": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = KINDS[kind](
            vae=micro.vae, unet=micro.unet, scheduler=scheduler, **parts, requires_safety_checker=False
        )
        pipeline.set_progress_bar_config(disable=True)
        latents = pipeline(
            **pictures_of(g),
            prompt_embeds=embed(g.prompt)[None],
            negative_prompt_embeds=embed(g.negative_prompt)[None],
            num_inference_steps=g.steps,
            guidance_scale=g.guidance_scale,
            generator=[torch.Generator().manual_seed(g.seed)],
            output_type="latent",
        ).images
    assert isinstance(latents, Tensor)
    if latents.shape != (1, 4, g.height // 8, g.width // 8):
        raise ValueError(f"the pipeline made {latents.shape}")
    return latents[0]


def pictures_of(g: Generation) -> dict[str, Any]:
    """A pipeline's arguments for size and pictures."""
    size = {"height": g.height, "width": g.width}
    if g.init_image is None:
        return size
    image = {"image": Image.fromarray(g.init_image), "strength": g.strength}
    return image if g.mask_image is None else image | size | {"mask_image": Image.fromarray(g.mask_image)}


def by_engine(
    model: MicroModel | Model, generations: Sequence[Generation], rows: int = 8, samplers: Samplers | None = None
) -> list[Tensor]:
    """The latents that our engine ends with, all of these requests in one company."""
    samplers = samplers or Samplers()
    finished: dict[Ticket, Tensor] = {}
    pace = Pace()
    studio = Studio(
        Encoder(pace, exact=True),
        Rows(Graphs(), rows, exact=False),
        pace,
        Graphs(),
        Decoder(pace, exact=True, post=lambda act: act()),
        finish=lambda piece, _: finished.update({piece.ticket: piece.canvas.latents}),  # type: ignore[union-attr]
        report=lambda ticket, progress: None,
    )
    tickets = [Ticket(generation, None, lambda ticket: None) for generation in generations]
    whole = as_model(model) if isinstance(model, MicroModel) else model
    for ticket in tickets:
        studio.admit(ticket, make_plan(ticket.generation, whole, samplers), 0)
    while not studio.idle:
        studio.tick()
    return [finished[ticket] for ticket in tickets]


def denoise(
    model: Model,
    x: Tensor,
    times: Tensor,
    texts: Sequence[Conditioning],
    extra: Tensor | None = None,
    adapters: Sequence[LoraUse] = (),
) -> Tensor:
    """The model's answers to these rows, called together."""
    extras = [None] * len(x) if extra is None else extra.unbind()
    rows = [Row(*row) for row in zip(x, times.tolist(), texts, extras, strict=True)]
    return torch.stack(model.denoise(rows, adapters))


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Relative: 0 is equal, and what is not a number is far."""
    return (
        float((ours - theirs).norm() / theirs.norm().clamp_min(1e-9)) if bool(ours.isfinite().all()) else float("inf")
    )


def scheduler_named(name: str, config: dict[str, Any], **options: Any) -> Any:
    kind = getattr(diffusers, f"{name}Scheduler")
    return kind.from_config(dict(config), **options)
