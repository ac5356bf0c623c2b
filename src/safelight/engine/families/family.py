"""What is particular to a kind of model, as one interface: the only thing through which the engine knows its networks.

A family reads prompts, turns the rows of a call into tensors of fixed shapes, calls its network on them, and says which
rows may share a call. Knows nothing of requests in progress, samplers, caches or LoRA.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from safelight.engine.families.additions import Control
from safelight.engine.families.autoencoder import Autoencoder, Kl, Moments, Place
from safelight.engine.families.tokens import REFERENCE
from safelight.engine.flow import Schedule
from safelight.engine.generation import Generation, Pixels
from safelight.engine.textual_inversion import Concept

Inputs = dict[str, Tensor]  # of one call, by name; their shapes follow from the bucket and the number of rows
Shape = tuple[int, int, int]  # of a picture's latents: channels, height, width
Networks = Mapping[
    str, Callable[..., Any]
]  # by their names in a diffusers folder; a call's LoRAs are on the way through
Classes = dict[str, Mapping[str, Any]]  # by part, then by the name that a checkpoint gives its class


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What a prompt says to a network."""

    embedding: Tensor  # (L, D), a vector for each token
    pooled: Tensor | None = None  # (P,)

    def to(self, device: torch.device) -> Conditioning:
        """The same where it is there already."""
        return Conditioning(self.embedding.to(device), None if self.pooled is None else self.pooled.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One latent on its way through the network once, and what the network is told beside it."""

    x: Tensor  # (C, h, w), scaled as the sampler says
    timestep: float
    text: Conditioning
    extra: Tensor | None = None  # (E, h, w), further channels of an inpainting checkpoint
    guidance: float = 1.0  # for networks that are told it
    references: tuple[Tensor, ...] = ()  # (C, h', w') each, the pictures that an instruction speaks of
    additions: tuple[Tensor, ...] = ()  # what ControlNets say, (C', h', w') for each level of the network


@dataclass(frozen=True, slots=True)
class Parts:
    """What one checkpoint is made of, and the class that it says it is."""

    networks: Mapping[str, nn.Module]  # by their names in a diffusers folder
    tokenizers: Mapping[str, Any]
    pipeline: str = ""


class Family(ABC):
    """The kind of one checkpoint in memory."""

    pipelines: ClassVar[tuple[str, ...]]  # the names in model_index.json
    classes: ClassVar[Classes]  # of the parts that a checkpoint must have
    optional: ClassVar[Classes] = {}
    denoiser: ClassVar[str] = "transformer"  # the network that is called at every step
    multiple: ClassVar[int] = 16  # of which the sides of a picture must be, in pixels
    compiles: ClassVar[bool] = False  # whether OpenVINO knows how to run it
    row: ClassVar[tuple[int, int] | None] = (
        None  # MiB of a row (``row_bytes``) as counted, and the width that took them
    )
    most_pictures: ClassVar[int] = 0  # shown to the network as they are, where the prompt is an instruction about them
    looks: ClassVar[bool] = False  # the text encoder is shown them too
    holds: ClassVar[bool] = False  # guidance is towards that picture too: a third row is not shown it
    needs_picture: ClassVar[bool] = False  # nothing can be made without an init image
    sees: ClassVar[bool] = False  # a further network looks at it, and what that says stands beside the latents
    control: ClassVar[Control | None] = None  # the ControlNets that may steer it
    autoencoder: Autoencoder

    def __init__(self, parts: Parts, place: Place, concepts: Sequence[Concept] = ()) -> None:
        """``concepts`` are words that were learned afterwards, for families whose text encoder can be taught."""
        del concepts
        self.networks = parts.networks
        self.tokenizers = parts.tokenizers
        self.place = place
        self.autoencoder = self.autoencoder_of(parts.networks["vae"])

    @classmethod
    def tasks(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """What a checkpoint whose denoiser is of this configuration can do."""
        del config
        if cls.needs_picture:
            return ("edit",)
        return ("text2img", "edit") if cls.most_pictures else ("text2img", "img2img", "inpaint")

    @classmethod
    def row_bytes(cls, config: Mapping[str, Any]) -> int | None:
        """What a row of a call takes beside the weights, at 512 by 512 pixels in float32, where that was counted; as the width is."""
        if cls.row is None:
            return None
        mib, width = cls.row
        return round(mib * 2**20 * cls.width(config) / width)

    @classmethod
    def width(cls, config: Mapping[str, Any]) -> int:
        """Of a denoiser of this configuration."""
        return int(config.get("num_attention_heads", 0) * config.get("attention_head_dim", 0))

    def autoencoder_of(self, network: nn.Module) -> Autoencoder:
        return Kl(network, self.place)

    @property
    def viewed(self) -> bool:
        """Whether a large picture may be drawn in views: nothing that the network is told belongs to the picture as a whole."""
        return False

    @property
    def edits(self) -> bool:
        """Whether the prompt says what to change in an init image."""
        return self.most_pictures > 0

    @property
    def extra_channels(self) -> int:
        """That the network reads beside the latents and cannot do without."""
        return 0

    @property
    def masks(self) -> bool:
        """Whether those are of the mask and the masked picture."""
        return self.extra_channels > 0

    def masked_channels(self, mask: Tensor, masked: Tensor) -> Tensor:
        """Those further channels, from a mask (1, H, W) whose ones are repainted and the masked picture's latents (C, h, w)."""
        sides = masked.shape[-2:]
        return torch.cat([torch.nn.functional.interpolate(mask[None], size=sides)[0], masked])

    def begins_with_picture(self, strength: float) -> bool:
        """Whether an inpainting checkpoint's pipeline encodes the init image itself too."""
        return strength < 1.0

    def reference_size(self, init: Pixels) -> tuple[int, int] | None:
        """The width and height at which a picture to be edited is shown; None: those of the one that is drawn."""
        del init
        return None

    def sizes_beside(self, generation: Generation) -> str:
        """Of the latents of the pictures that an instruction speaks of: rows that share a call have them alike."""
        sizes = [self.reference_size(picture) for picture in generation.pictures]
        shapes = [self.shape(*size) for size in sizes if size is not None]
        return ", ".join(f"{height}x{width}" for _, height, width in shapes)

    def shown(self, moments: Moments) -> Tensor:
        """A picture to be edited, (C, h, w), as the network is shown it."""
        return self.autoencoder.shrink(moments.mean[0])

    def see(self, picture: Pixels, shape: Shape) -> Tensor:
        """The further channels (E, h, w) that a network of its own makes of the init image, for families that have one."""
        raise NotImplementedError

    def shape(self, width: int, height: int) -> Shape:
        side = self.autoencoder.side
        return self.autoencoder.channels, height // side, width // side

    def company(self, generation: Generation, shape: Shape) -> str:
        """What rows must have in common to share a call, beside the checkpoint and its LoRAs."""
        del generation
        return f"{shape[1]}x{shape[2]}"

    def guided(self, generation: Generation) -> bool:
        """Whether a picture takes a row for its negative prompt too."""
        return generation.guidance_scale > 1.0

    def prompts(self, generation: Generation) -> list[str]:
        """Those that a picture is told: its own, and where it is guided the negative one."""
        return [generation.prompt, *([generation.negative_prompt] if self.guided(generation) else [])]

    def rows(self, generation: Generation) -> int:
        """Of a picture in a call."""
        return (3 if self.holds else 2) if self.guided(generation) else 1

    def push(self, generation: Generation) -> float:
        """How far the answer goes from the negative prompt's towards the prompt's and beyond: 1 is the prompt's own."""
        return generation.guidance_scale

    def settle(self, pushed: Tensor, told: Tensor) -> Tensor:
        """What guidance made of the answer (C, h, w) to the prompt, ``told``, put right as the family's pipeline does."""
        del told
        return pushed

    def pieces(self, generation: Generation) -> int:
        """In how many pieces its prompts are read, where their words are weighed; 0 where brackets are words like others."""
        del generation
        return 0

    def trial_prompts(self, generation: Generation) -> list[str]:
        """Prompts that make tensors of the same shapes as this generation does, for trying a call out."""
        del generation
        return [""]

    def schedule(self, shape: Shape) -> Schedule:
        del shape
        return Schedule()

    def spellings(self, part: str, path: str) -> list[str]:
        """Every name by which a LoRA file may mean the module at ``path`` of a network."""
        del part
        return [path]

    def teachable(self, concept: Concept) -> bool:
        """Whether each text encoder could be taught a word that comes later."""
        del concept
        return False

    def learn(self, concept: Concept) -> None:
        """One that ``teachable`` said yes to."""
        raise NotImplementedError

    def forget(self, name: str) -> None:
        """Such a word again."""
        raise NotImplementedError

    @abstractmethod
    def read(self, networks: Networks, prompts: Sequence[str], clip_skip: int) -> list[Conditioning]:
        """``clip_skip`` 1 takes the last hidden layer of a CLIP text model, 2 the one before."""

    def read_weighed(
        self, networks: Networks, prompts: Sequence[str], clip_skip: int, pieces: int
    ) -> list[Conditioning]:
        """Each in so many pieces, for families whose words can be weighed."""
        raise NotImplementedError

    def read_beside(self, networks: Networks, prompts: Sequence[str], pictures: Sequence[Pixels]) -> list[Conditioning]:
        """Prompts about pictures, for families whose text encoder looks at them."""
        raise NotImplementedError

    @abstractmethod
    def gather(self, rows: Sequence[Row]) -> Inputs:
        """The tensors of a call."""

    @abstractmethod
    def call(self, networks: Networks, inputs: Inputs) -> Tensor:
        """One call of the denoiser. Copies nothing from the host, so that a CUDA graph can hold it."""

    def steer(self, network: nn.Module, rows: Sequence[Row], hint: Tensor, scale: float) -> list[tuple[Tensor, ...]]:
        """What a ControlNet that is shown ``hint``, (1, 3, H, W) or latents (C, h, w), adds to each row, for families that have them."""
        raise NotImplementedError

    def split(self, answer: Tensor, rows: Sequence[Row]) -> list[Tensor]:
        """The answer for each row, (C, h, w)."""
        return [part.to(row.x.dtype) for part, row in zip(answer.unbind(), rows, strict=True)]


def embeddings(rows: Sequence[Row], place: Place) -> Tensor:
    """Prompts of one length, (R, L, D)."""
    return place.enter(torch.stack([row.text.embedding for row in rows]))


def pooled(rows: Sequence[Row], place: Place) -> Tensor:
    """(R, P), of families whose text encoders give it."""
    return place.enter(torch.stack([row.text.pooled for row in rows if row.text.pooled is not None]))


def references(rows: Sequence[Row]) -> Inputs:
    """(R, C, h', w') for each picture that an instruction speaks of."""
    shown = zip(*(row.references for row in rows), strict=True)
    return {f"{REFERENCE}{i}": torch.stack(each) for i, each in enumerate(shown)}


def timesteps(rows: Sequence[Row], place: Place) -> Tensor:
    return place.send(torch.tensor([row.timestep for row in rows]))
