"""What pictures are told and what they start from: prompts and init images through the encoders, remembered per owner.

In exact mode each goes through alone, so that its numbers cannot depend on what else was waiting; otherwise those of a
kind share a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, TypeVar

import torch
from torch import Tensor

from safelight.engine.cache import Cache
from safelight.engine.canvas import Canvas, begin, wants_hints, wants_masked_moments, wants_moments
from safelight.engine.families.autoencoder import Moments
from safelight.engine.families.family import Conditioning
from safelight.engine.generation import Pixels
from safelight.engine.isolate import isolate
from safelight.engine.mixing import mixed_pictures, mixed_texts
from safelight.engine.model import Model
from safelight.engine.pace import Pace
from safelight.engine.plan import Plan
from safelight.errors import SafelightError

Value = TypeVar("Value")
Payload = TypeVar("Payload")

TOGETHER = 8  # prompts or pictures of one call, at most


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A picture about to be begun. ``purges`` is how often its owner's caches had been purged when it came in."""

    plan: Plan
    seed: int
    purges: int


@dataclass(frozen=True, slots=True, eq=False)
class Want(Generic[Payload]):
    """Something to be encoded, unless it is remembered. Those of one ``kind`` may share a call."""

    start: Start
    kind: tuple[Hashable, ...]
    key: tuple[Hashable, ...]
    payload: Payload

    @property
    def owner(self) -> str:
        return self.start.plan.generation.owner

    @property
    def model(self) -> Model:
        return self.start.plan.model


Found = dict[tuple[str, tuple[Hashable, ...]], Value | SafelightError]


class Encoder:
    def __init__(self, pace: Pace, *, exact: bool, keep_texts: int = 512, keep_moments: int = 128) -> None:
        self._pace = pace
        self._together = 1 if exact else TOGETHER
        self._texts: Cache[Conditioning] = Cache(keep_texts)
        self._moments: Cache[Moments] = Cache(keep_moments)
        self._sights: Cache[Tensor] = Cache(keep_moments)

    def purges(self, owner: str) -> int:
        return self._texts.purges(owner)

    def purge(self, owner: str) -> None:
        self._moments.purge(owner)
        self._sights.purge(owner)
        self._texts.purge(owner)

    def begin(self, starts: Sequence[Start]) -> list[Canvas | SafelightError]:
        """The canvases of new pictures, or why there is none."""
        texts = self._find(self._texts, [want for start in starts for want in _texts(start)], self._read)
        for model in {start.plan.model for start in starts}:
            model.rest()
        looks = [want for start in starts for want in (*_moments(start), *_hints(start))]
        moments = self._find(self._moments, looks, self._look)
        sights = self._find(self._sights, [want for start in starts for want in _sights(start)], self._see)
        return [isolate([start], lambda one: [_canvas(one[0], texts, moments, sights)])[0] for start in starts]

    def _find(
        self,
        cache: Cache[Value],
        wants: Iterable[Want[Payload]],
        encode: Callable[[Sequence[Want[Payload]]], Sequence[Value]],
    ) -> Found[Value]:
        found: Found[Value] = {}
        missing: dict[tuple[str, tuple[Hashable, ...]], Want[Payload]] = {}
        for want in wants:
            value = cache.get(want.owner, want.key)
            if value is None:
                missing[want.owner, want.key] = want
            else:
                found[want.owner, want.key] = value
        for group in self._groups(list(missing.values())):
            for want, answer in zip(group, isolate(group, encode), strict=True):
                found[want.owner, want.key] = answer
                if not isinstance(answer, SafelightError):
                    cache.put(want.owner, want.key, answer, want.start.purges)
        return found

    def _groups(self, wants: list[Want[Payload]]) -> Iterator[list[Want[Payload]]]:
        for _, same in groupby(sorted(wants, key=lambda want: repr(want.kind)), key=lambda want: want.kind):
            group = list(same)
            for i in range(0, len(group), self._together):
                yield group[i : i + self._together]

    def _read(self, wants: Sequence[Want[tuple[str, int]]]) -> list[Conditioning]:
        with self._pace.measure("text"):
            prompts = [prompt for prompt, _ in (want.payload for want in wants)]
            loras = wants[0].start.plan.generation.loras
            plan = wants[0].start.plan
            return plan.model.encode_text(prompts, wants[0].payload[1], loras, plan.shown, plan.pieces)

    def _look(self, wants: Sequence[Want[Tensor]]) -> list[Moments]:
        began = time.perf_counter()
        with self._pace.measure("vae"):
            pixels = torch.cat([want.payload for want in wants])
            model, other = wants[0].model, wants[0].start.plan.autoencoder
            moments = model.encode_image(pixels.to(model.device), other)
        self._pace.vae(pixels.shape[0] * pixels.shape[2] * pixels.shape[3], time.perf_counter() - began)
        return [Moments(moments.mean[i : i + 1], moments.std[i : i + 1]) for i in range(len(wants))]

    def _see(self, wants: Sequence[Want[Pixels]]) -> list[Tensor]:
        with self._pace.measure("vae"):
            return [want.model.see(want.payload, want.start.plan.shape) for want in wants]


def _texts(start: Start) -> Iterator[Want[tuple[str, int]]]:
    """As in diffusers, ``clip_skip`` is for the prompt; the negative prompt is read to the last layer."""
    generation, model = start.plan.generation, start.plan.model
    shown = " ".join(source.digest for source in start.plan.sources) if start.plan.shown else ""
    prompts = [generation.prompt, *(each.prompt for each in generation.mixture)]
    payloads = [(prompt, generation.clip_skip) for prompt in prompts]
    if start.plan.guided:
        payloads.insert(0, (generation.negative_prompt, 1))
    for payload in payloads:
        kind = (model.name, payload[1], generation.loras, shown, start.plan.pieces)
        yield Want(start, kind, (*kind, payload[0]), payload)


def _moments(start: Start) -> Iterator[Want[Tensor]]:
    source, by = start.plan.source, _autoencoder(start)
    if source is None:
        return
    if wants_moments(start.plan):
        for each in start.plan.sources:
            yield Want(start, (*by, each.pixels.shape), (*by, each.digest), each.pixels)
    if wants_masked_moments(start.plan) and source.masked_pixels is not None:
        yield Want(start, (*by, source.pixels.shape), (*by, source.masked_digest), source.masked_pixels)


def _hints(start: Start) -> Iterator[Want[Tensor]]:
    """Once for all pictures of a request."""
    by = _autoencoder(start)
    for cue in start.plan.cues if wants_hints(start.plan) else ():
        yield Want(start, (*by, cue.hint.shape), (*by, cue.digest), cue.hint * 2.0 - 1.0)


def _autoencoder(start: Start) -> tuple[str, str | None]:
    """By which pictures become latents."""
    return start.plan.model.name, start.plan.generation.vae


def _sights(start: Start) -> Iterator[Want[Pixels]]:
    source, init = start.plan.source, start.plan.generation.init_image
    if source is not None and init is not None and start.plan.model.family.sees:
        yield Want(start, (start.plan.model.name,), (start.plan.model.name, source.digest), init)


def _canvas(start: Start, texts: Found[Conditioning], moments: Found[Moments], sights: Found[Tensor]) -> Canvas:
    told = [_given(texts[want.owner, want.key]) for want in _texts(start)]
    pictures = [_given(moments[want.owner, want.key]) for want in _moments(start)]
    plan = start.plan
    init = pictures[0] if wants_moments(plan) else None
    masked = pictures[-1] if wants_masked_moments(plan) else None
    if plan.generation.mixture:
        told[-len(plan.shares) :] = [mixed_texts(told[-len(plan.shares) :], plan.shares)]
        init = mixed_pictures(pictures, plan.shares)
    seen = next((_given(sights[want.owner, want.key]) for want in _sights(start)), None)
    hints = [_given(moments[want.owner, want.key]) for want in _hints(start)]
    beside = pictures[1:] if plan.references else ()
    return begin(plan, start.seed, tuple(told), init, masked, seen, hints, beside)


def _given(answer: Value | SafelightError) -> Value:
    if isinstance(answer, SafelightError):
        raise answer
    return answer
