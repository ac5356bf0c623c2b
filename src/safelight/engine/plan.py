"""What a request asks for, checked and made ready off the engine's thread: table, size, pictures as tensors.

A plan holds everything about a request that needs neither its seeds nor the model's weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from safelight.engine import images
from safelight.engine.controlnet import Cue
from safelight.engine.families.autoencoder import Autoencoder
from safelight.engine.families.family import Shape
from safelight.engine.generation import Control, Generation, LoraUse, Pixels
from safelight.engine.hints import HINTS, INPAINT, NETWORKS, to_hint
from safelight.engine.model import Model
from safelight.engine.samplers import Samplers, canonical
from safelight.engine.tables import Table
from safelight.engine.textual_inversion import spell
from safelight.engine.views import Corner, corners
from safelight.errors import Invalid


class Bucket(NamedTuple):
    """Rows that may share a call of the model."""

    model: str
    loras: tuple[LoraUse, ...]
    company: str  # as the family says
    steered: bool = False  # by ControlNets, where these keep its rows from a compiled network


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The picture that a request starts from."""

    pixels: Tensor  # (1, 3, H, W) in [-1, 1]
    digest: str
    masked_pixels: Tensor | None  # the same, grey where it is to be repainted
    masked_digest: str
    mask: Tensor | None  # (1, h, w) at the latents' size; 1 is repainted
    repainted: Tensor | None  # (1, H, W), the same at the picture's

    @property
    def size(self) -> tuple[int, int]:
        """Its width and height."""
        return self.pixels.shape[-1], self.pixels.shape[-2]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A request made ready for one model."""

    generation: Generation
    model: Model
    table: Table
    width: int  # as drawn, in pixels
    height: int
    sources: tuple[Source, ...]  # every picture that it starts from or that its instruction speaks of
    bucket: Bucket
    cues: tuple[Cue, ...] = ()
    autoencoder: Autoencoder | None = None  # in place of the model's own

    @property
    def shares(self) -> list[float]:
        """Of the pictures and prompts that are mixed; they add up to one."""
        shares = [self.generation.share, *(each.share for each in self.generation.mixture)]
        return [share / sum(shares) for share in shares]

    @property
    def layout_steps(self) -> int:
        """After how many steps the init image's layout stands."""
        return self.table.denoising_steps - int(self.generation.layout_until * self.generation.steps)

    @property
    def source(self) -> Source | None:
        """The init image."""
        return self.sources[0] if self.sources else None

    @property
    def modest(self) -> bool:
        """Whether it is drawn smaller than it was asked for because the generation is content with that."""
        return _modest(self.generation, self.model)

    @property
    def shown(self) -> tuple[Pixels, ...]:
        """The pictures that the text encoder looks at."""
        return self.generation.pictures if self.model.family.looks else ()

    @property
    def references(self) -> list[Shape]:
        """Of the latents of the pictures that an instruction speaks of."""
        shape = self.model.family.shape
        return [shape(*each.size) for each in self.sources] if self.model.family.edits else []

    @property
    def pieces(self) -> int:
        """In how many its prompts are read; 0 where their words are not weighed."""
        return self.model.family.pieces(self.generation)

    @property
    def guided(self) -> bool:
        return self.model.family.guided(self.generation)

    @property
    def turns(self) -> int:
        """The rows of each view: with guidance there are several."""
        return self.model.family.rows(self.generation)

    @property
    def rows(self) -> int:
        return self.turns * len(self.views)

    @property
    def push(self) -> float:
        return self.model.family.push(self.generation)

    @property
    def shape(self) -> Shape:
        """Of the latents."""
        return self.model.family.shape(self.width, self.height)

    @property
    def view(self) -> Shape:
        """Of the latents of a row."""
        return _view(self.generation, self.model, self.shape)

    @property
    def row_pixels(self) -> int:
        return self.view[1] * self.view[2] * self.model.family.autoencoder.side**2

    @property
    def views(self) -> tuple[Corner, ...]:
        """Of a picture that is drawn whole, one."""
        return corners(*self.shape[1:], max(self.view[1:]))


def check(generation: Generation) -> None:
    """Whatever can be known to be wrong before a model is at hand."""
    g = generation
    for side in ("width", "height"):
        if getattr(g, side) < 8 or getattr(g, side) % 8:
            raise Invalid(side, "must be a positive multiple of 8")
    for count in ("samples", "steps", "clip_skip"):
        if getattr(g, count) < 1:
            raise Invalid(count, "must be at least 1")
    for scale in ("guidance_scale", "image_guidance_scale", "true_cfg_scale"):
        if not math.isfinite(getattr(g, scale)):
            raise Invalid(scale, "must be a finite number")
    if not 0 < g.strength <= 1:
        raise Invalid("strength", "must be above 0 and at most 1")
    if not 0 <= g.seed < 2**32:
        raise Invalid("seed", "must be between 0 and 4294967295")
    _check_pictures(g)
    if g.mixture:
        _check_mixture(g)
    if g.layout_share:
        _check_layout(g)
    _check_controls(g)
    if g.sampler is not None:
        canonical(g.sampler)


def _check_pictures(g: Generation) -> None:
    if g.mask_image is not None and g.init_image is None:
        raise Invalid("init_image", "is required with mask_image")
    if g.init_image is not None and (g.init_image.ndim != 3 or g.init_image.shape[2] != 3):
        raise Invalid("init_image", "must be an RGB picture")
    if any(each.ndim != 3 or each.shape[2] != 3 for each in g.beside) or (g.beside and g.init_image is None):
        raise Invalid("init_image", "must be RGB pictures")
    if g.mask_image is not None and g.mask_image.ndim != 2:
        raise Invalid("mask_image", "must be a greyscale picture")


def _check_mixture(g: Generation) -> None:
    shares = [g.share, *(each.share for each in g.mixture)]
    if not all(math.isfinite(share) and share >= 0 for share in shares) or not sum(shares):
        raise Invalid("init_image_weights", "must be numbers of at least 0, and one of them more")
    if g.init_image is None or any(each.picture.ndim != 3 or each.picture.shape[2] != 3 for each in g.mixture):
        raise Invalid("init_image", "must be RGB pictures")
    if g.mask_image is not None:
        raise Invalid("mask_image", "is not possible where pictures are mixed")
    if g.weighed:
        raise Invalid("prompt", "must not weigh words where pictures are mixed")


def _check_layout(g: Generation) -> None:
    if not 0 <= g.layout_share <= 1 or not 0 <= g.layout_until <= g.strength:
        raise Invalid("layout_share", "must be between 0 and 1, and layout_until between 0 and strength")
    if g.init_image is None or g.mask_image is not None:
        raise Invalid("layout_share", "is possible with an init image and no mask only")


def _check_controls(g: Generation) -> None:
    if g.panorama and g.controls:
        raise Invalid("panorama", "is not possible with ControlNets")
    for control in g.controls:
        _check_control(control, masked=g.mask_image is not None)


def _check_control(control: Control, *, masked: bool) -> None:
    if control.hint not in (*HINTS, *NETWORKS):
        raise Invalid("controlnet_type", f"must be one of {', '.join((*HINTS, *NETWORKS))}")
    if control.hint == INPAINT and not masked:
        raise Invalid("mask_image", f"is required by {control.name}, which is shown where to paint")
    if control.picture.ndim != 3 or control.picture.shape[2] != 3:
        raise Invalid("control_image", "must be an RGB picture")
    if not math.isfinite(control.scale):
        raise Invalid("controlnet_conditioning_scale", "must be a finite number")
    if not 0 <= control.start < control.end <= 1:
        raise Invalid("control_guidance_start", "must be at least 0, and less than an end of at most 1")


def make_plan(generation: Generation, model: Model, samplers: Samplers) -> Plan:
    family, generation = model.family, _spelled(generation, model)
    edits = family.edits and generation.init_image is not None
    _check_task(generation, model)
    native = model.trained_side if _modest(generation, model) else model.native_size
    width, height = drawn_size(generation.width, generation.height, native, family.multiple)
    shape = family.shape(width, height)
    start = replace(generation, init_image=None) if edits else generation
    table = samplers.table(model.scheduler(), start, family.schedule(shape))
    sources = _sources(generation, model, width, height, edits=edits)
    cues = tuple(_cue(control, generation, model, width, height) for control in generation.controls)
    steered = bool(cues) and model.compiled
    company = family.company(generation, _view(generation, model, shape))
    bucket = Bucket(model.name, generation.loras, company, steered)
    autoencoder = model.autoencoders.get(generation.vae) if generation.vae else None
    return Plan(generation, model, table, width, height, sources, bucket, cues, autoencoder)


def _sources(generation: Generation, model: Model, width: int, height: int, *, edits: bool) -> tuple[Source, ...]:
    """At the size of what is drawn, or where a picture is to be edited at the size at which its network is shown it."""
    family = model.family
    pictures = [*generation.pictures, *(each.picture for each in generation.mixture)]
    sizes = [(family.reference_size(picture) if edits else None) or (width, height) for picture in pictures]
    masks = [generation.mask_image, *[None] * len(pictures)]
    each = zip(pictures, masks, sizes, strict=False)
    return tuple(_source(picture, mask, *size, family.autoencoder.side) for picture, mask, size in each)


def _check_task(generation: Generation, model: Model) -> None:
    """Whether this checkpoint can do what is asked with the pictures that are given."""
    family, name = model.family, model.name
    if family.needs_picture and generation.init_image is None:
        raise Invalid("init_image", f"is required by {name}, which edits pictures")
    if family.masks and generation.mask_image is None:
        raise Invalid("mask_image", f"is required by {name}, which is an inpainting checkpoint")
    if not family.edits:
        if generation.beside:
            raise Invalid("init_image", f"must be one picture: {name} does not edit by instruction")
        return
    if generation.init_image is not None and generation.mask_image is not None:
        raise Invalid("mask_image", f"is not possible with {name}, which edits by instruction")
    if generation.layout_share:
        raise Invalid("init_image", f"gives {name} no layout: it edits by instruction")
    if generation.mixture:
        raise Invalid("init_image", f"must be one picture: {name} edits by instruction")
    if len(generation.pictures) > family.most_pictures:
        raise Invalid("init_image", _too_many(name, family.most_pictures))


def _too_many(name: str, most: int) -> str:
    if most > 1:
        return f"must be at most {most} pictures for {name}"
    return f"must be one picture: {name} has learned instructions about one; Qwen-Image-Edit-Plus and FLUX.1 Kontext take several"


def _modest(generation: Generation, model: Model) -> bool:
    pixels = generation.width * generation.height
    return generation.modest and model.native_size is None and pixels > model.trained_side**2


def _view(generation: Generation, model: Model, shape: Shape) -> Shape:
    if not (generation.panorama and model.family.viewed):
        return shape
    side = model.trained_side // model.family.autoencoder.side
    return shape[0], min(side, shape[1]), min(side, shape[2])


def _spelled(generation: Generation, model: Model) -> Generation:
    """With the words that came later taught to the model, and spelled in the prompts as it knows them. Raises Invalid."""
    names = {spelling.lower(): name for word, name in generation.words.items() for spelling in model.learn(word, name)}
    mixture = tuple(replace(each, prompt=spell(each.prompt, names)) for each in generation.mixture)
    prompt, negative = spell(generation.prompt, names), spell(generation.negative_prompt, names)
    return replace(generation, prompt=prompt, negative_prompt=negative, mixture=mixture)


def _cue(control: Control, generation: Generation, model: Model, width: int, height: int) -> Cue:
    network, kind = model.controlnets.get(control.name), model.family.control
    if control.hint == INPAINT and kind is not None and kind.latents:
        raise Invalid("controlnet_type", "inpaint is not possible with this kind of checkpoint")
    hint = to_hint(control.hint, control.picture, generation.mask_image, width, height, model.onlookers)
    digest = f"{control.hint} {images.digest(control.picture)} {width}x{height}"
    return Cue(network, hint.to(model.device), control.scale, control.start, control.end, digest)


def drawn_size(width: int, height: int, native: int | None, multiple: int = 8) -> tuple[int, int]:
    """The size at which a checkpoint draws: as asked, or as many pixels as its native square in that aspect.

    Either way in whole multiples of what its network can draw.
    """
    if native is not None:
        aspect = math.sqrt(width / height)
        return _nearest(native * aspect, multiple), _nearest(native / aspect, multiple)
    return _nearest(width, multiple), _nearest(height, multiple)


def _nearest(side: float, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)


def _source(init: Pixels, mask: Pixels | None, width: int, height: int, side: int) -> Source:
    pixels = images.to_tensor(init, width, height)
    content = f"{images.digest(init)} {width}x{height}"
    if mask is None:
        return Source(pixels, content, None, "", None, None)
    repainted = images.mask_to_tensor(mask, width, height)
    latent_size = (height // side, width // side)
    return Source(
        pixels,
        content,
        pixels * (repainted < 0.5),
        f"{content} {images.digest(mask)}",
        torch.nn.functional.interpolate(repainted, size=latent_size)[0],
        repainted[0],
    )
