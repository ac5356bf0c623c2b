"""What a job can be asked for: the base of every request, and pictures from a checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, NamedTuple

from safelight.records.assets import TEMP_SECONDS, AssetKind, shortest

UNSTORED_SECONDS = 3600.0  # after which even the noise of what was not stored goes, where its answer could not be given


class Task(StrEnum):
    """What a job is for. Each is asked for by a record of its own (a ``JobRequest``) and made by a maker of its own."""

    generate = "generate"
    judge = "judge"
    upscale = "upscale"
    cut_out = "cut_out"
    caption = "caption"
    install_model = "install_model"


class Operation(StrEnum):
    """What is asked of the model."""

    text2img = "text2img"
    img2img = "img2img"
    inpaint = "inpaint"
    pix2pix = "pix2pix"  # edit by instruction, with a checkpoint of that kind
    depth2img = "depth2img"  # likewise
    edit = "edit"  # by instruction too, about one to four pictures, with a checkpoint of that kind


FROM_NOISE = (Operation.text2img, Operation.pix2pix, Operation.edit)  # of which strength says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest(ABC):
    """What every request says, whatever its task. ``extras`` holds what only the dialect echoes back."""

    task: ClassVar[Task]

    base64: bool = False
    store: bool = True  # False: its key is in memory alone, and all of it goes with the answer
    temp: bool = False  # it lives 24 hours
    expires_in: float | None = None  # seconds that it lives, from its end
    instant_response: bool = False
    webhook: str | None = None
    track_id: str | float | None = None  # any scalar, as the caller wrote it
    dialect: str = "modelslab"
    route: str = "v3"  # the dialect's own word for the family of endpoints that the request came by
    extras: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what is done otherwise than it was asked, each as a sentence for the caller
    ignored: tuple[str, ...] = ()  # names of fields that were sent and have no effect here

    @property
    def lives(self) -> float | None:
        """Seconds from its end until it is to be erased, as far as it says so itself."""
        return shortest(self.expires_in, TEMP_SECONDS if self.temp else None, None if self.store else UNSTORED_SECONDS)

    @property
    @abstractmethod
    def cost(self) -> float:
        """What its maker's time is proportional to: for pictures, pixels x rows x steps."""

    @property
    @abstractmethod
    def steps_to_run(self) -> int:
        """How many steps its progress is counted in, at least 1."""

    @property
    @abstractmethod
    def makes(self) -> tuple[AssetKind, ...]:
        """The files that its success leaves behind, in order."""


class ControlUse(NamedTuple):
    """A ControlNet of this server, the input that it follows, what is made of that first, and how far and how long it counts."""

    name: str
    picture: str  # the label of an AssetKind
    hint: str
    scale: float = 1.0
    start: float = 0.0  # of the way from noise to picture, 0 .. 1
    end: float = 1.0
    installed: int | None = None  # the job that installed it, where one did


class MixUse(NamedTuple):
    """A further picture that is mixed in, its prompt with it, and how much it counts beside the others."""

    picture: str  # the label of an AssetKind
    prompt: str
    share: float = 1.0


class Draft(NamedTuple):
    """A picture that is made first; enlarged, it is drawn over by as much as ``strength`` says (the web UI's hires fix)."""

    width: int
    height: int
    steps: int  # of the drawing over
    strength: float
    modest: bool = False  # drawn no larger than the checkpoint was trained to draw

    @property
    def steps_over(self) -> int:
        return max(1, min(self.steps, int(self.steps * self.strength)))


@dataclass(frozen=True, slots=True)
class ImageRequest(JobRequest):
    """What a caller asked a checkpoint for, after defaults, in our words."""

    task: ClassVar[Task] = Task.generate

    operation: Operation
    prompt: str
    negative_prompt: str = ""
    width: int = 512
    height: int = 512
    samples: int = 1
    steps: int = 20
    guidance_scale: float = 7.5
    image_guidance_scale: float = 1.5  # of checkpoints that edit by instruction: how closely the init image is kept to
    true_cfg_scale: float = 1.0  # of networks that are told their guidance: above 1, a negative prompt counts too
    strength: float = 0.7  # 0 .. 1; 0 keeps the init image
    finder: str | None = None  # one of the operator's: the mask is where it finds what ``words`` name
    words: str = ""
    cleared: bool = False  # what lies under the mask is first filled from around it, by no network
    fit: str = "crop"  # what becomes of an init image of other proportions: crop, stretch or pad
    seed: int = 0  # 0 .. 2**32 - 1; the reader has already drawn one when the caller asked for a random seed
    model: str | None = None
    installed: int | None = None  # the job that installed ``model``, where one did
    vae: str | None = None  # an autoencoder in place of the checkpoint's own
    installed_vae: int | None = None  # the job that installed it, where one did
    sampler: str | None = None
    spacing: str = "default"
    algorithm_type: str | None = None
    loras: tuple[tuple[str, float], ...] = ()
    installed_loras: Mapping[str, int] = field(default_factory=dict)  # those of ``loras`` that a job installed, by name
    embeddings: Mapping[str, int] = field(
        default_factory=dict
    )  # installed words that the prompts may have, by the jobs that did
    controls: tuple[ControlUse, ...] = ()
    share: float = 1.0  # of init image and prompt, where others are mixed in
    mixture: tuple[MixUse, ...] = ()
    layout_share: float = 0.0  # of the init image, mixed in after each step until its layout stands
    layout_until: float = 0.0  # the strength from which on the prompt alone paints
    draft: Draft | None = None  # where it is made in two passes
    panorama: bool = False  # drawn in views that overlap, where the checkpoint can
    beside: tuple[str, ...] = ()  # labels of AssetKinds: further pictures that an instruction speaks of
    clip_skip: int = 1
    safety_checker: bool = False
    cover: str = "black"  # what stands for a picture that is not safe: black, blur, pixelate or sensitive_content_text
    enhance_prompt: bool = False  # already applied to ``prompt`` when True

    @property
    def cost(self) -> float:
        rows = float(self.samples * (2 if self.guidance_scale > 1 else 1))
        rows *= 1.5 if self.operation is Operation.pix2pix and self.guidance_scale > 1 else 1.0
        rows *= 2 + len(self.beside) if self.operation is Operation.edit else 1  # each picture's tokens stand beside
        rows *= 1 + len(self.controls) / 2  # a ControlNet is about half of the network that it steers
        rows *= self._views
        if self.draft is None:
            return float(self.width * self.height * rows * self._steps_once)
        first = self.draft.width * self.draft.height * self._steps_once
        return float((first + self.width * self.height * self.draft.steps_over) * rows)

    @property
    def _views(self) -> float:
        """How often each pixel is drawn, by a checkpoint that was trained on squares of 512 pixels as most that can are."""
        if not self.panorama:
            return 1.0
        across, down = (max(0, side - 512) / 64 + 1 for side in (self.width, self.height))
        return across * down * min(512, self.width) * min(512, self.height) / (self.width * self.height)

    @property
    def steps_to_run(self) -> int:
        return self._steps_once + (self.draft.steps_over if self.draft else 0)

    @property
    def _steps_once(self) -> int:
        """Denoising steps: with an init image, the part that its strength leaves."""
        if self.operation in FROM_NOISE:
            return self.steps
        return max(1, min(self.steps, int(self.steps * self.strength)))

    @property
    def makes(self) -> tuple[AssetKind, ...]:
        return (AssetKind.output,) * self.samples


@dataclass(frozen=True, slots=True)
class Wants:
    """What a checkpoint asks for, by its own card, where a caller leaves a field out. ``only``: the one operation that it can do.

    ``repaints``: what it paints where something was removed is the ground that belongs there, and no thing. ``pictures``: of how
    many an instruction may speak, where it edits by instruction as ``Operation.edit`` has it.
    """

    steps: int = 20
    guidance_scale: float = 7.5
    only: Operation | None = None
    repaints: bool = True
    pictures: int = 0
