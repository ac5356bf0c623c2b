"""A sampler as a table of coefficients, read off a diffusers scheduler by running it on unit vectors.

Every usual sampler is linear in the latents, the model's outputs so far and fresh noise. So the scheduler is run once,
in float64, with unit vectors in place of tensors, and what it computes *is* its coefficients; there is no sampler maths
of our own here. Knows nothing of rows, pictures or the model: a table says what to do with them (`update.py` does it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from safelight.engine.flow import Schedule, flows, steps_from, timing
from safelight.engine.generation import Generation
from safelight.errors import Invalid

Scheduler = Any  # diffusers gives its schedulers the same methods by custom, and no type that says so

LATENTS, OUTPUT, MEMORY = 0, 1, 2  # which unit vector stands for what, while a scheduler is being read


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call of the model and what follows it.

    A picture's state is a stack: its latents, then what the sampler remembers. ``weights`` takes that stack, the
    model's output and ``draws`` fresh noises to the next stack.
    """

    timestep: float
    scale: float  # the model is shown latents * scale
    weights: Tensor  # (stack after, stack before + 1 + draws), float32
    draws: int
    renoise: tuple[float, float]  # the init latents and the noise, at the level reached after this step
    denoised: tuple[float, float]  # what the model was shown and what it answered, weighed into a finished picture

    @property
    def stack(self) -> int:
        return self.weights.shape[1] - 1 - self.draws


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A whole schedule, compiled. The first latents are the init latents and the noise, weighed by ``start``."""

    start: tuple[float, float]
    steps: tuple[Step, ...]
    denoising_steps: int  # as people count them; samplers that ask the model twice a step have more ``steps``

    def done(self, calls: int) -> int:
        """How many denoising steps are complete after so many calls of the model."""
        return calls * self.denoising_steps // len(self.steps)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a schedule is entered. Without ``strength`` from pure noise; with it, part-way from a picture.

    ``masked`` is inpainting, which at full strength starts from pure noise like text-to-image.
    """

    strength: float | None = None
    masked: bool = False

    @classmethod
    def of(cls, generation: Generation) -> Start:
        if generation.init_image is None:
            return cls()
        return cls(generation.strength, generation.mask_image is not None)


PLAIN = Schedule()


def compile_table(scheduler: Scheduler, steps: int, start: Start, schedule: Schedule = PLAIN) -> Table:
    """Run ``scheduler`` on unit vectors, call by call as the diffusers pipelines call it, and keep what is needed."""
    name = type(scheduler).__name__.removesuffix("Scheduler")
    try:
        table = _Reading(scheduler, steps, start, schedule).table()
    except (ValueError, IndexError, ZeroDivisionError, TypeError, AssertionError, RuntimeError) as error:
        raise Invalid("steps", f"must be another number: {name} cannot run {steps} steps from there") from error
    if not all(bool(step.weights.isfinite().all()) for step in table.steps):
        raise Invalid("steps", f"must be another number: {name} is undefined at {steps} steps from there")
    return table


class _Reading:
    """One scheduler being read: which of its attributes hold latents, and what each call makes of them."""

    def __init__(self, scheduler: Scheduler, steps: int, start: Start, schedule: Schedule) -> None:
        self.scheduler = scheduler
        self.start = start
        scheduler.set_timesteps(steps, **timing(scheduler, steps, schedule))
        self.timesteps: Tensor = scheduler.timesteps
        self.denoising_steps = steps
        if start.strength is not None:
            self.denoising_steps = steps_from(scheduler, steps, start.strength)
            self._enter(steps - self.denoising_steps)
        self.size = 2 * len(self.timesteps) + 16  # room for whatever it may choose to remember

    def _enter(self, skipped: int) -> None:
        if self.denoising_steps == 0:
            raise Invalid("strength", "leaves no step to run: raise it, or the number of steps")
        first = skipped * self.scheduler.order
        self.timesteps = self.timesteps[first:]
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(first)

    def table(self) -> Table:
        begin = self._begin()
        readings = [self._read(i) for i in range(len(self.timesteps))]
        weights = _forget([reading.weights for reading in readings], [reading.draws for reading in readings])
        steps = tuple(
            Step(reading.timestep, reading.scale, kept.float(), reading.draws, reading.renoise, reading.denoised)
            for reading, kept in zip(readings, weights, strict=True)
        )
        return Table(begin, steps, self.denoising_steps)

    def _begin(self) -> tuple[float, float]:
        if self.start.strength is None or (self.start.masked and self.start.strength == 1.0):
            return 0.0, float(getattr(self.scheduler, "init_noise_sigma", 1.0))
        return self._renoise(self.timesteps[:1])

    def _renoise(self, timestep: Tensor) -> tuple[float, float]:
        init, noise = self._unit(0), self._unit(1)
        if flows(self.scheduler):
            noisy = self.scheduler.scale_noise(init, timestep, noise).flatten()
        elif hasattr(self.scheduler, "add_noise"):
            noisy = self.scheduler.add_noise(init, noise, timestep).flatten()
        else:
            raise Invalid("sampler", "must be another one: this one cannot start from a picture")
        return float(noisy[0]), float(noisy[1])

    def _read(self, i: int) -> Step:
        """Step the scheduler once. Its memory holds unit vectors before, and is given new ones after."""
        t = self.timesteps[i]
        remembered = len(_distinct([get() for get, _ in self._memory()]))
        scale = self._scale(t)
        denoised = self._denoised(i)
        with _Draws(self._unit, MEMORY + remembered) as draws:
            after = self.scheduler.step(self._unit(OUTPUT), t, self._unit(LATENTS), return_dict=False)[0]
        memory = self._memory()
        kept = _distinct([get() for get, _ in memory])
        columns = [LATENTS, *range(MEMORY, MEMORY + remembered), OUTPUT]
        columns += range(MEMORY + remembered, MEMORY + remembered + draws.count)
        weights = torch.stack([row.flatten().double() for row in (after, *kept)])[:, columns]
        for get, put in memory:
            put(self._unit(MEMORY + _index(kept, get())))
        last = i + 1 == len(self.timesteps)
        noisy = self.start.strength is not None and not last
        renoise = self._renoise(self.timesteps[i + 1 : i + 2]) if noisy else (1.0, 0.0)
        return Step(float(t), scale, weights, draws.count, renoise, denoised)

    def _scale(self, t: Tensor) -> float:
        if flows(self.scheduler):
            return 1.0
        return float(self.scheduler.scale_model_input(self._unit(LATENTS), t).flatten()[LATENTS])

    def _denoised(self, i: int) -> tuple[float, float]:
        """Scaled as the model sees them, latents are alpha * picture + sigma * noise, whatever the sampler."""
        t = self.timesteps[i]
        if flows(self.scheduler):
            return 1.0, -float(t) / self.scheduler.config.num_train_timesteps
        alphas = getattr(self.scheduler, "alphas_cumprod", None)
        if alphas is None:
            return 1.0, 0.0
        alpha = float(alphas[int(t.round())]) ** 0.5
        sigma = (1 - alpha**2) ** 0.5
        match self.scheduler.config.get("prediction_type", "epsilon"):
            case "epsilon":
                return 1 / alpha, -sigma / alpha
            case "v_prediction":
                return alpha, -sigma
            case _:
                return 0.0, 1.0

    def _unit(self, i: int) -> Tensor:
        vector = torch.zeros(1, self.size, 1, 1, dtype=torch.float64)
        vector[0, i] = 1.0
        return vector

    def _memory(self) -> list[tuple[Callable[[], Tensor], Callable[[Tensor], None]]]:
        """A scheduler remembers whatever it holds that has the latents' shape: a getter and a setter for each."""
        return list(_places(self.scheduler.__dict__, (1, self.size, 1, 1)))


class _Draws(TorchFunctionMode):
    """While active, every ``torch.randn`` is answered with a new unit vector."""

    def __init__(self, unit: Callable[[int], Tensor], first: int) -> None:
        super().__init__()
        self._unit = unit
        self._first = first
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.randn:
            return func(*args, **(kwargs or {}))
        self.count += 1
        return self._unit(self._first + self.count - 1)


def _places(holder: Any, shape: tuple[int, ...]) -> Iterator[tuple[Callable[[], Tensor], Callable[[Tensor], None]]]:
    for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
        if isinstance(value, Tensor) and value.shape == shape:
            yield partial(holder.__getitem__, key), partial(holder.__setitem__, key)
        elif isinstance(value, list):
            yield from _places(value, shape)


def _index(vectors: list[Tensor], vector: Tensor) -> int:
    return next((i for i, other in enumerate(vectors) if torch.equal(other, vector)), -1)


def _distinct(vectors: list[Tensor]) -> list[Tensor]:
    found: list[Tensor] = []
    for vector in vectors:
        if _index(found, vector) < 0:
            found.append(vector)
    return found


def _forget(weights: list[Tensor], draws: list[int]) -> list[Tensor]:
    """Drop, from the last step back, everything remembered that no later latents depend on."""
    kept: list[Tensor] = []
    rows = [LATENTS]
    for matrix, count in zip(reversed(weights), reversed(draws), strict=True):
        wanted = matrix[rows]
        stack = wanted.shape[1] - 1 - count
        rows = [LATENTS, *(j for j in range(1, stack) if bool(wanted[:, j].any()))]
        kept.append(wanted[:, [*rows, *range(stack, wanted.shape[1])]])
    return kept[::-1]
