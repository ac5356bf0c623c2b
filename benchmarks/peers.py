"""Who is measured: this engine, and what a self-hosted server does without it, on the same weights.

Every peer takes requests at any time and answers with futures. The diffusers peers run the library's own pipelines.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

import diffusers
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKLOutput
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

from benchmarks.architectures import native_side
from safelight.engine import openvino
from safelight.engine.engine import Engine
from safelight.engine.families import family_of
from safelight.engine.families.autoencoder import Place
from safelight.engine.families.family import Parts
from safelight.engine.families.stable_diffusion import StableDiffusion
from safelight.engine.generation import Generation
from safelight.engine.plan import drawn_size
from safelight.engine.samplers import configure
from safelight.engine.shelf import Shelf

WINDOW = 0.005  # seconds that request-level batching waits for company
SAMPLES_AT_MOST = 8  # pictures in one request-level batch


class Peer(Protocol):
    name: str

    def submit(self, generation: Generation) -> Future[Any]: ...

    def close(self) -> None: ...


def shelved(checkpoint: Path, device: torch.device, dtype: torch.dtype, *, compiled: bool = True) -> Shelf:
    """The checkpoint in memory, compiled by OpenVINO on a CPU that has it unless told otherwise."""
    compiled = compiled and device.type == "cpu" and openvino.installed() is not None
    shelf = Shelf({"it": checkpoint}, "it", device=device, dtype=dtype, openvino=compiled)
    shelf.wait(None)
    return shelf


class Ours:
    """This engine. ``max_rows`` 1 is the ablation: one picture to a call, with its one or two rows, so nothing is ever shared.

    ``keep``: the shelf is others' too, and stays open.
    """

    def __init__(self, name: str, shelf: Shelf, *, keep: bool = False, **options: Any) -> None:
        self.name = name
        self._shelf = None if keep else shelf
        self.engine = Engine(shelf, **options).start()

    def submit(self, generation: Generation) -> Future[Any]:
        return self.engine.submit(generation).future

    def close(self) -> None:
        self.engine.close()
        if self._shelf is not None:
            self._shelf.close()


class Serial:
    """(a) What most self-hosted servers do: diffusers' pipelines behind a lock, first come, first served."""

    name = "diffusers, one at a time"

    def __init__(self, pipelines: Pipelines) -> None:
        self._pipelines = pipelines
        self._queue: queue.SimpleQueue[tuple[Generation, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def submit(self, generation: Generation) -> Future[Any]:
        future: Future[Any] = Future()
        self._queue.put((generation, future))
        return future

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (batch := self._take()) is not None:
            try:
                pictures = self._pipelines.run([generation for generation, _ in batch])
                for (_, future), made in zip(batch, pictures, strict=True):
                    future.set_result(made)
            except Exception as error:  # noqa: BLE001  # the future carries it to whoever asked
                for _, future in batch:
                    future.set_exception(error)

    def _take(self) -> list[tuple[Generation, Future[Any]]] | None:
        one = self._queue.get()
        return None if one is None else [one]


class Batching(Serial):
    """(b) The same with request-level dynamic batching: requests that agree in all but prompt and seed run together."""

    name = "diffusers, request-level batches"

    def __init__(self, pipelines: Pipelines) -> None:
        self._waiting: list[tuple[Generation, Future[Any]]] = []
        self._closing = False
        super().__init__(pipelines)

    def _take(self) -> list[tuple[Generation, Future[Any]]] | None:
        while not self._waiting and not self._closing:
            self._accept(self._queue.get())
        if not self._waiting:
            return None
        if len(self._waiting) == 1 and not self._closing:
            time.sleep(WINDOW)
        while not self._queue.empty():
            self._accept(self._queue.get())
        return self._like_the_oldest()

    def _accept(self, item: tuple[Generation, Future[Any]] | None) -> None:
        if item is None:
            self._closing = True
        else:
            self._waiting.append(item)

    def _like_the_oldest(self) -> list[tuple[Generation, Future[Any]]]:
        chosen: list[tuple[Generation, Future[Any]]] = []
        key, pictures = agreement(self._waiting[0][0]), 0
        for item in list(self._waiting):
            if agreement(item[0]) == key and (not chosen or pictures + item[0].samples <= SAMPLES_AT_MOST):
                chosen.append(item)
                pictures += item[0].samples
                self._waiting.remove(item)
        return chosen


class Compiled(Serial):
    """(c) One at a time, with the denoiser and the decoder compiled: for the first shape, then for shapes in general."""

    name = "diffusers, compiled"

    def __init__(self, pipelines: Pipelines) -> None:
        super().__init__(pipelines)
        self._pipelines.compile()


class OnOpenVino(Serial):
    """(d) One at a time, with the networks compiled by OpenVINO: what is gained without sharing a call."""

    name = "diffusers on OpenVINO"

    def __init__(self, pipelines: Pipelines) -> None:
        super().__init__(pipelines)
        self._pipelines.compile_with_openvino()


def agreement(g: Generation) -> Hashable:
    """What requests must have in common to share a pipeline call."""
    kind = (g.init_image is not None, g.mask_image is not None)
    return (kind, g.width, g.height, g.steps, g.guidance_scale, g.sampler, kind[0] and g.strength)


class Pipelines:
    """diffusers' three pipelines on one set of weights."""

    def __init__(self, checkpoint: Path, device: torch.device, dtype: torch.dtype) -> None:
        base = diffusers.DiffusionPipeline.from_pretrained(checkpoint, torch_dtype=dtype, local_files_only=True)
        base.to(device)
        if device.type == "cuda":
            for network in (base.unet, base.vae) if hasattr(base, "unet") else ():
                network.to(memory_format=torch.channels_last)
        base.set_progress_bar_config(disable=True)
        self._native = native_side(checkpoint)
        self._multiple = family.multiple if (family := family_of(type(base).__name__)) else 8
        self._told = next((told for name, told in TOLD.items() if name in type(base).__name__), _guided)
        self._own = (
            base.scheduler
        )  # whose betas and shifts any other is given; none clips latents as if they were pixels
        self._text = diffusers.AutoPipelineForText2Image.from_pipe(base)
        self._image = diffusers.AutoPipelineForImage2Image.from_pipe(base)
        self._inpaint = diffusers.AutoPipelineForInpainting.from_pipe(base)
        for pipeline in (self._text, self._image, self._inpaint):
            pipeline.set_progress_bar_config(disable=True)

    @property
    def denoiser(self) -> str:
        return "unet" if "unet" in self._text.components else "transformer"

    def compile(self) -> None:
        torch._dynamo.config.recompile_limit = 64  # noqa: SLF001  # else it gives up half-way through the sizes
        self._text.components[self.denoiser].compile()
        self._text.vae.decoder.compile()

    def compile_with_openvino(self) -> None:
        """Put in the place of the modules' own methods; the three pipelines share the modules."""
        unet, vae, encoder = self._text.unet, self._text.vae, self._text.text_encoder
        parts = Parts({"unet": unet, "vae": vae, "text_encoder": encoder}, {"tokenizer": self._text.tokenizer})
        compiled = openvino.Compiled(StableDiffusion(parts, Place(unet.device, torch.float32)), unet.dtype)

        def forward(sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor, **_: Any) -> Any:
            return (compiled.denoiser(sample, timestep.expand(len(sample)), encoder_hidden_states),)

        def encode(pixels: torch.Tensor) -> Any:
            return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(compiled.encode(pixels)))

        unet.forward = forward
        vae.encode = encode
        vae.decode = lambda latents, **_: (compiled.decode(latents),)

    def run(self, generations: list[Generation]) -> list[list[Image.Image]]:
        first = generations[0]
        width, height = drawn_size(first.width, first.height, self._native, self._multiple)
        options = _common(generations) | self._told(first) | self._kind_options(generations, width, height)
        pipeline = self._pipeline(first)
        pipeline.scheduler = configure(self._own, first.sampler)
        pictures = pipeline(**options).images
        enlarged = [picture.resize((first.width, first.height), Image.Resampling.LANCZOS) for picture in pictures]
        return [[enlarged.pop(0) for _ in range(g.samples)] for g in generations]

    def _pipeline(self, g: Generation) -> Any:
        if g.mask_image is not None:
            return self._inpaint
        return self._text if g.init_image is None else self._image

    def _kind_options(self, generations: list[Generation], width: int, height: int) -> dict[str, Any]:
        first = generations[0]
        if first.init_image is None:
            return {"width": width, "height": height}
        whole = [g for g in generations for _ in range(g.samples)]
        images = [_resized(g.init_image, width, height) for g in whole]
        if first.mask_image is None:
            return {"image": images, "strength": first.strength} | self._sized(width, height)
        masks = [_resized(g.mask_image, width, height) for g in whole]
        return {"image": images, "mask_image": masks, "strength": first.strength, "width": width, "height": height}

    def _sized(self, width: int, height: int) -> dict[str, int]:
        """Stable Diffusion's image-to-image pipelines take the picture's own size, the transformers' a size beside it."""
        return {"width": width, "height": height} if self.denoiser == "transformer" else {}


def _guided(g: Generation) -> dict[str, Any]:
    return {"guidance_scale": g.guidance_scale}


def _guided_truly(g: Generation) -> dict[str, Any]:
    return {"true_cfg_scale": g.guidance_scale}


def _unguided_is_zero(g: Generation) -> dict[str, Any]:
    return {"guidance_scale": g.guidance_scale if g.guidance_scale > 1 else 0.0}


TOLD: dict[str, Callable[[Generation], dict[str, Any]]] = {"QwenImage": _guided_truly, "ZImage": _unguided_is_zero}


def _common(generations: list[Generation]) -> dict[str, Any]:
    whole = [(g, i) for g in generations for i in range(g.samples)]
    return {
        "prompt": [g.prompt for g, _ in whole],
        "negative_prompt": [g.negative_prompt for g, _ in whole],
        "num_inference_steps": generations[0].steps,
        "generator": [torch.Generator().manual_seed((g.seed + i) % 2**32) for g, i in whole],
    }


def _resized(pixels: Any, width: int, height: int) -> Image.Image:
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)


def can_compile() -> bool:
    """torch.compile needs a C++ compiler on a CPU, and a recent GPU on CUDA."""
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.ones(4))
    except Exception:  # noqa: BLE001  # whatever is missing, the answer is no
        return False
    return True


Make = Callable[[], Peer]


def peers(
    checkpoint: Path, device: torch.device, dtype: torch.dtype, rows: Path, max_rows: int | None
) -> dict[str, Make]:
    """Every peer by the letter or word that names it on the command line."""
    here = (checkpoint, device, dtype)
    probed: dict[str, Any] = {"rows_path": rows, "max_rows": max_rows}
    return {
        "ours": lambda: Ours("Safelight, exact", shelved(*here), exact=True, **probed),
        "fast": lambda: Ours("Safelight, fast", shelved(*here), exact=False, **probed),
        "alone": lambda: Ours("Safelight, batching off", shelved(*here), exact=False, max_rows=1),
        "torch": lambda: Ours("Safelight, exact, torch alone", shelved(*here, compiled=False), exact=True, **probed),
        "eager": lambda: Ours("Safelight, graphs off", shelved(*here), exact=True, **probed, graphs=False),
        "a": lambda: Serial(Pipelines(*here)),
        "b": lambda: Batching(Pipelines(*here)),
        "c": lambda: Compiled(Pipelines(*here)),
        "d": lambda: OnOpenVino(Pipelines(*here)),
    }
