"""The fields of the console's forms become our records. Fetches and runs nothing."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence

from safelight.errors import Invalid
from safelight.records import ImageRequest, Operation
from safelight.service.catalogue import Choice
from safelight.settings import Settings
from safelight.wire.console.samplers import find_sampler
from safelight.wire.forms import Form

DIALECT = "console"
MOST_PROMPT = 10_000
MOST_NAME = 200
MOST_PICTURES = 4
USUAL_SIDE = 512
USUAL_STRENGTH = 0.7


def read_request(
    form: Form, operation: Operation, settings: Settings, choice: Choice, known: Mapping[str, int | None]
) -> ImageRequest:
    """One generation, every default filled in and a random seed drawn. Raises Invalid naming the field and the rule.

    ``known`` are the LoRAs that may be named, each with the job that installed it, where one did.
    """
    loras = tuple(_loras(form, known))
    sampler = find_sampler(form.text("sampler", limit=MOST_NAME))
    steps = form.whole("steps", min(choice.wants.steps, settings.max_steps), 1, settings.max_steps)
    return ImageRequest(
        operation=operation,
        prompt=form.required("prompt", limit=MOST_PROMPT),
        negative_prompt=form.text("negative_prompt", limit=MOST_PROMPT),
        width=_side(form, "width", settings.max_side),
        height=_side(form, "height", settings.max_side),
        samples=form.whole("samples", 1, 1, MOST_PICTURES),
        steps=steps,
        guidance_scale=form.real("guidance_scale", choice.wants.guidance_scale, 1, 20),
        strength=1.0 if operation is Operation.text2img else _strength(form, steps),
        fit=settings.init_fit,
        seed=form.whole("seed", new_seed(), 0, 2**32 - 1),
        model=choice.model,
        installed=choice.installed,
        sampler=sampler.ours,
        spacing="karras" if sampler.karras else "default",
        algorithm_type=sampler.algorithm_type,
        loras=loras,
        installed_loras={name: job_id for name, _ in loras if (job_id := known[name])},
        safety_checker=form.yes("safety_checker", False),
        dialect=DIALECT,
        route="make",
    )


def new_seed() -> int:
    return secrets.randbits(32)


def read_model(form: Form) -> str:
    return form.text("model", limit=MOST_NAME)


def read_file(files: Sequence[bytes], name: str) -> bytes | None:
    """The one picture that may have been sent under a name."""
    if len(files) > 1:
        raise Invalid(name, "must be one picture")
    return files[0] if files else None


def _side(form: Form, name: str, most: int) -> int:
    side = form.whole(name, min(USUAL_SIDE, most), 64, most)
    if side % 8:
        raise Invalid(name, "must be divisible by 8")
    return side


def _strength(form: Form, steps: int) -> float:
    """What would run no step at all is raised until it runs one."""
    strength = form.real("strength", USUAL_STRENGTH, 0, 1)
    return strength if int(steps * strength) else math.nextafter(1 / steps, 1)


def _loras(form: Form, known: Iterable[str]) -> Iterator[tuple[str, float]]:
    """Their fields are numbered, since a name of a file can be any; with each comes the name that its page showed."""
    for number, name in enumerate(sorted(known)):
        if form.text(f"lora_{number}_name", limit=MOST_NAME, default=name) != name:
            raise Invalid("loras", "are others by now; load the page again")
        if strength := form.real(f"lora_{number}", 0.0, -2, 2):
            yield name, strength
