"""One loaded checkpoint and the four things it can do: read prompts, encode pictures, denoise rows, decode latents.

Where it computes, its LoRAs and its compiled networks are the same for every kind of model; what is particular to one
lies in its family. Weights are never changed after loading, so a LoRA is applied on the way through and leaves no trace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import SchedulerMixin
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from safelight.engine.autoencoders import Autoencoders
from safelight.engine.beside import Beside
from safelight.engine.checkpoint import part_of, read_again, read_components
from safelight.engine.components import Components
from safelight.engine.controlnet import controlnets_of
from safelight.engine.families import additions
from safelight.engine.families.autoencoder import Autoencoder, Moments, Place
from safelight.engine.families.family import Conditioning, Inputs, Networks, Row, Shape
from safelight.engine.generation import LoraUse, Pixels
from safelight.engine.hints import Draw
from safelight.engine.lone import Lenders
from safelight.engine.lora import FIELD, Adaptable, Deltas, Lora, Spellings, read_lora
from safelight.engine.memory import EncoderPlace, Footprint, encoder_place
from safelight.engine.openvino import Compiled, place
from safelight.engine.passing import Passing
from safelight.engine.quantised import Bits, resting, settle_small
from safelight.engine.textual_inversion import FIELD as PROMPT
from safelight.engine.textual_inversion import marked, read_concept
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
        words: Mapping[str, Path] | None = None,
        vaes: Mapping[str, Path] | None = None,
        controlnets: Mapping[str, Path] | None = None,
        onlookers: Mapping[str, Draw] | None = None,
        encoders: EncoderPlace = EncoderPlace.device,
        again: Callable[[], Mapping[str, nn.Module]] | None = None,
        weights: Bits = Bits.native,
    ) -> None:
        """``embeddings`` are known to every prompt, ``words`` to those that ask for them; ``again`` reads the text encoders from the
        checkpoint's files, for those that are dropped.
        """
        self.name = name
        self.device = device
        self.dtype = dtype
        self._scheduler = components.scheduler_class, components.scheduler_config
        self._parts = components.parts.networks
        layout = torch.channels_last if channels_last else torch.contiguous_format
        placed = Place(device, dtype, layout, CPU if encoders == EncoderPlace.cpu else None)
        self._encoders = encoder_place(encoders, device)
        self._weights = weights
        texts = {name: part for name, part in self._parts.items() if part_of(name) == "encoders"}
        self._passing = Passing(texts, placed, again) if encoders == EncoderPlace.drop and again else None
        concepts = [read_concept(word, path) for word, path in (embeddings or {}).items()]
        self.family = components.family(components.parts, placed, concepts)
        for part_name, part in self._parts.items():
            if weights != Bits.native and part_name == self.family.denoiser:
                settle_small(part, placed, weights)
            else:
                (placed.text if part_name in texts else placed).settle(part)
        self.rest()
        self.onlookers = onlookers or {}  # the operator's networks that draw hints
        self.controlnets = controlnets_of({} if controlnets is None else controlnets, self.family, placed)
        self.autoencoders = Autoencoders({} if vaes is None else vaes, self.family, placed)
        self._adaptable = {name: Adaptable(part) for name, part in self._parts.items() if name != "vae"}
        self._compiled = compiled
        reader = partial(
            _read_lora, self._adaptable, self.family.spellings, dtype
        )  # a model that holds itself is not let go
        self._loras = Beside({} if loras is None else loras, reader, LORAS_KEPT, FIELD, "a LoRA")
        self._word_paths = {} if words is None else words  # more may come, and some may go
        self._words: dict[str, tuple[str, ...]] = {}
        self._teaching = threading.Lock()
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

        ``openvino`` runs the denoiser and the autoencoder compiled, as far as no LoRA is asked for; ``kept`` is the folder
        that remembers what was traced for that. A family that cannot be compiled is left to torch, and so are weights in
        fewer bits.
        """
        name, components = name or path.stem, read_components(path, lenders=lenders)
        compiled = None
        if openvino and components.family.compiles and options.get("weights", Bits.native) == Bits.native:
            folder = kept and place(kept, name, path)
            plain = components.family(components.parts, Place(CPU, torch.float32))
            compiled = Compiled(plain, options.get("dtype", torch.float32), folder)
        return cls(name, components, compiled=compiled, again=partial(read_again, path, lenders), **options)

    @property
    def trained_side(self) -> int:
        """Of the squares that it was trained to draw, in pixels: as its denoiser says, or 1024 as for those that do not."""
        denoiser: Any = self._parts[self.family.denoiser]
        said = denoiser.config.get("sample_size")
        return said * self.family.autoencoder.side if isinstance(said, int) else 1024

    @property
    def footprint(self) -> Footprint:
        """A compiled network has weights of its own beside those that LoRA files are applied to."""
        found = {"encoders": 0, "denoiser": self.controlnets.bytes, "autoencoder": self.autoencoders.networks.bytes}
        for name, network in self._parts.items():
            times = 2 if self._compiled and name in ("vae", self.family.denoiser) else 1
            found[part_of(name)] += times * sum(weight.nbytes for weight in resting(network))
        return Footprint(**found, place=self._encoders)

    @property
    def bytes(self) -> int:
        """On its device, as long as it is loaded."""
        return self.footprint.stays

    @property
    def compiled(self) -> bool:
        """Whether a compiled network answers, as far as neither LoRAs nor ControlNets are asked for."""
        return self._compiled is not None

    @property
    def runtime(self) -> str:
        """What computes: with the same numbers in, another one gives other last bits."""
        part = "openvino" if self._compiled else "torch"
        small = "" if self._weights == Bits.native else f", weights in {self._weights}"
        return f"{part} {version(part)}{small}"

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
        pictures: Sequence[Pixels] = (),
        pieces: int = 0,
    ) -> list[Conditioning]:
        """``pictures`` are what the prompts speak of, for families whose text encoder looks at them; with ``pieces`` their
        words are weighed and they are read in so many. Whoever has no more prompts for now says ``rest``.
        """
        with self._passing.there() if self._passing else nullcontext():
            if pieces:
                told = self.family.read_weighed(self._networks(adapters), prompts, clip_skip, pieces)
            elif pictures:
                told = self.family.read_beside(self._networks(adapters), prompts, pictures)
            else:
                told = self.family.read(self._networks(adapters), prompts, clip_skip)
        return [text.to(self.device) for text in told]

    def rest(self) -> None:
        """Prompts are read for now: text encoders that do not stay go."""
        if self._passing:
            self._passing.go()

    @torch.no_grad()
    def encode_image(self, pixels: Tensor, other: Autoencoder | None = None) -> Moments:
        """Pictures (B, 3, H, W) in [-1, 1] to the moments of their latents, by another autoencoder than its own where one is given."""
        if self._compiled and other is None:
            posterior = DiagonalGaussianDistribution(self._compiled.encode(pixels))
            return Moments(posterior.mean, posterior.std)
        return (other or self.family.autoencoder).look(pixels)

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
            return self._compiled.denoiser(*inputs.values())
        return self.family.call(self._networks(adapters), inputs)

    @torch.no_grad()
    def decode(self, latents: Tensor, other: Autoencoder | None = None) -> Tensor:
        """Latents (B, C, h, w) to pictures (B, 3, H, W) in [-1, 1], likewise."""
        if self._compiled and other is None:
            return self._compiled.decode(self.family.autoencoder.grow(latents))
        return (other or self.family.autoencoder).decode(latents)

    def _networks(self, adapters: Sequence[LoraUse]) -> Networks:
        return {name: partial(network, loras=self._deltas(name, adapters)) for name, network in self._adaptable.items()}

    def _deltas(self, component: str, adapters: Sequence[LoraUse]) -> list[tuple[Deltas, float]]:
        return [(self._loras.get(use.name)[component], use.strength) for use in adapters]

    def learn(self, word: str, name: str) -> tuple[str, ...]:
        """One that came later under this name: prompts may have it from now on, marked. How it is spelled. Raises Invalid."""
        with self._teaching:
            if name not in self._words:
                self._words[name] = self._taught(word, name)
            return self._words[name]

    def _taught(self, word: str, name: str) -> tuple[str, ...]:
        if name not in self._word_paths:
            raise Invalid(PROMPT, f"has the word {word}, which is no longer on this server")
        concept = read_concept(word, self._word_paths[name])
        if not self.family.teachable(concept):
            raise Invalid(PROMPT, f"has the word {word}, which was learned for another kind of checkpoint")
        self.family.learn(replace(concept, spellings=(marked(name),)))
        return concept.spellings

    def forget(self, name: str) -> None:
        """Whatever came by this name is no longer here."""
        with self._teaching:
            if self._words.pop(name, None):
                self.family.forget(name)
        self._loras.forget(name)
        self.controlnets.forget(name)
        self.autoencoders.networks.forget(name)


def _read_lora(adaptable: Mapping[str, Adaptable], spellings: Spellings, dtype: torch.dtype, path: Path) -> Lora:
    parts = {part: network.module for part, network in adaptable.items()}
    return read_lora(path, parts, spellings, dtype)
