"""The web UI's hires fix: a smaller picture first, enlarged and drawn over. Its fields become our draft."""

from __future__ import annotations

from dataclasses import dataclass

from safelight.errors import Invalid
from safelight.records import Draft
from safelight.settings import Settings
from safelight.wire.forms import Form

UNIT = 8  # pixels of a side for each latent
RESAMPLED = ("", "none", "lanczos")
SAME = ("", "none", "use same sampler", "use same scheduler", "use same checkpoint")
OTHERS = ("hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "hr_prompt", "hr_negative_prompt")


@dataclass(frozen=True, slots=True)
class Larger:
    """The size that comes out, what is made before, and a sentence where something is done otherwise than asked."""

    width: int
    height: int
    draft: Draft
    note: str


def read_larger(form: Form, width: int, height: int, steps: int, settings: Settings) -> Larger | None:
    """None where it is off. ``width``, ``height`` and ``steps`` are the first pass's. Raises Invalid for what is not here."""
    if not form.yes("enable_hr", False):
        return None
    for name in OTHERS:
        first, second = (form.text(each, limit=10_000).strip().lower() for each in (name.removeprefix("hr_"), name))
        if second not in (*SAME, first):
            raise Invalid(name, "is not possible on this server: the second pass is as the first")
    again = min(form.whole("hr_second_pass_steps", 0, 0, 10_000) or steps, settings.max_steps)
    draft = Draft(width, height, again, form.real("denoising_strength", 0.75, 0, 1))
    upscaler = form.text("hr_upscaler", limit=200)
    other = f"hr_upscaler {upscaler} is not here; Lanczos enlarges before the second pass."
    note = "" if upscaler.lower() in RESAMPLED else other
    return Larger(*_size(form, width, height, settings.max_side), draft, note)


def _size(form: Form, width: int, height: int, most: int) -> tuple[int, int]:
    """By ``hr_scale``, or what ``hr_resize_x`` and ``hr_resize_y`` say; of these one alone keeps the proportions."""
    scale = form.real("hr_scale", 2.0, 1, 8)
    across, down = (form.whole(name, 0, 0, most) for name in ("hr_resize_x", "hr_resize_y"))
    wide, high = width * scale, height * scale
    if across or down:
        wide, high = across or down * width / height, down or across * height / width
    if max(wide, high) > most:
        raise Invalid("hr_scale", f"must leave no side longer than {most} pixels")
    return max(64, int(wide) // UNIT * UNIT), max(64, int(high) // UNIT * UNIT)
