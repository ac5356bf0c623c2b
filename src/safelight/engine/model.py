"""One loaded checkpoint and the four things it can do: read prompts, encode pictures, denoise rows, decode latents.

Where it computes, its LoRAs and its compiled networks are the same for every kind of model; what is particular to one
lies in its family. Weights are never changed after loading, so a LoRA is applied on the way through and leaves no trace.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import SchedulerMixin
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from safelight.engine.checkpoint import part_of, read_components
from safelight.engine.components import Components
from safelight.engine.controlnet import ControlNets
from safelight.engine.families import additions
from safelight.engine.families.autoencoder import Moments, Place
from safelight.engine.families.family import Conditioning, Inputs, Networks, Row, Shape
from safelight.engine.generation import LoraUse, Pixels
from safelight.engine.hints import Draw
from safelight.engine.lone import Lenders
from safelight.engine.lora import FIELD, Adaptable, Deltas, Lora, read_lora
from safelight.engine.openvino import Compiled, place
from safelight.engine.textual_inversion import read_concept
from safelight.errors import Invalid

CPU = torch.device("cpu")
LORAS_KEPT = 8  # LoRA files in memory for each model; the least recently used goes


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
        controlnets: Mapping[str, Path] | None = None,
        onlookers: Mapping[str, Draw] | None = None,
    ) -> None:
        self.name = name
        self.device = device
        self.dtype = dtype
        self._scheduler = components.scheduler_class, components.scheduler_config
        concepts = [read_concept(word, path) for word, path in (embeddings or {}).items()]
        placed = Place(device, dtype, torch.channels_last if channels_last else torch.contiguous_format)
        self.family = components.family(components.parts, placed, concepts)
        self._parts = components.parts.networks
        for part in self._parts.values():
            placed.settle(part)
        self.onlookers = onlookers or {}  # the operator's networks that draw hints
        self.controlnets = ControlNets(controlnets or {}, self.family, placed)
        self._adaptable = {name: Adaptable(part) for name, part in self._parts.items() if name != "vae"}
        self._compiled = compiled
        self._lora_paths = {} if loras is None else loras  # more may come, and some may go
        self._loras: OrderedDict[str, Lora] = OrderedDict()
        self._reading_lora = threading.Lock()
        self.native_size: int | None = components.notes.get("native_size")
        self.guidance_rescale = float(components.notes.get("guidance_rescale", 0.0))

    @classmethod
    def load(
        cls,
        path: Path,
        name: str | None = None,
        *,
        lenders: Lenders | None = None,
        openvino: bool = False,
        kept: Path | None = None,
        **options: Any,
    ) -> Self:
        """The checkpoint at ``path``; ``options`` are those of the class, ``lenders`` as ``read_components`` has them.

        ``openvino`` runs the UNet and the autoencoder compiled, as far as no LoRA is asked for; ``kept`` is the folder
        that remembers what was traced for that. A family that cannot be compiled is left to torch.
        """
        name, components = name or path.stem, read_components(path, lenders=lenders)
        compiled = None
        if openvino and components.family.compiles:
            folder = kept and place(kept, name, path)
            networks = components.parts.networks
            compiled = Compiled(networks["unet"], networks["vae"], options.get("dtype", torch.float32), folder)
        return cls(name, components, compiled=compiled, **options)

    @property
    def bytes(self) -> int:
        """In memory. A compiled network has weights of its own beside those that LoRA files are applied to."""
        parts = list(self._parts.values())
        parts += [self._parts["vae"], self._parts[self.family.denoiser]] if self._compiled else []
        return sum(weight.nbytes for part in parts for weight in part.parameters()) + self.controlnets.bytes

    @property
    def memory(self) -> dict[str, float]:
        """Bytes of weights, apart: encoders, denoiser, autoencoder."""
        found = {"encoders": 0.0, "denoiser": 0.0, "autoencoder": 0.0}
        for name, network in self._parts.items():
            found[part_of(name)] += sum(weight.nbytes for weight in network.parameters())
        return found

    @property
    def compiled(self) -> bool:
        """Whether a compiled network answers, as far as neither LoRAs nor ControlNets are asked for."""
        return self._compiled is not None

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
        self,
        prompts: Sequence[str],
        clip_skip: int = 1,
        adapters: Sequence[LoraUse] = (),
        picture: Pixels | None = None,
        pieces: int = 0,
    ) -> list[Conditioning]:
        """``picture`` is what the prompts speak of, for families whose text encoder looks at it; with ``pieces`` their
        words are weighed and they are read in so many.
        """
        if pieces:
            return self.family.read_weighed(self._networks(adapters), prompts, clip_skip, pieces)
        if picture is not None:
            return self.family.read_beside(self._networks(adapters), prompts, picture)
        return self.family.read(self._networks(adapters), prompts, clip_skip)

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Moments:
        """Pictures (B, 3, H, W) in [-1, 1] to the moments of their latents."""
        if self._compiled:
            posterior = DiagonalGaussianDistribution(self._compiled.encode(pixels))
            return Moments(posterior.mean, posterior.std)
        return self.family.autoencoder.look(pixels)

    @torch.no_grad()
    def see(self, picture: Pixels, shape: Shape) -> Tensor:
        """What a network of the family's own sees in the init image, (E, h, w) for latents of that shape."""
        return self.family.see(picture, shape)

    def denoise(self, rows: Sequence[Row], adapters: Sequence[LoraUse] = ()) -> list[Tensor]:
        """What the denoiser answers to each of these rows, (C, h, w), called together."""
        return self.family.split(self.call(self.family.gather(rows), adapters), rows)

    @torch.no_grad()
    def call(self, inputs: Inputs, adapters: Sequence[LoraUse] = ()) -> Tensor:
        if self._compiled and not adapters and not any(name.startswith(additions.NAME) for name in inputs):
            return self._compiled.unet(*inputs.values())
        return self.family.call(self._networks(adapters), inputs)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) to pictures (B, 3, H, W) in [-1, 1]."""
        if self._compiled:
            return self._compiled.decode(self.family.autoencoder.grow(latents))
        return self.family.autoencoder.decode(latents)

    def _networks(self, adapters: Sequence[LoraUse]) -> Networks:
        return {name: partial(network, loras=self._deltas(name, adapters)) for name, network in self._adaptable.items()}

    def _deltas(self, component: str, adapters: Sequence[LoraUse]) -> list[tuple[Deltas, float]]:
        return [(self._lora(use.name)[component], use.strength) for use in adapters]

    def forget_lora(self, name: str) -> None:
        with self._reading_lora:
            self._loras.pop(name, None)

    def _lora(self, name: str) -> Lora:
        with self._reading_lora:
            if name not in self._lora_paths:
                raise Invalid(FIELD, "is not a LoRA on this server")
            if name not in self._loras:
                parts = {part: network.module for part, network in self._adaptable.items()}
                self._loras[name] = read_lora(
                    self._lora_paths[name], parts, self.family.spellings, self.device, self.dtype
                )
            self._loras.move_to_end(name)
            if len(self._loras) > LORAS_KEPT:
                self._loras.popitem(last=False)
            return self._loras[name]
