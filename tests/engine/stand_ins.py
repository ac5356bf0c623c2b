"""A model behind the engine's seam whose parts are a few numbers each: real mathematics in microseconds, and one
that fails on demand. The same parts fit into the diffusers pipelines, which are the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import diffusers
import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn

from safelight.engine.families.autoencoder import Moments, Place
from safelight.engine.families.family import Conditioning, Parts, Row
from safelight.engine.families.stable_diffusion import StableDiffusion
from safelight.engine.generation import LoraUse
from safelight.engine.model import Model
from safelight.engine.shelf import Shelf
from safelight.errors import EngineFailed

SD_CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
}
WIDTH = 8  # of an embedding


class MicroUNet(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers has no types
    """Two convolutions that listen to the timestep and the prompt."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, in_channels: int = 4, sample_size: int = 8, time_cond_proj_dim: int | None = None) -> None:
        super().__init__()
        self.enter = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.leave = nn.Conv2d(8, 4, 3, padding=1)
        self.listen = nn.Linear(WIDTH, 8)

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, **options: Any) -> Any:
        time = torch.as_tensor(timestep, dtype=sample.dtype).expand(len(sample))[:, None] / 1000
        word = self.listen(encoder_hidden_states.mean(1)) + torch.sin(time * torch.arange(1, 9))
        answer = 0.7 * sample[:, :4] + 0.5 * self.leave(torch.tanh(self.enter(sample) + word[:, :, None, None]))
        return UNet2DConditionOutput(answer) if options.get("return_dict", True) else (answer,)


def micro_vae() -> Any:
    kind: Any = diffusers.AutoencoderKL
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    return kind(**blocks, block_out_channels=(4, 4, 4, 4), norm_num_groups=2, layers_per_block=1, latent_channels=4)


class MicroModel:
    """What the engine asks of a model. A prompt that says ``break`` and the name of a part makes that part fail.

    A ``moody`` one answers otherwise in calls of some row counts, and in the third row of three.
    """

    name = "micro"
    runtime = "torch"
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(
        self,
        seed: int = 0,
        unet_channels: int = 4,
        native_size: int | None = None,
        moody: bool = False,
        guidance_rescale: float = 0.0,
        **config: Any,
    ) -> None:
        self.moody = moody
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.unet = MicroUNet(unet_channels).eval().requires_grad_(False)
            self.vae = micro_vae().eval().requires_grad_(False)
        self.family = StableDiffusion(Parts({"unet": self.unet, "vae": self.vae}, {}), Place(self.device, self.dtype))
        self.native_size = native_size
        self.trained_side = 64
        self.guidance_rescale = guidance_rescale
        own: Any = diffusers.PNDMScheduler
        self.own = own.from_config(SD_CONFIG | config)
        self.encoded: list[str] = []  # prompts that reached the encoder
        self.looked = 0  # pictures that reached the encoder
        self.calls: list[int] = []  # row counts of the calls

    def scheduler(self) -> Any:
        return self.own

    def encode_text(
        self,
        prompts: Sequence[str],
        clip_skip: int = 1,
        adapters: Sequence[LoraUse] = (),
        picture: Any = None,
        pieces: int = 0,
    ) -> list[Conditioning]:
        self.encoded += prompts
        for prompt in prompts:
            if "break encode" in prompt:
                raise RuntimeError("the encoder broke")
        return [Conditioning(embed(prompt)) for prompt in prompts]

    def rest(self) -> None:
        """Its encoder stays."""

    def encode_image(self, pixels: Tensor, other: object = None) -> Moments:
        self.looked += len(pixels)
        posterior = self.vae.encode(pixels).latent_dist
        return Moments(posterior.mean, posterior.std)

    def denoise(self, rows: Sequence[Row], adapters: Sequence[LoraUse] = ()) -> list[Tensor]:
        x, timesteps, context = self.family.gather(rows).values()
        self.calls.append(len(x))
        if bool((context[:, 0, 0] == POISON["break denoise"]).any()):
            raise RuntimeError("the UNet broke")
        answer: Tensor = self.unet(x, timesteps, context).sample
        if self.moody and len(x) in MOODS:
            answer[2 if len(x) == 3 else 0 :] *= 1.01
        for word, value in (("not a number", torch.nan), ("break decode", ENORMOUS)):
            answer = torch.where((context[:, 0, 0] == POISON[word])[:, None, None, None], value, answer)
        return list(answer)

    def decode(self, latents: Tensor, other: object = None) -> Tensor:
        if bool((latents.abs().amax(dim=(1, 2, 3)) > ENORMOUS / 100).any()):
            raise RuntimeError("the decoder broke")
        return self.family.autoencoder.decode(latents)


MOODS = {1, 2, 3, 6}  # row counts of which a moody model makes something else
ENORMOUS = 1e6  # latents so large break the decoder
POISON = {"break denoise": 7001.0, "not a number": 7002.0, "break decode": 7003.0}


def embed(prompt: str) -> Tensor:
    """(77, WIDTH), a function of the prompt alone."""
    seed = int.from_bytes(prompt.encode()[-6:] or b"0", "big")
    embedding = torch.randn(77, WIDTH, generator=torch.Generator().manual_seed(seed))
    for word, mark in POISON.items():
        if word in prompt:
            embedding[0, 0] = mark
    return embedding


def as_model(micro: MicroModel) -> Model:
    return cast(Model, micro)


class MicroShelf:
    """A shelf of one model, called ``micro``, which is still loading the first ``busy`` times it is asked for."""

    def __init__(self, model: MicroModel, busy: int = 0) -> None:
        self.model = model
        self.busy = busy

    def get(self, name: str | None) -> Model | None:
        if name == "broken":
            raise EngineFailed("The model broken cannot be loaded")
        self.busy -= 1
        return as_model(self.model) if self.busy < 0 else None


def as_shelf(micro: MicroShelf) -> Shelf:
    return cast(Shelf, micro)
