"""One loaded checkpoint and the four things it can do: read prompts, encode pictures, denoise rows, decode latents.

A row is one latent; rows of one call may be at any timestep and follow any prompt. Knows nothing of requests, samplers
or who asked; weights are never changed after loading, so a LoRA is applied on the way through and leaves no trace.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from diffusers import SchedulerMixin
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from safelight.engine.checkpoint import read_components
from safelight.engine.components import Components
from safelight.engine.generation import LoraUse
from safelight.engine.lora import FIELD, Adaptable, Deltas, Lora, read_lora
from safelight.engine.openvino import Compiled, place
from safelight.engine.textual_inversion import read_concept, teach
from safelight.errors import Invalid

Part = TypeVar("Part", bound=nn.Module)

CPU = torch.device("cpu")
LORAS_KEPT = 8  # LoRA files in memory for each model; the least recently used goes


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What one row is told to draw."""

    embedding: Tensor  # (77, D)
    pooled: Tensor | None = None  # (P,), SDXL
    time_ids: Tensor | None = None  # (6,), SDXL; None: the row's own size, uncropped


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The posterior of encoded pictures, not scaled: latents are (mean + std * noise) * scaling_factor."""

    mean: Tensor  # (B, 4, h, w)
    std: Tensor  # (B, 4, h, w)


class Model:
    """A checkpoint in memory. Every method may be called from any thread."""

    def __init__(
        self,
        name: str,
        components: Components,
        *,
        device: torch.device = CPU,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        compiled: Compiled | None = None,
        loras: Mapping[str, Path] | None = None,
        embeddings: Mapping[str, Path] | None = None,
    ) -> None:
        self.name = name
        self.device = device
        self.dtype = dtype
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._scheduler = components.scheduler_class, components.scheduler_config
        self._unet = Adaptable(self._place(components.unet))
        self._vae = self._place(components.vae)
        concepts = [read_concept(word, path) for word, path in (embeddings or {}).items()]
        encoders = components.text_encoders
        self._vocabularies = [teach(e.tokenizer, e.model, place, concepts) for place, e in enumerate(encoders)]
        self._text_models = [Adaptable(self._place(encoder.model)) for encoder in encoders]
        self._compiled = compiled
        self._lora_paths = dict(loras or {})
        self._loras: OrderedDict[str, Lora] = OrderedDict()
        self._reading_lora = threading.Lock()
        self.native_size: int | None = components.notes.get("native_size")
        self.latent_channels: int = components.vae.config["latent_channels"]
        self.unet_channels: int = components.unet.config["in_channels"]
        self.vae_scale: int = 2 ** (len(components.vae.config["block_out_channels"]) - 1)
        self.scaling_factor: float = components.vae.config["scaling_factor"]

    @classmethod
    def load(
        cls, path: Path, name: str | None = None, *, openvino: bool = False, kept: Path | None = None, **options: Any
    ) -> Self:
        """The checkpoint at ``path``; ``options`` are those of the class.

        ``openvino`` runs the UNet and the autoencoder compiled, as far as no LoRA is asked for; ``kept`` is the folder
        that remembers what was traced for that.
        """
        name, components = name or path.stem, read_components(path)
        compiled = None
        if openvino:
            folder = kept and place(kept, name, path)
            dtype = options.get("dtype", torch.float32)
            compiled = Compiled(components.unet, components.vae, dtype, folder)
        return cls(name, components, compiled=compiled, **options)

    def _place(self, part: Part) -> Part:
        # nn.Module's own: diffusers' override warns of parts to keep in float32 and then names none
        nn.Module.to(part, device=self.device, dtype=self.dtype, memory_format=self._layout)  # type: ignore[call-overload]
        return part

    def _modules(self) -> dict[str, nn.Module]:
        """The parts that LoRA files know, by their names in a diffusers folder."""
        texts = zip(("text_encoder", "text_encoder_2"), self._text_models, strict=False)
        return {"unet": self._unet.module} | {name: text_model.module for name, text_model in texts}

    @property
    def bytes(self) -> int:
        """In memory. A compiled network has weights of its own beside those that LoRA files are applied to."""
        parts = [self._vae, *self._modules().values()]
        parts += [self._vae, self._unet.module] if self._compiled else []
        return sum(weight.nbytes for part in parts for weight in part.parameters())

    @property
    def runtime(self) -> str:
        """What computes: with the same numbers in, another one gives other last bits."""
        part = "openvino" if self._compiled else "torch"
        return f"{part} {version(part)}"

    def scheduler(self) -> SchedulerMixin:
        """A fresh scheduler, configured as the checkpoint asks."""
        kind, config = self._scheduler
        return kind.from_config(config)

    @torch.no_grad()
    def encode_text(
        self, prompts: Sequence[str], clip_skip: int = 1, adapters: Sequence[LoraUse] = ()
    ) -> list[Conditioning]:
        """Read prompts. ``clip_skip`` 1 takes the last hidden layer, 2 the one before.

        That is diffusers' ``clip_skip`` plus one; diffusers applies it to the prompt and not to the negative prompt.
        """
        outputs = [self._run_text_model(i, prompts, adapters) for i in range(len(self._text_models))]
        if len(outputs) == 1:
            return [Conditioning(row) for row in self._last_hidden(outputs[0], clip_skip)]
        rows = torch.cat([output.hidden_states[-(clip_skip + 1)] for output in outputs], dim=-1)  # (B, 77, D1 + D2)
        return [Conditioning(row, pooled) for row, pooled in zip(rows, outputs[-1].text_embeds, strict=True)]

    def _last_hidden(self, output: Any, clip_skip: int) -> Tensor:
        if clip_skip == 1:
            last: Tensor = output.last_hidden_state  # (B, 77, D)
            return last
        parts = self._text_models[0].module.named_modules()
        norm = next(part for name, part in parts if name.endswith("final_layer_norm"))
        normed: Tensor = norm(output.hidden_states[-clip_skip])
        return normed

    def _run_text_model(self, i: int, prompts: Sequence[str], adapters: Sequence[LoraUse]) -> Any:
        name = ("text_encoder", "text_encoder_2")[i]
        ids = self._vocabularies[i].read(prompts).to(self.device)
        return self._text_models[i](ids, output_hidden_states=True, loras=self._deltas(name, adapters))

    def _deltas(self, component: str, adapters: Sequence[LoraUse]) -> list[tuple[Deltas, float]]:
        return [(self._lora(use.name)[component], use.strength) for use in adapters]

    def _lora(self, name: str) -> Lora:
        with self._reading_lora:
            if name not in self._lora_paths:
                raise Invalid(FIELD, "is not a LoRA on this server")
            if name not in self._loras:
                self._loras[name] = read_lora(self._lora_paths[name], self._modules(), self.device, self.dtype)
            self._loras.move_to_end(name)
            if len(self._loras) > LORAS_KEPT:
                self._loras.popitem(last=False)
            return self._loras[name]

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Moments:
        """Pictures (B, 3, H, W) in [-1, 1] to the moments of their latents."""
        if self._compiled:
            posterior = DiagonalGaussianDistribution(self._compiled.encode(pixels))
        else:
            posterior = self._vae.encode(self._enter(pixels)).latent_dist
        return Moments(posterior.mean.float(), posterior.std.float())

    @torch.no_grad()
    def denoise(
        self,
        x: Tensor,
        timesteps: Tensor,
        conditioning: Sequence[Conditioning],
        extra: Tensor | None = None,
        adapters: Sequence[LoraUse] = (),
    ) -> Tensor:
        """One UNet call on rows (B, 4, h, w), already scaled; ``extra`` holds the 5 channels of an inpainting model."""
        rows = x if extra is None else torch.cat([x, extra.to(x)], dim=1)
        context = torch.stack([c.embedding for c in conditioning]).to(self.device, self.dtype)  # (B, 77, D)
        added = self._added_conditions(rows, conditioning)
        if self._compiled and not adapters:
            return self._compiled.unet(rows, timesteps, context, *(added or {}).values())
        inputs = self._enter(rows), timesteps.to(self.device), context
        predicted: Tensor = self._unet(*inputs, added_cond_kwargs=added, loras=self._deltas("unet", adapters)).sample
        return predicted.to(x.dtype)

    def _added_conditions(self, rows: Tensor, conditioning: Sequence[Conditioning]) -> dict[str, Tensor] | None:
        pooled = [c.pooled for c in conditioning if c.pooled is not None]
        if not pooled:
            return None
        height, width = (float(side * self.vae_scale) for side in rows.shape[-2:])
        # filled, not copied from the host: a CUDA graph can hold that
        whole = torch.cat([torch.full((1,), x, device=self.device) for x in (height, width, 0.0, 0.0, height, width)])
        time_ids = torch.stack([whole if c.time_ids is None else c.time_ids for c in conditioning])  # (B, 6)
        text_embeds = torch.stack(pooled)  # (B, P)
        return {
            "text_embeds": text_embeds.to(self.device, self.dtype),
            "time_ids": time_ids.to(self.device, self.dtype),
        }

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, 4, h, w) to pictures (B, 3, H, W) in [-1, 1]."""
        if self._compiled:
            return self._compiled.decode(latents / self.scaling_factor)
        pixels: Tensor = self._vae.decode(self._enter(latents / self.scaling_factor)).sample
        return pixels.float()

    def _enter(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.dtype, memory_format=self._layout)
