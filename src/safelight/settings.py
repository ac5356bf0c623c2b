"""One frozen Settings, read once at start and handed down. Knows nothing of what its values are used for.

Every field can be given as an environment variable ``SAFELIGHT_<NAME>``; ``safelight serve`` offers the commonest as options.
A value that is not valid stops the start and is named.
"""

from __future__ import annotations

import base64
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args

from platformdirs import user_data_path
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from safelight.errors import SetupFailed

_ORIGIN = re.compile(r"https?://[^/\s]+")
_HOST = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")

# Families whose transformers come alone.
BORROWERS = "Flux", "Kontext", "QwenImage", "QwenImageEdit", "QwenImageEditPlus", "StableDiffusion3", "ZImage"
DialectName = Literal["a1111", "console", "modelslab", "openai", "tensorslab"]


class Plan(BaseModel):
    """What an account may do, and what that costs it. Without a price it cannot be bought."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: int = Field(ge=1)
    calls: int = Field(default=0, ge=0)
    monthly: Decimal | None = Field(default=None, ge=0)
    yearly: Decimal | None = Field(default=None, ge=0)


FREE_PLAN = "pay_as_you_go"
LEAST_SECRET = 16  # bytes


class Settings(BaseSettings):
    """What the operator decides."""

    model_config = SettingsConfigDict(env_prefix="SAFELIGHT_", frozen=True, extra="ignore")

    data_dir: Path = Field(
        default_factory=lambda: user_data_path("safelight"),
        description="Where the embedded database and local files live.",
    )
    database_url: str | None = Field(
        None, description="A PostgreSQL to use instead of the embedded one (postgresql://user@host/name)."
    )
    blob_url: str | None = Field(
        None,
        description="Where pictures rest: file:///path, s3://bucket/prefix, gs:// or az://; default: a folder of data_dir.",
    )
    master_key: str | None = Field(
        None,
        description="The key that all keys of requests are wrapped under, as 32 bytes in base64; a new one goes before the old. "
        "Default: a file of data_dir.",
    )
    master_key_command: str | None = Field(
        None, description="A command that prints the master key, such as one that asks a KMS to decrypt it."
    )
    deletion_log: Path | None = Field(
        None,
        description="Where deletions are logged, so that a restored copy of the database erases them again; servers that share a "
        "database share it. Default: a file of data_dir.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on. Anything but loopback needs at least one key.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str | None = Field(
        None,
        description="How clients reach this server; every address in a reply begins with it. Default: http://host:port.",
    )
    trust_first_host: bool = Field(
        False,
        description="From the first request on, addresses in replies begin with the Host that it named and not with public_url; "
        "only for a server that nobody but its own clients can ask first.",
    )
    workers: int = Field(
        1,
        ge=0,
        le=64,
        description="Worker processes that `safelight serve` starts; 0 leaves the work to `safelight worker` elsewhere.",
    )

    models: dict[str, Path] = Field(
        default_factory=dict,
        description='Further checkpoints by name, as JSON: {"name": "/path"}. A diffusers folder, a .safetensors or a .gguf file.',
    )
    model: str | None = Field(
        None, description="The default checkpoint: a name from `models`, or a path. Default: the bundled one."
    )
    loras: dict[str, Path] = Field(default_factory=dict, description="LoRA files by name, as JSON.")
    components: dict[str, Path] = Field(
        default_factory=dict,
        description="Diffusers folders that lend encoders, tokenizers, autoencoder and scheduler to transformers that come alone in a "
        "file, as JSON, by family: Flux, Kontext, QwenImage, QwenImageEdit, QwenImageEditPlus, StableDiffusion3 or ZImage.",
    )
    embeddings: dict[str, Path] = Field(
        default_factory=dict,
        description="Textual-inversion files, as JSON, by the word that stands for them in a prompt.",
    )
    controlnets: dict[str, Path] = Field(
        default_factory=dict,
        description="ControlNets by name, as JSON: a diffusers folder or a .safetensors file.",
    )
    vaes: dict[str, Path] = Field(
        default_factory=dict,
        description="Autoencoders by name, as JSON, that requests may name in place of a checkpoint's own: a diffusers folder or a "
        ".safetensors file.",
    )
    depth: Path | None = Field(
        None,
        description="A depth network as a folder (DPT or Depth Anything, safetensors), for ControlNets of depth. "
        "Default: such hints are refused by name.",
    )
    segmentation: Path | None = Field(
        None,
        description="A network that tells ADE20K's classes apart as a folder (SegFormer or UPerNet, safetensors), for ControlNets of "
        "segmentation. Default: such hints are refused by name.",
    )
    people: Path | None = Field(
        None, description="A network that finds people as a folder (RT-DETR, safetensors), for ControlNets of pose."
    )
    pose: Path | None = Field(
        None,
        description="A network that finds their joints as a folder (ViTPose, safetensors). Default for either: such hints are refused "
        "by name.",
    )
    model_aliases: dict[str, str] = Field(
        default_factory=dict,
        description="What other names of checkpoints stand for, as JSON; the first pattern that fits: "
        '{"flux*": "my-flux", "*": "default"}.',
    )
    unknown_model: Literal["default", "refuse"] = Field(
        "default",
        description="A checkpoint's name that is not here: default serves it with the default checkpoint and says so, refuse answers 404.",
    )
    unknown_names: Literal["refuse", "drop"] = Field(
        "refuse",
        description="Names of LoRAs and samplers that are not here: refuse answers 400 with those that are, drop does without and says so.",
    )
    prompt_weights: Literal["a1111", "all", "none"] = Field(
        "a1111",
        description="Whose prompts weigh words, (so much:1.3), and may be longer than 77 tokens: a1111 for that API alone, all, none.",
    )
    device: str = Field(
        "auto", description="auto, cpu, cuda, cuda:0 ...; several, each with a worker of its own: cuda:0,cuda:1."
    )
    model_memory_gib: float | None = Field(
        None,
        gt=0,
        description="Memory budget for loaded checkpoints in GiB; the least recently used one goes first. Default: no limit.",
    )
    encoders: Literal["device", "cpu", "drop"] = Field(
        "device",
        description="Where checkpoints' text encoders are: on the device, beside it on the CPU, or (drop) nowhere until prompts are read; "
        "then they are read from the checkpoint's files.",
    )
    weights: Literal["native", "int8", "nf4"] = Field(
        "native",
        description="How denoisers' weights rest in memory: native, or those of linear layers in 8 or 4 bits (int8, nf4).",
    )
    exactness: Literal["exact", "fast"] = Field(
        "exact",
        description="exact: a picture's bytes never depend on load or neighbours. fast: within the stated tolerance.",
    )
    max_rows: int | None = Field(
        None, ge=1, le=256, description="Most rows in one model call; default: found by a probe at first start."
    )
    worker_concurrency: int = Field(
        32, ge=1, le=1024, description="Jobs that one worker holds at a time; they share the model at every step."
    )
    edit_concurrency: int = Field(
        4, ge=1, le=256, description="Jobs of editing that one worker holds at a time, beside its others."
    )
    upscalers: dict[str, Path] = Field(
        default_factory=dict,
        description="Upscaler networks by name, as JSON: Real-ESRGAN's layouts, as safetensors. Without a name the bundled one enlarges.",
    )
    segmenters: dict[str, Path] = Field(
        default_factory=dict,
        description="Segmentation networks by name, as JSON: U2-Net, IS-Net or BiRefNet as .onnx. The first one removes backgrounds.",
    )
    finders: dict[str, Path] = Field(
        default_factory=dict,
        description="Networks that find what words name, by name, as JSON: CLIPSeg as transformers' folder, with safetensors. "
        "The first one is used.",
    )
    captioners: dict[str, Path] = Field(
        default_factory=dict,
        description="Networks that say what a picture shows, by name, as JSON: BLIP or GIT as transformers' folder, with safetensors. "
        "The first one is used.",
    )
    max_model_bytes: int = Field(
        16 * 2**30, ge=1024, description="Largest model that may be installed by address, all its files together."
    )
    account_model_bytes: int = Field(
        64 * 2**30,
        ge=0,
        description="What the models that one account has installed may take together; 0: it may install none.",
    )
    model_seconds: float = Field(
        3600.0, gt=0, description="Time for fetching a model by address, breaks and redirects included."
    )

    chat_url: str | None = Field(
        None,
        description="An OpenAI-compatible server that chat calls are handed on to (http://127.0.0.1:11434/v1). Default: they answer 501.",
    )
    chat_key: str | None = Field(None, description="Its key, where it wants one.")

    hold_seconds: float = Field(
        25.0, ge=0, le=600, description="How long a request is held open before it is answered with `processing`."
    )
    max_side: int = Field(1024, ge=64, le=8192, description="Largest width or height that may be asked for, in pixels.")
    init_fit: Literal["crop", "stretch", "pad"] = Field(
        "crop",
        description="How an init image of other proportions than the picture asked for is fitted, its mask with it: crop, stretch or pad.",
    )
    max_steps: int = Field(51, ge=1, le=1000, description="Most denoising steps that may be asked for.")
    account_queue: int = Field(
        100, ge=1, description="Most jobs one account may have waiting or running; the next is refused with 429."
    )
    total_queue: int = Field(
        1000, ge=1, description="Most jobs that may wait or run in all; the next is refused with 429."
    )
    max_attempts: int = Field(
        2, ge=1, le=20, description="Workers that a job may take down while it is alone with them, before it fails."
    )
    heartbeat_seconds: float = Field(5.0, gt=0, description="How often a worker says it is alive.")
    stalled_seconds: float = Field(20.0, gt=0, description="Silence after which a worker's jobs are given to another.")

    dialects: frozenset[DialectName] = Field(
        frozenset(get_args(DialectName)),
        description="Which APIs are spoken, as JSON: some of a1111, console, modelslab, openai and tensorslab. Default: all of them.",
    )
    errors_ok: bool = Field(
        False, description="Answer errors of the v3..v5 endpoints with HTTP 200, as very old clients expect."
    )
    clear_cache_deletes_outputs: bool = Field(False, description="Let clear_cache delete generated pictures too.")
    account_bytes: int | None = Field(
        None,
        ge=1,
        description="Most bytes one account may keep; then its requests are refused with 429 until it deletes some. Default: no limit.",
    )
    output_days: float | None = Field(
        None,
        gt=0,
        description="Days until generations are erased by themselves, failed ones too. Default: kept until deleted.",
    )
    stray_days: float = Field(
        7.0,
        ge=0,
        description="Days after which a file is removed that no row was ever known of; it is reported from the first day on. 0: never.",
    )
    safety_threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="NSFW score from which a picture is replaced by a blank one, where the caller asked for the check.",
    )

    cors_origins: frozenset[str] = Field(
        frozenset({"*"}),
        description='Origins whose pages may call the API from a browser, as JSON: ["https://app.example"]; ["*"] is any, [] none.',
    )
    connections_per_address: int = Field(
        512, ge=1, description="Most connections at a time from one address; raise it behind a proxy."
    )
    max_body_bytes: int = Field(24 * 2**20, ge=1024, description="Largest request body.")
    body_seconds: float = Field(60.0, gt=0, description="Time for a request body to arrive in full.")
    max_image_bytes: int = Field(16 * 2**20, ge=1024, description="Largest init image or mask, as a file.")
    max_image_pixels: int = Field(16_000_000, ge=64 * 64, description="Most pixels of an init image or mask.")
    max_upscaled_pixels: int = Field(
        4096 * 4096, ge=64 * 64, description="Most pixels of a picture that is enlarged on request."
    )
    min_image_side: int = Field(16, ge=1, description="Least width and height of an init image or mask.")
    decode_seconds: float = Field(10.0, gt=0, description="Processor time for decoding one picture.")
    fetch_seconds: float = Field(
        20.0, gt=0, description="Time for fetching one picture by address, redirects included."
    )
    webhook_seconds: float = Field(15.0, gt=0, description="Time for a webhook's receiver to answer.")
    private_hosts: frozenset[str] = Field(
        frozenset(),
        description='Hosts that may be fetched from and called back though their addresses are private: ["nas.local", "127.0.0.1"].',
    )
    outbound_ports: frozenset[int] = Field(
        frozenset({80, 443, 8080, 8443}),
        description="Ports that addresses given by callers may use; hosts in private_hosts may use any.",
    )

    billing: bool = Field(
        False,
        description="Let jobs cost what `prices` says and plans have limits. Off: everything is free, without limit.",
    )
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="Currency of wallets and prices.")
    prices: dict[str, Decimal] = Field(
        default_factory=dict,
        description='Price of a million pixels x rows x steps, by task, as JSON: {"generate": 0.0002}. No price: nothing to pay.',
    )
    plans: dict[str, Plan] = Field(
        {FREE_PLAN: Plan(queue=5), "basic": Plan(queue=5), "standard": Plan(queue=10), "premium": Plan(queue=15)},
        description='Plans by name, as JSON: {"basic": {"queue": 5, "calls": 1000, "monthly": 9, "yearly": 90}}; see how-to/billing.md.',
    )

    model_price: Decimal | None = Field(
        None, ge=0, description="Price of a place for a model. Without one none are sold."
    )
    charge_hook: str | None = Field(
        None,
        description="What charges real money: a command, or an http(s) address; see how-to/billing.md. Default: nothing does.",
    )
    charge_secret: SecretStr | None = Field(
        None,
        validate_default=True,
        description="Signs what the hook is told, by Standard Webhooks: whsec_ and base64. A hook needs one.",
    )
    charge_seconds: float = Field(
        30.0, gt=0, description="Time for the hook to answer; then its charge is asked for again."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    _first_host: str | None = PrivateAttr(None)

    @field_validator("public_url")
    @classmethod
    def _without_slash(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/") if value else None

    @field_validator("components")
    @classmethod
    def _are_borrowers(cls, value: dict[str, Path]) -> dict[str, Path]:
        if wrong := value.keys() - {*BORROWERS}:
            raise ValueError(f"{min(wrong)!r} must be one of {', '.join(BORROWERS)}")
        return value

    @field_validator("prices")
    @classmethod
    def _are_prices(cls, value: dict[str, Decimal]) -> dict[str, Decimal]:
        if wrong := [name for name, price in value.items() if not (price.is_finite() and price >= 0)]:
            raise ValueError(f"{wrong[0]!r} must have a price of 0 or more")
        return value

    @field_validator("plans")
    @classmethod
    def _has_free_plan(cls, value: dict[str, Plan]) -> dict[str, Plan]:
        return {FREE_PLAN: Plan(queue=5), **value}

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: frozenset[str]) -> frozenset[str]:
        if wrong := sorted(origin for origin in value if origin != "*" and not _ORIGIN.fullmatch(origin)):
            raise ValueError(f"{wrong[0]!r} must be http(s)://host or http(s)://host:port, without a path")
        return value

    @field_validator("charge_secret")
    @classmethod
    def _is_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("charge_hook"):
            raise ValueError("must be given where there is a charge_hook")
        if value is not None and len(_key_of(value)) < LEAST_SECRET:
            raise ValueError(f"must be whsec_ and base64 of {LEAST_SECRET} bytes or more")
        return value

    @property
    def charge_key(self) -> bytes:
        return _key_of(self.charge_secret) if self.charge_secret else b""

    @property
    def devices(self) -> tuple[str, ...]:
        """At least one. A process that is given several works on the first."""
        return tuple(name.strip() for name in self.device.split(","))

    def weighs(self, dialect: str) -> bool:
        """Whether the prompts of a dialect weigh words and may be long."""
        return self.prompt_weights in (dialect, "all")

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        first = self._first_host and f"http://{self._first_host}"
        return first or self.public_url or f"http://{host}:{self.port}"

    def hear_host(self, host: str) -> None:
        """What a request calls this server. The first one stays, where it is trusted: the one thing here that is not known at the start."""
        if self.trust_first_host and self._first_host is None and _HOST.fullmatch(host):
            self._first_host = host

    @property
    def deletion_log_path(self) -> Path:
        return self.deletion_log or self.data_dir / "deletions.log"

    @property
    def blobs_url(self) -> str:
        return self.blob_url or (self.data_dir.absolute() / "blobs").as_uri()


def _key_of(secret: SecretStr) -> bytes:
    """Nothing where it has another form."""
    mark, _, rest = secret.get_secret_value().partition("_")
    try:
        return base64.b64decode(rest, validate=True) if mark == "whsec" else b""
    except ValueError:
        return b""


def read_settings(**given: Any) -> Settings:
    """Settings from the environment, overridden by what is ``given`` and not None. Raises SetupFailed naming key and value."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as invalid:
        raise SetupFailed("\n".join(_sentence(error) for error in invalid.errors())) from None
    except SettingsError as wrong:  # a list or table in the environment that is not JSON; its message quotes the field
        name = str(wrong).split('"')[1]
        raise SetupFailed(f"Setting {name} (SAFELIGHT_{name.upper()}) must be JSON.") from None


def _sentence(error: Any) -> str:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    where = f"{name} (SAFELIGHT_{name.upper()})" if f"SAFELIGHT_{name.upper()}" in os.environ else name
    shown = "of its own" if "secret" in name else repr(error["input"])
    return f"Setting {where} has value {shown}: {error['msg'].removeprefix('Value error, ')}."
