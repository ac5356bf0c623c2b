"""The nouns of Safelight: accounts, keys, jobs, assets, requests, receipts. Standard library only; every room may use them.

State machines (every arrow is one guarded UPDATE in ``storage``):
    job    queued -> running(attempt, fence) -> succeeded | failed | cancelled
    asset  pending -> live -> deleting -> gone, and pending -> deleting
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import ClassVar, NamedTuple


class Task(StrEnum):
    """What a job is for. Each is asked for by a record of its own (a ``JobRequest``) and made by a maker of its own."""

    generate = "generate"
    judge = "judge"
    upscale = "upscale"
    cut_out = "cut_out"
    install_model = "install_model"


class Operation(StrEnum):
    """What is asked of the model."""

    text2img = "text2img"
    img2img = "img2img"
    inpaint = "inpaint"


class JobState(StrEnum):
    """Where a job stands. The last three are final."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"

    @property
    def final(self) -> bool:
        return self in (JobState.succeeded, JobState.failed, JobState.cancelled)


class AssetState(StrEnum):
    """Where an asset's bytes stand. Only ``live`` can be read."""

    pending = "pending"
    live = "live"
    deleting = "deleting"
    gone = "gone"


class AssetKind(Enum):
    """What a stored file is: its name in the database, its suffix and its media type."""

    output = ("output", ".png", "image/png")
    init_image = ("init_image", ".png", "image/png")
    mask_image = ("mask_image", ".png", "image/png")
    control_image = ("control_image", ".png", "image/png")
    second_control_image = ("second_control_image", ".png", "image/png")
    third_control_image = ("third_control_image", ".png", "image/png")
    upload = ("upload", ".png", "image/png")
    model = ("model", ".part", "application/octet-stream")  # a part of a model's file, in the order of their ids

    def __init__(self, label: str, suffix: str, media_type: str) -> None:
        self.label = label
        self.suffix = suffix
        self.media_type = media_type

    @classmethod
    def labelled(cls, label: str) -> AssetKind:
        return next(kind for kind in cls if kind.label == label)


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant. Everything that is stored belongs to exactly one. ``key_id`` is the key that this caller came with.

    ``operator``: that key may also look after the server.
    """

    id: int
    name: str
    key_id: int | None = None
    operator: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret: ``prefix`` is the part that may be shown."""

    id: int
    account_id: int
    account_name: str
    label: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    operator: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest(ABC):
    """What every request says, whatever its task. ``extras`` holds what only the dialect echoes back."""

    task: ClassVar[Task]

    base64: bool = False
    temp: bool = False  # outputs live 24 hours
    instant_response: bool = False
    webhook: str | None = None
    track_id: str | float | None = None  # any scalar, as the caller wrote it
    dialect: str = "modelslab"
    route: str = "v3"  # the dialect's own word for the family of endpoints that the request came by
    extras: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what is done otherwise than it was asked, each as a sentence for the caller
    ignored: tuple[str, ...] = ()  # names of fields that were sent and have no effect here

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
    true_cfg_scale: float = 1.0  # of networks that are told their guidance: above 1, a negative prompt counts too
    strength: float = 0.7  # 0 .. 1; 0 keeps the init image
    fit: str = "crop"  # what becomes of an init image of other proportions: crop, stretch or pad
    seed: int = 0  # 0 .. 2**32 - 1; the reader has already drawn one when the caller asked for a random seed
    model: str | None = None
    installed: int | None = None  # the job that installed ``model``, where one did
    sampler: str | None = None
    spacing: str = "default"
    algorithm_type: str | None = None
    loras: tuple[tuple[str, float], ...] = ()
    installed_loras: Mapping[str, int] = field(default_factory=dict)  # those of ``loras`` that a job installed, by name
    controls: tuple[ControlUse, ...] = ()
    clip_skip: int = 1
    safety_checker: bool = False
    cover: str = "black"  # what stands for a picture that is not safe: black, blur, pixelate or sensitive_content_text
    enhance_prompt: bool = False  # already applied to ``prompt`` when True

    @property
    def cost(self) -> float:
        rows = float(self.samples * (2 if self.guidance_scale > 1 else 1))
        rows *= 1 + len(self.controls) / 2  # a ControlNet is about half of the network that it steers
        return float(self.width * self.height * rows * self.steps_to_run)

    @property
    def steps_to_run(self) -> int:
        """Denoising steps: with an init image, the part that its strength leaves."""
        if self.operation is Operation.text2img:
            return self.steps
        return max(1, min(self.steps, int(self.steps * self.strength)))

    @property
    def makes(self) -> tuple[AssetKind, ...]:
        return (AssetKind.output,) * self.samples


@dataclass(frozen=True, slots=True)
class JudgeRequest(JobRequest):
    """Whether a picture of so many pixels is not safe for work: whether its score reaches ``threshold`` (0 .. 1)."""

    task: ClassVar[Task] = Task.judge

    threshold: float
    pixels: int

    @property
    def cost(self) -> float:
        return float(self.pixels)

    @property
    def steps_to_run(self) -> int:
        return 1

    @property
    def makes(self) -> tuple[AssetKind, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class UpscaleRequest(JobRequest):
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

    @property
    def steps_to_run(self) -> int:
        return 1

    @property
    def makes(self) -> tuple[AssetKind, ...]:
        return (AssetKind.output,)


@dataclass(frozen=True, slots=True)
class CutOutRequest(JobRequest):
    """A picture without its background, or the mask of what is in front. ``segmenter`` is one of the operator's, or None."""

    task: ClassVar[Task] = Task.cut_out

    pixels: int
    segmenter: str | None = None
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

    @property
    def steps_to_run(self) -> int:
        return 1

    @property
    def makes(self) -> tuple[AssetKind, ...]:
        return (AssetKind.output,)


@dataclass(frozen=True, slots=True)
class InstallRequest(JobRequest):
    """A checkpoint or a LoRA that is to be fetched from ``url`` and from then on goes by ``name``."""

    task: ClassVar[Task] = Task.install_model

    url: str
    name: str
    kind: str  # checkpoint or lora
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


@dataclass(frozen=True, slots=True)
class Wants:
    """What a checkpoint asks for, by its own card, where a caller leaves a field out."""

    steps: int = 20
    guidance_scale: float = 7.5


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A picture that has passed every check: PNG bytes, upright, without metadata, RGB (or L for a mask)."""

    png: bytes
    width: int
    height: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted request and what became of it. ``request`` is None once the job was erased."""

    id: int
    account_id: int
    state: JobState
    request: JobRequest | None
    file_prefix: str  # 128 random bits in the shape of a UUID; outputs are named {file_prefix}-{n}.png
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int = 0
    step: int = 0  # denoising steps done, of ``steps``
    steps: int = 0
    seconds: float | None = None  # on the engine
    model: str | None = None  # the checkpoint that was really used
    nsfw: tuple[bool, ...] = ()  # per output picture; True was replaced by a blank one
    native_size: tuple[int, int] | None = None
    outputs: int = 0  # live output pictures
    error: str | None = None
    erased_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands at one moment, fresher than its row. ``job`` is the row as it was last read, and final when it is."""

    job: Job
    state: JobState
    attempt: int
    step: int
    steps: int
    place: int = 0  # among those that wait; the first is next
    seconds_left: float = 0.0
    preview: bytes | None = None  # a small WebP of what is coming


@dataclass(frozen=True, slots=True)
class Asset:
    """One stored file. ``name`` is the last part of its public address; ``request_id`` shares the sequence of job ids."""

    id: int
    account_id: int
    request_id: int
    kind: AssetKind
    state: AssetState
    name: str
    blob_key: str
    size: int | None  # of what is stored, sealed
    created_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """Jobs waiting or running, and the seconds until a request accepted now would begin."""

    queued: int
    running: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of one erasure, kept without content. ``verified_at`` is set once every byte was checked to be gone."""

    id: str  # a UUID
    account_id: int
    key_id: int | None
    scope: str  # "job", "jobs", "asset", "cache", "expiry", "account"
    request_ids: tuple[int, ...]
    assets: int
    bytes: int
    requested_at: datetime
    verified_at: datetime | None
    left: int = 0  # requests that have not had their turn


@dataclass(frozen=True, slots=True)
class WorkerPulse:
    """What a worker last said of itself."""

    name: str
    step_seconds: float
    rows_per_tick: float
    rows_waiting: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """The state of the house at one moment, for operators."""

    waiting: int
    running: int
    oldest_wait: float  # seconds
    outcomes: Mapping[str, int]  # jobs ended since the database was made, by final state
    workers: tuple[WorkerPulse, ...]
    blob_bytes: int
    retries: Mapping[str, int]  # of jobs, by reason
    webhooks_waiting: int
    erasures_unverified: int


@dataclass(frozen=True, slots=True)
class Wish:
    """Something documented that callers asked for and this server does not have. ``what`` is from our own lists."""

    what: str
    times: int
    last_at: datetime
