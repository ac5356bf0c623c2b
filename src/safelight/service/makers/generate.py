"""Pictures from a checkpoint: the order in the engine's words, its pixels checked for what they show, then as files.

Knows nothing of how pictures are made: the engine, the decoding and encoding of PNG, and the safety check are handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from safelight.engine.generation import Control, Generation, Ingredient, LoraUse, Pixels, Progress, Result, Spacing
from safelight.errors import Invalid
from safelight.records import AssetKind, ControlUse, ImageRequest, JobRequest, Operation, Task
from safelight.service.makers.covers import covered
from safelight.service.makers.framing import cleared, framed, kept
from safelight.service.makers.maker import Made, Order
from safelight.service.makers.passes import Listen, in_two_passes
from safelight.service.stock import name_of


class Ticket(Protocol):
    """The engine's word that it works on something."""

    previews: bool

    @property
    def future(self) -> Future[Result]: ...
    def cancel(self) -> None: ...


class Engine(Protocol):
    """What is needed of an engine."""

    def submit(self, generation: Generation, on_progress: Callable[[Progress], None] | None = None) -> Ticket: ...
    def purge(self, owner: str) -> None: ...


@dataclass(frozen=True)
class Lightbox:
    """The ways between stored files and pixels, each run in a thread, and the judge of what they show (0 harmless .. 1)."""

    decode: Callable[[bytes], Pixels]
    encode: Callable[[Pixels], bytes]
    nsfw: Callable[[Pixels], float]
    sketch: Callable[[Pixels], bytes]  # a WebP of at most ``progress.MOST_PREVIEW`` bytes


Bring = Callable[[str, int], Awaitable[str]]  # an owner and the job that installed a model -> the engine's name for it

Find = Callable[[str], Awaitable[str]]  # the same of a checkpoint of the operator's, by the name that requests give it


async def nothing_installed(_owner: str, _job_id: int) -> str:
    raise Invalid("model_id", "is not a model on this server")


async def by_that_name(name: str) -> str:
    return name


Locate = Callable[[str, Pixels, str], Pixels]  # a finder, a picture and words -> the mask of what they name there


def no_finder(name: str, _pixels: Pixels, _words: str) -> Pixels:
    raise Invalid("specific_object", f"is not found here: this worker has no {name}")


class Generate:
    """``safety_threshold`` is the score from which a picture is covered, where the caller asked for the check."""

    task = Task.generate

    def __init__(
        self,
        engine: Engine,
        lightbox: Lightbox,
        *,
        default_model: str,
        safety_threshold: float,
        bring: Bring = nothing_installed,
        find: Find = by_that_name,
        weighs: Callable[[str], bool] = lambda _: False,
        locate: Locate = no_finder,
    ) -> None:
        self._engine, self._lightbox, self._bring, self._weighs = engine, lightbox, bring, weighs
        self._find, self._locate = find, locate
        self._default_model, self._threshold = default_model, safety_threshold

    async def make(self, order: Order) -> Made:
        request = order.request
        assert isinstance(request, ImageRequest)
        generation = await self._generation(request, order)
        if generation.init_image is not None and not request.strength:
            result = await asyncio.to_thread(kept, generation)
        else:
            with order.at_work():
                result = await self._passes(generation, request, order)
        files, nsfw = await asyncio.to_thread(self._develop, request, result)
        model = request.model or self._default_model
        return Made(files, result.steps, result.seconds, model, nsfw, result.native_size)

    async def needs(self, request: JobRequest) -> str | None:
        """The checkpoint that it is made with, by the engine's name for it."""
        if not isinstance(request, ImageRequest):
            return None
        if request.installed is not None:
            return name_of(request.installed)
        return self._default_model if request.model is None else await self._find(request.model)

    def purge(self, owner: str) -> None:
        self._engine.purge(owner)

    async def _passes(self, generation: Generation, request: ImageRequest, order: Order) -> Result:
        run, listen = partial(self._run, order), partial(self._note, order)
        if request.draft is None:
            return await run(generation, listen)
        return await in_two_passes(run, generation, request.draft, listen)

    async def _run(self, order: Order, generation: Generation, listen: Listen) -> Result:
        ticket = self._engine.submit(generation, listen)
        order.when_taken_back(ticket.cancel)
        order.when_watched(partial(setattr, ticket, "previews"))
        return await asyncio.wrap_future(ticket.future)

    def _note(self, order: Order, progress: Progress) -> None:
        pixels, steps = progress.preview, progress.steps
        if isinstance(order.request, ImageRequest) and order.request.draft:
            steps = max(steps, order.request.steps_to_run)
        order.note(progress.step, steps, None if pixels is None else partial(self._sketch, order.request, pixels))

    def _sketch(self, request: JobRequest, pixels: Pixels) -> bytes | None:
        """What the finished picture must not show, its sketch must not either."""
        checked = isinstance(request, ImageRequest) and request.safety_checker
        return None if checked and self._lightbox.nsfw(pixels) >= self._threshold else self._lightbox.sketch(pixels)

    async def _generation(self, request: ImageRequest, order: Order) -> Generation:
        init, mask = [await self._pixels(order, kind) for kind in (AssetKind.init_image, AssetKind.mask_image)]
        if init is not None and request.finder is not None:
            mask = await asyncio.to_thread(self._found, request.finder, init, request.words)
        if init is not None and request.operation is not Operation.edit:  # that shows pictures as they are
            init, mask = await asyncio.to_thread(framed, init, mask, request.width, request.height, request.fit)
        if init is not None and mask is not None and request.cleared:
            init = await asyncio.to_thread(cleared, init, mask)
        mixture = [
            Ingredient(await self._given(use.picture, request, order), use.prompt, use.share) for use in request.mixture
        ]
        beside = [await self._whole(label, order) for label in request.beside]
        controls = [await self._control(use, request, order, init) for use in request.controls]
        return Generation(
            prompt=request.prompt, negative_prompt=request.negative_prompt, width=request.width, height=request.height,
            samples=request.samples, steps=request.steps, guidance_scale=request.guidance_scale,
            image_guidance_scale=request.image_guidance_scale, true_cfg_scale=request.true_cfg_scale,
            strength=request.strength, seed=request.seed,
            sampler=request.sampler, spacing=Spacing(request.spacing), algorithm_type=request.algorithm_type,
            init_image=init, beside=tuple(beside), share=request.share, mixture=tuple(mixture), mask_image=mask,
            panorama=request.panorama, layout_share=request.layout_share, layout_until=request.layout_until,
            model=await self._model(request, order.owner),
            vae=await self._called(request.vae, request.installed_vae, order.owner),
            loras=await self._loras(request, order.owner),
            words={word: await self._bring(order.owner, job_id) for word, job_id in request.embeddings.items()},
            clip_skip=request.clip_skip, controls=tuple(controls), weighed=self._weighs(request.dialect), owner=order.owner,
        )  # fmt: skip

    async def _model(self, request: ImageRequest, owner: str) -> str | None:
        """By the engine."""
        if request.model is None or request.installed is not None:
            return await self._called(request.model, request.installed, owner)
        return await self._find(request.model)

    def _found(self, finder: str, pixels: Pixels, words: str) -> Pixels:
        mask = self._locate(finder, pixels, words)
        if not mask.any():
            raise Invalid("object_name", "was not found in the picture")
        return mask

    async def _called(self, name: str | None, job_id: int | None, owner: str) -> str | None:
        """By the engine."""
        return name if job_id is None else await self._bring(owner, job_id)

    async def _loras(self, request: ImageRequest, owner: str) -> tuple[LoraUse, ...]:
        names = [await self._called(name, request.installed_loras.get(name), owner) for name, _ in request.loras]
        return tuple(LoraUse(str(name), used[1]) for name, used in zip(names, request.loras, strict=True))

    async def _control(self, use: ControlUse, request: ImageRequest, order: Order, init: Pixels | None) -> Control:
        """What it follows is framed like an init image; ``init`` already is."""
        own = use.picture == AssetKind.init_image.label
        pixels = init if own else await self._given(use.picture, request, order)
        assert pixels is not None
        name = await self._called(use.name, use.installed, order.owner)
        return Control(str(name), pixels, use.hint, use.scale, use.start, use.end)

    async def _given(self, label: str, request: ImageRequest, order: Order) -> Pixels:
        """A further picture, framed like the init image."""
        pixels = await self._whole(label, order)
        return (await asyncio.to_thread(framed, pixels, None, request.width, request.height, request.fit))[0]

    async def _whole(self, label: str, order: Order) -> Pixels:
        pixels = await self._pixels(order, AssetKind.labelled(label))
        assert pixels is not None, "came with the request"
        return pixels

    async def _pixels(self, order: Order, kind: AssetKind) -> Pixels | None:
        data = order.inputs.get(kind)
        return None if data is None else await asyncio.to_thread(self._lightbox.decode, data)

    def _develop(self, request: ImageRequest, result: Result) -> tuple[list[bytes], list[bool]]:
        pictures = [picture.pixels for picture in result.pictures]
        nsfw = [request.safety_checker and self._lightbox.nsfw(pixels) >= self._threshold for pixels in pictures]
        shown = [
            covered(each, request.cover) if flagged else each for each, flagged in zip(pictures, nsfw, strict=True)
        ]
        return [self._lightbox.encode(pixels) for pixels in shown], nsfw
