"""What the engine is asked for and what it gives back. Knows nothing of jobs, accounts' names, HTTP or files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width, 3) RGB, or (height, width) for a mask


class Spacing(StrEnum):
    """How the sigmas of a schedule are spaced (diffusers: use_karras_sigmas and its siblings)."""

    default = "default"
    karras = "karras"
    exponential = "exponential"
    beta = "beta"


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA file by the name the shelf knows it under, and how strongly it is applied."""

    name: str
    strength: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """A ControlNet by the name the shelf knows it under, the picture that it is to follow, and how far and for how long."""

    name: str
    picture: Pixels
    hint: str = "plain"  # what is made of the picture before the network is shown it; plain is a hint already
    scale: float = 1.0
    start: float = 0.0  # of the way from noise to picture, 0 .. 1
    end: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Ingredient:
    """A further picture that is mixed in, its prompt with it, and how much it counts beside the others."""

    picture: Pixels
    prompt: str
    share: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """One request for ``samples`` pictures that differ only in their seed (``seed + i`` for picture ``i``, modulo 2**32).

    Without ``init_image`` it is text-to-image; with one, image-to-image; with a ``mask_image`` too (white is
    repainted), inpainting. ``owner`` scopes caches and fairness: equal owners share, others never do.
    """

    prompt: str
    negative_prompt: str = ""
    width: int = 512  # pixels, a multiple of 8
    height: int = 512
    panorama: bool = False  # drawn in views that overlap, where a family can and it is larger than the checkpoint was trained to draw
    modest: bool = False  # drawn no larger than the checkpoint was trained to draw, then enlarged
    samples: int = 1
    steps: int = 20
    guidance_scale: float = 7.5
    image_guidance_scale: float = 1.5  # of networks that edit: how closely the init image is kept to
    true_cfg_scale: float = 1.0  # of networks that are told their guidance: above 1, a negative prompt counts too
    strength: float = 0.7  # (0, 1]; image-to-image and inpainting only
    seed: int = 0  # 0 .. 2**32 - 1
    sampler: str | None = None  # a ModelsLab scheduler name; None is the checkpoint's own
    spacing: Spacing = Spacing.default
    algorithm_type: str | None = None  # of the DPM-Solver family
    init_image: Pixels | None = None
    beside: tuple[Pixels, ...] = ()  # further pictures that an instruction speaks of, where the checkpoint edits
    share: float = 1.0  # of init image and prompt, where further ones are mixed in
    mixture: tuple[Ingredient, ...] = ()
    layout_share: float = 0.0  # [0, 1], of the init image, mixed in after each step until its layout stands (MagicMix)
    layout_until: float = 0.0  # [0, strength], the strength from which on the prompt alone paints
    mask_image: Pixels | None = None
    model: str | None = None  # a name on the shelf; None is the default checkpoint
    vae: str | None = None  # an autoencoder in place of the checkpoint's own, by its name on the shelf
    loras: tuple[LoraUse, ...] = ()
    words: Mapping[str, str] = field(
        default_factory=dict
    )  # that prompts may use, by their names among those that came later
    controls: tuple[Control, ...] = ()
    clip_skip: int = 1  # 1 uses the last hidden layer, 2 the one before
    weighed: bool = False  # (more), [less] and (by so much:1.3) in prompts weigh words, and prompts may be long
    owner: str = ""
    priority: int = 0  # higher goes first
    previews: bool = False

    @property
    def pictures(self) -> tuple[Pixels, ...]:
        """That it starts from or speaks of, in the order in which an instruction counts them."""
        return () if self.init_image is None else (self.init_image, *self.beside)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A finished picture: its pixels and the seed that made it."""

    pixels: Pixels
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """How far a generation has come: ``step`` of ``steps`` denoising steps, and a small preview when asked for."""

    step: int
    steps: int
    preview: Pixels | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Every picture of one generation, the steps that were really run, and the seconds it took on the engine."""

    pictures: tuple[Picture, ...]
    steps: int
    seconds: float
    native_size: tuple[int, int] = field(default=(0, 0))  # (width, height) before enlargement
    modest: bool = False  # whether that is smaller because the generation asked for no more


@dataclass(frozen=True, slots=True, eq=False)
class Enlargement:
    """A picture and the size that it is to have, by a network of the operator's or by the bundled one."""

    pixels: Pixels
    width: int
    height: int
    model: str | None = None
    owner: str = ""
