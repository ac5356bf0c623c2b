"""A sampler is a table of coefficients, read off the diffusers scheduler of that name by running it on unit vectors.

Every usual sampler is linear in the latents, the model's outputs so far and fresh noise. So the scheduler is run once,
in float64, with unit vectors in place of tensors, and what it computes *is* its coefficients; there is no sampler maths
of our own here. Knows nothing of rows, pictures or the model: a table says what to do with them (`update.py` does it).
"""

from __future__ import annotations

import inspect
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from safelight.engine.generation import Generation, Spacing
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
    renoise: tuple[float, float]  # the init latents and the noise, at the level reached after this step (inpainting)
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


class Samplers:
    """Compiles tables and keeps the latest. May be asked from any thread."""

    def __init__(self, keep: int = 512) -> None:
        self._tables: OrderedDict[tuple[object, ...], Table] = OrderedDict()
        self._keep = keep
        self._lock = threading.Lock()

    def table(self, own: Scheduler, generation: Generation) -> Table:
        """The table for a generation, on a checkpoint whose own scheduler is ``own``."""
        config = json.dumps(dict(own.config), sort_keys=True, default=str)
        choice = (generation.sampler, generation.spacing, generation.algorithm_type)
        key = (type(own).__name__, config, *choice, generation.steps, Start.of(generation))
        table = self._tables.get(key)
        if table is None:
            table = compile_table(configure(own, *choice), generation.steps, Start.of(generation))
        with self._lock:
            self._tables[key] = table
            self._tables.move_to_end(key)
            if len(self._tables) > self._keep:
                self._tables.popitem(last=False)
        return table


def canonical(name: str) -> str:
    """``DDIMScheduler`` and ``DDIM`` are one sampler; an unknown or refused name is told apart here."""
    short = name.removesuffix("Scheduler")
    if short in REFUSED:
        raise Invalid("sampler", f"{short} is not offered: {REFUSED[short]}")
    if short not in SAMPLERS:
        raise Invalid("sampler", f"must be one of {', '.join(SAMPLERS)}")
    return short


def configure(
    own: Scheduler, name: str | None, spacing: Spacing = Spacing.default, algorithm_type: str | None = None
) -> Scheduler:
    """A fresh scheduler of that name with the checkpoint's betas and prediction type, and the options asked for."""
    short = canonical(name or type(own).__name__)
    scheduler_class = SAMPLERS[short]
    known = inspect.signature(scheduler_class.__init__).parameters
    options: dict[str, object] = {option: False for option in _NEVER_CLIP if option in known}
    if spacing != Spacing.default:
        if f"use_{spacing}_sigmas" not in known:
            raise Invalid("spacing", f"{spacing} is not possible with the sampler {short}")
        options |= {f"use_{other}_sigmas": other == spacing for other in Spacing if f"use_{other}_sigmas" in known}
    if algorithm_type is not None:
        options |= _algorithm(short, algorithm_type)
    config = {key: value for key, value in own.config.items() if key in known or key.startswith("_")}
    return scheduler_class.from_config(config, **options)


def _algorithm(name: str, algorithm_type: str) -> dict[str, object]:
    if algorithm_type not in ALGORITHM_TYPES.get(name, ()):
        raise Invalid("algorithm_type", f"{algorithm_type} is not possible with the sampler {name}")
    if algorithm_type.endswith("dpmsolver"):  # the noise-predicting forms cannot step to a sigma of zero
        return {"algorithm_type": algorithm_type, "final_sigmas_type": "sigma_min"}
    return {"algorithm_type": algorithm_type}


def compile_table(scheduler: Scheduler, steps: int, start: Start) -> Table:
    """Run ``scheduler`` on unit vectors, call by call as the diffusers pipelines call it, and keep what is needed."""
    name = type(scheduler).__name__.removesuffix("Scheduler")
    try:
        table = _Reading(scheduler, steps, start).table()
    except (ValueError, IndexError, ZeroDivisionError, TypeError, AssertionError, RuntimeError) as error:
        raise Invalid("steps", f"must be another number: {name} cannot run {steps} steps from there") from error
    if not all(bool(step.weights.isfinite().all()) for step in table.steps):
        raise Invalid("steps", f"must be another number: {name} is undefined at {steps} steps from there")
    return table


class _Reading:
    """One scheduler being read: which of its attributes hold latents, and what each call makes of them."""

    def __init__(self, scheduler: Scheduler, steps: int, start: Start) -> None:
        self.scheduler = scheduler
        self.start = start
        scheduler.set_timesteps(steps)
        self.timesteps: Tensor = scheduler.timesteps
        self.denoising_steps = steps
        if start.strength is not None:
            self.denoising_steps = min(int(steps * start.strength), steps)
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
            return 0.0, float(self.scheduler.init_noise_sigma)
        return self._renoise(self.timesteps[:1])

    def _renoise(self, timestep: Tensor) -> tuple[float, float]:
        if not hasattr(self.scheduler, "add_noise"):
            raise Invalid("sampler", "must be another one: this one cannot start from a picture")
        noisy = self.scheduler.add_noise(self._unit(0), self._unit(1), timestep).flatten()
        return float(noisy[0]), float(noisy[1])

    def _read(self, i: int) -> Step:
        """Step the scheduler once. Its memory holds unit vectors before, and is given new ones after."""
        t = self.timesteps[i]
        remembered = len(_distinct([get() for get, _ in self._memory()]))
        scale = float(self.scheduler.scale_model_input(self._unit(LATENTS), t).flatten()[LATENTS])
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
        blends = self.start.masked and not last
        renoise = self._renoise(self.timesteps[i + 1 : i + 2]) if blends else (1.0, 0.0)
        return Step(float(t), scale, weights, draws.count, renoise, self._denoised(t))

    def _denoised(self, t: Tensor) -> tuple[float, float]:
        """Scaled as the model sees them, latents are alpha * picture + sigma * noise, whatever the sampler."""
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


_NEVER_CLIP = ("clip_sample", "thresholding")  # meant for pixels; the diffusers pipelines for latents turn it off too

SAMPLERS: dict[str, Any] = {
    "DDPM": diffusers.DDPMScheduler,
    "DDIM": diffusers.DDIMScheduler,
    "PNDM": diffusers.PNDMScheduler,
    "LMSDiscrete": diffusers.LMSDiscreteScheduler,
    "EulerDiscrete": diffusers.EulerDiscreteScheduler,
    "EulerAncestralDiscrete": diffusers.EulerAncestralDiscreteScheduler,
    "DPMSolverMultistep": diffusers.DPMSolverMultistepScheduler,
    "HeunDiscrete": diffusers.HeunDiscreteScheduler,
    "KDPM2Discrete": diffusers.KDPM2DiscreteScheduler,
    "DPMSolverSinglestep": diffusers.DPMSolverSinglestepScheduler,
    "KDPM2AncestralDiscrete": diffusers.KDPM2AncestralDiscreteScheduler,
    "UniPCMultistep": diffusers.UniPCMultistepScheduler,
    "DDIMInverse": diffusers.DDIMInverseScheduler,
    "DEISMultistep": diffusers.DEISMultistepScheduler,
    "IPNDM": diffusers.IPNDMScheduler,
    "LCM": diffusers.LCMScheduler,
}

REFUSED: dict[str, str] = {
    "KarrasVe": "it changes the noise level of its own input, which the diffusers pipelines do not support either",
    "ScoreSdeVe": "its corrector divides by the norm of the model's output, so it is not linear",
}

ALGORITHM_TYPES: dict[str, tuple[str, ...]] = {
    "DPMSolverMultistep": ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"),
    "DPMSolverSinglestep": ("dpmsolver", "dpmsolver++", "sde-dpmsolver++"),
    "DEISMultistep": ("deis",),
}
