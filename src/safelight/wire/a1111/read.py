"""Bodies in the words of AUTOMATIC1111's API become our records. Fields that are not known are passed over, as there.

What is known, asked for and not to be had here is refused by its name.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from safelight.errors import Invalid
from safelight.records import ImageRequest, Operation
from safelight.service.catalogue import Choice
from safelight.settings import Settings
from safelight.wire.a1111.controlnet import is_controlnet
from safelight.wire.a1111.hires import read_larger
from safelight.wire.a1111.prompt import read_prompt
from safelight.wire.a1111.samplers import find_sampler
from safelight.wire.forms import Form
from safelight.wire.keeping import read_keeping

DIALECT = "a1111"
MOST_PROMPT = 10_000
MOST_NAME = 200
MOST_PICTURES = 16
CHECKPOINT, CLIP_LAYERS, VAE = "sd_model_checkpoint", "CLIP_stop_at_last_layers", "sd_vae"
ABSENT = {
    "restore_faces": "is not possible on this server: it has no face restorer",
    "tiling": "is not possible on this server",
    "subseed_strength": "is not possible on this server: it has no variation seeds",
    "refiner_checkpoint": "is not possible on this server",
}
_QUIET = frozenset({None, "", "None", "none", 0})  # 0 is False too
_HASH = re.compile(r"\s*\[[0-9a-f]{6,64}\]$")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, with what the caller set before and what it sends along for this one alone."""

    form: Form
    settings: Settings
    options: Mapping[str, object]

    def option(self, name: str) -> object:
        override = self.form.fields.get("override_settings")
        given = override.get(name) if isinstance(override, dict) else None
        return self.options.get(name) if given is None else given


def check_absent(form: Form) -> None:
    """Raises Invalid for what is asked for by name and is not here."""
    for name, rule in ABSENT.items():
        value = form.fields.get(name)
        if isinstance(value, (list, dict)) or value not in _QUIET:
            raise Invalid(name, rule)
    if form.text("script_name", limit=MOST_NAME) not in ("", "None"):
        raise Invalid("script_name", "names a script; this server has none")
    scripts = form.fields.get("alwayson_scripts")
    for script, given in (scripts if isinstance(scripts, dict) else {}).items():
        if _acts(given) and not is_controlnet(script):
            raise Invalid("alwayson_scripts", f"names {script}; this server has no such script")


def _acts(given: object) -> bool:
    """Tools send scripts along that are switched off: without arguments, or with false for the first."""
    arguments = given.get("args") if isinstance(given, dict) else given
    return bool(arguments) and (not isinstance(arguments, list) or arguments[0] not in (False, None))


def read_request(asked: Asked, operation: Operation, choice: Choice, known: Mapping[str, int | None]) -> ImageRequest:
    """One generation, every default filled in and a random seed drawn. ``known`` are the LoRAs, by whom they were installed."""
    form, settings = asked.form, asked.settings
    check_absent(form)
    told = form.text("prompt", limit=MOST_PROMPT)
    prompt, loras = read_prompt(told, known)
    name = form.text(form.either("sampler_name", "sampler_index"), limit=MOST_NAME, default="Euler")
    sampler, spacing = find_sampler(name, form.text("scheduler", limit=MOST_NAME))
    steps = min(form.whole("steps", choice.wants.steps, 1, 10_000), settings.max_steps)
    width, height = (_side(form, name, settings.max_side) for name in ("width", "height"))
    larger = read_larger(form, width, height, steps, settings) if operation is Operation.text2img else None
    notes = [choice.note, larger.note if larger else ""]
    return ImageRequest(
        operation=operation,
        prompt=prompt,
        negative_prompt=form.text("negative_prompt", limit=MOST_PROMPT),
        width=larger.width if larger else width,
        height=larger.height if larger else height,
        draft=larger.draft if larger else None,
        samples=_samples(form),
        steps=steps,
        guidance_scale=form.real("cfg_scale", choice.wants.guidance_scale, 1, 30),
        strength=1.0 if operation is Operation.text2img else _strength(form, steps),
        seed=_seed(form),
        model=choice.model,
        installed=choice.installed,
        sampler=sampler.ours,
        spacing=spacing,
        algorithm_type=sampler.algorithm_type,
        loras=loras,
        installed_loras={name: job_id for name, _ in loras if (job_id := known[name])},
        clip_skip=Form({CLIP_LAYERS: asked.option(CLIP_LAYERS)}).whole(CLIP_LAYERS, 1, 1, 12),
        **read_keeping(form),
        dialect=DIALECT,
        route="txt2img" if operation is Operation.text2img else "img2img",
        notes=tuple(filter(None, notes)),
        extras={"prompt": told, "sampler": sampler.name, "spacing": spacing},
    )


def read_model(given: object) -> str:
    """A checkpoint's name from its title, which may have a suffix or a hash behind it."""
    return _HASH.sub("", str(given or "")[:MOST_NAME]).removesuffix(".safetensors")


def read_vae(given: object, known: Collection[str]) -> str | None:
    """None for the checkpoint's own. Raises Invalid for one that is not here."""
    name = read_model(given)
    if name.lower() in ("", "automatic", "none"):
        return None
    if name not in known:
        raise Invalid(
            VAE, f"names {name}, which this server does not have. It has: {', '.join(sorted(known)) or 'none'}"
        )
    return name


def _samples(form: Form) -> int:
    batch, times = (form.whole(name, 1, 1, MOST_PICTURES) for name in ("batch_size", "n_iter"))
    if batch * times > MOST_PICTURES:
        raise Invalid("n_iter", f"times batch_size must be at most {MOST_PICTURES}")
    return batch * times


def _side(form: Form, name: str, most: int) -> int:
    """The web UI takes any number and draws the next lower multiple of 8."""
    return form.whole(name, min(512, most), 64, most) // 8 * 8


def _strength(form: Form, steps: int) -> float:
    """What would run no step at all is raised until it runs one."""
    strength = form.real("denoising_strength", 0.75, 0, 1)
    return strength if int(steps * strength) else math.nextafter(1 / steps, 1)


def _seed(form: Form) -> int:
    seed = form.whole("seed", -1, -1, 2**32 - 1)
    return secrets.randbits(32) if seed == -1 else seed
