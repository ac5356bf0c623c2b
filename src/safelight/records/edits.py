"""What else a job can be asked for: to judge or describe a picture, to change one without a prompt, to install a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from safelight.records.assets import AssetKind
from safelight.records.requests import JobRequest, Task


@dataclass(frozen=True, slots=True)
class OneStepRequest(JobRequest):
    """Asked for of one picture and done at one go. Without anything else said, it leaves one picture behind."""

    @property
    def steps_to_run(self) -> int:
        return 1

    @property
    def makes(self) -> tuple[AssetKind, ...]:
        return (AssetKind.output,)


@dataclass(frozen=True, slots=True)
class JudgeRequest(OneStepRequest):
    """Whether a picture of so many pixels is not safe for work: whether its score reaches ``threshold`` (0 .. 1)."""

    task: ClassVar[Task] = Task.judge

    threshold: float
    pixels: int

    @property
    def cost(self) -> float:
        return float(self.pixels)

    @property
    def makes(self) -> tuple[AssetKind, ...]:
        return ()


CAPTION_LENGTHS = ("short", "normal", "long")


@dataclass(frozen=True, slots=True)
class CaptionRequest(OneStepRequest):
    """What a picture shows, in words of one of ``CAPTION_LENGTHS``. ``captioner`` is one of the operator's."""

    task: ClassVar[Task] = Task.caption

    pixels: int
    captioner: str
    length: str = "normal"
    effort: float = 1e7  # of finding the words

    @property
    def cost(self) -> float:
        return self.effort + self.pixels

    @property
    def makes(self) -> tuple[AssetKind, ...]:
        return (AssetKind.text,)


@dataclass(frozen=True, slots=True)
class UpscaleRequest(OneStepRequest):
    """A picture at another size, by a network or a filter. ``upscaler``: one of the operator's, a filter, or the bundled one."""

    task: ClassVar[Task] = Task.upscale

    width: int
    height: int
    upscaler: str | None = None
    fit: str = "stretch"  # what becomes of a picture of other proportions: crop or stretch
    effort: float = 1.0  # of the network, for a pixel of the result

    @property
    def cost(self) -> float:
        return self.width * self.height * self.effort


@dataclass(frozen=True, slots=True)
class CutOutRequest(OneStepRequest):
    """A picture without its background, or the mask of what is in front. ``segmenter`` is one of the operator's, or None."""

    task: ClassVar[Task] = Task.cut_out

    pixels: int
    segmenter: str | None = None
    finder: str | None = None  # one of the operator's: in front is what ``words`` name
    words: str = ""
    effort: float = 1e7  # of finding what is in front
    only_mask: bool = False
    inverse_mask: bool = False
    post_process_mask: bool = False
    alpha_matting: bool = False
    foreground_threshold: int = 240  # thresholds and size of the alpha matting
    background_threshold: int = 20
    erode_size: int = 5

    @property
    def cost(self) -> float:
        return self.effort + self.pixels


@dataclass(frozen=True, slots=True)
class InstallRequest(JobRequest):
    """A model that is to be fetched from ``url`` and from then on goes by ``name``."""

    task: ClassVar[Task] = Task.install_model

    url: str
    name: str
    kind: str  # checkpoint, lora, controlnet, embedding or vae
    everybody: bool = False  # may use it, not its account alone

    @property
    def cost(self) -> float:
        """It takes no device's time."""
        return 0.0

    @property
    def steps_to_run(self) -> int:
        """Per cent."""
        return 100

    @property
    def makes(self) -> tuple[AssetKind, ...]:
        """How many parts there are is known once it is here."""
        return ()
